//go:build plantedbug_fence_b

package fence

const (
	fromAnswer   = false
	condemns     = false
	waitsForStop = false
	persists     = false
	outside      = false
	looks        = true
)
