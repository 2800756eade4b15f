//go:build plantedbug_fence_h

package fence

const (
	fromAnswer   = true
	condemns     = true
	waitsForStop = true
	persists     = true
	outside      = true
	looks        = true
)
