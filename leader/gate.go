package leader

import (
	"maps"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
)

// gated is an exclusive unit that the planner has found a place for, and that is bound there when no other machine may
// run it any more.
type gated struct {
	put   cluster.Placement
	fresh bool // Its withdrawal elsewhere is written in this pass: claims that were made before it are yet to be seen.
}

// seen is when this leader first saw a machine condemned.
type seen struct {
	revision int64
	at       time.Time
}

// exclusive tells whether a unit may run on one machine at a time only, and how long it has to stop.
func (l *Leader) exclusive(name string) (stop time.Duration, yes bool) {
	r := l.last[name]
	if r == nil || !r.demand.Exclusive || r.demand.Global {
		return 0, false
	}
	return r.stop, true
}

// gate holds the binding of an exclusive unit back while another machine may run it.
func (l *Leader) gate(e *edit) {
	if _, yes := l.exclusive(e.unit); e.put == nil || !yes {
		return
	}
	g := &gated{put: *e.put}
	var by string
	for _, on := range e.drop {
		if _, held := l.held[on]; held && on.Machine != e.put.Machine {
			g.fresh, by = true, on.Machine
		}
	}
	if !g.fresh {
		if by = l.blocker(e.unit, e.put.Machine, nil); by == "" {
			return
		}
	}
	l.gated[e.unit] = g
	e.put, e.clear, e.order = nil, false, leaving
	e.why = l.fencing(e.unit, by)
}

// fencing is the record of a unit that is held back, if the store does not have it already.
func (l *Leader) fencing(name, by string) *reason.Reason {
	why := reason.Because(reason.Fencing, reason.Args{"unit": name, "machine": by})
	l.cfg.View.Peek(func(p *cluster.Picture) { why.Args["machine"] = p.MachineName(by) })
	if l.hasUnplaced(name) && reason.Equal(l.unplaced[name], why) {
		return nil
	}
	return why
}

// openGates binds the units that no other machine may run any more, and condemns the machines that have to be.
func (l *Leader) openGates() []edit {
	var edits []edit
	condemn := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(l.gated)) {
		g := l.gated[name]
		if g.fresh {
			g.fresh = false
			continue
		}
		e := edit{unit: name, order: coming}
		if by := l.blocker(name, g.put.Machine, condemn); by != "" {
			if e.why = l.fencing(name, by); e.why == nil {
				continue
			}
		} else {
			e.put, e.clear = &g.put, l.hasUnplaced(name)
			delete(l.gated, name)
		}
		edits = append(edits, e)
		l.remember(e)
	}
	for _, id := range slices.Sorted(maps.Keys(condemn)) {
		edits = append(edits, edit{condemn: id, order: leaving})
	}
	return edits
}

// blocker is a machine other than the target that may still run a unit; "": none. It notes machines to be condemned, and
// when to look again.
func (l *Leader) blocker(name, target string, condemn map[string]bool) (by string) {
	stop, yes := l.exclusive(name)
	if !yes {
		return ""
	}
	l.cfg.View.Peek(func(p *cluster.Picture) {
		if p.Revision < l.chain {
			by = target // Claims from before our last withdrawal may not be in it yet.
			return
		}
		for _, c := range l.claimsOf(p, name) {
			if c.Machine == target {
				continue
			}
			switch v, left := fence.Judge(c, l.stateOf(p, c.Machine), stop); v {
			case fence.Free:
				continue
			case fence.Condemn:
				if condemn != nil {
					condemn[c.Machine] = true
				} else {
					l.soon(time.Millisecond)
				}
			case fence.Hold:
				l.soon(left)
			case fence.Ask:
			}
			by = c.Machine
		}
	})
	return by
}

// claimsOf gives the claims to a unit, by machine. All statuses are looked through once in a pass.
func (l *Leader) claimsOf(p *cluster.Picture, name string) []fence.Claim {
	if l.claims == nil {
		l.claims = map[string][]fence.Claim{}
		for on, s := range p.Statuses {
			if _, yes := l.exclusive(on.Unit); yes {
				l.claims[on.Unit] = append(l.claims[on.Unit], fence.Claim{Machine: on.Machine, Lease: s.Lease})
			}
		}
		for _, claims := range l.claims { // Order does not matter: each by itself.
			slices.SortFunc(claims, func(a, b fence.Claim) int { return strings.Compare(a.Machine, b.Machine) })
		}
	}
	return l.claims[name]
}

// stateOf is what is known of a machine that holds a claim.
func (l *Leader) stateOf(p *cluster.Picture, id string) fence.Machine {
	now := l.cfg.Now()
	m := fence.Machine{
		Epoch: p.Signs[id].Epoch,
		Down:  l.isDown[id] || p.Machines[id] == nil && !p.Alive[id],
	}
	if a := p.Admin[id]; a != nil {
		m.Fenced = a.Fenced
	}
	if since, silent := l.down[id]; silent && !fence.Condemns() {
		m.Waited = now.Sub(since) - l.cfg.DownAfter
	}
	if c := p.Condemned[id]; c != nil && fence.Condemns() {
		m.Condemned = c.Revision
		if l.condemned[id].revision != c.Revision {
			l.condemned[id] = seen{c.Revision, now}
		}
		m.Waited = now.Sub(l.condemned[id].at)
	}
	return m
}

// soon brings the next pass forward.
func (l *Leader) soon(d time.Duration) {
	if l.next == 0 || d < l.next {
		l.next = max(d, time.Millisecond)
	}
}
