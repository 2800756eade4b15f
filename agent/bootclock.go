package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootClock is CLOCK_BOOTTIME: unlike Go's own monotonic clock it goes on while the machine is suspended
// (clock_gettime(2)), so that a lease does not seem young after a sleep.
func BootClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // It does not fail on Linux; 0 is before every deadline's beginning, and nothing counts as renewed.
	}
	return time.Duration(ts.Nano())
}
