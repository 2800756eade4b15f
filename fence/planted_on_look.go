//go:build plantedbug_fence_look

package fence

const (
	fromAnswer   = false
	condemns     = true
	waitsForStop = true
	persists     = true
	outside      = true
	looks        = false
)
