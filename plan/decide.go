package plan

import (
	"cmp"
	"slices"
	"strings"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Bounds of what one pass does for people only.
const (
	wakeAllAbove = 64   // So many freed machines wake every waiting class, unasked.
	retellLimit  = 64   // A class with more waiting units is not told again when only the numbers of its reason change.
	refreshLimit = 4    // So many waiting classes without news of their own are explained anew in one pass.
	maxRounds    = 1000 // Units that drive each other about would do so for ever: what is left waits for the next pass.
	maxTeam      = 16   // Units that follow another and are considered together with it.
)

// Decide gives what is to change, and nothing when there is no news. The slice is valid until the next call.
func (p *Planner) Decide() []Change {
	p.pass++
	p.changes = p.changes[:0]
	p.findStale()
	p.shapes.tune(&p.slots, uint32(p.pass))
	p.takeAdopted()
	if news := p.settle(); (news || p.drainLeft) && p.slots.draining.next(0) >= 0 && p.drain() {
		p.settle()
	}
	p.refresh()
	p.explainWaiting()
	p.report()
	p.machines = false
	return p.changes
}

// settle works off the news, and tells whether there was any.
func (p *Planner) settle() bool {
	round := 0
	for ; round < maxRounds && len(p.dirtySlots)+len(p.dirtyUnits)+len(p.freed)+len(p.ready) > 0; round++ {
		p.reviewUnits()
		changed := p.reviewSlots()
		n := len(p.freed)
		p.placeGlobals(changed)
		late := slices.Clone(p.freed[n:]) // By globals that gave way: for the other globals to look at.
		p.wakeWaiting()
		p.freed = append(p.freed, late...)
		if len(p.dirtySlots)+len(p.dirtyUnits)+len(p.freed) == 0 {
			p.placeReady()
		}
	}
	return round > 0
}

// Behind tells that reasons may be of yesterday: Decide goes on with them, refreshLimit classes at a time, also without
// news.
func (p *Planner) Behind() bool { return p.moved || p.behind > 0 }

// takeAdopted puts what the store holds where it holds it.
func (p *Planner) takeAdopted() {
	list := p.adopted
	p.adopted = p.adopted[:0]
	for _, i := range list {
		m := &p.members[i]
		m.isAdopted = false
		switch {
		case m.class == nil || !m.wanted:
		case m.global != nil:
			p.adoptGlobal(i)
		case m.slot < 0:
			s, there := p.slots.index[m.told]
			if !there {
				m.cause = gone(m.told)
				p.dirty(i)
				continue
			}
			p.put(i, s)
			p.slots.excuse(s)
			p.dirtySlots = append(p.dirtySlots, s)
		}
	}
}

// reviewUnits looks at each unit with news: whether it is to go, may stay, or has to find a place.
func (p *Planner) reviewUnits() {
	list := p.dirtyUnits
	p.dirtyUnits, p.scratch.units = p.scratch.units[:0], list
	seek := p.scratch.seek[:0]
	for _, i := range list {
		m := &p.members[i]
		m.isDirty = false
		switch {
		case m.class == nil:
		case !m.wanted:
			p.leaveAll(i)
			p.members[i].cause = nil
		case m.global != nil:
			m.global.full = true
			p.dirtySlots = append(p.dirtySlots, p.slotsOf(m)...)
		case m.slot < 0:
			seek = append(seek, i)
		default:
			p.dirtySlots = append(p.dirtySlots, m.slot)
		}
	}
	slices.SortFunc(seek, func(a, b int32) int { return unit.CompareNames(p.members[a].name, p.members[b].name) })
	for _, i := range seek { // Of units told of together, web@2 comes before web@10.
		p.enqueue(i)
		p.wake(p.members[i].class)
	}
	p.scratch.seek = seek
}

// reviewSlots sends away what may not stay on the slots with news, and returns these slots.
func (p *Planner) reviewSlots() []int32 {
	slices.Sort(p.dirtySlots)
	changed := slices.Compact(p.dirtySlots)
	p.dirtySlots = nil
	for _, s := range changed {
		for n := len(p.slots.on[s]) - 1; n >= 0; n-- { //nolint:modernize // The list shrinks on the way.
			if n >= len(p.slots.on[s]) {
				continue
			}
			i := p.slots.on[s][n]
			if cause := p.mustLeave(i, s); cause != nil {
				p.leave(i, s, cause)
			}
		}
	}
	if p.dirtySlots == nil {
		p.dirtySlots = changed[:0]
	}
	return changed
}

// wakeWaiting lets the classes look again that a freed slot can help.
func (p *Planner) wakeWaiting() {
	if len(p.waiting) > 0 {
		slices.Sort(p.freed)
		p.freed = slices.Compact(p.freed)
		for _, c := range p.waiting {
			p.wakeClass(c)
		}
	}
	p.freed = p.freed[:0]
}

func (p *Planner) wakeClass(c *class) {
	if p.machines {
		c.explain = true
	}
	if len(p.freed) > wakeAllAbove || len(c.replaces) > 0 {
		p.wake(c)
		return
	}
	for _, s := range p.freed {
		if p.mayFit(c, s) || p.canPreempt(c) {
			p.wake(c)
			return
		}
	}
}

// placeReady places what waits in the classes with news: the highest priority first, followers last, big ones first.
func (p *Planner) placeReady() {
	ready := p.ready
	p.ready = nil
	slices.SortFunc(ready, func(a, b *class) int {
		return cmp.Or(
			cmp.Compare(b.demand.Priority, a.demand.Priority),
			cmp.Compare(min(1, len(a.demand.MachineOf)), min(1, len(b.demand.MachineOf))),
			cmp.Compare(p.size(b), p.size(a)),
			cmp.Compare(a.serial, b.serial),
		)
	})
	for _, c := range ready {
		c.isReady = false
		p.placeQueue(c)
	}
	if p.ready == nil {
		p.ready = ready[:0]
	}
}

// size is the largest share that a unit of the class takes of a mean machine.
func (p *Planner) size(c *class) float64 {
	size := 0.0
	for d := range dims {
		size = max(size, float64(c.need[d])/float64(max(1, p.slots.total[d])))
	}
	return size
}

// placeQueue places the waiting units of a class until one finds no place: then no other of them does.
func (p *Planner) placeQueue(c *class) {
	for i := c.first(); i >= 0; i = c.first() {
		s, ok := p.findPlace(i, c)
		if !ok {
			break
		}
		p.put(i, s)
		if len(c.replaces) > 0 { // Whom it replaces has to leave.
			p.dirtySlots = append(p.dirtySlots, s)
		}
	}
	p.compact(c)
	if c.queued == 0 {
		if c.isWaiting {
			c.isWaiting, c.why, c.older = false, nil, false
			p.waiting = slices.DeleteFunc(p.waiting, func(o *class) bool { return o == c })
		}
		return
	}
	c.explain = true
	if !c.isWaiting {
		c.isWaiting = true
		p.waiting = append(p.waiting, c)
	}
}

// findPlace decides on a slot for one unit.
func (p *Planner) findPlace(i int32, c *class) (int32, bool) {
	m := &p.members[i]
	if s, ok := p.replace(i, c); ok {
		return s, true
	}
	s := int32(-1)
	if len(p.followers) > 0 && len(p.followers[m.name]) > 0 {
		if team, need := p.team(i, c); len(team) > 1 {
			s, m.score, m.fits = p.chosen(p.choose(team, &need))
		}
	}
	if s < 0 {
		p.scratch.one[0] = c
		s, m.score, m.fits = p.chosen(p.choose(p.scratch.one[:], &c.need))
	}
	if s < 0 && p.canPreempt(c) {
		s = p.preempt(c, m.name)
	}
	return s, s >= 0
}

func (p *Planner) chosen(s int32, score float64, fits int32) (int32, float32, int32) {
	return s, float32(score), fits
}

// team gives the classes of a unit and of those that have to follow it, and what they need together.
func (p *Planner) team(i int32, c *class) ([]*class, amounts) {
	team, need := append(p.scratch.team[:0], c), c.need
	units := []int32{i}
	for n := 0; n < len(units); n++ {
		for _, f := range p.followers[p.members[units[n]].name] {
			m := &p.members[f]
			if len(units) == maxTeam || !m.wanted || m.slot >= 0 || m.global != nil || slices.Contains(units, f) {
				continue
			}
			units, team = append(units, f), append(team, m.class)
			for d := range dims {
				need[d] += m.class.need[d]
			}
		}
	}
	p.scratch.team = team
	return team, need
}

// replace gives a unit the place of one that it replaces, which has to go elsewhere. It may only where it can stay:
// one whose peer (MachineOf=) is not there would drive the other away for nothing, and be sent away itself.
func (p *Planner) replace(i int32, c *class) (int32, bool) {
	if len(c.replaces) == 0 || p.members[i].replacedIn == p.pass {
		return -1, false
	}
	var old []int32
	for _, g := range c.replaces {
		for s := g.occupied.slots.next(0); s >= 0; s = g.occupied.slots.next(s + 1) {
			for _, v := range p.slots.on[s] {
				if m := &p.members[v]; m.global == nil && g.matches(m.name) && p.replacedBy(m.class, i) {
					old = append(old, v)
				}
			}
		}
	}
	slices.SortFunc(old, func(a, b int32) int { return strings.Compare(p.members[a].name, p.members[b].name) })
	for _, v := range old {
		s := p.members[v].slot
		if _, away := p.peerAway(c, s); away || slices.Contains(c.demand.MachineOf, p.members[v].name) {
			continue
		}
		p.unmark(v, s)
		ok := p.mayFit(c, s)
		p.mark(v, s)
		if !ok {
			continue
		}
		m := &p.members[i]
		m.replacedIn = p.pass
		p.leave(v, s, reason.Because(reason.Replaced, reason.Args{"by": m.name}))
		p.dirtySlots = append(p.dirtySlots, s)
		m.score, m.fits = 0, 1
		return s, true
	}
	return -1, false
}
