package plan

import (
	"math"
	"math/bits"
)

const (
	sampleSize = 64 // Machines that may take it, looked at closely. All are no better than 64 (bench/place).
	sampleUses = 16 // Units of a class that one sample serves.
)

// sample is the machines among which the last unit of a class was placed: good for more units of it.
type sample struct {
	class *class // nil: not to be used again.
	list  []candidate
	fits  int32 // How many were found.
	uses  int
	last  int // Index of the one chosen last; what is known of it is stale.
	zones []zone
}

// scratch is memory that is used again.
type scratch struct {
	key     []byte
	units   []int32
	seek    []int32
	globs   []*glob
	one     [1]*class
	team    []*class
	within  []slotSet
	levels  []slotSet
	refused []miss
}

// word gives, of 64 slots, those that may take a unit of the class, room apart.
func (p *Planner) word(c *class, i int) uint64 {
	w := c.static.slots.at(i) & p.slots.open.at(i)
	for _, g := range c.conflicts {
		w &^= g.occupied.slots.at(i)
	}
	for _, g := range c.matched {
		w &^= g.conflicts.slots.at(i)
		if r := w & g.replaces.slots.at(i); r != 0 {
			w &^= p.notMutual(c, i, r)
		}
	}
	for n := range c.ports {
		w &^= c.ports[n].taken(i)
	}
	return w
}

// notMutual leaves of some slots with a replacing unit those where it does replace the class.
func (p *Planner) notMutual(c *class, word int, slots uint64) uint64 {
	if len(c.replaces) == 0 {
		return slots
	}
	for r := slots; r != 0; r &= r - 1 {
		b := bits.TrailingZeros64(r)
		if _, yes := p.replacer(c, -1, int32(word<<6+b)); !yes {
			slots &^= 1 << b
		}
	}
	return slots
}

// may tells whether a slot may take a unit of the class, room apart; mayFit counts room too.
func (p *Planner) may(c *class, s int32) bool { return p.word(c, int(s>>6))&(1<<(s&63)) != 0 }

func (p *Planner) mayFit(c *class, s int32) bool { return p.slots.fits(s, &c.need) && p.may(c, s) }

// choose finds the best slot for a class whose unit comes along with others (its team; usually alone).
// -1: there is none.
func (p *Planner) choose(team []*class, need *amounts) (slot int32, score float64, fits int32) {
	c := team[0]
	within := p.scratch.within[:0]
	for _, peer := range c.demand.MachineOf {
		set, ok := p.whereIs(peer)
		if !ok {
			return -1, 0, 0
		}
		within = append(within, set)
	}
	p.scratch.within = within
	switch {
	case len(c.spread) > 0:
		p.sample.class = nil
		return p.chooseSpread(team, need, within, 0)
	case len(team) > 1 || len(within) > 0:
		p.sample.class = nil
		return p.gather(team, need, within)
	}
	return p.chooseAgain(team, need)
}

// chooseAgain uses the sample of the unit before when it was of the same class.
func (p *Planner) chooseAgain(team []*class, need *amounts) (int32, float64, int32) {
	c, m := team[0], &p.sample
	if m.class != c || m.uses >= sampleUses {
		return p.gather(team, need, nil)
	}
	m.uses++
	if s := m.list[m.last].slot; p.mayFit(c, s) {
		m.list[m.last] = p.candidate(c, s, need)
	} else {
		m.list[m.last] = m.list[len(m.list)-1]
		m.list = m.list[:len(m.list)-1]
	}
	if len(m.list) == 0 {
		return p.gather(team, need, nil)
	}
	return p.best(c)
}

// gather walks the machines from a random place until it has seen enough that may take the team, and gives the best.
func (p *Planner) gather(team []*class, need *amounts, within []slotSet) (int32, float64, int32) {
	m := &p.sample
	m.class, m.list, m.uses, m.zones = nil, m.list[:0], 1, m.zones[:0]
	words := (len(p.slots.spec) + 63) >> 6
	if words == 0 {
		return -1, 0, 0
	}
	for n, i := 0, p.dice.roll(words); n < words && len(m.list) < sampleSize; n, i = n+1, i+1 {
		if i == words {
			i = 0
		}
		if p.slots.blockFits(i, need) {
			p.gatherWord(team, need, within, i)
		}
	}
	if len(m.list) == 0 {
		return -1, 0, 0
	}
	m.class, m.fits = team[0], int32(len(m.list))
	return p.best(team[0])
}

func (p *Planner) gatherWord(team []*class, need *amounts, within []slotSet, i int) {
	w := ^uint64(0)
	for _, c := range team {
		w &= p.word(c, i)
	}
	for _, in := range within {
		w &= in.at(i)
	}
	all, before := w == p.slots.open.at(i), len(p.sample.list)
	for ; w != 0; w &= w - 1 {
		s := int32(i<<6 + bits.TrailingZeros64(w))
		if p.slots.fits(s, need) {
			p.sample.list = append(p.sample.list, p.candidate(team[0], s, need))
		}
	}
	if all && len(p.sample.list) == before {
		p.slots.tighten(i)
	}
}

// chooseSpread goes through the values of the Spread= keys, the one with the fewest units of the service first.
func (p *Planner) chooseSpread(team []*class, need *amounts, within []slotSet, key int) (int32, float64, int32) {
	c := team[0]
	if key == len(c.spread) {
		s, score, fits := p.gather(team, need, within)
		p.sample.class = nil
		return s, score, fits
	}
	if c.spread[key] == nil {
		return p.spreadMachines(team, need, within, key)
	}
	count, a := c.spread[key].units, p.slots.attrs[c.demand.Spread[key]]
	if a == nil {
		return p.chooseSpread(team, need, within, key+1)
	}
	tried := int32(-1) // Values with fewer units, or as many and an earlier name, have been tried.
	from := 0
	for {
		least, at := int32(math.MaxInt32), -1
		for i, v := range a.values {
			if n := count[v]; (n > tried || n == tried && i >= from) && n < least {
				least, at = n, i
			}
		}
		if at < 0 {
			return p.chooseSpread(team, need, append(within, p.without(a, key)), key+1)
		}
		if s, score, fits := p.chooseSpread(team, need, append(within, a.slots[at]), key+1); s >= 0 {
			return s, score, fits
		}
		tried, from = least, at+1
	}
}

// spreadMachines takes the machines with the fewest units of the service first.
func (p *Planner) spreadMachines(team []*class, need *amounts, within []slotSet, key int) (int32, float64, int32) {
	on := &team[0].service.on
	set := p.level(key)
	for i := range set {
		set[i] = p.slots.present.at(i)
	}
	for _, e := range on.few {
		set.set(e.slot, false)
	}
	for s := range on.many { // Order does not matter: it empties a set.
		set.set(s, false)
	}
	for n := int32(0); ; n++ {
		more := on.total > 0
		if n > 0 {
			set, more = on.level(n, set)
		}
		if s, score, fits := p.chooseSpread(team, need, append(within, set), key+1); s >= 0 || !more {
			return s, score, fits
		}
	}
}

// without gives the machines that do not have a metadata key at all.
func (p *Planner) without(a *attribute, key int) slotSet {
	set := p.level(key)
	for i := range set {
		set[i] = p.slots.present.at(i)
		for _, have := range a.slots {
			set[i] &^= have.at(i)
		}
	}
	return set
}

// level gives a set to work in, one for each place of a Spread= list.
func (p *Planner) level(key int) slotSet {
	for key >= len(p.scratch.levels) {
		p.scratch.levels = append(p.scratch.levels, nil)
	}
	for len(p.scratch.levels[key]) < len(p.slots.present) {
		p.scratch.levels[key] = append(p.scratch.levels[key], 0)
	}
	return p.scratch.levels[key]
}

// whereIs gives the slots that a unit is on; ok is false when it is on none.
func (p *Planner) whereIs(name string) (slotSet, bool) {
	i, known := p.byName[name]
	if !known {
		return nil, false
	}
	m := &p.members[i]
	if m.global != nil {
		return m.global.on, m.global.count > 0
	}
	if m.slot < 0 {
		return nil, false
	}
	var one slotSet
	one.set(m.slot, true)
	return one, true
}
