package spawn

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastSignal is the highest signal number of Linux (signal(7)).
const lastSignal = 64

// kernelAction is the kernel's struct sigaction (rt_sigaction(2)); the zero value is SIG_DFL, and no flags.
type kernelAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const ignore = 1 // SIG_IGN.

// defaultSignals gives every signal its default action and lets all of them through, as systemd does before it
// executes: what our own parents ignored or blocked is not inherited. It asks the kernel itself: with os/signal a
// signal that comes before the exec would go to a channel that nobody reads, and a service that is stopped the
// moment it starts would never hear of it.
func defaultSignals() error {
	for n := range lastSignal + 1 {
		if n == 0 || n == int(unix.SIGKILL) || n == int(unix.SIGSTOP) {
			continue
		}
		if err := setAction(n, kernelAction{}); err != nil {
			return err
		}
	}
	return unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
}

func setAction(n int, a kernelAction) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&a)), 0, unsafe.Sizeof(a.mask), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// ignoreSIGPIPE is IgnoreSIGPIPE=yes.
func ignoreSIGPIPE() error { return setAction(int(syscall.SIGPIPE), kernelAction{handler: ignore}) }
