package plan

import (
	"maps"
	"math"
	"slices"

	"argosy.dev/argosy/reason"
)

// report compares what the store holds with what was decided, for the units with news, and makes the changes.
func (p *Planner) report() {
	list := p.touched
	p.touched = p.touched[:0]
	for _, i := range list {
		m := &p.members[i]
		m.isTouched, m.grown = false, false
		switch {
		case !m.used:
		case m.class == nil || !m.wanted:
			p.reportUnwanted(i)
		case m.global != nil:
			p.reportGlobal(i)
		case m.slot >= 0:
			p.reportPlaced(m)
		default:
			p.reportNowhere(m)
		}
	}
}

func (p *Planner) reportUnwanted(i int32) {
	m := &p.members[i]
	if g := m.global; g != nil {
		m.also = append(m.also, slices.Sorted(maps.Keys(g.told))...)
		clear(g.told)
		g.moved = nil
	}
	p.withdrawAlso(m)
	if m.told != "" || m.why != nil {
		p.changes = append(p.changes, Change{Unit: m.name, From: m.told, Epoch: m.epoch})
	}
	m.told, m.why, m.cause = "", nil, nil
	if m.class == nil {
		delete(p.byName, m.name)
		p.floor = max(p.floor, m.epoch)
		m.used = false
		p.names.gone = append(p.names.gone, i)
		if len(p.names.gone) > maxTail && len(p.names.gone) > len(p.byName)/2 {
			p.sortNames()
		}
	}
}

// withdrawAlso takes a unit off machines beyond the one that it is on; each is a change about that machine only.
func (p *Planner) withdrawAlso(m *member) {
	for _, id := range m.also {
		p.changes = append(p.changes, Change{Unit: m.name, From: id, Epoch: m.epoch, Global: true})
	}
	m.also = nil
}

func (p *Planner) reportPlaced(m *member) {
	id := p.slots.spec[m.slot].ID
	if len(m.also) > 0 {
		m.also = slices.DeleteFunc(m.also, func(o string) bool { return o == id || o == m.told })
		p.withdrawAlso(m)
	}
	if m.told != id {
		m.epoch++
		p.changes = append(p.changes, Change{Unit: m.name, Machine: id, From: m.told, Epoch: m.epoch, Reason: p.placed(m, m.slot)})
	}
	m.told, m.why, m.cause = id, nil, nil
}

// placed is the reason why a unit is where it is. It is built by hand: reason.Because copies its arguments.
func (p *Planner) placed(m *member, s int32) *reason.Reason {
	args := reason.Args{"machine": p.slots.name(s), "candidates": int64(m.fits), "score": math.Round(float64(m.score)*1000) / 1000}
	if m.cause != nil {
		args["cause"] = m.cause.Message()
	}
	return &reason.Reason{Code: reason.Placed, Args: args}
}

func (p *Planner) reportNowhere(m *member) {
	why := m.class.why
	if why == nil { // The pass ended at its bound: the next one goes on.
		why = reason.Because(reason.NotScheduled, reason.Args{"unit": m.name})
	}
	p.withdrawAlso(m)
	if m.told == "" && reason.Equal(m.why, why) {
		return
	}
	p.changes = append(p.changes, Change{Unit: m.name, From: m.told, Epoch: m.epoch, Reason: why})
	m.told, m.why = "", why
}

func (p *Planner) reportGlobal(i int32) {
	m := &p.members[i]
	g := m.global
	slices.Sort(g.moved)
	for _, id := range slices.Compact(g.moved) {
		s, there := p.slots.index[id]
		on := there && g.on.has(s)
		told, held := g.told[id]
		switch {
		case on && !told:
			m.epoch++
			m.fits, m.score = int32(g.count), 0
			p.changes = append(p.changes, Change{Unit: m.name, Machine: id, Epoch: m.epoch, Global: true, Reason: p.placed(m, s)})
			g.told[id] = true
		case !on && held:
			p.changes = append(p.changes, Change{Unit: m.name, From: id, Epoch: m.epoch, Global: true})
			delete(g.told, id)
		}
	}
	g.moved = g.moved[:0]
	if g.count > 0 {
		m.why = nil
		return
	}
	why := p.explainClass(m.class, -1).Unplaced
	if !reason.Equal(m.why, why) {
		p.changes = append(p.changes, Change{Unit: m.name, Epoch: m.epoch, Global: true, Reason: why})
		m.why = why
	}
}

// refresh lets some reasons without news of their own be made anew, when anything was placed, left or changed: what a unit
// lacks today may be another thing than when it was told. The waiting classes take turns, and the global units that are
// nowhere; a pass costs refreshLimit explanations at most, however many wait.
func (p *Planner) refresh() {
	all := len(p.waiting) + len(p.globals)
	if p.moved {
		p.moved, p.behind = false, all
	}
	for n := 0; n < refreshLimit && p.behind > 0; p.behind-- {
		p.turn = (p.turn + 1) % all
		if p.turn < len(p.waiting) {
			p.waiting[p.turn].explain = true
			n++
			continue
		}
		i := p.globals[p.turn-len(p.waiting)]
		if m := &p.members[i]; m.wanted && m.global.count == 0 {
			p.toReport(i)
			n++
		}
	}
}

// explainWaiting finds the reasons of the classes whose waiting units have news to hear. What follows another unit is
// explained again after it; a chain has an end, because a circle's reason is the circle.
func (p *Planner) explainWaiting() {
	for more, round := true, 0; more && round < maxRounds; round++ {
		more = p.explainOnce()
	}
}

func (p *Planner) explainOnce() (more bool) {
	for _, c := range p.waiting {
		if !c.explain {
			continue
		}
		c.explain = false
		old := c.why
		c.why = p.explainClass(c, -1).Unplaced
		if old != nil && reason.Equal(old, c.why) && (!c.older || c.queued > retellLimit) {
			continue
		}
		if p.retellFollowers(c) {
			more = true
		}
		if old != nil && c.why != nil && old.Code == c.why.Code && c.queued > retellLimit {
			c.older = true
			continue // Thousands of records for a number that has moved: Explain has today's.
		}
		c.older = false
		for _, i := range c.queue[c.head:] {
			if i >= 0 {
				p.toReport(i)
			}
		}
	}
	return more
}
