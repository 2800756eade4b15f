//go:build !plantedbug_fence_a && !plantedbug_fence_b && !plantedbug_fence_c && !plantedbug_fence_d && !plantedbug_fence_f && !plantedbug_fence_h && !plantedbug_fence_i && !plantedbug_fence_j && !plantedbug_fence_look

package fence

// The whole design. sim's tests build weaker ones, to see that the simulator finds them.
const (
	fromAnswer   = false // Deadlines count from the answer, not from the sending.
	condemns     = true  // The leader condemns, and waits longer than a keeper may take.
	waitsForStop = true  // The leader waits for a stop to end.
	persists     = true  // What the keeper holds outlives the agent.
	outside      = true  // The keeper is no part of the agent.
	looks        = true  // The agent looks at the placement once more when its claim is written.
)
