package leader

import (
	"maps"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// A drained machine's services are started elsewhere first: the unit has two placements for a while, the new one with the
// larger epoch, and the old one goes when the new one is healthy. If that never comes, the old one runs on. What must not
// run twice (exclusive units, timers and what they start, jobs) is withdrawn first, as in every other move.

// maxHanding bounds the units that are started elsewhere at a time: a drained machine is no herd (reliability.md P17).
const maxHanding = 8

// closed is what a person and the machine itself say against new units.
func (l *Leader) closed(p *cluster.Picture, id string) (cordoned, draining bool, refuses *reason.Reason) {
	if a := p.Admin[id]; a != nil {
		cordoned, draining = a.Cordoned, a.Draining
	}
	for on := range l.handing {
		cordoned = cordoned || on.Machine == id // The planner counts its room as free already.
	}
	return cordoned, draining, p.Machines[id].Refuses()
}

// findHanding finds, in the picture that a new leader begins with, the old places of units that are being handed over.
func (l *Leader) findHanding(p *cluster.Picture) {
	l.handing = map[cluster.On]bool{}
	for on, pl := range l.held {
		if a := p.Admin[on.Machine]; pl.Global || a == nil || !a.Draining || l.count[on.Unit] < 2 {
			continue
		}
		for _, id := range p.PlacedOn(on.Unit) {
			if other := l.held[cluster.On{Machine: id, Unit: on.Unit}]; !other.Global && other.Epoch > pl.Epoch {
				l.handing[on] = true
			}
		}
	}
}

// handsOver tells whether a unit stays where it is until it is healthy at its next place, and notes it.
func (l *Leader) handsOver(c plan.Change) (yes bool) {
	if c.From == "" || c.Machine == "" || c.Global || l.isDown[c.From] || unit.Name(c.Unit).Type() != "service" {
		return false
	}
	if r := l.last[c.Unit]; r == nil || r.demand.Exclusive {
		return false
	}
	on := cluster.On{Machine: c.From, Unit: c.Unit}
	if _, held := l.held[on]; !held {
		return false
	}
	l.cfg.View.Peek(func(p *cluster.Picture) {
		a := p.Admin[c.From]
		yes = a != nil && a.Draining && serves(p, on)
	})
	if yes {
		l.handing[on] = true
	}
	return yes
}

// serves tells whether a unit runs on a machine for people to use: it is healthy, and no job.
func serves(p *cluster.Picture, on cluster.On) bool {
	s, w := p.Statuses[on], p.Units[on.Unit]
	return s != nil && w != nil && w.Desired == cluster.Launched && p.Alive[on.Machine] && s.State == cluster.Healthy && s.Sub == "running"
}

// finishHandovers withdraws units from where they were: they are healthy where they came to, or serve nobody any more at
// the old place. One that has no other place (any more) stays.
func (l *Leader) finishHandovers() []edit {
	if len(l.handing) == 0 {
		return nil
	}
	var edits []edit
	for _, on := range slices.SortedFunc(maps.Keys(l.handing), compareOn) {
		pl, held := l.held[on]
		switch {
		case !held:
			delete(l.handing, on)
		case l.count[on.Unit] < 2 && l.wanted[on.Unit]:
			delete(l.handing, on)
			l.planner.Adopt(on.Unit, on.Machine, pl.Epoch)
			l.next = time.Millisecond
		case l.isHandedOver(on):
			delete(l.handing, on)
			e := edit{unit: on.Unit, order: leaving, drop: []cluster.On{on}}
			edits = append(edits, e)
			l.remember(e)
		default:
			continue
		}
		l.cfg.View.Peek(func(p *cluster.Picture) { l.setMachine(p, on.Machine) }) // It may be open again.
	}
	return edits
}

func compareOn(a, b cluster.On) int {
	if c := strings.Compare(a.Unit, b.Unit); c != 0 {
		return c
	}
	return strings.Compare(a.Machine, b.Machine)
}

func (l *Leader) isHandedOver(old cluster.On) (done bool) {
	if !l.wanted[old.Unit] || l.isDown[old.Machine] {
		return true
	}
	l.cfg.View.Peek(func(p *cluster.Picture) {
		had := p.Placements[old]
		if had == nil { // The picture is older than what we have written.
			return
		}
		if !serves(p, old) {
			done = true
			return
		}
		w := p.Units[old.Unit]
		for _, id := range p.PlacedOn(old.Unit) {
			on := cluster.On{Machine: id, Unit: old.Unit}
			next, s := p.Placements[on], p.Statuses[on]
			if next.Epoch > had.Epoch && serves(p, on) && s.Epoch >= next.Epoch && s.For >= w.Revision {
				done = true
			}
		}
	})
	return done
}
