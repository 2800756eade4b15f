// Package engine holds the units of one machine: services, timers, and the jobs that start and stop them in the
// order that Requires=, Wants=, BindsTo=, PartOf=, Conflicts=, Before= and After= ask for (systemd.unit(5)).
// It is driven by one goroutine and does nothing itself: processes are its host's business.
package engine

import (
	"slices"
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
}

// Unit is one loaded unit.
type Unit struct {
	Name    string
	Hash    string
	Def     *unit.Unit
	Service *service.Service // Nil for a timer.
	Gen     uint64           // When it last changed, for List.
	refused *reason.Reason   // The last start was refused before it began.
}

// Engine is every unit of the machine.
type Engine struct {
	host  Host
	units map[string]*Unit
}

// New makes an empty engine.
func New(h Host) *Engine { return &Engine{host: h, units: map[string]*Unit{}} }

// Get finds a unit.
func (e *Engine) Get(name string) *Unit { return e.units[name] }

// Units lists all units by name.
func (e *Engine) Units() []*Unit {
	out := make([]*Unit, 0, len(e.units))
	for _, u := range e.units {
		out = append(out, u)
	}
	slices.SortFunc(out, func(a, b *Unit) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// Load takes in a unit, new or changed. What runs is not touched.
func (e *Engine) Load(name, hash string, def *unit.Unit) *Unit {
	u := e.units[name]
	if u == nil {
		u = &Unit{Name: name}
		e.units[name] = u
	}
	u.Hash, u.Def = hash, def
	switch {
	case def.Service == nil:
	case u.Service == nil:
		u.Service = service.New(name, def, e.host)
	default:
		u.Service.Unit = def
	}
	e.host.Dirty(u)
	return u
}

// Unload forgets a unit that is down.
func (e *Engine) Unload(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return nil
	}
	if u.Service != nil && !u.Service.State.Down() {
		return reason.Because(reason.BadRequest, reason.Args{"error": name + " is running: stop it first"})
	}
	delete(e.units, name)
	return nil
}

// Start starts a unit because somebody asked: an earlier failure and the start limit are forgotten.
func (e *Engine) Start(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
	}
	return u.Service.Start(false)
}

// Again is the start after RestartSec=.
func (e *Engine) Again(name string) {
	if u := e.units[name]; u != nil {
		u.Service.Start(true)
	}
}

// Stop stops a unit.
func (e *Engine) Stop(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
	}
	u.Service.Stop(false)
	return nil
}

// Reload asks a unit to read its configuration again.
func (e *Engine) Reload(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
	}
	return u.Service.Reload()
}

// Wake is when Tick wants to be called; zero: not before another event.
func (e *Engine) Wake() time.Time {
	var at time.Time
	for _, u := range e.units {
		if u.Service == nil {
			continue
		}
		if w := u.Service.Wake(); !w.IsZero() && (at.IsZero() || w.Before(at)) {
			at = w
		}
	}
	return at
}

// Tick does what is due.
func (e *Engine) Tick() {
	for _, u := range e.Units() {
		if u.Service != nil {
			u.Service.Tick()
		}
	}
}

// Evidence is what is known of a unit.
func (e *Engine) Evidence(u *Unit) cluster.Evidence {
	ev := cluster.Evidence{Name: u.Name, Load: "loaded", Active: service.Inactive, Sub: "dead", Result: "success"}
	if u.Service != nil {
		ev = u.Service.Evidence()
	}
	ev.Hash = u.Hash
	return ev
}
