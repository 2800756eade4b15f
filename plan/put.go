package plan

import (
	"slices"

	"argosy.dev/argosy/reason"
)

// global is where a Global unit is.
type global struct {
	on    slotSet
	count int
	told  map[string]bool // Machines that the store holds it on; false: as an ordinary unit, to be written anew.
	moved []string        // Machines that it came to or went from since the last Decide.
	full  bool            // Look at every machine.
}

// put places a unit on a slot.
func (p *Planner) put(i, s int32) {
	m := &p.members[i]
	if m.queueAt >= 0 {
		p.unqueue(i)
	}
	p.mark(i, s)
	if m.global != nil {
		m.global.on.set(s, true)
		m.global.count++
		m.global.moved = append(m.global.moved, p.slots.spec[s].ID)
	} else {
		m.slot = s
		p.priority[m.class.demand.Priority]++
	}
	p.touch(i)
	p.wakeFollowers(i)
}

// leave takes a unit off a slot. The cause is kept for people; nil when nobody wants the unit.
// It does not say what becomes of the unit.
func (p *Planner) leave(i, s int32, cause *reason.Reason) {
	m := &p.members[i]
	p.unmark(i, s)
	if !p.slots.short(s) {
		p.slots.over.set(s, false)
	}
	if m.global != nil {
		m.global.on.set(s, false)
		m.global.count--
		m.global.moved = append(m.global.moved, p.slots.spec[s].ID)
	} else {
		m.slot = -1
		m.cause = cause
		p.count(m.class.demand.Priority, -1)
		p.dirty(i)
	}
	p.touch(i)
	p.freed = append(p.freed, s)
	for _, f := range p.followers[m.name] {
		p.dirty(f)
	}
}

func (p *Planner) count(priority, delta int) {
	if p.priority[priority] += delta; p.priority[priority] == 0 {
		delete(p.priority, priority)
	}
}

// leaveAll takes a unit off everything.
func (p *Planner) leaveAll(i int32) {
	m := &p.members[i]
	if m.queueAt >= 0 {
		p.unqueue(i)
	}
	if m.slot >= 0 {
		p.leave(i, m.slot, nil)
	}
	if g := m.global; g != nil {
		for s := g.on.next(0); s >= 0; s = g.on.next(s + 1) {
			p.leave(i, s, nil)
		}
	}
}

// mark counts a unit on a slot in everything that is kept per slot.
func (p *Planner) mark(i, s int32) {
	c := p.members[i].class
	if c != p.sample.class {
		p.sample.class = nil
	}
	p.slots.take(s, &c.need)
	p.slots.on[s] = append(p.slots.on[s], i)
	for _, g := range c.matched {
		g.occupied.add(s)
	}
	for _, g := range c.conflicts {
		g.conflicts.add(s)
	}
	for _, g := range c.replaces {
		g.replaces.add(s)
	}
	for n := range c.ports {
		u := &c.ports[n]
		u.any.add(s)
		if u.address == nil {
			u.wild.add(s)
		} else {
			u.address.add(s)
		}
	}
	c.service.on.add(s, 1)
	p.countSpread(i, s, 1)
}

// unmark undoes mark.
func (p *Planner) unmark(i, s int32) {
	c := p.members[i].class
	p.sample.class = nil
	p.slots.give(s, &c.need)
	on := p.slots.on[s]
	at := slices.Index(on, i)
	p.slots.on[s] = slices.Delete(on, at, at+1)
	for _, g := range c.matched {
		g.occupied.remove(s)
	}
	for _, g := range c.conflicts {
		g.conflicts.remove(s)
	}
	for _, g := range c.replaces {
		g.replaces.remove(s)
	}
	for n := range c.ports {
		u := &c.ports[n]
		u.any.remove(s)
		if u.address == nil {
			u.wild.remove(s)
		} else {
			u.address.remove(s)
		}
	}
	c.service.on.add(s, -1)
	p.countSpread(i, s, -1)
}

func (p *Planner) countSpread(i, s, delta int32) {
	c := p.members[i].class
	for _, n := range c.spread {
		if n != nil && n != c.zones {
			n.add(p.slots.spec[s].Metadata[n.key], delta)
		}
	}
	c.zones.add(p.slots.spec[s].Metadata[zoneKey], delta)
}

func (c *spreadCount) add(value string, delta int32) {
	if c.units[value] += delta; c.units[value] == 0 {
		delete(c.units, value)
	}
}

// unmarkAll and markAll stand around a change of a unit's class.
func (p *Planner) unmarkAll(i int32) {
	m := &p.members[i]
	if m.slot >= 0 {
		p.count(m.class.demand.Priority, -1)
		p.unmark(i, m.slot)
		p.freed = append(p.freed, m.slot)
	}
	if g := m.global; g != nil {
		for s := g.on.next(0); s >= 0; s = g.on.next(s + 1) {
			p.unmark(i, s)
			p.freed = append(p.freed, s)
		}
	}
}

func (p *Planner) markAll(i int32) {
	m := &p.members[i]
	if m.slot >= 0 {
		p.priority[m.class.demand.Priority]++
		p.mark(i, m.slot)
		p.slots.excuse(m.slot)
	}
	if g := m.global; g != nil {
		for s := g.on.next(0); s >= 0; s = g.on.next(s + 1) {
			p.mark(i, s)
			p.slots.excuse(s)
		}
	}
}

// wakeFollowers lets the units that follow this one look for their place, or check it.
func (p *Planner) wakeFollowers(i int32) {
	for _, f := range p.followers[p.members[i].name] {
		p.dirty(f)
	}
}

// enqueue lets a unit wait for a place.
func (p *Planner) enqueue(i int32) {
	m := &p.members[i]
	if m.queueAt >= 0 {
		return
	}
	c := m.class
	m.queueAt = int32(len(c.queue))
	c.queue = append(c.queue, i)
	c.queued++
	p.wake(c)
	p.touch(i)
}

func (p *Planner) wake(c *class) {
	if !c.isReady {
		c.isReady = true
		p.ready = append(p.ready, c)
	}
}

func (p *Planner) unqueue(i int32) {
	m := &p.members[i]
	c := m.class
	c.queue[m.queueAt] = -1
	m.queueAt = -1
	if c.queued--; c.queued == 0 {
		c.queue, c.head = c.queue[:0], 0
	}
}

// first is the unit that waits longest, or -1.
func (c *class) first() int32 {
	for c.head < len(c.queue) && c.queue[c.head] < 0 {
		c.head++
	}
	if c.head == len(c.queue) {
		return -1
	}
	return c.queue[c.head]
}

// compact drops the part of a queue that was worked off.
func (p *Planner) compact(c *class) {
	if c.head < 64 || c.head < len(c.queue)/2 {
		return
	}
	n := 0
	for _, i := range c.queue[c.head:] {
		if i >= 0 {
			c.queue[n] = i
			p.members[i].queueAt = int32(n)
			n++
		}
	}
	c.queue, c.head = c.queue[:n], 0
}
