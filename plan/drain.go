package plan

import (
	"cmp"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Pace bounds how many units leave drained machines until it is called again; below 0 there is no bound, as at first.
// The leader has so few moves under way at a time; a question like "what if m3 were drained" has none.
func (p *Planner) Pace(n int) {
	p.pace, p.paced = n, n >= 0
}

// drain moves what it can off the drained machines, and tells whether it moved anything. A unit stays that finds no place:
// it runs, and nobody has asked for its end.
func (p *Planner) drain() (moved bool) {
	p.drainLeft = false
	for s := p.slots.draining.next(0); s >= 0; s = p.slots.draining.next(s + 1) {
		full := map[*class]bool{}
		for _, i := range p.toDrain(s) {
			m := &p.members[i]
			if m.slot != s || full[m.class] {
				continue
			}
			if p.paced && p.pace <= 0 {
				p.drainLeft = true
				return moved
			}
			to := p.elsewhere(i, s)
			if to < 0 {
				full[m.class] = len(p.followers[m.name]) == 0
				continue
			}
			p.leave(i, s, reason.Because(reason.MachineDraining, reason.Args{"machine": p.slots.name(s)}))
			p.put(i, to)
			p.pace--
			moved = true
		}
	}
	return moved
}

// toDrain lists the units that leave a machine by themselves, the highest priority first: not the global ones, nor those
// that follow another one, which go with it.
func (p *Planner) toDrain(s int32) (list []int32) {
	for _, i := range p.slots.on[s] {
		if m := &p.members[i]; m.global == nil && p.leads(m.class) == "" {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b int32) int {
		x, y := &p.members[a], &p.members[b]
		return cmp.Or(cmp.Compare(y.class.demand.Priority, x.class.demand.Priority), unit.CompareNames(x.name, y.name))
	})
	return list
}

// leads names the unit that one of the class has to follow, when that one is on one machine only.
func (p *Planner) leads(c *class) string {
	for _, peer := range c.demand.MachineOf {
		if i, known := p.byName[peer]; !known || p.members[i].global == nil {
			return peer
		}
	}
	return ""
}

// elsewhere finds another machine for a unit and for those that follow it; -1: there is none. Nothing gives way for it.
func (p *Planner) elsewhere(i, s int32) int32 {
	m := &p.members[i]
	team, need := p.teamOn(i, s)
	to := int32(-1)
	p.away(i, s, func() { to, m.score, m.fits = p.chosen(p.choose(team, &need)) })
	p.sample.class = nil
	return to
}

// away does something while a unit is not on its machine, and that is closed.
func (p *Planner) away(i, s int32, do func()) {
	at, open := slices.Index(p.slots.on[s], i), p.slots.open.has(s)
	p.unmark(i, s)
	p.slots.open.set(s, false)
	do()
	p.slots.open.set(s, open)
	p.mark(i, s)
	on := p.slots.on[s]
	p.slots.on[s] = slices.Insert(on[:len(on)-1], at, i)
}

// teamOn gives the classes of a unit and of those that follow it on its machine, and what they need together.
func (p *Planner) teamOn(i, s int32) ([]*class, amounts) {
	c := p.members[i].class
	team, need, units := []*class{c}, c.need, []int32{i}
	for n := 0; n < len(units); n++ {
		for _, f := range p.followers[p.members[units[n]].name] {
			m := &p.members[f]
			if len(units) == maxTeam || m.slot != s || slices.Contains(units, f) {
				continue
			}
			units, team = append(units, f), append(team, m.class)
			for d := range dims {
				need[d] += m.class.need[d]
			}
		}
	}
	return team, need
}

// Stay is a unit that would not leave its machine if that were drained, and why; Why is nil when it could leave now.
type Stay struct {
	Unit string
	Why  *reason.Reason
}

// Stays lists all units on a machine, by name, with what keeps each from another machine.
func (p *Planner) Stays(machineID string) []Stay {
	s, known := p.slots.index[machineID]
	if !known {
		return nil
	}
	units := slices.Clone(p.slots.on[s])
	slices.SortFunc(units, func(a, b int32) int { return unit.CompareNames(p.members[a].name, p.members[b].name) })
	list := make([]Stay, 0, len(units))
	for _, i := range units {
		list = append(list, Stay{p.members[i].name, p.stays(i, s)})
	}
	return list
}

func (p *Planner) stays(i, s int32) *reason.Reason {
	m := &p.members[i]
	on := reason.Args{"unit": m.name, "machine": p.slots.name(s)}
	switch peer := p.leads(m.class); {
	case m.global != nil:
		return reason.Because(reason.StaysGlobal, on)
	case m.class.demand.MachineID != "":
		return reason.Because(reason.StaysPinned, on)
	case peer != "":
		return reason.Because(reason.NoMachinePeer, reason.Args{"peer": peer})
	case p.elsewhere(i, s) >= 0:
		return nil
	}
	var e Explanation
	p.away(i, s, func() { e = p.explainClass(m.class, i) })
	if e.Unplaced == nil { // It alone would fit: those that follow it do not.
		return reason.Because(reason.NoRoom, reason.Args{"machines": p.slots.n})
	}
	return e.Unplaced
}

// Named tells whether a machine is meant by a word of a question: its id, its first eight characters, its name, or
// KEY=VALUE of its metadata.
func Named(m Machine, want string) bool {
	if k, v, pair := strings.Cut(want, "="); pair {
		have, has := m.Metadata[k]
		return has && have == v
	}
	return want == m.ID || want == m.Name || want == cluster.ShortID(m.ID)
}
