//go:build !plantedbug_overcommit && !plantedbug_noreason && !plantedbug_twoplaces && !plantedbug_epoch && !plantedbug_noretry

package leader

// planted is which bug is built in: none. sim's tests build the others, to see that the simulator finds them.
const planted = ""
