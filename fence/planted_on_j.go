//go:build plantedbug_fence_j

package fence

const (
	fromAnswer   = false
	condemns     = true
	waitsForStop = true
	persists     = true
	outside      = false
	looks        = true
)
