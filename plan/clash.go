package plan

import (
	"slices"

	"argosy.dev/argosy/reason"
)

// conflict tells whether two classes' units cannot be together by a Conflicts= of either, and by which pattern.
func (p *Planner) conflict(a, b *class, bName string) (pattern string, yes bool) {
	for _, g := range a.conflicts {
		if g.matches(bName) {
			return g.pattern, true
		}
	}
	for _, g := range b.conflicts {
		if slices.Contains(a.matched, g) {
			return g.pattern, true
		}
	}
	return "", false
}

func portClash(a, b *class) (portUse, bool) {
	for i := range a.ports {
		for j := range b.ports {
			if a.ports[i].clashes(&b.ports[j]) {
				return a.ports[i], true
			}
		}
	}
	return portUse{}, false
}

// replacer finds a unit on a slot that replaces units of the class and is not replaced by them in turn.
func (p *Planner) replacer(c *class, self, s int32) (by int32, yes bool) {
	for _, v := range p.slots.on[s] {
		if v != self && p.replacedBy(c, v) {
			return v, true
		}
	}
	return -1, false
}

func (p *Planner) replacedBy(c *class, v int32) bool {
	m := &p.members[v]
	mine := func(g *glob) bool { return slices.Contains(c.matched, g) }
	return slices.ContainsFunc(m.class.replaces, mine) &&
		!slices.ContainsFunc(c.replaces, func(g *glob) bool { return g.matches(m.name) })
}

// beats tells which of two units that cannot be together stays: the higher priority, then the earlier name.
// fleet's agents let the alphabetically first of two global units run.
func (p *Planner) beats(a, b int32) bool {
	x, y := &p.members[a], &p.members[b]
	if px, py := x.class.demand.Priority, y.class.demand.Priority; px != py {
		return px > py
	}
	return x.name < y.name
}

// mustLeave says why a unit may not stay on its slot; nil when it may.
func (p *Planner) mustLeave(i, s int32) *reason.Reason {
	m := &p.members[i]
	c := m.class
	spec := &p.slots.spec[s]
	if spec.Down && m.global == nil {
		return reason.Because(reason.MachineDown, reason.Args{"machine": p.slots.name(s)})
	}
	if !c.static.slots.has(s) {
		return c.static.refusal(spec)
	}
	if peer, away := p.peerAway(c, s); away {
		return reason.Because(reason.NoMachinePeer, reason.Args{"peer": peer})
	}
	if m.grown && p.slots.short(s) {
		for d := range dims {
			if p.slots.free[d][s] < 0 {
				return p.lacks(d, s, c.need[d], p.slots.free[d][s]+c.need[d], i)
			}
		}
	}
	return p.driven(i, s)
}

// peerAway gives a unit that one of the class has to follow (MachineOf=) and that is not on the slot.
func (p *Planner) peerAway(c *class, s int32) (peer string, away bool) {
	for _, peer := range c.demand.MachineOf {
		if on, ok := p.whereIs(peer); !ok || !on.has(s) {
			return peer, true
		}
	}
	return "", false
}

// driven says which other unit on the slot drives this one away.
func (p *Planner) driven(i, s int32) *reason.Reason {
	c := p.members[i].class
	if !p.clashes(c, s) {
		return nil
	}
	for _, v := range p.slots.on[s] {
		if v == i {
			continue
		}
		other := &p.members[v]
		if p.replacedBy(c, v) {
			return reason.Because(reason.Replaced, reason.Args{"by": other.name})
		}
		if !p.beats(v, i) {
			continue
		}
		if pattern, yes := p.conflict(c, other.class, other.name); yes {
			return reason.Because(reason.NoMachineConflict, reason.Args{"with": other.name, "pattern": pattern})
		}
		if u, yes := portClash(c, other.class); yes {
			return p.portTaken(&u, s, other.name)
		}
	}
	return nil
}

// clashes is a quick look whether a unit of the class that is on the slot can clash with another there at all.
func (p *Planner) clashes(c *class, s int32) bool {
	for _, g := range c.matched {
		mine := int32(0)
		if slices.Contains(c.conflicts, g) {
			mine = 1
		}
		if g.conflicts.times(s) > mine || g.replaces.times(s) > 0 {
			return true
		}
	}
	for _, g := range c.conflicts {
		mine := int32(0)
		if slices.Contains(c.matched, g) {
			mine = 1
		}
		if g.occupied.times(s) > mine {
			return true
		}
	}
	for n := range c.ports {
		if c.ports[n].any.times(s) > 1 {
			return true
		}
	}
	return false
}

// refusal says in what a machine is not what is asked for.
func (st *static) refusal(m *Machine) *reason.Reason {
	switch {
	case !st.isID(m):
		return reason.Because(reason.NoMachineID, reason.Args{"want": st.id})
	case !st.runs(m):
		return reason.Because(reason.NoMachineRuntime, reason.Args{"type": st.typ, "runtime": m.Runtime})
	}
	for _, t := range st.metadata {
		if !slices.Contains(t.Values, m.Metadata[t.Key]) {
			return reason.Because(reason.NoMachineMetadata, reason.Args{"want": wantText(t), "found": foundText(t.Key, m.Metadata)})
		}
	}
	return nil
}

func gone(name string) *reason.Reason {
	return reason.Because(reason.MachineRemoved, reason.Args{"machine": name})
}
