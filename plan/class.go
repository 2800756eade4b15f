package plan

import (
	"encoding/binary"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// class is all units that placement cannot tell apart: same demand, same type, matched by the same globs.
type class struct {
	key    string
	own    int // How much of the key is the units' own demand; the rest is the globs that match them.
	serial uint64
	demand unit.Demand
	typ    string
	need   amounts

	static    *static
	service   *service
	conflicts []*glob
	replaces  []*glob
	matched   []*glob // Globs in use that match the members' names.
	ports     []portUse
	spread    []*spreadCount // Beside demand.Spread; nil for "machine".
	zones     *spreadCount   // By zoneKey: may be one of spread.
	shape     bool           // Its shape was offered to the shapes.

	members int
	queue   []int32 // Units that wait for a place, in order; -1 where one went away. Starts at head.
	head    int
	queued  int // Units in the queue.

	isReady, isWaiting, explain bool
	why                         *reason.Reason // Why its queue waits.
	older                       bool           // Its units were told other numbers: see retellLimit.
}

// static is what the machine itself has to be, apart from room: kept as a set for all classes that ask the same.
type static struct {
	key      string
	typ      string
	id       string
	metadata []unit.MetadataTerm
	slots    slotSet
	refs     int
}

// matches is fleet's rule: the values of one key are alternatives, different keys must all match;
// MachineID= is a full id or its first eight characters.
func (s *static) matches(m *Machine) bool {
	return s.runs(m) && s.isID(m) && s.hasMetadata(m)
}

func (s *static) runs(m *Machine) bool {
	return s.typ == "" || len(m.Types) == 0 || slices.Contains(m.Types, s.typ)
}

func (s *static) isID(m *Machine) bool {
	return s.id == "" || m.ID == s.id || cluster.ShortID(m.ID) == s.id
}

func (s *static) hasMetadata(m *Machine) bool {
	for _, t := range s.metadata {
		if !slices.Contains(t.Values, m.Metadata[t.Key]) {
			return false
		}
	}
	return true
}

// service counts what units of one service are where.
type service struct {
	refs   int // Classes.
	on     tally
	spread []*spreadCount
}

// spreadCount counts the service's units per value of one metadata key.
type spreadCount struct {
	key   string
	units map[string]int32
}

func (s *service) spreadOn(key string) *spreadCount {
	for _, c := range s.spread {
		if c.key == key {
			return c
		}
	}
	c := &spreadCount{key: key, units: map[string]int32{}}
	s.spread = append(s.spread, c)
	return c
}

// name is the key with patterns in place of the globs' serial numbers, to compare classes of two planners.
func (c *class) name() string {
	b := []byte(c.key[:c.own])
	for _, g := range c.matched {
		b = text(b, g.pattern)
	}
	return string(b)
}

// byMachine is the Spread= key that is the machine itself.
const byMachine = "machine"

func text(b []byte, ss ...string) []byte {
	b = binary.AppendUvarint(b, uint64(len(ss)))
	for _, s := range ss {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func appendFlag(b []byte, on bool) []byte {
	if on {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendKey writes everything that placement looks at; lengths stand before texts, so two demands never read alike.
func appendKey(b []byte, u *Unit) []byte {
	d := &u.Demand
	b = text(b, u.Type, d.Service, d.MachineID)
	for _, n := range []int64{d.Request.CPU, d.Request.Memory, d.Request.Disk, int64(d.Priority)} {
		b = binary.AppendVarint(b, n)
	}
	b = appendFlag(appendFlag(b, d.Global), d.Exclusive)
	b = binary.AppendUvarint(b, uint64(len(d.Ports)))
	for _, p := range d.Ports {
		b = binary.AppendUvarint(b, uint64(p.Number))
		b = text(b, p.Proto, p.Address)
	}
	b = appendMetadata(b, d.Metadata)
	b = text(b, d.MachineOf...)
	b = text(b, d.Conflicts...)
	b = text(b, d.Replaces...)
	return text(b, d.Spread...)
}

func appendMetadata(b []byte, terms []unit.MetadataTerm) []byte {
	b = binary.AppendUvarint(b, uint64(len(terms)))
	for _, t := range terms {
		b = text(b, t.Key)
		b = text(b, t.Values...)
	}
	return b
}

// isClass tells whether a unit as told still belongs to a class.
func (p *Planner) isClass(c *class, u *Unit) bool {
	p.scratch.key = appendKey(p.scratch.key[:0], u)
	return string(p.scratch.key) == c.key[:c.own]
}

// classOf finds or makes the class of a unit.
func (p *Planner) classOf(u *Unit) *class {
	for _, list := range [][]string{u.Demand.Conflicts, u.Demand.Replaces} {
		for _, pattern := range list {
			if g, isNew := p.globs.get(pattern); isNew {
				p.rematch(g)
			}
		}
	}
	p.scratch.globs = p.globs.matching(u.Name, p.scratch.globs[:0])
	key := appendKey(p.scratch.key[:0], u)
	own := len(key)
	for _, g := range p.scratch.globs {
		key = binary.AppendUvarint(key, g.serial)
	}
	p.scratch.key = key
	if c := p.classes[string(key)]; c != nil {
		return c
	}
	return p.newClass(u, string(key), own)
}

func (p *Planner) newClass(u *Unit, key string, own int) *class {
	d := u.Demand
	p.serial++
	c := &class{
		key: key, own: own, serial: p.serial, demand: d, typ: u.Type, need: amountsOf(d.Request),
		matched: slices.Clone(p.scratch.globs), conflicts: p.globList(d.Conflicts), replaces: p.globList(d.Replaces),
	}
	c.static = p.staticOf(u)
	c.service = p.serviceOf(d.Service)
	for _, q := range d.Ports {
		c.ports = append(c.ports, p.portOf(q))
	}
	for _, k := range d.Spread {
		if k == byMachine {
			c.spread = append(c.spread, nil)
		} else {
			c.spread = append(c.spread, c.service.spreadOn(k))
		}
	}
	c.zones = c.service.spreadOn(zoneKey)
	p.classes[key] = c
	return c
}

// globList gives the globs of patterns, each once, and holds them.
func (p *Planner) globList(patterns []string) (list []*glob) {
	for _, s := range patterns {
		if g, _ := p.globs.get(s); !slices.Contains(list, g) {
			list = append(list, g)
			g.refs++
		}
	}
	return list
}

func (p *Planner) staticOf(u *Unit) *static {
	b := appendMetadata(text(nil, u.Type, u.Demand.MachineID), u.Demand.Metadata)
	st := p.statics[string(b)]
	if st == nil {
		st = &static{key: string(b), typ: u.Type, id: u.Demand.MachineID, metadata: u.Demand.Metadata}
		for s := p.slots.present.next(0); s >= 0; s = p.slots.present.next(s + 1) {
			st.slots.set(s, st.matches(&p.slots.spec[s]))
		}
		p.statics[st.key] = st
	}
	st.refs++
	return st
}

func (p *Planner) serviceOf(name string) *service {
	s := p.services[name]
	if s == nil {
		s = &service{}
		p.services[name] = s
	}
	s.refs++
	return s
}

// dropClass forgets a class without members and what only it held.
func (p *Planner) dropClass(c *class) {
	delete(p.classes, c.key)
	if c.static.refs--; c.static.refs == 0 {
		delete(p.statics, c.static.key)
	}
	if c.service.refs--; c.service.refs == 0 {
		delete(p.services, c.demand.Service)
	}
	for _, list := range [][]*glob{c.conflicts, c.replaces} {
		for _, g := range list {
			if g.refs--; g.refs == 0 {
				p.globs.drop(g)
				p.rematch(g)
			}
		}
	}
	for _, q := range c.ports {
		p.dropPort(q.port)
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(o *class) bool { return o == c })
	p.ready = slices.DeleteFunc(p.ready, func(o *class) bool { return o == c })
	if p.sample.class == c {
		p.sample.class = nil
	}
}

// reclassify puts a unit into the class that fits what it is now, and moves its marks on the machines along.
func (p *Planner) reclassify(i int32, u *Unit) {
	m := &p.members[i]
	c, old := p.classOf(u), m.class
	if c == old {
		return
	}
	if old == nil {
		p.names.add(i)
	} else if old.demand.Global != c.demand.Global {
		p.leaveAll(i)
	}
	p.setFollower(i, old, c)
	waited := m.queueAt >= 0
	if waited {
		p.unqueue(i)
	}
	p.unmarkAll(i)
	m.class = c
	c.members++
	p.setGlobal(i, c.demand.Global)
	p.markAll(i)
	if waited {
		p.enqueue(i)
	}
	if old != nil {
		if old.members--; old.members == 0 {
			p.dropClass(old)
		}
	}
}

// forgetClass makes a unit unknown; it is nowhere.
func (p *Planner) forgetClass(i int32) {
	m := &p.members[i]
	old := m.class
	if old == nil {
		return
	}
	p.setFollower(i, old, nil)
	p.setGlobal(i, false)
	m.class = nil
	if old.members--; old.members == 0 {
		p.dropClass(old)
	}
}

// setFollower keeps the index of who follows whom.
func (p *Planner) setFollower(i int32, old, now *class) {
	if old != nil {
		for _, peer := range old.demand.MachineOf {
			list := slices.DeleteFunc(p.followers[peer], func(f int32) bool { return f == i })
			if len(list) == 0 {
				delete(p.followers, peer)
			} else {
				p.followers[peer] = list
			}
		}
	}
	if now != nil {
		for _, peer := range now.demand.MachineOf {
			if !slices.Contains(p.followers[peer], i) {
				p.followers[peer] = append(p.followers[peer], i)
			}
		}
	}
}

// grew tells whether the new class may not fit where the old one was.
func grew(old, now *class) bool {
	for d := range dims {
		if now.need[d] > old.need[d] {
			return true
		}
	}
	return false
}

// findStale finds the classes of units again after globs came or went.
func (p *Planner) findStale() {
	for len(p.stale) > 0 {
		list := p.stale
		p.stale = nil
		for _, i := range list {
			m := &p.members[i]
			m.isStale = false
			if m.class != nil {
				p.reclassify(i, &Unit{Name: m.name, Type: m.class.typ, Demand: m.class.demand})
				if m := &p.members[i]; m.slot >= 0 {
					p.dirtySlots = append(p.dirtySlots, m.slot)
				}
			}
		}
	}
}

// portKey is a host port.
type portKey struct {
	proto  string
	number uint16
}

// port is who holds a host port where: on every address, on any at all, on a certain one.
type port struct {
	key       portKey
	refs      int
	wild, any counted
	addresses []portAddress
}

type portAddress struct {
	address string
	slots   *counted
}

// portUse is one port that a class asks for; address nil: on every address.
type portUse struct {
	*port
	address *counted
}

// PortsClash tells whether two host ports cannot be held on one machine at once: the same number of the same protocol, on
// the same address or on every one.
func PortsClash(a, b unit.Port) bool {
	return keyOf(a) == keyOf(b) && (a.Address == b.Address || wildcard(a.Address) || wildcard(b.Address))
}

func keyOf(q unit.Port) portKey {
	k := portKey{q.Proto, q.Number}
	if k.proto == "" {
		k.proto = "tcp"
	}
	return k
}

// wildcard tells whether an address stands for every address of the machine.
func wildcard(address string) bool {
	switch strings.Trim(address, "[]") {
	case "", "*", "0.0.0.0", "::":
		return true
	}
	return false
}

func (p *Planner) portOf(q unit.Port) portUse {
	k := keyOf(q)
	t := p.ports[k]
	if t == nil {
		t = &port{key: k}
		p.ports[k] = t
	}
	t.refs++
	if wildcard(q.Address) {
		return portUse{t, nil}
	}
	for _, a := range t.addresses {
		if a.address == q.Address {
			return portUse{t, a.slots}
		}
	}
	a := portAddress{q.Address, &counted{}}
	t.addresses = append(t.addresses, a)
	return portUse{t, a.slots}
}

func (p *Planner) dropPort(t *port) {
	if t.refs--; t.refs == 0 {
		delete(p.ports, t.key)
	}
}

// taken gives a word of the slots on which this use of the port would clash.
func (u *portUse) taken(word int) uint64 {
	if u.address == nil {
		return u.any.slots.at(word)
	}
	return u.wild.slots.at(word) | u.address.slots.at(word)
}

// clashes tells whether two uses cannot be on one machine.
func (u *portUse) clashes(o *portUse) bool {
	return u.port == o.port && (u.address == nil || o.address == nil || u.address == o.address)
}
