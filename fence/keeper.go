package fence

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// Keeper is what stops a machine's exclusive units in time. It is a value without a clock: who has one, an init process
// or the simulator's machine, asks it. It is kept where it outlives the agent, and is lost with the boot.
type Keeper struct {
	Epoch   int64            `json:"epoch,omitempty"`   // The machine's; 0: none yet.
	Sent    time.Duration    `json:"sent,omitempty"`    // When the last acknowledged renewal of Epoch was sent, on the boot clock; 0: none.
	Allowed map[string]int64 `json:"allowed,omitempty"` // Units that may run, with the epochs of their placements.
	Cut     map[string]bool  `json:"cut,omitempty"`     // Units that were stopped here for want of a renewal.
}

// The refusals of a keeper; Refusal finds one again by its text.
var (
	ErrBusy     = errors.New("exclusive units of the epoch before still run")
	ErrNotLive  = errors.New("the machine's lease is not live")
	ErrOldEpoch = errors.New("the machine is in another epoch")
)

// Refusal is the refusal of a keeper in another process; nil for "".
func Refusal(text string) error {
	for _, err := range []error{ErrBusy, ErrNotLive, ErrOldEpoch} {
		if err.Error() == text {
			return err
		}
	}
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// Live tells whether exclusive units may run now.
func (k *Keeper) Live(now time.Duration) bool { return k.Sent > 0 && now < Deadline(k.Sent) }

// MayRun tells whether a unit may be started, or go on, now.
func (k *Keeper) MayRun(unit string, now time.Duration) bool {
	_, ok := k.Allowed[unit]
	return ok && k.Live(now)
}

// At is when Overdue will have something to say; 0: nothing is to be stopped.
func (k *Keeper) At() time.Duration {
	if len(k.Allowed) == 0 {
		return 0
	}
	if k.Sent == 0 {
		return 1
	}
	return Deadline(k.Sent)
}

// Overdue gives the units that have to stop now, and takes their leave to run away.
func (k *Keeper) Overdue(now time.Duration) []string {
	if len(k.Allowed) == 0 || k.Live(now) {
		return nil
	}
	out := slices.Sorted(maps.Keys(k.Allowed))
	for _, name := range out {
		k.cut(name)
	}
	k.Allowed = nil
	return out
}

func (k *Keeper) cut(name string) {
	if k.Cut == nil {
		k.Cut = map[string]bool{}
	}
	k.Cut[name] = true
}

// Begin takes a new epoch. running tells that exclusive units still run.
func (k *Keeper) Begin(epoch int64, running bool) error {
	if epoch == k.Epoch && k.Sent == 0 && len(k.Allowed) == 0 {
		return nil // Asked twice.
	}
	if running || len(k.Allowed) > 0 {
		return ErrBusy
	}
	if epoch <= k.Epoch {
		return ErrOldEpoch
	}
	k.Epoch, k.Sent = epoch, 0
	return nil
}

// Renewed takes in that a renewal of an epoch, sent at that time, was acknowledged.
func (k *Keeper) Renewed(epoch int64, sent time.Duration) error {
	if epoch != k.Epoch {
		return ErrOldEpoch
	}
	k.Sent = max(k.Sent, sent)
	return nil
}

// Condemned takes in that an epoch is over: everything has to stop at once.
func (k *Keeper) Condemned(epoch int64) {
	if epoch == k.Epoch {
		k.Sent = 0
	}
}

// Allow gives a unit the leave to run, with the epoch of its placement, in an epoch of the machine.
func (k *Keeper) Allow(unit string, placement, epoch int64, now time.Duration) error {
	switch {
	case epoch != k.Epoch:
		return ErrOldEpoch
	case !k.Live(now):
		return ErrNotLive
	}
	if k.Allowed == nil {
		k.Allowed = map[string]int64{}
	}
	k.Allowed[unit] = placement
	return nil
}

// Began takes in that a unit was started: it is no more one that was cut off.
func (k *Keeper) Began(unit string) { delete(k.Cut, unit) }

// Forget drops a unit that is gone from the machine.
func (k *Keeper) Forget(unit string) {
	delete(k.Allowed, unit)
	delete(k.Cut, unit)
}

// Clone is a keeper of its own.
func (k *Keeper) Clone() Keeper {
	c := *k
	c.Allowed, c.Cut = maps.Clone(k.Allowed), maps.Clone(k.Cut)
	return c
}
