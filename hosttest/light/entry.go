package light

import (
	"fmt"
	"os"
)

// The names that this package's own processes run under: a test binary, or a command, starts itself as a bed's holder and
// as PID 1 of its hosts. What follows is the name of the host, and of the bed.
const (
	holderArg = "argosy-light-holder"
	hostArg   = "argosy-light-boot"
	initArg   = "argosy-light-host"
)

// Entry has to be called first in main or TestMain: it is what the bed's processes run. When it has handled the
// arguments, the process ends with the code.
func Entry(args []string) (handled bool, code int) {
	var err error
	switch {
	case len(args) == 2 && args[0] == holderArg:
		err = hold(args[1])
	case len(args) == 3 && args[0] == hostArg:
		err = waitForPlace(args[1:])
	case len(args) == 3 && args[0] == initArg:
		err = initHost(args[2])
	default:
		return false, 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n", args, err)
		return true, 1
	}
	return true, 0
}
