package plan

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Bounds of an explanation.
const (
	maxCandidates = 20 // Refused machines that are named, nearest miss first.
	maxHolders    = 3  // Units named that hold the room.
	maxNames      = 3  // Machines or values named in one sentence.
)

// Explanation is why a unit is where it is, or on no machine, as of now.
type Explanation struct {
	Unit     string
	Machine  string         // Id of the machine that it is on; empty: on none, or global.
	Placed   *reason.Reason // Why there; nil when it is nowhere.
	Unplaced *reason.Reason // Why nowhere; nil when a machine has or could take it.
	Machines int            // Machines that were looked at.
	Fits     int            // Machines that could take it.
	// Candidates are the machines that could not, with all that speaks against each, the nearest miss first.
	Candidates []reason.Candidate
}

// Explain says why a unit is where it is. It changes nothing.
func (p *Planner) Explain(name string) Explanation {
	i, ok := p.byName[name]
	if !ok || p.members[i].class == nil {
		return Explanation{Unit: name, Unplaced: reason.Because(reason.NoSuchUnit, reason.Args{"unit": name}), Machines: p.slots.n}
	}
	m := &p.members[i]
	if m.slot < 0 {
		e := p.explainClass(m.class, i)
		e.Unit = name
		if m.global != nil && m.global.count > 0 || !m.wanted {
			e.Unplaced = nil
		}
		return e
	}
	s := m.slot
	at := slices.Index(p.slots.on[s], i)
	p.unmark(i, s) // As if it were to be placed now.
	score := p.score(s, &m.class.need)
	e := p.explainClass(m.class, i)
	p.mark(i, s)
	on := p.slots.on[s]
	p.slots.on[s] = slices.Insert(on[:len(on)-1], at, i)
	seen := member{fits: int32(e.Fits), score: float32(score), cause: m.cause}
	e.Unit, e.Machine, e.Unplaced = name, p.slots.spec[s].ID, nil
	e.Placed = p.placed(&seen, s)
	return e
}

// against is a set of things that speak against a machine.
type against uint16

const (
	notStatic against = 1 << iota // Id, runtime or metadata.
	isDown
	isCordoned
	notPeer
	inConflict
	isReplaced
	portHeld
	noCPU
	noMemory
	noDisk

	noRoom   = portHeld | noCPU | noMemory | noDisk
	closed   = notStatic | isDown | isCordoned | notPeer // Nothing that a stop of other units cures.
	anything = noDisk<<1 - 1
)

var noDim = [dims]against{cpu: noCPU, memory: noMemory, disk: noDisk}

// hard counts what more room would not cure.
func (f against) hard() int { return bits.OnesCount16(uint16(f &^ noRoom)) }

// miss is one refused machine: how far it is from taking the unit.
type miss struct {
	slot  int32
	flags against
	short float64 // What is lacking, as shares of what is asked for.
}

func (a miss) compare(b miss) int {
	if x, y := a.flags.hard(), b.flags.hard(); x != y {
		return x - y
	}
	if a.short != b.short {
		return cmp.Compare(a.short, b.short)
	}
	return cmp.Compare(a.slot, b.slot)
}

// survey is what one look over all machines found out about a class.
type survey struct {
	fits      int
	eligible  int     // Machines that are not closed to it; counted, as all but the nearest misses, only while none fits.
	all, any  against // Over these: what speaks against each, against some.
	hasStatic int     // Machines that match by id, runtime and metadata.
	downs     int     // Of these, down.
	cordons   int     // Of these, cordoned and not down.

	roomiest [dims]int32 // The eligible slot with the most free; -1: none.
	most     amounts     // The largest request that would fit, the other dimensions as they are.
	nearest  []miss
	far      amounts // A machine with less free in one dimension lacks more than each of the nearest; see isFarther.

	withPeers miss // Of the closed machines where all peers are, the nearest; without flags: none.
}

// look goes over all machines once.
func (p *Planner) look(c *class, within []slotSet) survey {
	v := survey{all: anything, roomiest: [dims]int32{-1, -1, -1}, far: amounts{math.MinInt64, math.MinInt64, math.MinInt64}, nearest: p.scratch.refused[:0]}
	for i, all := range p.slots.present {
		st, open, down := c.static.slots.at(i), p.slots.open.at(i), p.slots.down.at(i)
		conflict, replaced, port, peer := p.speaks(c, i, within)
		v.hasStatic += bits.OnesCount64(all & st)
		v.downs += bits.OnesCount64(all & st & down)
		v.cordons += bits.OnesCount64(all & st &^ (open | down))
		if len(within) == 0 && v.isFull(0) {
			all &= st & open // The closed ones are farther off than all that will be named, whatever their room.
		}
		good := st & open & peer &^ (conflict | replaced | port)
		for w := all; w != 0; w &= w - 1 {
			s, b := int32(i<<6+bits.TrailingZeros64(w)), w&-w
			if good&b != 0 {
				if p.slots.fits(s, &c.need) {
					v.fits++ // The usual case, and nothing to say about it.
				} else if !v.isFarther(&p.slots, s) {
					v.add(&p.slots, c, s, 0)
				}
				continue
			}
			v.add(&p.slots, c, s, flagIf(notStatic, st&b == 0)|flagIf(isDown, down&b != 0)|flagIf(isCordoned, open&b == 0 && down&b == 0)|
				flagIf(notPeer, peer&b == 0)|flagIf(inConflict, conflict&b != 0)|flagIf(isReplaced, replaced&b != 0)|flagIf(portHeld, port&b != 0))
		}
	}
	p.scratch.refused = v.nearest
	return v
}

// isFull tells whether there are enough misses to name with no more than so many things against them that room does not cure.
func (v *survey) isFull(hard int) bool {
	return len(v.nearest) == maxCandidates && v.nearest[maxCandidates-1].flags.hard() <= hard
}

// isFarther tells of a machine that lacks nothing but room, quickly, that it is none of the nearest: the usual case once some
// fit, when nothing else is asked for.
func (v *survey) isFarther(t *slots, s int32) bool {
	return v.fits > 0 && (t.free[memory][s] < v.far[memory] || t.free[cpu][s] < v.far[cpu] || t.free[disk][s] < v.far[disk])
}

// setFar follows from the last of the nearest, when that one lacks nothing but room too.
func (v *survey) setFar(need *amounts) {
	if !v.isFull(0) || v.nearest[maxCandidates-1].short >= 1 {
		return
	}
	for d := range dims {
		if need[d] > 0 {
			v.far[d] = need[d] - int64(v.nearest[maxCandidates-1].short*float64(need[d])) - 1 // One less, for rounding.
		}
	}
}

func flagIf(f against, on bool) against {
	if on {
		return f
	}
	return 0
}

// speaks gives words of slots with a conflict, a replacing unit, a held port, and of those where the peers are.
func (p *Planner) speaks(c *class, i int, within []slotSet) (conflict, replaced, port, peer uint64) {
	for _, g := range c.conflicts {
		conflict |= g.occupied.slots.at(i)
	}
	for _, g := range c.matched {
		conflict |= g.conflicts.slots.at(i)
		if r := g.replaces.slots.at(i); r != 0 {
			replaced |= p.notMutual(c, i, r)
		}
	}
	for n := range c.ports {
		port |= c.ports[n].taken(i)
	}
	peer = ^uint64(0)
	for _, in := range within {
		peer &= in.at(i)
	}
	return conflict, replaced, port, peer
}

func (v *survey) add(t *slots, c *class, s int32, f against) {
	if f&closed != 0 && f&notPeer == 0 && (v.withPeers.flags == 0 || f.hard() < v.withPeers.flags.hard()) {
		v.withPeers = miss{s, f, 0}
	}
	if f&closed != 0 && v.isFull(f.hard()-1) {
		return // Farther off than all that will be named, whatever its room.
	}
	short := 0.0
	if f&portHeld != 0 {
		short = 1
	}
	for d := range dims {
		if free := t.free[d][s]; free < c.need[d] {
			f |= noDim[d]
			short += float64(c.need[d]-max(0, free)) / float64(max(1, c.need[d]))
		}
	}
	if v.keep(miss{s, f, short}) {
		v.setFar(&c.need)
	}
	if f&closed != 0 {
		return
	}
	v.eligible++
	v.all &= f
	v.any |= f
	for d := range dims {
		if v.roomiest[d] < 0 || t.free[d][s] > t.free[d][v.roomiest[d]] {
			v.roomiest[d] = s
		}
		if f&^noDim[d] == 0 {
			v.most[d] = max(v.most[d], t.free[d][s])
		}
	}
}

// keep keeps the nearest misses, sorted. It tells whether this is one of them.
func (v *survey) keep(m miss) bool {
	n := len(v.nearest)
	if n == maxCandidates && m.compare(v.nearest[n-1]) >= 0 {
		return false
	}
	if n == maxCandidates {
		v.nearest = v.nearest[:n-1]
	}
	at, _ := slices.BinarySearchFunc(v.nearest, m, miss.compare)
	v.nearest = slices.Insert(v.nearest, at, m)
	return true
}

// explainClass says why a unit of the class that is nowhere finds no machine, if so.
func (p *Planner) explainClass(c *class, self int32) Explanation {
	var within []slotSet
	var lonely *reason.Reason
	for _, peer := range c.demand.MachineOf {
		set, ok := p.whereIs(peer)
		if !ok && (lonely == nil || lonely.Cure() != reason.Permanent) {
			lonely = p.absent(peer)
		}
		within = append(within, set)
	}
	v := p.look(c, within)
	e := Explanation{Machines: p.slots.n, Fits: v.fits}
	for _, m := range v.nearest {
		e.Candidates = append(e.Candidates, reason.Candidate{
			Machine: p.slots.name(m.slot), ID: p.slots.spec[m.slot].ID, Because: p.because(c, self, m),
		})
	}
	if v.fits > 0 {
		return e
	}
	r := lonely
	if r == nil {
		r = p.headline(c, self, &v)
	}
	r.Candidates = e.Candidates
	e.Unplaced = r
	return e
}

// headline is the one sentence about all machines.
func (p *Planner) headline(c *class, self int32, v *survey) *reason.Reason {
	none := func() *reason.Reason {
		return reason.Because(reason.NoMachine, reason.Args{"machines": p.slots.n})
	}
	switch {
	case p.slots.n == 0:
		return none()
	case v.hasStatic == 0:
		return p.noStatic(c)
	case v.hasStatic == v.downs:
		return reason.Because(reason.MachineDown, reason.Args{"machine": p.namesOf(c, isDown)})
	case v.hasStatic == v.cordons:
		return p.allClosed(c)
	case v.eligible == 0 && len(c.demand.MachineOf) > 0:
		if v.withPeers.flags != 0 { // What speaks against the one machine that it could be on.
			return p.because(c, self, v.withPeers)[0]
		}
		return p.because(c, self, miss{v.nearest[0].slot, notPeer, 0})[0]
	case v.eligible == 0:
		return none()
	case v.all&^noRoom != 0 || v.all&portHeld != 0:
		return p.because(c, self, v.firstOpen(v.all))[0]
	}
	for _, d := range [...]int{memory, cpu, disk} {
		if v.all&noDim[d] != 0 {
			s := v.roomiest[d]
			r := p.lacks(d, s, c.need[d], p.slots.free[d][s], self)
			r.Args["most"] = v.most[d]
			return r
		}
	}
	if v.any&^noRoom == 0 {
		return reason.Because(reason.NoRoom, reason.Args{"machines": p.slots.n})
	}
	return none()
}

// firstOpen gives the nearest eligible miss, with only the flags that all share.
func (v *survey) firstOpen(all against) miss {
	for _, m := range v.nearest {
		if m.flags&closed == 0 {
			m.flags &= all
			return m
		}
	}
	return v.nearest[0]
}

// because gives everything that speaks against one machine.
func (p *Planner) because(c *class, self int32, m miss) (list []*reason.Reason) {
	s, spec := m.slot, &p.slots.spec[m.slot]
	add := func(f against, r func() *reason.Reason) {
		if m.flags&f != 0 {
			list = append(list, r())
		}
	}
	machine := reason.Args{"machine": p.slots.name(s)}
	add(notStatic, func() *reason.Reason { return c.static.refusal(spec) })
	add(isDown, func() *reason.Reason { return reason.Because(reason.MachineDown, machine) })
	add(isCordoned, func() *reason.Reason { return p.closedWhy(s) })
	add(notPeer, func() *reason.Reason {
		for _, peer := range c.demand.MachineOf {
			if on, ok := p.whereIs(peer); !ok || !on.has(s) {
				return reason.Because(reason.NoMachinePeer, reason.Args{"peer": peer})
			}
		}
		return nil
	})
	add(inConflict, func() *reason.Reason { return p.conflictAt(c, self, s) })
	add(isReplaced, func() *reason.Reason {
		by, _ := p.replacer(c, self, s)
		return reason.Because(reason.Replaced, reason.Args{"by": p.members[by].name})
	})
	add(portHeld, func() *reason.Reason { return p.portAt(c, self, s) })
	for _, d := range [...]int{memory, cpu, disk} {
		add(noDim[d], func() *reason.Reason { return p.lacks(d, s, c.need[d], p.slots.free[d][s], self) })
	}
	return list
}

func (p *Planner) conflictAt(c *class, self, s int32) *reason.Reason {
	for _, v := range p.slots.on[s] {
		other := &p.members[v]
		if pattern, yes := p.conflict(c, other.class, other.name); yes && v != self {
			return reason.Because(reason.NoMachineConflict, reason.Args{"with": other.name, "pattern": pattern})
		}
	}
	return nil
}

func (p *Planner) portAt(c *class, self, s int32) *reason.Reason {
	for _, v := range p.slots.on[s] {
		other := &p.members[v]
		if u, yes := portClash(c, other.class); yes && v != self {
			return p.portTaken(&u, s, other.name)
		}
	}
	return nil
}

func (p *Planner) portTaken(u *portUse, s int32, holder string) *reason.Reason {
	return reason.Because(reason.NoRoomPort, reason.Args{"port": u.key.number, "proto": u.key.proto, "where": p.slots.name(s), "holder": holder})
}

// lacks says that a slot has too little of one dimension, and who holds it. It is built by hand, as placed is.
func (p *Planner) lacks(d int, s int32, need, have int64, self int32) *reason.Reason {
	code := [dims]reason.Code{cpu: reason.NoRoomCPU, memory: reason.NoRoomMemory, disk: reason.NoRoomDisk}[d]
	args := reason.Args{"need": need, "have": max(0, have), "where": p.slots.name(s), "capacity": p.slots.limit[d][s], "most": max(0, have)}
	if h := p.holders(d, s, self); len(h) > 0 {
		args["holders"] = h
	}
	return &reason.Reason{Code: code, Args: args}
}

// holders names the units that hold the most of a dimension on a slot, with their amounts.
func (p *Planner) holders(d int, s, self int32) (list []string) {
	top := make([]int32, 0, maxHolders+1)
	for _, v := range p.slots.on[s] {
		if v == self || p.members[v].class.need[d] == 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, v, func(a, b int32) int { return p.compareHolders(d, a, b) })
		if at < maxHolders {
			top = slices.Insert(top, at, v)
			top = top[:min(maxHolders, len(top))]
		}
	}
	for _, v := range top {
		m := &p.members[v]
		amount := reason.Bytes(m.class.need[d])
		if d == cpu {
			amount = reason.CPU(m.class.need[d])
		}
		list = append(list, m.name+" "+amount)
	}
	return list
}

func (p *Planner) compareHolders(d int, a, b int32) int {
	x, y := &p.members[a], &p.members[b]
	if c := cmp.Compare(y.class.need[d], x.class.need[d]); c != 0 {
		return c
	}
	return unit.CompareNames(x.name, y.name)
}

// noStatic says why no machine is what is asked for, whatever its room.
func (p *Planner) noStatic(c *class) *reason.Reason {
	st := c.static
	var ids, runs int
	var runtime string
	for s := p.slots.present.next(0); s >= 0; s = p.slots.present.next(s + 1) {
		spec := &p.slots.spec[s]
		if st.isID(spec) {
			ids++
			if st.runs(spec) {
				runs++
			} else {
				runtime = spec.Runtime
			}
		}
	}
	switch {
	case ids == 0:
		return reason.Because(reason.NoMachineID, reason.Args{"want": st.id})
	case runs == 0:
		return reason.Because(reason.NoMachineRuntime, reason.Args{"type": st.typ, "runtime": runtime})
	}
	var all []string
	for _, t := range st.metadata {
		a := p.slots.attrs[t.Key]
		if a == nil {
			return reason.Because(reason.NoMachineMetadata, reason.Args{"want": wantText(t), "found": "no machine has " + t.Key})
		}
		if !slices.ContainsFunc(t.Values, func(v string) bool { return slices.Contains(a.values, v) }) {
			return reason.Because(reason.NoMachineMetadata, reason.Args{"want": wantText(t), "found": t.Key + " is " + several(a.values)})
		}
		all = append(all, wantText(t))
	}
	return reason.Because(reason.NoMachineMetadata, reason.Args{"want": strings.Join(all, " and "), "found": "each alone is there, not all on one machine"})
}

// namesOf names the matching machines that are down, or cordoned.
func (p *Planner) namesOf(c *class, f against) string {
	var names []string
	for s := p.slots.present.next(0); s >= 0; s = p.slots.present.next(s + 1) {
		if c.static.slots.has(s) && p.slots.down.has(s) == (f == isDown) {
			names = append(names, p.slots.name(s))
		}
	}
	slices.Sort(names)
	return several(names)
}

// closedWhy says why a machine that is not down takes nothing new: what a person said first.
func (p *Planner) closedWhy(s int32) *reason.Reason {
	spec := &p.slots.spec[s]
	switch {
	case spec.Draining:
		return reason.Because(reason.MachineDraining, reason.Args{"machine": p.slots.name(s)})
	case !spec.Cordoned && spec.Refuses != nil:
		return spec.Refuses
	}
	return reason.Because(reason.MachineCordoned, reason.Args{"machine": p.slots.name(s)})
}

// allClosed says why none of the matching machines takes anything new: the condition when there is one, which may pass
// by itself or has to be cured, else that people closed them.
func (p *Planner) allClosed(c *class) *reason.Reason {
	for s := p.slots.present.next(0); s >= 0; s = p.slots.present.next(s + 1) {
		if !c.static.slots.has(s) || p.slots.down.has(s) || p.slots.open.has(s) {
			continue
		}
		if why := p.closedWhy(s); why.Code != reason.MachineCordoned {
			return &reason.Reason{Code: why.Code, Args: why.Args}
		}
	}
	return reason.Because(reason.MachineCordoned, reason.Args{"machine": p.namesOf(c, isCordoned)})
}

// wantText writes zone=a, or zone=a|b for alternatives.
func wantText(t unit.MetadataTerm) string { return t.Key + "=" + strings.Join(t.Values, "|") }

func foundText(key string, have map[string]string) string {
	if v, ok := have[key]; ok {
		return key + " is " + v
	}
	return "it has no " + key
}

// several names the first few of a list.
func several(list []string) string {
	if len(list) > maxNames {
		return strings.Join(list[:maxNames], ", ") + " and more"
	}
	return strings.Join(list, ", ")
}
