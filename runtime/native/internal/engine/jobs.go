package engine

import (
	"slices"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/service"
)

type jobKind int

const (
	jobStart jobKind = iota
	jobStop
	jobRestart // A stop that becomes a start.
)

// job is what is to be done with a unit; a unit has one at most, the newest.
type job struct {
	unit    *Unit
	kind    jobKind
	auto    bool // Not asked for by a person: the start limit and the count of restarts stay.
	running bool
}

// index holds the dependencies backwards.
type index struct {
	after     map[string][]string // Name to the units that are ordered after it.
	needed    map[string][]string // Requires=, Requisite=, BindsTo=: to the units that need it.
	bound     map[string][]string // BindsTo=
	parts     map[string][]string // PartOf=
	conflicts map[string][]string // Conflicts=, both ways.
	timers    map[string][]string // To the timers that start it.
}

func (e *Engine) idx() *index {
	if e.index != nil {
		return e.index
	}
	x := &index{map[string][]string{}, map[string][]string{}, map[string][]string{}, map[string][]string{}, map[string][]string{}, map[string][]string{}}
	put := func(m map[string][]string, key, v string) {
		if !slices.Contains(m[key], v) {
			m[key] = append(m[key], v)
		}
	}
	for _, u := range e.Units() {
		d := u.Def
		for _, n := range d.After {
			put(x.after, n, u.Name)
		}
		for _, n := range d.Before {
			put(x.after, u.Name, n)
		}
		for _, n := range slices.Concat(d.Requires, d.Requisite, d.BindsTo) {
			put(x.needed, n, u.Name)
		}
		for _, n := range d.BindsTo {
			put(x.bound, n, u.Name)
		}
		for _, n := range d.PartOf {
			put(x.parts, n, u.Name)
		}
		for _, n := range d.Conflicts {
			put(x.conflicts, n, u.Name)
			put(x.conflicts, u.Name, n)
		}
		if d.Timer != nil {
			put(x.timers, targetOf(u), u.Name)
		}
	}
	e.index = x
	return x
}

func noUnit(name string) *reason.Reason {
	return reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
}

// Start starts a unit because somebody asked: an earlier failure and the start limit are forgotten.
func (e *Engine) Start(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return noUnit(name)
	}
	if u.Service != nil && u.Service.State == service.Failed {
		u.Service.ResetFailed()
	}
	e.want(u, false)
	e.run()
	return nil
}

// Again is the start after RestartSec=. Those that need the unit and run are restarted with it, as in systemd 252.
func (e *Engine) Again(name string) {
	u := e.units[name]
	if u == nil {
		return
	}
	for _, n := range e.dependents(u) {
		if d := e.units[n]; d != nil && d.Up() && d.job == nil {
			e.put(&job{unit: d, kind: jobRestart, auto: true})
		}
	}
	e.want(u, true)
	e.run()
}

// Stop stops a unit and all that need it or are part of it.
func (e *Engine) Stop(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return noUnit(name)
	}
	e.putStop(u, map[string]bool{})
	e.run()
	return nil
}

// Restart stops and starts a unit; what needs it or is part of it and runs is restarted too.
func (e *Engine) Restart(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return noUnit(name)
	}
	if u.Service != nil && u.Service.State == service.Failed {
		u.Service.ResetFailed()
	}
	e.putRestart(u, map[string]bool{})
	e.run()
	return nil
}

// Reload asks a unit, and those it propagates to, to read their configuration again.
func (e *Engine) Reload(name string) *reason.Reason {
	u := e.units[name]
	if u == nil {
		return noUnit(name)
	}
	if u.Service == nil {
		return reason.Because(reason.Unsupported, reason.Args{"what": name + " cannot be reloaded"})
	}
	if why := u.Service.Reload(); why != nil {
		return why
	}
	for _, n := range u.Def.PropagatesReloadTo {
		if t := e.units[n]; t != nil && t.Service != nil && t.Up() {
			if why := t.Service.Reload(); why != nil {
				e.host.Note(t, "Not reloaded with "+name+": "+why.Message())
			}
		}
	}
	return nil
}

// StopAll stops every unit.
func (e *Engine) StopAll() {
	for _, u := range e.Units() {
		e.putStop(u, map[string]bool{})
	}
	e.run()
}

// Quiet tells whether nothing runs and nothing is to be done.
func (e *Engine) Quiet() bool {
	return len(e.jobs) == 0 && !slices.ContainsFunc(e.Units(), func(u *Unit) bool { return !u.Down() })
}

// dependents are the units that stop and restart with u.
func (e *Engine) dependents(u *Unit) []string {
	return slices.Concat(e.idx().needed[u.Name], e.idx().parts[u.Name])
}

func (e *Engine) put(j *job) {
	j.unit.Refused = nil
	j.unit.job = j
	e.jobs[j.unit.Name] = j
	e.host.Dirty(j.unit)
}

func (e *Engine) drop(u *Unit) {
	u.job = nil
	delete(e.jobs, u.Name)
	e.host.Dirty(u)
}

// want puts a start job for a unit and for what it requires and wants.
func (e *Engine) want(u *Unit, auto bool) { e.wantAll(u, auto, map[string]bool{}) }

func (e *Engine) wantAll(u *Unit, auto bool, seen map[string]bool) {
	if seen[u.Name] {
		return
	}
	seen[u.Name] = true
	switch {
	case u.job != nil && u.job.kind == jobRestart:
	case u.job != nil && u.job.kind == jobStart && !auto:
		u.job.auto = false
	case u.job == nil || u.job.kind != jobStart:
		if !u.Up() || u.job != nil {
			e.put(&job{unit: u, kind: jobStart, auto: auto})
		}
	}
	for _, n := range slices.Concat(u.Def.Requires, u.Def.BindsTo, u.Def.Wants) {
		if d := e.units[n]; d != nil && !d.Up() {
			e.wantAll(d, true, seen)
		}
	}
	for _, n := range e.idx().conflicts[u.Name] {
		if c := e.units[n]; c != nil && !seen[n] {
			e.putStop(c, seen)
		}
	}
}

func (e *Engine) putStop(u *Unit, seen map[string]bool) {
	if seen[u.Name] {
		return
	}
	seen[u.Name] = true
	if !u.Down() {
		e.put(&job{unit: u, kind: jobStop})
	} else if u.job != nil {
		e.drop(u)
	}
	for _, n := range e.dependents(u) {
		if d := e.units[n]; d != nil && (!d.Down() || d.job != nil) {
			e.putStop(d, seen)
		}
	}
}

func (e *Engine) putRestart(u *Unit, seen map[string]bool) {
	if seen[u.Name] {
		return
	}
	seen[u.Name] = true
	if u.Down() {
		e.wantAll(u, false, map[string]bool{})
	} else {
		e.put(&job{unit: u, kind: jobRestart})
	}
	for _, n := range e.dependents(u) {
		if d := e.units[n]; d != nil && !d.Down() {
			e.putRestart(d, seen)
		}
	}
}

// bound stops what cannot be without u (BindsTo=).
func (e *Engine) bound(u *Unit) {
	for _, n := range e.idx().bound[u.Name] {
		if d := e.units[n]; d != nil && !d.Down() {
			e.host.Note(d, "Bound to "+u.Name+", which is "+u.word()+": stopping.")
			d.Refused = nil
			e.putStop(d, map[string]bool{})
			d.Refused = dependency(u, "BindsTo")
		}
	}
}

func dependency(u *Unit, kind string) *reason.Reason {
	return reason.Because(reason.DependencyFailed, reason.Args{"dependency": u.Name, "kind": kind, "state": u.word()})
}

// Job names the job of a unit, for Resume; empty when there is none.
func (u *Unit) Job() string {
	if u.job == nil {
		return ""
	}
	return [...]string{"start", "stop", "restart"}[u.job.kind]
}

// Resume goes on with a job that an init process before us had.
func (e *Engine) Resume(u *Unit, kind string) {
	k := map[string]jobKind{"start": jobStart, "stop": jobStop, "restart": jobRestart}[kind]
	j := &job{unit: u, kind: k, auto: true}
	switch {
	case k == jobStart && u.Service != nil && u.Service.State.Active() == service.Activating,
		k != jobStart && u.Service != nil && u.Service.State.Active() == service.Deactivating:
		j.running = true
	}
	e.put(j)
	e.run()
}
