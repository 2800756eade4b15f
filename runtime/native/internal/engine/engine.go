// Package engine holds the units of one machine: services, timers, and the jobs that start and stop them in the
// order that Requires=, Wants=, BindsTo=, PartOf=, Conflicts=, Before= and After= ask for (systemd.unit(5)).
// It is driven by one goroutine and does nothing itself: processes are its host's business.
package engine

import (
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/unit"
)

// Host does what the engine and its services decide.
type Host interface {
	service.Host
	// Dirty is called when what is known of a unit changed.
	Dirty(u *Unit)
	// Check evaluates Condition…= and Assert…=; nil when the unit may start. The second result tells an Assert.
	Check(u *Unit) (*reason.Reason, bool)
	// Note writes a line about a unit into its journal.
	Note(u *Unit, text string)
	// Booted is when the machine booted, Began when the first init process of this boot began.
	Booted() time.Time
	Began() time.Time
	// Stamp reads when a Persistent= timer last elapsed, and SetStamp keeps it.
	Stamp(u *Unit) time.Time
	SetStamp(u *Unit, at time.Time)
	// Random is a number from 0 to below n.
	Random(n int64) int64
}

// Unit is one loaded unit.
type Unit struct {
	Name    string
	Hash    string
	Def     *unit.Unit
	Service *service.Service // Nil for a timer.
	Timer   *Timer           // Nil for a service.
	Gen     uint64           // When it last changed, for List.
	Refused *reason.Reason   // The last start was refused before it began.

	job *job
}

// Down tells whether nothing of the unit runs or will run by itself.
func (u *Unit) Down() bool {
	if u.Timer != nil {
		return u.Timer.Down()
	}
	return u.Service == nil || u.Service.State.Down()
}

// Up tells whether the unit counts as started.
func (u *Unit) Up() bool {
	if u.Timer != nil {
		return !u.Timer.Down()
	}
	return u.Service != nil && u.Service.State.Up()
}

func (u *Unit) word() string {
	switch {
	case u.Timer != nil:
		return string(u.Timer.State)
	case u.Service != nil:
		return string(u.Service.State)
	}
	return "dead"
}

// Engine is every unit of the machine.
type Engine struct {
	host   Host
	units  map[string]*Unit
	sorted []*Unit // Nil: to be made anew.
	index  *index  // Nil: to be made anew.
	jobs   map[string]*job
	deep   bool // run is under way: what it causes is picked up by it.
}

// New makes an empty engine.
func New(h Host) *Engine { return &Engine{host: h, units: map[string]*Unit{}, jobs: map[string]*job{}} }

// Get finds a unit.
func (e *Engine) Get(name string) *Unit { return e.units[name] }

// Units lists all units by name. The caller must not change the slice.
func (e *Engine) Units() []*Unit {
	if e.sorted == nil {
		e.sorted = make([]*Unit, 0, len(e.units))
		for _, u := range e.units {
			e.sorted = append(e.sorted, u)
		}
		slices.SortFunc(e.sorted, func(a, b *Unit) int { return strings.Compare(a.Name, b.Name) })
	}
	return e.sorted
}

// Load takes in a unit, new or changed. What runs is not touched.
func (e *Engine) Load(name, hash string, def *unit.Unit) *Unit {
	u := e.units[name]
	news := u == nil || u.Hash != hash
	if u == nil {
		u = &Unit{Name: name}
		e.units[name] = u
	}
	e.sorted, e.index = nil, nil
	u.Hash, u.Def = hash, def
	switch {
	case def.Timer != nil && u.Timer == nil:
		u.Timer = newTimer(u, e)
	case def.Timer != nil:
		if news {
			u.Timer.reloaded()
		}
	case def.Service == nil:
	case u.Service == nil:
		u.Service = service.New(name, def, e.host)
	default:
		u.Service.Unit = def
	}
	if news { // An agent that loads the same again is told nothing new.
		e.host.Dirty(u)
	}
	return u
}

// Unload forgets a unit that is down.
func (e *Engine) Unload(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return nil
	}
	if !u.Down() || u.job != nil {
		return reason.Because(reason.BadRequest, reason.Args{"error": name + " is running: stop it first"})
	}
	delete(e.units, name)
	e.sorted, e.index = nil, nil
	return nil
}

// Changed takes in that a service changed its state: jobs end, others may begin, bound units follow.
func (e *Engine) Changed(name string, from service.State) {
	u := e.units[name]
	if u == nil || u.Service == nil {
		return
	}
	e.host.Dirty(u)
	to := u.Service.State
	if to == from {
		return
	}
	stopping := u.job != nil && u.job.kind != jobStart
	e.finish(u)
	if to.Down() && !from.Down() && !stopping {
		e.bound(u)
	}
	if to == service.Failed {
		e.pull(u, u.Def.OnFailure, "OnFailure")
	}
	if to == service.Dead && from != service.Failed && u.Service.Result == service.Success {
		e.pull(u, u.Def.OnSuccess, "OnSuccess")
	}
	e.triggers(u)
	e.run()
}

// pull starts units because of what became of another.
func (e *Engine) pull(u *Unit, names []string, why string) {
	for _, n := range names {
		if t := e.units[n]; t != nil {
			e.host.Note(u, "Triggering "+why+"= dependency "+n+".")
			e.want(t, true)
		}
	}
}

// triggers tells the timers of a service that it changed.
func (e *Engine) triggers(u *Unit) {
	for _, n := range e.idx().timers[u.Name] {
		if t := e.units[n]; t != nil && t.Timer != nil {
			t.Timer.targetChanged()
		}
	}
}

// Wake is when Tick wants to be called; zero: not before another event.
func (e *Engine) Wake() time.Time {
	var at time.Time
	for _, u := range e.Units() {
		var w time.Time
		switch {
		case u.Service != nil:
			w = u.Service.Wake()
		case u.Timer != nil:
			w = u.Timer.Wake()
		}
		if !w.IsZero() && (at.IsZero() || w.Before(at)) {
			at = w
		}
	}
	return at
}

// Tick does what is due.
func (e *Engine) Tick() {
	for _, u := range e.Units() {
		switch {
		case u.Service != nil:
			u.Service.Tick()
		case u.Timer != nil:
			u.Timer.tick()
		}
	}
}

// ClockJumped tells that the wall clock was set: timers reckon anew.
func (e *Engine) ClockJumped() {
	for _, u := range e.Units() {
		if u.Timer != nil && u.Timer.State == TimerWaiting {
			u.Timer.wait(false)
		}
	}
}

// Evidence is what is known of a unit.
func (e *Engine) Evidence(u *Unit) cluster.Evidence {
	ev := cluster.Evidence{Name: u.Name, Load: "loaded", Active: service.Inactive, Sub: "dead", Result: "success"}
	switch {
	case u.Service != nil:
		ev = u.Service.Evidence()
	case u.Timer != nil:
		ev = u.Timer.evidence()
	}
	ev.Hash = u.Hash
	if u.Refused != nil {
		ev.Error = u.Refused
	}
	if u.job != nil && !u.job.running {
		ev.WaitingFor = e.blockers(u.job)
	}
	return ev
}
