//go:build plantedbug_fence_d

package fence

const (
	fromAnswer   = false
	condemns     = false
	waitsForStop = true
	persists     = true
	outside      = false
	looks        = true
)
