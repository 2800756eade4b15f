//go:build plantedbug_fence_i

package fence

const (
	fromAnswer   = false
	condemns     = true
	waitsForStop = true
	persists     = false
	outside      = true
	looks        = true
)
