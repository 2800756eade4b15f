package fake

import (
	"context"
	"time"

	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
)

var _ runtime.Fencer = (*Runtime)(nil)

// bootClock is the fake machine's CLOCK_BOOTTIME: its clock, counted from the year 1970.
func bootClock(at time.Time) time.Duration { return time.Duration(at.UnixNano()) }

// BootClock is the machine's boot clock now.
func (r *Runtime) BootClock() time.Duration { return bootClock(r.now()) }

// Held implements runtime.Fencer.
func (r *Runtime) Held(context.Context) (fence.Keeper, error) {
	err := r.enter("held", "")
	defer r.mu.Unlock()
	return r.keeper.Clone(), err
}

// BeginEpoch implements runtime.Fencer.
func (r *Runtime) BeginEpoch(_ context.Context, epoch int64) error {
	err := r.enter("epoch", "")
	defer r.mu.Unlock()
	if err != nil {
		return err
	}
	running := false
	for _, s := range r.units { // Order does not matter.
		running = running || s.exclusive() && s.running()
	}
	return r.keeper.Begin(epoch, running)
}

// Renewed implements runtime.Fencer.
func (r *Runtime) Renewed(_ context.Context, epoch int64, sent time.Duration) error {
	err := r.enter("renewed", "")
	defer r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.keeper.Renewed(epoch, sent)
}

// Condemned implements runtime.Fencer.
func (r *Runtime) Condemned(_ context.Context, epoch int64) error {
	err := r.enter("condemned", "")
	defer r.mu.Unlock()
	if err != nil {
		return err
	}
	r.keeper.Condemned(epoch)
	r.keep(r.now())
	return nil
}

// Allow implements runtime.Fencer.
func (r *Runtime) Allow(_ context.Context, unit string, placement, epoch int64) error {
	err := r.enter("allow", unit)
	defer r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.keeper.Allow(unit, placement, epoch, r.BootClock())
}

// Keep lets the keeper do what is due: for a design without a keeper of its own, in which an agent calls it.
func (r *Runtime) Keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(r.now())
}

// keep stops what is overdue.
func (r *Runtime) keep(at time.Time) {
	for _, name := range r.keeper.Overdue(bootClock(at)) {
		if s := r.units[name]; s != nil {
			s.stop(at, false)
			r.changed()
		}
	}
}

// keptAt is when the keeper has something to stop; false: it has not.
func (r *Runtime) keptAt() (time.Time, bool) {
	at := r.keeper.At()
	if at == 0 || !fence.Outside() {
		return time.Time{}, false
	}
	return time.Unix(0, int64(at)), true
}

func (s *service) exclusive() bool { return s.u != nil && s.u.Argosy.Exclusive }

// fenced refuses a run for which the keeper gives no leave.
func (s *service) fenced(at time.Time) bool {
	if !s.exclusive() || s.r.keeper.MayRun(s.name, bootClock(at)) {
		s.r.keeper.Began(s.name)
		return false
	}
	s.e.Error = reason.Because(reason.NoLease, reason.Args{"unit": s.name})
	s.down(at, "inactive", "dead")
	return true
}
