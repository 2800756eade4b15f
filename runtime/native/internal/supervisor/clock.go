package supervisor

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"
)

// watchClock notices when somebody sets the wall clock: a timer of the kernel that is cancelled by that (timerfd_create(2)).
func (in *Init) watchClock() error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return err
	}
	arm := func() error {
		never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt64}}
		return unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil)
	}
	if err := arm(); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	in.clockFD = fd
	return in.poller.Add(fd, func() {
		var b [8]byte
		_, err := unix.Read(fd, b[:])
		if !errors.Is(err, unix.ECANCELED) {
			return
		}
		if err := arm(); err != nil {
			in.poller.Remove(fd)
		}
		in.do(func() {
			in.log.Info("the wall clock was set: timers are reckoned anew")
			in.engine.ClockJumped()
		})
	})
}
