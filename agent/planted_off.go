//go:build !plantedbug_forgetorders

package agent

// planted is which bug is built in: none. sim's tests build the others, to see that the simulator finds them.
const planted = ""
