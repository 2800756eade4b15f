//go:build plantedbug_fence_a

package fence

const (
	fromAnswer   = true
	condemns     = false
	waitsForStop = false
	persists     = false
	outside      = false
	looks        = true
)
