package engine

import (
	"slices"
	"strings"

	"argosy.dev/argosy/runtime/native/internal/service"
)

// run carries out every job that nothing holds back, until none is left to carry out.
func (e *Engine) run() {
	if e.deep {
		return // The run that caused this goes on with it.
	}
	e.deep = true
	defer func() { e.deep = false }()
	for {
		j := e.next()
		if j == nil {
			return
		}
		e.carryOut(j)
	}
}

// next is the first job by name that may run. When all wait for each other in a circle, the first one runs all the same.
func (e *Engine) next() *job {
	var waiting []*job
	busy := false
	for _, j := range e.jobs {
		if j.running {
			busy = true
		} else {
			waiting = append(waiting, j)
		}
	}
	slices.SortFunc(waiting, func(a, b *job) int { return strings.Compare(a.unit.Name, b.unit.Name) })
	held := false
	for _, j := range waiting {
		if j.kind == jobStart && j.unit.Service != nil && j.unit.Service.State.Active() == service.Deactivating {
			held = true // It has to be down first; that will come.
			continue
		}
		if len(e.blockers(j)) == 0 {
			return j
		}
	}
	if busy || held || len(waiting) == 0 {
		return nil
	}
	e.host.Note(waiting[0].unit, "Ordering cycle: started although "+strings.Join(e.blockers(waiting[0]), ", ")+" is not ready.")
	return waiting[0]
}

// blockers names the units whose jobs have to be done before this one.
func (e *Engine) blockers(j *job) []string {
	var out []string
	add := func(n string) {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	x := e.idx()
	if j.kind == jobStart {
		for _, n := range j.unit.Def.After {
			if o := e.jobs[n]; o != nil {
				add(n)
			}
		}
		for _, o := range e.jobs {
			if o != j && slices.Contains(o.unit.Def.Before, j.unit.Name) {
				add(o.unit.Name)
			}
		}
		for _, n := range x.conflicts[j.unit.Name] {
			if o := e.jobs[n]; o != nil && o.kind != jobStart {
				add(n)
			}
		}
		slices.Sort(out)
		return out
	}
	for _, n := range x.after[j.unit.Name] { // Those that are after it stop before it.
		if o := e.jobs[n]; o != nil && o.kind != jobStart {
			add(n)
		}
	}
	slices.Sort(out)
	return out
}

func (e *Engine) carryOut(j *job) {
	j.running = true
	switch u := j.unit; {
	case j.kind == jobStart:
		e.startNow(j)
	case u.Timer != nil:
		u.Timer.stop()
		e.finish(u)
	case u.Service != nil:
		u.Service.Stop(j.kind == jobRestart)
		e.finish(u)
	default:
		e.drop(u)
	}
}

func (e *Engine) startNow(j *job) {
	u := j.unit
	if u.Up() {
		e.drop(u)
		return
	}
	for _, n := range u.Def.Requisite {
		if d := e.units[n]; d != nil && !d.Up() {
			u.Refused = dependency(d, "Requisite")
			e.fail(u)
			return
		}
	}
	if why, assert := e.host.Check(u); why != nil {
		u.Refused = why
		e.host.Note(u, "Not started: "+why.Message()+".")
		if assert {
			e.fail(u)
		} else {
			e.drop(u)
		}
		return
	}
	switch {
	case u.Timer != nil:
		u.Timer.start()
		e.finish(u)
	case u.Service != nil:
		if u.Service.State.Active() == service.Activating && u.Service.State != service.AutoRestart {
			return // Under way already; its end is this job's too.
		}
		if why := u.Service.Start(j.auto); why != nil {
			u.Refused = why
			e.fail(u)
			return
		}
		if u.job == j {
			e.finish(u)
		}
	default:
		e.drop(u)
	}
}

// finish ends the job of a unit when its state says that it is done, or that it failed.
func (e *Engine) finish(u *Unit) {
	j := u.job
	if j == nil || !j.running {
		return
	}
	switch {
	case j.kind == jobStart && u.Up():
		e.drop(u)
	case j.kind == jobStart && (u.Down() || u.Service != nil && u.Service.State == service.AutoRestart):
		if u.Service != nil && (u.Service.State == service.Failed || u.Service.Result != service.Success && u.Service.Result != service.SkipCondition) {
			e.fail(u)
		} else {
			e.drop(u) // A oneshot that did its work.
		}
	case j.kind == jobStop && u.Down():
		e.drop(u)
	case j.kind == jobRestart && u.Down():
		e.put(&job{unit: u, kind: jobStart, auto: j.auto})
	}
}

// fail ends a start job, and those that wait for it and need it.
func (e *Engine) fail(u *Unit) {
	e.drop(u)
	for _, n := range e.idx().needed[u.Name] {
		d := e.units[n]
		if d == nil || d.job == nil || d.job.running || d.job.kind != jobStart {
			continue
		}
		kind := "Requires"
		if slices.Contains(d.Def.BindsTo, u.Name) {
			kind = "BindsTo"
		}
		d.Refused = dependency(u, kind)
		e.host.Note(d, "Dependency failed: "+u.Name+".")
		e.fail(d)
	}
}
