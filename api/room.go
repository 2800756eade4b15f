package api

import (
	"maps"
	"slices"
	"sync"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/leader"
	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// demands remembers what the wishes ask for, so that a list of machines does not read every text again.
type demands struct {
	mu sync.Mutex
	of map[string]demand
}

type demand struct {
	wish *cluster.Wanted // Never changed, only replaced: the same pointer is the same text.
	ask  unit.Demand
	ok   bool // The text could be read.
}

// get gives what a unit asks for; ok is false when its text cannot be read.
func (d *demands) get(w *cluster.Wanted) (unit.Demand, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if have, there := d.of[w.Name]; there && have.wish == w {
		return have.ask, have.ok
	}
	u, err := load(unit.Name(w.Name), w.Text, w.DropIns)
	now := demand{wish: w, ok: err == nil}
	if err == nil {
		now.ask = u.Demand()
	}
	d.of[w.Name] = now
	return now.ask, now.ok
}

// keep forgets what is not there any more.
func (d *demands) keep(there map[string]*cluster.Wanted) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.of) > 2*len(there)+100 {
		maps.DeleteFunc(d.of, func(n string, _ demand) bool { return there[n] == nil })
	}
}

// situation is a copy of what a planner has to know, taken from the view so that its lock is not held while planning.
type situation struct {
	machines []plan.Machine
	wishes   []*cluster.Wanted // Sorted by name.
	held     []holding
	rests    map[string]bool // Units that are stopped: they have their place and hold no room.
	revision int64
}

type holding struct {
	unit, machine string
	epoch         int64
}

func (a *API) situation() situation {
	s := situation{rests: map[string]bool{}}
	a.View.Peek(func(p *cluster.Picture) {
		s.revision = p.Revision
		for _, id := range slices.Sorted(maps.Keys(p.Machines)) {
			s.machines = append(s.machines, planMachine(p, id))
		}
		for _, n := range p.UnitNames() {
			s.wishes = append(s.wishes, p.Units[n])
			if leader.Rests(p, p.Units[n]) {
				s.rests[n] = true
			}
			for _, id := range p.PlacedOn(n) {
				if !p.IsLeaving(n, id) {
					s.held = append(s.held, holding{n, id, p.Placements[cluster.On{Machine: id, Unit: n}].Epoch})
				}
			}
		}
		a.demands.keep(p.Units)
	})
	return s
}

// planMachine is a machine as the leader shows it to its planner; a silent one takes nothing new.
func planMachine(p *cluster.Picture, id string) plan.Machine {
	m := p.Machines[id]
	out := plan.Machine{
		ID: id, Name: p.MachineName(id), Metadata: p.Metadata(id), Allocatable: m.Allocatable(), Types: m.Types, Runtime: m.Runtime,
		Silent: !p.Alive[id], Refuses: m.Refuses(),
	}
	if admin := p.Admin[id]; admin != nil {
		out.Cordoned, out.Draining = admin.Cordoned, admin.Draining
	}
	return out
}

// planner is a planner that knows the situation and has settled it.
func (a *API) planner(s situation) *plan.Planner {
	p := plan.New(1) // Any seed: what is placed stays, and only whether there is room counts.
	for _, m := range s.machines {
		p.SetMachine(m)
	}
	for _, w := range s.wishes {
		name := unit.Name(w.Name)
		if name.IsTemplate() {
			continue
		}
		if ask, ok := a.demands.get(w); ok {
			if s.rests[w.Name] {
				ask.Request, ask.Ports = unit.Resources{}, nil
			}
			p.SetUnit(plan.Unit{Name: w.Name, Type: name.Type(), Wanted: w.Desired != cluster.Inactive, Demand: ask})
		}
	}
	for _, h := range s.held {
		p.Adopt(h.unit, h.machine, h.epoch)
	}
	p.Pace(0) // Nothing leaves a drained machine only because somebody asks what would be.
	p.Decide()
	p.Pace(-1)
	return p
}

// explanation is the leader's where it leads here, else that of a planner made for the purpose.
func (a *API) explanation(name string) plan.Explanation {
	if a.Explain != nil {
		if e, ok := a.Explain(name); ok {
			return e
		}
	}
	return a.planner(a.situation()).Explain(name)
}

// dryRun says for each unit of an admission where it would be placed, or why nowhere. Nothing is changed.
func (a *API) dryRun(ad *admission) {
	p := a.planner(a.situation())
	for i, res := range ad.applied {
		next, name := ad.after[res.Name], unit.Name(res.Name)
		if name.IsTemplate() {
			continue
		}
		if next == nil {
			p.RemoveUnit(res.Name)
			continue
		}
		u := ad.models[res.Name]
		var err error
		if u == nil {
			u, err = load(name, next.Text, next.DropIns)
		}
		if err != nil {
			ad.applied[i].Room = allReasons(err)[0]
			continue
		}
		p.SetUnit(plan.Unit{Name: res.Name, Type: name.Type(), Wanted: next.Desired != cluster.Inactive, Demand: u.Demand()})
	}
	p.Decide()
	for i, res := range ad.applied {
		if next := ad.after[res.Name]; next == nil || next.Desired == cluster.Inactive || res.Room != nil {
			continue
		}
		ad.applied[i].Room = roomOf(p.Explain(res.Name))
	}
}

// roomOf is one reason: why there, or why nowhere.
func roomOf(e plan.Explanation) *reason.Reason {
	if e.Placed != nil {
		return e.Placed
	}
	return e.Unplaced
}
