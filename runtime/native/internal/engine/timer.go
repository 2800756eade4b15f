package engine

import (
	"hash/fnv"
	"strings"
	"time"

	"argosy.dev/argosy/calendar"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/unit"
)

// TimerState is systemd's sub-state of a timer.
type TimerState string

// The states of a timer.
const (
	TimerDead    TimerState = "dead"
	TimerWaiting TimerState = "waiting"
	TimerRunning TimerState = "running"
	TimerElapsed TimerState = "elapsed"
)

// TimerRecord is what is known of a timer and outlives the process that knows it.
type TimerRecord struct {
	State     TimerState `json:"state"`
	Since     time.Time  `json:"since,omitzero"`
	Activated time.Time  `json:"activated,omitzero"` // For OnActiveSec=.
	Last      time.Time  `json:"last,omitzero"`      // When it last elapsed.
	Next      time.Time  `json:"next,omitzero"`
}

// Timer is one timer unit, with the rules of systemd.timer(5).
type Timer struct {
	TimerRecord
	unit *Unit
	e    *Engine
}

func newTimer(u *Unit, e *Engine) *Timer {
	return &Timer{TimerRecord: TimerRecord{State: TimerDead}, unit: u, e: e}
}

// targetOf is the unit that a timer starts.
func targetOf(u *Unit) string {
	if t := u.Def.Timer.Unit; t != "" {
		return t
	}
	return strings.TrimSuffix(u.Name, ".timer") + ".service"
}

// Down tells whether the timer is off.
func (t *Timer) Down() bool { return t.State == TimerDead }

// Wake is when tick wants to be called; zero: not before another event.
func (t *Timer) Wake() time.Time {
	if t.State == TimerWaiting {
		return t.Next
	}
	return time.Time{}
}

func (t *Timer) set(s TimerState) {
	if t.State != s {
		t.Since = t.e.host.Now()
	}
	t.State = s
	t.e.host.Dirty(t.unit)
}

func (t *Timer) start() {
	t.Activated = t.e.host.Now()
	if t.unit.Def.Timer.Persistent && t.Last.IsZero() {
		t.Last = t.e.host.Stamp(t.unit)
		if t.Last.IsZero() { // The first start ever: what was missed is counted from here.
			t.Last = t.Activated
			t.e.host.SetStamp(t.unit, t.Last)
		}
	}
	t.e.host.Note(t.unit, "Started.")
	t.wait(true)
}

func (t *Timer) stop() {
	t.Next = time.Time{}
	t.e.host.Note(t.unit, "Stopped.")
	t.set(TimerDead)
}

func (t *Timer) reloaded() {
	if t.State == TimerWaiting || t.State == TimerElapsed {
		t.wait(false)
	}
}

// tick triggers the unit when the time has come.
func (t *Timer) tick() {
	if t.State != TimerWaiting || t.Next.IsZero() || t.e.host.Now().Before(t.Next) {
		return
	}
	t.Trigger()
}

// Trigger starts the timer's unit now.
func (t *Timer) Trigger() {
	t.Last = t.e.host.Now()
	if t.unit.Def.Timer.Persistent {
		t.e.host.SetStamp(t.unit, t.Last)
	}
	target := t.e.units[targetOf(t.unit)]
	if target == nil {
		t.unit.Refused = noUnit(targetOf(t.unit))
		t.e.host.Note(t.unit, "Elapsed, but there is no "+targetOf(t.unit)+".")
		t.wait(false)
		return
	}
	t.unit.Refused = nil
	t.Next = time.Time{}
	t.set(TimerRunning)
	if target.Service != nil && target.Service.State == service.Failed {
		target.Service.Result = service.Success // systemd starts a failed unit again, and counts the start limit.
		target.Service.State = service.Dead
	}
	t.e.want(target, true)
	t.e.run()
	t.targetChanged()
}

// targetChanged goes back to waiting when the unit has done its work.
func (t *Timer) targetChanged() {
	target := t.e.units[targetOf(t.unit)]
	switch t.State {
	case TimerRunning:
		if target == nil || target.Down() && target.job == nil {
			t.wait(false)
		}
	case TimerWaiting: // OnUnitActiveSec= and OnUnitInactiveSec= count from what just happened.
		d := t.unit.Def.Timer
		if len(d.OnUnitActive)+len(d.OnUnitInactive) > 0 && target != nil && target.Service != nil {
			t.wait(false)
		}
	case TimerDead, TimerElapsed: // It waits for nothing.
	}
}

// wait reckons the next time and waits for it. first: the timer was just started.
func (t *Timer) wait(first bool) {
	t.Next = t.next(first)
	switch {
	case !t.Next.IsZero():
		t.set(TimerWaiting)
	case t.unit.Def.Timer.RemainAfterElapse:
		t.set(TimerElapsed)
	default:
		t.set(TimerDead)
	}
}

// next is the earliest of all expressions; zero when none will come.
func (t *Timer) next(first bool) time.Time {
	d, now, h := t.unit.Def.Timer, t.e.host.Now(), t.e.host
	var at time.Time
	take := func(x time.Time) {
		if at.IsZero() || x.Before(at) {
			at = x
		}
	}
	for _, b := range []struct {
		base  time.Time
		spans []time.Duration
	}{{t.Activated, d.OnActive}, {h.Booted(), d.OnBoot}, {h.Began(), d.OnStartup}} {
		for _, s := range b.spans {
			if x := b.base.Add(s); first || x.After(now) { // Once over, it does not come again.
				take(x)
			}
		}
	}
	if target := t.e.units[targetOf(t.unit)]; target != nil && target.Service != nil {
		t.takeRelative(target.Service.Started, d.OnUnitActive, take)
		t.takeRelative(target.Service.InactiveSince, d.OnUnitInactive, take)
	}
	for _, c := range d.OnCalendar {
		if x, ok := t.nextCalendar(c); ok {
			take(x)
		}
	}
	if !at.IsZero() {
		at = at.Add(t.delay())
	}
	return at
}

func (t *Timer) takeRelative(base time.Time, spans []time.Duration, take func(time.Time)) {
	if base.IsZero() {
		base = t.Last // It never ran, or was not known when it did.
		if base.IsZero() {
			return
		}
	}
	for _, s := range spans {
		take(base.Add(s))
	}
}

func (t *Timer) nextCalendar(text string) (time.Time, bool) {
	x, err := calendar.Parse(text)
	if err != nil {
		return time.Time{}, false // Package unit has checked it; a newer program may know more.
	}
	base := t.e.host.Now()
	if !t.Last.IsZero() && t.unit.Def.Timer.Persistent && t.Last.Before(base) {
		base = t.Last
	}
	return x.Next(base)
}

// delay is RandomizedDelaySec=; with FixedRandomDelay= always the same for a unit.
func (t *Timer) delay() time.Duration {
	d := t.unit.Def.Timer
	if d.RandomizedDelay <= 0 || d.RandomizedDelay >= unit.Infinity {
		return 0
	}
	if d.FixedRandomDelay {
		h := fnv.New64a()
		_, _ = h.Write([]byte(t.unit.Name)) // Never fails (hash.Hash).
		return time.Duration(h.Sum64() % uint64(d.RandomizedDelay))
	}
	return time.Duration(t.e.host.Random(int64(d.RandomizedDelay)))
}

func (t *Timer) evidence() cluster.Evidence {
	active := service.Active
	if t.State == TimerDead {
		active = service.Inactive
	}
	return cluster.Evidence{
		Name: t.unit.Name, Load: "loaded", Active: active, Sub: string(t.State), Result: "success",
		StateSince: t.Since, ActiveSince: t.Activated, NextElapse: t.Next.Round(0), LastTrigger: t.Last.Round(0),
	}
}

// Rebooted forgets what a reboot ended.
func (t *Timer) Rebooted() {
	t.State, t.Next, t.Activated = TimerDead, time.Time{}, time.Time{}
}

// Resume goes on where an init process before us was.
func (t *Timer) Resume() {
	switch t.State {
	case TimerWaiting:
		if t.Next.IsZero() {
			t.wait(false)
		}
	case TimerRunning:
		t.targetChanged()
	case TimerDead, TimerElapsed: // It waits for nothing.
	}
}
