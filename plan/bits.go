package plan

import "math/bits"

// slotSet is a set of machine slots. It grows when written to; what lies behind its end is not in it.
type slotSet []uint64

func (b slotSet) at(word int) uint64 {
	if word < len(b) {
		return b[word]
	}
	return 0
}

func (b slotSet) has(s int32) bool { return b.at(int(s>>6))&(1<<(s&63)) != 0 }

func (b *slotSet) set(s int32, on bool) {
	for int(s>>6) >= len(*b) {
		*b = append(*b, 0)
	}
	if on {
		(*b)[s>>6] |= 1 << (s & 63)
	} else {
		(*b)[s>>6] &^= 1 << (s & 63)
	}
}

// next is the first member at or after s, or -1.
func (b slotSet) next(s int32) int32 {
	for i := int(s >> 6); i < len(b); i++ {
		w := b[i]
		if i == int(s>>6) {
			w &= ^uint64(0) << (s & 63)
		}
		if w != 0 {
			return int32(i<<6 + bits.TrailingZeros64(w))
		}
	}
	return -1
}

// counted is a set of slots in which a slot can be several times. Most are in it once, and only the
// others are counted in a map.
type counted struct {
	slots slotSet
	more  map[int32]int32 // Slot -> times beyond the first.
}

func (c *counted) add(s int32) {
	if !c.slots.has(s) {
		c.slots.set(s, true)
		return
	}
	if c.more == nil {
		c.more = map[int32]int32{}
	}
	c.more[s]++
}

func (c *counted) remove(s int32) {
	switch n := c.more[s]; {
	case n > 1:
		c.more[s] = n - 1
	case n == 1:
		delete(c.more, s)
	default:
		c.slots.set(s, false)
	}
}

func (c *counted) times(s int32) int32 {
	if !c.slots.has(s) {
		return 0
	}
	return 1 + c.more[s]
}

// tally counts units of one service per slot: a short list while there are few slots, a map above.
type tally struct {
	few   []slotCount
	many  map[int32]int32
	total int
}

type slotCount struct{ slot, n int32 }

// fewSlots is where a tally turns from a list into a map.
const fewSlots = 24

func (t *tally) get(s int32) int32 {
	if t.many != nil {
		return t.many[s]
	}
	for i := range t.few {
		if t.few[i].slot == s {
			return t.few[i].n
		}
	}
	return 0
}

func (t *tally) add(s, delta int32) {
	t.total += int(delta)
	if t.many != nil {
		if n := t.many[s] + delta; n != 0 {
			t.many[s] = n
		} else {
			delete(t.many, s)
		}
		return
	}
	for i := range t.few {
		if t.few[i].slot != s {
			continue
		}
		if t.few[i].n += delta; t.few[i].n == 0 {
			t.few[i] = t.few[len(t.few)-1]
			t.few = t.few[:len(t.few)-1]
		}
		return
	}
	if len(t.few) < fewSlots {
		t.few = append(t.few, slotCount{s, delta})
		return
	}
	t.many = make(map[int32]int32, 2*fewSlots)
	for _, e := range t.few {
		t.many[e.slot] = e.n
	}
	t.many[s], t.few = delta, nil
}

// level gives the slots with exactly n units of the service (n > 0), and whether any slot has more.
func (t *tally) level(n int32, into slotSet) (at slotSet, more bool) {
	clear(into)
	look := func(s, have int32) {
		if have == n {
			into.set(s, true)
		}
		more = more || have > n
	}
	for _, e := range t.few {
		look(e.slot, e.n)
	}
	for s, have := range t.many { // Order does not matter: it fills a set.
		look(s, have)
	}
	return into, more
}

// dice is splitmix64: a state that is handed in, copied and compared, unlike a generator of math/rand.
type dice uint64

func (d *dice) roll(n int) int {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	hi, _ := bits.Mul64(z^z>>31, uint64(n))
	return int(hi)
}
