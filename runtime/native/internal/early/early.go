// Package early runs the helper between fork and exec before the rest of the program is initialised. Go initialises
// packages in the order of their import paths as soon as what they import is ready, and this one needs little: so a
// start of a unit costs 3 ms of CPU instead of the 11 ms that etcd's, gRPC's and Prometheus's package variables take
// (measured). It is the one start in the program that main does not see; native.Entry does the same without it.
package early

import (
	"os"

	"argosy.dev/argosy/runtime/native/internal/spawn"
)

// handled never becomes true: the helper does not come back.
var handled = dispatch()

func dispatch() bool {
	if len(os.Args) == 2 && os.Args[1] == spawn.HelperName {
		os.Exit(spawn.Main())
	}
	return false
}

// Handled tells whether the helper ran; asking it is what links this package into a program.
func Handled() bool { return handled }
