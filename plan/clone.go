package plan

// Clone gives a planner with the same picture and the same decisions, for questions like "what if zone a were lost":
// change the copy, Decide, and look. It costs as much as telling everything again.
func (p *Planner) Clone() *Planner {
	q := New(p.seed)
	for s := p.slots.present.next(0); s >= 0; s = p.slots.present.next(s + 1) {
		q.SetMachine(p.slots.spec[s])
	}
	for i := range p.members {
		m := &p.members[i]
		if !m.used {
			continue
		}
		if m.class != nil {
			q.SetUnit(Unit{Name: m.name, Type: m.class.typ, Wanted: m.wanted, Demand: m.class.demand})
		}
		if m.told != "" {
			q.Adopt(m.name, m.told, m.epoch)
		}
		for _, id := range m.also {
			q.Adopt(m.name, id, m.epoch)
		}
		if m.global != nil {
			for _, s := range p.slotsOf(m) {
				q.Adopt(m.name, p.slots.spec[s].ID, m.epoch)
			}
		}
		if m.why != nil {
			q.AdoptUnplaced(m.name, m.why)
		}
		q.AdoptEpoch(m.name, m.epoch)
	}
	q.dice = p.dice
	return q
}
