// Package fence holds the rules by which an exclusive unit (Exclusive=yes of [X-Argosy]) runs on one machine at a time:
// the arithmetic of deadlines, what a keeper does with them, and when a unit may be bound elsewhere.
//
// A machine renews a lease in the store. Its keeper, which is no part of the agent, stops exclusive units After less
// Margin after the sending of the last renewal that was acknowledged, and starts none then. The leader that misses a
// machine condemns its epoch: from then on the store acknowledges no renewal of it. It then waits as long as a keeper and
// a stop may take, and binds the unit elsewhere. So nothing depends on when, or why, the store's lease ran out.
//
// What may run where is told by claims: an agent writes a status that claims the unit before it looks at its placement
// once more, and runs the unit only if that is still there. A leader that has withdrawn a placement and then sees no claim
// knows that none will come.
//
// The room is pure. It leaves to others: writing and reading (leader, agent), stopping (runtime).
package fence

import (
	"time"

	"argosy.dev/argosy/unit"
)

// The numbers of losing and of fencing. A machine is found lost between 3/4 TTL + DownAfter (11 s) and TTL + DownAfter +
// the store's own half second (13 s) after its last breath: more than an agent takes to start again (10 s, nothing moves
// then), and not more than is promised (13 s).
const (
	TTL        = 6 * time.Second         // Of a machine's sign of life.
	RenewEvery = TTL / 4                 // Three renewals may be lost.
	DownAfter  = 6500 * time.Millisecond // Without a sign of life, until the machine counts as down.

	After       = 12 * time.Second        // FenceAfter=: without a renewal, until exclusive units have to stop.
	Margin      = 2500 * time.Millisecond // So much earlier they do: clocks differ, and stopping has to begin somewhere.
	StopTimeout = 10 * time.Second        // TimeoutStopSec= of an exclusive unit that does not say: systemd's 90 s are too long.
	Slack       = 1 * time.Second         // That a leader waits longer than a keeper and a stop may take.
)

// Deadline is when exclusive units have to begin to stop, given when the last acknowledged renewal was sent, both on the
// machine's boot clock (CLOCK_BOOTTIME, which also runs in suspend).
func Deadline(sent time.Duration) time.Duration { return sent + After - Margin }

// From is when a renewal counts from: from its sending. The answer may have been long under way.
func From(sent, answered time.Duration) time.Duration {
	if fromAnswer {
		return answered
	}
	return sent
}

// Wait is how long a leader waits, on its own clock and since it has seen the machine condemned, before it binds a unit
// elsewhere that has so long to stop.
func Wait(stop time.Duration) time.Duration {
	switch {
	case !waitsForStop:
		return 0
	case !condemns:
		return stop
	}
	return After + stop + Slack
}

// Condemns tells that a leader condemns; without it, it takes over when it misses the machine. For the simulator's planted bugs.
func Condemns() bool { return condemns }

// Outside tells that the keeper is no part of the agent. For the simulator's planted bugs.
func Outside() bool { return outside }

// Persists tells that what the keeper holds outlives the agent. For the simulator's planted bugs.
func Persists() bool { return persists }

// Looks tells that an agent looks at the placement once more when its claim is written. For the simulator's planted bugs.
func Looks() bool { return looks }

// StopTime is TimeoutStopSec= of an exclusive unit.
func StopTime(u *unit.Unit) time.Duration {
	if u.Service == nil {
		return 0
	}
	switch d := u.Service.TimeoutStop; {
	case d <= 0 || d >= systemdStop:
		return StopTimeout
	default:
		return d
	}
}

// systemdStop is systemd's DefaultTimeoutStopSec=. Longer ones would make everybody wait for an hour's stop.
const systemdStop = 90 * time.Second

// Bound gives an exclusive unit the time to stop that a leader reckons with; others stay as they are.
func Bound(u *unit.Unit) *unit.Unit {
	if !u.Argosy.Exclusive || u.Service == nil {
		return u
	}
	bound, service := *u, *u.Service
	service.TimeoutStop = StopTime(u)
	bound.Service = &service
	return &bound
}

// Claim is that a machine may run a unit, by a status that its agent wrote in one of the machine's epochs.
type Claim struct {
	Machine string
	Lease   int64 // The epoch; 0: before the machine had any.
}

// Machine is what a leader knows of a machine that holds a claim.
type Machine struct {
	Down      bool          // It is missed for so long that its units move.
	Epoch     int64         // Of its sign of life; 0: none.
	Condemned int64         // The revision in which it was last condemned; 0: never.
	Waited    time.Duration // How long this leader has seen that (without condemning: has missed the machine).
	Fenced    int64         // A person said that it was dead when its condemnation was this one.
}

// Verdict is what a claim means for binding its unit elsewhere.
type Verdict int

// The verdicts.
const (
	Free    Verdict = iota // Nothing of the claim runs any more.
	Ask                    // The machine lives: its agent will let go.
	Condemn                // The machine has to be condemned first.
	Hold                   // Condemned; the time is not over yet.
)

// Judge tells what a claim means. left is how long to wait still, for Hold.
func Judge(c Claim, m Machine, stop time.Duration) (v Verdict, left time.Duration) {
	if !condemns {
		switch left = Wait(stop) - m.Waited; {
		case !m.Down:
			return Ask, 0
		case left > 0:
			return Hold, left
		}
		return Free, 0
	}
	switch {
	case m.Epoch > c.Lease && m.Epoch >= m.Condemned: // It has begun anew, with nothing running.
		return Free, 0
	case m.Condemned > 0 && m.Condemned > c.Lease:
		if left = Wait(stop) - m.Waited; left <= 0 || m.Fenced >= m.Condemned {
			return Free, 0
		}
		return Hold, left
	case m.Down:
		return Condemn, 0
	}
	return Ask, 0
}
