package plan

import (
	"maps"
	"slices"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// The dimensions of room.
const (
	cpu = iota // Thousandths of a core.
	memory
	disk
	dims
)

type amounts [dims]int64

func amountsOf(r unit.Resources) amounts { return amounts{cpu: r.CPU, memory: r.Memory, disk: r.Disk} }

// slots are the machines, as a structure of arrays: a machine has a slot as long as it is there.
type slots struct {
	index map[string]int32 // Machine id -> slot.
	spare []int32
	spec  []Machine
	on    [][]int32 // Units there.

	free, limit [dims][]int64
	blockMax    [dims][]int64 // Per 64 slots: no slot of the block has more free. Tightened when found too high.

	present slotSet
	open    slotSet // Takes new units: neither down nor silent nor cordoned.
	down    slotSet // Gives no sign of life: Down or Silent.
	// draining: its units are to move elsewhere, and it is not down.
	draining slotSet
	over     slotSet // Promised more than it has, and not by us: see excuse.
	attrs    map[string]*attribute

	frag   []float64 // Cached fragmentation of the free room, valid when fragAt is the shapes' version.
	fragAt []uint32
	n      int // Machines.
	total  amounts
}

// attribute is one metadata key: its values with the machines that have them, values sorted.
type attribute struct {
	values []string
	slots  []slotSet // Beside values.
}

func (a *attribute) find(value string) (int, bool) { return slices.BinarySearch(a.values, value) }

// SetMachine tells that a machine is there, or that it changed.
func (p *Planner) SetMachine(m Machine) {
	m.Metadata, m.Types = maps.Clone(m.Metadata), slices.Clone(m.Types)
	s, known := p.slots.index[m.ID]
	if known && sameMachine(&p.slots.spec[s], &m) {
		return
	}
	p.machines, p.moved = true, true
	if !known {
		s = p.slots.make(m.ID)
	}
	for _, i := range p.slots.on[s] { // Spread counts hang on the metadata.
		p.countSpread(i, s, -1)
	}
	p.slots.setSpec(s, m)
	for _, st := range p.statics {
		st.slots.set(s, st.matches(&p.slots.spec[s]))
	}
	for _, i := range p.slots.on[s] {
		p.countSpread(i, s, 1)
	}
	p.dirtySlots = append(p.dirtySlots, s)
	p.freed = append(p.freed, s)
}

// takes tells whether a machine takes new units.
func (m *Machine) takes() bool {
	return !m.Cordoned && !m.Draining && m.Refuses == nil && !m.Down && !m.Silent
}

func sameMachine(a, b *Machine) bool {
	return a.Name == b.Name && a.Allocatable == b.Allocatable && a.Runtime == b.Runtime && a.Cordoned == b.Cordoned &&
		a.Draining == b.Draining && a.Down == b.Down && a.Silent == b.Silent && reason.Equal(a.Refuses, b.Refuses) && slices.Equal(a.Types, b.Types) && maps.Equal(a.Metadata, b.Metadata)
}

// RemoveMachine tells that a machine is no more; its units are placed elsewhere.
func (p *Planner) RemoveMachine(id string) {
	s, ok := p.slots.index[id]
	if !ok {
		return
	}
	p.machines, p.moved = true, true
	name := p.slots.name(s)
	for len(p.slots.on[s]) > 0 {
		i := p.slots.on[s][len(p.slots.on[s])-1]
		p.leave(i, s, gone(name))
	}
	for _, st := range p.statics {
		st.slots.set(s, false)
	}
	p.slots.remove(s)
}

// make gives a new machine a slot.
func (t *slots) make(id string) int32 {
	var s int32
	if n := len(t.spare); n > 0 {
		s, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		s = int32(len(t.spec))
		t.spec, t.on = append(t.spec, Machine{}), append(t.on, nil)
		t.frag, t.fragAt = append(t.frag, 0), append(t.fragAt, 0)
		for d := range dims {
			t.free[d], t.limit[d] = append(t.free[d], 0), append(t.limit[d], 0)
			if int(s>>6) == len(t.blockMax[d]) {
				t.blockMax[d] = append(t.blockMax[d], 0)
			}
		}
	}
	t.index[id] = s
	t.present.set(s, true)
	t.n++
	return s
}

// setSpec takes over what a machine says of itself; what is promised stays promised.
func (t *slots) setSpec(s int32, m Machine) {
	t.setAttrs(s, t.spec[s].Metadata, m.Metadata)
	t.spec[s] = m
	for d, limit := range amountsOf(m.Allocatable) {
		t.total[d] += limit - t.limit[d][s]
		t.free[d][s] += limit - t.limit[d][s]
		t.limit[d][s] = limit
		t.blockMax[d][s>>6] = max(t.blockMax[d][s>>6], t.free[d][s])
	}
	t.fragAt[s] = 0
	t.excuse(s)
	t.open.set(s, m.takes())
	t.down.set(s, m.Down || m.Silent)
	t.draining.set(s, m.Draining && !m.Down && !m.Silent)
}

func (t *slots) setAttrs(s int32, old, now map[string]string) {
	for k, v := range old { // Order does not matter: each pair has a set of its own.
		if now[k] != v {
			a := t.attrs[k]
			i, _ := a.find(v)
			a.slots[i].set(s, false)
			if a.slots[i].next(0) < 0 {
				a.values, a.slots = slices.Delete(a.values, i, i+1), slices.Delete(a.slots, i, i+1)
			}
			if len(a.values) == 0 {
				delete(t.attrs, k)
			}
		}
	}
	for k, v := range now {
		a := t.attrs[k]
		if a == nil {
			a = &attribute{}
			t.attrs[k] = a
		}
		i, found := a.find(v)
		if !found {
			a.values, a.slots = slices.Insert(a.values, i, v), slices.Insert(a.slots, i, slotSet(nil))
		}
		a.slots[i].set(s, true)
	}
}

// remove gives a slot back. Nothing is on it any more.
func (t *slots) remove(s int32) {
	t.setAttrs(s, t.spec[s].Metadata, nil)
	delete(t.index, t.spec[s].ID)
	for d := range dims {
		t.total[d] -= t.limit[d][s]
		t.free[d][s], t.limit[d][s] = 0, 0
	}
	for _, b := range []*slotSet{&t.present, &t.open, &t.down, &t.draining, &t.over} {
		b.set(s, false)
	}
	t.spec[s], t.fragAt[s] = Machine{}, 0
	t.spare = append(t.spare, s)
	t.n--
}

// name is what people call the machine.
func (t *slots) name(s int32) string {
	if n := t.spec[s].Name; n != "" {
		return n
	}
	return cluster.ShortID(t.spec[s].ID)
}

func (t *slots) fits(s int32, need *amounts) bool {
	return (t.free[cpu][s]-need[cpu])|(t.free[memory][s]-need[memory])|(t.free[disk][s]-need[disk]) >= 0
}

// blockFits tells whether a slot among 64 may have so much free.
func (t *slots) blockFits(word int, need *amounts) bool {
	return need[cpu] <= t.blockMax[cpu][word] && need[memory] <= t.blockMax[memory][word] && need[disk] <= t.blockMax[disk][word]
}

// tighten makes a block's maxima exact.
func (t *slots) tighten(word int) {
	from, to := word<<6, min((word+1)<<6, len(t.spec))
	for d := range dims {
		t.blockMax[d][word] = slices.Max(t.free[d][from:to])
	}
}

// take and give change what is promised on a slot.
func (t *slots) take(s int32, need *amounts) {
	for d := range dims {
		t.free[d][s] -= need[d]
	}
	t.fragAt[s] = 0
}

func (t *slots) give(s int32, need *amounts) {
	for d := range dims {
		t.free[d][s] += need[d]
		t.blockMax[d][s>>6] = max(t.blockMax[d][s>>6], t.free[d][s])
	}
	t.fragAt[s] = 0
}

// short tells whether more is promised on a slot than it has.
func (t *slots) short(s int32) bool {
	return t.free[cpu][s]|t.free[memory][s]|t.free[disk][s] < 0
}

// excuse notes that a slot is short for a cause that is not a decision of ours: it was adopted so, the machine
// shrank, or a unit's demand grew. Check complains of every other one.
func (t *slots) excuse(s int32) { t.over.set(s, t.short(s)) }
