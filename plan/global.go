package plan

import (
	"slices"
	"strings"
)

// setGlobal makes a unit a global one or an ordinary one. It is nowhere when this changes.
func (p *Planner) setGlobal(i int32, on bool) {
	m := &p.members[i]
	if on == (m.global != nil) {
		return
	}
	at, _ := slices.BinarySearchFunc(p.globals, m.name, func(g int32, name string) int { return strings.Compare(p.members[g].name, name) })
	if on {
		m.global = &global{told: map[string]bool{}, full: true}
		p.globals = slices.Insert(p.globals, at, i)
		for _, id := range append(m.also, m.told) {
			if id != "" && !m.isAdopted {
				m.global.moved, m.global.told[id] = append(m.global.moved, id), false
			}
		}
		if !m.isAdopted {
			m.told, m.also = "", nil
		}
		return
	}
	for id := range m.global.told {
		m.also = append(m.also, id)
	}
	slices.Sort(m.also)
	m.global = nil
	p.globals = slices.Delete(p.globals, at, at+1)
}

// adoptGlobal puts a global unit on the machines that the store holds it on.
func (p *Planner) adoptGlobal(i int32) {
	m := &p.members[i]
	ids := m.also
	if m.told != "" {
		ids = append(ids, m.told)
	}
	m.told, m.also = "", nil
	for _, id := range ids {
		m.global.told[id] = true
		s, there := p.slots.index[id]
		if !there {
			m.global.moved = append(m.global.moved, id)
		} else if !m.global.on.has(s) {
			p.put(i, s)
			p.slots.excuse(s)
			p.dirtySlots = append(p.dirtySlots, s)
		}
	}
}

// placeGlobals brings global units to the machines with news that may take them, in the order of their names:
// of two that conflict the first stays, as on fleet's agents.
func (p *Planner) placeGlobals(changed []int32) {
	if len(p.globals) == 0 {
		return
	}
	freed := slices.Clone(p.freed)
	for _, i := range slices.Clone(p.globals) {
		m := &p.members[i]
		if !m.wanted {
			continue
		}
		if m.global.full {
			m.global.full = false
			for s := p.slots.present.next(0); s >= 0; s = p.slots.present.next(s + 1) {
				p.placeGlobal(i, s)
			}
			continue
		}
		for _, s := range changed {
			p.placeGlobal(i, s)
		}
		for _, s := range freed {
			p.placeGlobal(i, s)
		}
		if p.machines && m.global.count == 0 {
			p.touch(i)
		}
	}
}

func (p *Planner) placeGlobal(i, s int32) {
	m := &p.members[i]
	c := m.class
	if m.global.on.has(s) || !p.slots.open.has(s) || !c.static.slots.has(s) {
		return
	}
	if !p.may(c, s) {
		later, ok := p.laterGlobals(i, s)
		need := c.need
		for _, v := range later {
			for d := range dims {
				need[d] -= p.members[v].class.need[d]
			}
		}
		if !ok || !p.slots.fits(s, &need) {
			return
		}
		for _, v := range later {
			p.leave(v, s, nil)
		}
	}
	if p.slots.fits(s, &c.need) && p.may(c, s) {
		p.put(i, s)
	}
}

// laterGlobals gives the global units that stand in the way of an earlier one; not ok when others do as well.
func (p *Planner) laterGlobals(i, s int32) (later []int32, ok bool) {
	c := p.members[i].class
	for _, v := range p.slots.on[s] {
		other := &p.members[v]
		_, conflict := p.conflict(c, other.class, other.name)
		_, port := portClash(c, other.class)
		if !conflict && !port && !p.replacedBy(c, v) {
			continue
		}
		if other.global == nil || !p.beats(i, v) {
			return nil, false
		}
		later = append(later, v)
	}
	return later, true
}
