package plan

import (
	"fmt"
	"maps"
	"slices"

	"argosy.dev/argosy/reason"
)

// Check counts everything again from the units and where they are, and compares it with what is kept. It also
// checks what must be so after every Decide: nothing promised beyond capacity by our own doing, no two units together
// that exclude each other, every wanted unit placed or waiting, and none waiting for what is there. For tests and sim.
func (p *Planner) Check() error {
	fresh := New(p.seed)
	for s := int32(0); int(s) < len(p.slots.spec); s++ {
		if p.slots.present.has(s) {
			fresh.SetMachine(p.slots.spec[s])
		}
	}
	where := maps.Clone(fresh.slots.index)
	for i := range p.members {
		m := &p.members[i]
		if !m.used || m.class == nil {
			continue
		}
		fresh.SetUnit(Unit{Name: m.name, Type: m.class.typ, Wanted: m.wanted, Demand: m.class.demand})
	}
	fresh.findStale()
	for i := range p.members {
		m := &p.members[i]
		if !m.used || m.class == nil {
			continue
		}
		j := fresh.byName[m.name]
		for _, s := range p.slotsOf(m) {
			fresh.put(j, where[p.slots.spec[s].ID])
		}
	}
	for _, check := range []func(*Planner) error{p.checkSlots, p.checkClasses, p.checkUnits, p.checkWaiting} {
		if err := check(fresh); err != nil {
			return err
		}
	}
	return nil
}

func (p *Planner) slotsOf(m *member) (list []int32) {
	if m.slot >= 0 {
		list = append(list, m.slot)
	}
	if m.global != nil {
		for s := m.global.on.next(0); s >= 0; s = m.global.on.next(s + 1) {
			list = append(list, s)
		}
	}
	return list
}

// pairs gives the slots that are used, here and in the planner that was counted anew.
func (p *Planner) pairs(fresh *Planner, f func(s, t int32) error) error {
	for s := p.slots.present.next(0); s >= 0; s = p.slots.present.next(s + 1) {
		if err := f(s, fresh.slots.index[p.slots.spec[s].ID]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Planner) checkSlots(fresh *Planner) error {
	return p.pairs(fresh, func(s, t int32) error {
		name := p.slots.name(s)
		for d := range dims {
			if have, want := p.slots.free[d][s], fresh.slots.free[d][t]; have != want {
				return fmt.Errorf("%s: dimension %d has %d free, kept as %d", name, d, want, have)
			}
			if p.slots.free[d][s] > p.slots.blockMax[d][s>>6] {
				return fmt.Errorf("%s: dimension %d has more free than its block", name, d)
			}
		}
		if p.slots.short(s) && !p.slots.over.has(s) {
			return fmt.Errorf("%s is promised more than it has: %v", name, p.Promised(p.slots.spec[s].ID))
		}
		if have, want := len(p.slots.on[s]), len(fresh.slots.on[t]); have != want {
			return fmt.Errorf("%s has %d units, kept as %d", name, want, have)
		}
		for _, i := range p.slots.on[s] {
			if cause := p.mustLeave(i, s); cause != nil {
				return fmt.Errorf("%s may not stay on %s: %w", p.members[i].name, name, cause)
			}
		}
		return nil
	})
}

// checkClasses compares globs, ports, services and statics slot by slot.
func (p *Planner) checkClasses(fresh *Planner) error {
	if len(p.classes) != len(fresh.classes) || len(p.globs.byPattern) != len(fresh.globs.byPattern) || len(p.ports) != len(fresh.ports) || len(p.services) != len(fresh.services) || len(p.statics) != len(fresh.statics) {
		return fmt.Errorf("classes %d, globs %d, ports %d, services %d, statics %d; kept as %d, %d, %d, %d, %d",
			len(fresh.classes), len(fresh.globs.byPattern), len(fresh.ports), len(fresh.services), len(fresh.statics),
			len(p.classes), len(p.globs.byPattern), len(p.ports), len(p.services), len(p.statics))
	}
	return p.pairs(fresh, func(s, t int32) error {
		at := p.slots.name(s)
		for k, g := range p.globs.byPattern {
			o := fresh.globs.byPattern[k]
			if o == nil || g.occupied.times(s) != o.occupied.times(t) || g.conflicts.times(s) != o.conflicts.times(t) || g.replaces.times(s) != o.replaces.times(t) {
				return fmt.Errorf("%s: glob %s is counted wrongly", at, k)
			}
		}
		for k, q := range p.ports {
			o := fresh.ports[k]
			if o == nil || q.any.times(s) != o.any.times(t) || q.wild.times(s) != o.wild.times(t) {
				return fmt.Errorf("%s: port %v is counted wrongly", at, k)
			}
		}
		for k, v := range p.services {
			if o := fresh.services[k]; o == nil || v.on.get(s) != o.on.get(t) || v.on.total != o.on.total {
				return fmt.Errorf("%s: service %s is counted wrongly", at, k)
			}
		}
		for k, st := range p.statics {
			if o := fresh.statics[k]; o == nil || st.slots.has(s) != o.slots.has(t) {
				return fmt.Errorf("%s: what matches %q is kept wrongly", at, k)
			}
		}
		return nil
	})
}

func aboutPeer(r *reason.Reason) bool {
	return r.Code == reason.NoMachinePeer || r.Code == reason.NoMachinePeerAbsent
}

func (p *Planner) checkUnits(fresh *Planner) error {
	if p.shapes.wanted != fresh.shapes.wanted {
		return fmt.Errorf("%v is wanted, kept as %v", fresh.shapes.wanted, p.shapes.wanted)
	}
	classes := map[string]*class{}
	for _, c := range fresh.classes {
		classes[c.name()] = c
	}
	for _, c := range p.classes {
		if o := classes[c.name()]; o == nil || c.members != o.members {
			return fmt.Errorf("class of %s has lost count of its members", c.demand.Service)
		}
	}
	for name, i := range p.byName {
		m := &p.members[i]
		switch {
		case m.class == nil:
		case !m.wanted && (m.slot >= 0 || m.queueAt >= 0):
			return fmt.Errorf("%s is placed or waits, and nobody wants it", name)
		case m.wanted && m.global == nil && (m.slot >= 0) == (m.queueAt >= 0):
			return fmt.Errorf("%s is neither placed nor waiting, or both", name)
		case m.slot >= 0 && m.told != p.slots.spec[m.slot].ID:
			return fmt.Errorf("%s is on %s, the store was told %s", name, p.slots.spec[m.slot].ID, m.told)
		case m.wanted && m.slot < 0 && m.global == nil && m.why == nil:
			return fmt.Errorf("%s is nowhere and has no reason", name)
		}
	}
	for i, kept := range p.services {
		for _, c := range kept.spread {
			for v, units := range c.units {
				if fresh.services[i].spreadOn(c.key).units[v] != units {
					return fmt.Errorf("service %s: spread on %s=%s is counted wrongly", i, c.key, v)
				}
			}
		}
	}
	return nil
}

// checkWaiting: nothing waits for what is there, and a global unit is wherever it can be.
func (p *Planner) checkWaiting(*Planner) error {
	for _, c := range p.classes {
		if c.queued == 0 {
			continue
		}
		if !slices.Contains(p.waiting, c) {
			return fmt.Errorf("the class of %s waits and is not among the waiting", c.demand.Service)
		}
		e := p.explainClass(c, -1)
		if e.Unplaced == nil {
			return fmt.Errorf("a unit of %s waits, and %d machines could take it", c.demand.Service, e.Fits)
		}
		told := c.why
		if !p.Behind() && !reason.Equal(told, e.Unplaced) || told != nil && told.Code != e.Unplaced.Code && (aboutPeer(told) || aboutPeer(e.Unplaced)) {
			return fmt.Errorf("a unit of %s waits and was told %w, but today it is %w", c.demand.Service, told, e.Unplaced)
		}
		for _, i := range c.queue[c.head:] {
			if i >= 0 && !reason.Equal(p.members[i].why, told) && (!c.older || p.members[i].why.Code != told.Code) {
				return fmt.Errorf("%s waits and was told %w, but its class lacks %w", p.members[i].name, p.members[i].why, told)
			}
		}
	}
	for _, i := range p.globals {
		m := &p.members[i]
		if m.wanted && m.global.count == 0 && !p.Behind() {
			if today := p.explainClass(m.class, -1).Unplaced; !reason.Equal(m.why, today) {
				return fmt.Errorf("global %s is nowhere and was told %w, but today it is %w", m.name, m.why, today)
			}
		}
		for s := p.slots.open.next(0); m.wanted && s >= 0; s = p.slots.open.next(s + 1) {
			if !m.global.on.has(s) && p.mayFit(m.class, s) {
				return fmt.Errorf("global %s is not on %s, which could take it", m.name, p.slots.name(s))
			}
		}
	}
	return nil
}
