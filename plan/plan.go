// Package plan decides on which machine each unit runs, and says why, or why on none.
//
// It is pure: no clock, no disk, no goroutine, no dice but the seed it is given. The same calls in the same
// order give the same changes. Tell a Planner what there is (SetMachine, SetUnit, Adopt) and ask Decide what
// is to change; a pass costs what changed since the last one. DESIGN.md in this directory says how it works.
//
// What it leaves to others: reading and writing the store (leader), knowing which machines are alive (leader),
// reading [X-Fleet] and [X-Argosy] (unit), starting anything (agent), fencing of Exclusive= (agent, store).
package plan

import (
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Machine is what placement has to know about a host.
type Machine struct {
	ID, Name    string
	Metadata    map[string]string // With a person's overrides.
	Allocatable unit.Resources    // What may be promised to units.
	Types       []string          // Unit types that its runtime runs; empty: every type.
	Runtime     string            // For people: systemd, native, fake.
	Cordoned    bool              // Keeps what it has, takes nothing new.
	Draining    bool              // Takes nothing new, and what it has moves elsewhere where that is possible.
	Refuses     *reason.Reason    // A condition for which it takes nothing new; nil: none, or Cordoned is why.
	Silent      bool              // Does not answer, but not for long: as cordoned, and told as down.
	Down        bool              // Its units are moved away.
}

// Unit is what placement has to know about a unit.
type Unit struct {
	Name   string
	Type   string // service, timer, …; empty: any machine runs it.
	Wanted bool   // The desired state is not inactive.
	Demand unit.Demand
}

// Change is one thing that the leader has to write.
//
//   - Machine set: the unit is to be there; From is the machine that it leaves, if any.
//   - Machine empty with a Reason: it is on no machine, and this is why; From is the machine that it leaves, if any.
//   - Machine empty, Reason nil: nobody wants it placed (any more): its placement and its unplaced record go.
//
// With Global set, a change is about one machine only, and touches no placement on another: Machine is where the unit
// comes to, or From is where it goes away from. A change with a Reason and neither says that it is on no machine at all.
// (An ordinary unit that the store holds on several machines is taken off the surplus ones in the same way.)
type Change struct {
	Unit, Machine, From string
	Epoch               int64 // Of the placement; grows with every move. With Machine empty: the last one used.
	Global              bool
	Reason              *reason.Reason
}

// Planner holds the picture and the decisions. It is not safe for concurrent use.
type Planner struct {
	seed  uint64
	dice  dice
	slots slots
	pass  uint64
	floor int64 // The largest epoch of a forgotten unit: one that comes again under its name starts above.

	members []member
	byName  map[string]int32
	spare   []int32 // Free places in members.
	names   nameIndex

	classes  map[string]*class
	serial   uint64
	statics  map[string]*static
	services map[string]*service
	globs    globIndex
	ports    map[portKey]*port
	shapes   shapes

	followers map[string][]int32 // Peer's name -> units with MachineOf= it.
	globals   []int32            // Known global units, by name.
	priority  map[int]int        // Priority -> placed ordinary units.

	// News since the last Decide.
	adopted    []int32
	stale      []int32 // Units whose class has to be found again.
	dirtyUnits []int32
	dirtySlots []int32
	freed      []int32 // Slots that can take more than before.
	ready      []*class
	waiting    []*class // Classes with units that are on no machine.
	touched    []int32
	machines   bool // A machine came, went or changed.
	drainLeft  bool // The pace ended the draining of machines.
	pace       int
	paced      bool
	moved      bool // Or anything else did: reasons may be of yesterday.

	// The waiting classes, then the globals, are explained anew by turns: see refresh.
	turn   int // The last one that was.
	behind int // How many are still to be.

	sample  sample
	scratch scratch
	changes []Change
}

// New makes an empty planner. The seed decides between equals.
func New(seed uint64) *Planner {
	return &Planner{
		seed: seed, dice: dice(seed), byName: map[string]int32{},
		slots:   slots{index: map[string]int32{}, attrs: map[string]*attribute{}},
		classes: map[string]*class{}, statics: map[string]*static{}, services: map[string]*service{},
		globs: globIndex{byPattern: map[string]*glob{}, byPrefix: map[string][]*glob{}},
		ports: map[portKey]*port{}, followers: map[string][]int32{}, priority: map[int]int{},
	}
}

// member is one unit, known or only adopted.
type member struct {
	name   string
	class  *class // nil: adopted, not known.
	wanted bool

	slot  int32 // Where it is, -1: nowhere. Global units: see global.
	epoch int64
	told  string         // What the store holds: the machine's id, or "".
	also  []string       // More machines that the store holds it on.
	why   *reason.Reason // What the store holds as the reason for being nowhere.

	queueAt int32          // Place in its class's queue, -1: not waiting.
	fits    int32          // When it was last placed: how many machines were in the choice,
	score   float32        // and the score of the chosen one.
	cause   *reason.Reason // Why it had to leave its last machine.

	global *global // For a Global unit.

	used                                   bool
	isAdopted, isTouched, isStale, isDirty bool
	grown                                  bool   // Asks for more than it did when it was placed.
	replacedIn                             uint64 // The pass in which it took another's place.
}

// SetUnit tells that a unit is there, or that it changed.
func (p *Planner) SetUnit(u Unit) {
	i := p.member(u.Name)
	m := &p.members[i]
	if m.class != nil && m.wanted == u.Wanted && p.isClass(m.class, &u) {
		return
	}
	old := m.class
	if m.wanted {
		p.want(old, -1)
	}
	p.reclassify(i, &u)
	m = &p.members[i]
	if u.Wanted {
		p.want(m.class, 1)
	}
	if old != nil && grew(old, m.class) {
		m.grown = true
	}
	m.wanted = u.Wanted
	p.dirty(i)
	p.touch(i)
	p.wakeFollowers(i)
}

// RemoveUnit tells that a unit is no more.
func (p *Planner) RemoveUnit(name string) {
	i, ok := p.byName[name]
	if !ok {
		return
	}
	if m := &p.members[i]; m.wanted {
		p.want(m.class, -1)
		m.wanted = false
	}
	p.leaveAll(i)
	p.forgetClass(i)
	p.touch(i)
	p.wakeFollowers(i)
}

// Adopt tells of a placement that the store already holds. It is kept as long as the machine may run the unit.
func (p *Planner) Adopt(unit, machineID string, epoch int64) {
	i := p.member(unit)
	m := &p.members[i]
	if m.told == "" || m.told == machineID {
		m.told = machineID
	} else {
		m.also = append(m.also, machineID)
	}
	m.epoch = max(m.epoch, epoch)
	if !m.isAdopted {
		m.isAdopted = true
		p.adopted = append(p.adopted, i)
	}
	p.touch(i)
}

// AdoptUnplaced tells of an unplaced record that the store already holds, so that it is not written again.
func (p *Planner) AdoptUnplaced(unit string, r *reason.Reason) {
	i := p.member(unit)
	p.members[i].why = r
	p.touch(i)
}

// AdoptEpoch tells the largest epoch that a unit was ever placed with, when no placement is left to say it.
func (p *Planner) AdoptEpoch(unit string, epoch int64) {
	m := &p.members[p.member(unit)]
	m.epoch = max(m.epoch, epoch)
}

// Promised is what is promised to units on a machine.
func (p *Planner) Promised(machineID string) unit.Resources {
	s, ok := p.slots.index[machineID]
	if !ok {
		return unit.Resources{}
	}
	var used [dims]int64
	for d := range used {
		used[d] = p.slots.limit[d][s] - p.slots.free[d][s]
	}
	return unit.Resources{CPU: used[cpu], Memory: used[memory], Disk: used[disk]}
}

// Placed tells the machine's id that a unit is on; empty for none, and for a Global unit.
func (p *Planner) Placed(name string) string {
	if i, ok := p.byName[name]; ok && p.members[i].slot >= 0 {
		return p.slots.spec[p.members[i].slot].ID
	}
	return ""
}

// member finds a unit, or makes a place for it.
func (p *Planner) member(name string) int32 {
	if i, ok := p.byName[name]; ok {
		return i
	}
	var i int32
	if n := len(p.spare); n > 0 {
		i, p.spare = p.spare[n-1], p.spare[:n-1]
	} else {
		i = int32(len(p.members))
		p.members = append(p.members, member{})
	}
	p.members[i] = member{name: name, slot: -1, queueAt: -1, used: true, epoch: p.floor}
	p.byName[name] = i
	return i
}

// touch notes news of a unit, which may make other units' reasons old.
func (p *Planner) touch(i int32) {
	p.moved = true
	p.toReport(i)
}

func (p *Planner) toReport(i int32) {
	if m := &p.members[i]; !m.isTouched {
		m.isTouched = true
		p.touched = append(p.touched, i)
	}
}

func (p *Planner) dirty(i int32) {
	if m := &p.members[i]; !m.isDirty {
		m.isDirty = true
		p.dirtyUnits = append(p.dirtyUnits, i)
	}
}
