//go:build plantedbug_fence_f

package fence

const (
	fromAnswer   = false
	condemns     = false
	waitsForStop = true
	persists     = true
	outside      = true
	looks        = true
)
