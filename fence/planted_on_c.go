//go:build plantedbug_fence_c

package fence

const (
	fromAnswer   = false
	condemns     = false
	waitsForStop = true
	persists     = false
	outside      = false
	looks        = true
)
