package remote

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
)

// index holds what the parts are made of, and knows which change concerns which machine.
type index struct {
	revision int64
	units    map[string]store.Entry
	holders  map[string]map[string]struct{}    // Unit -> the machines with a placement or a status of it.
	placed   map[string]map[string]store.Entry // Unit that is not global -> machine -> its placement.
	parts    map[string]*part
	servers  map[string]server // By machine.
	leader   store.Entry       // Without a key: nobody has led yet.
	settings store.Entry       // Of the cluster. Without a key: there are none.
	reign    string            // Whom the machines know as leader.
}

// part is what one machine has of its own.
type part struct {
	own   map[string]store.Entry // By key.
	units map[string]claim
	// moved: by unit, where a unit is placed now that has only a status here. From that a machine knows that the unit was
	// moved, and not forgotten.
	moved map[string]map[string]store.Entry
}

// claim is why a unit belongs to a part.
type claim struct{ placed, status bool }

// server is what the machines know of a server: its record, of which they are told at once what they need to reach it,
// and whether it is there.
type server struct {
	record, alive store.Entry // Without a value: not there.
	face          face
}

type face struct{ name, address, peer, version string }

// delta is what one revision means for the machines.
type delta struct {
	revision int64
	common   []store.Entry            // For every machine.
	own      map[string][]store.Entry // By machine.
	bytes    int
}

func newIndex(pic store.Picture) *index {
	x := &index{
		units: map[string]store.Entry{}, holders: map[string]map[string]struct{}{},
		placed: map[string]map[string]store.Entry{}, parts: map[string]*part{}, servers: map[string]server{},
	}
	x.ingest(store.Batch{Revision: pic.Revision, Entries: pic.Entries})
	return x
}

// pair is a unit on a machine that a revision was about, and whether the unit was in the machine's part before.
type pair struct{ machine, unit string }

// ingest takes a revision in and tells whom it concerns.
func (x *index) ingest(b store.Batch) delta {
	d := delta{revision: b.Revision, own: map[string][]store.Entry{}}
	before := map[pair]bool{}  // Placements and statuses that changed: was the unit in the part?
	units := map[string]bool{} // Units that changed.
	seen := map[string]bool{}  // Machines whose record or lease changed.
	moves := map[string]bool{} // Units that are not global whose placements changed.
	for _, e := range b.Entries {
		switch prefix, rest := split(e.Key); prefix {
		case cluster.UnitsPrefix:
			set(x.units, rest, e)
			units[rest] = true
		case cluster.PlacementsPrefix, cluster.StatusesPrefix:
			machine, unit, ok := strings.Cut(rest, "/")
			if !ok {
				continue
			}
			p := pair{machine, unit}
			if _, seen := before[p]; !seen {
				before[p] = x.holds(p)
			}
			x.claim(p, prefix, e.Value != nil)
			if prefix == cluster.PlacementsPrefix && x.place(p, e) {
				moves[unit] = true
			}
			x.set(machine, e, &d)
		case cluster.MachinesPrefix, cluster.AlivePrefix:
			x.set(rest, e, &d)
			seen[rest] = true
		case cluster.AdminPrefix, cluster.MembersPrefix, cluster.CondemnedPrefix:
			x.set(rest, e, &d)
		case cluster.LeaderPrefix:
			x.setLeader(e, &d)
		case cluster.SettingsPrefix: // Each machine has to know of a restore.
			x.settings = e
			d.common = append(d.common, e)
		}
	}
	x.deliverUnits(before, units, &d)
	x.deliverMoves(before, moves, &d)
	for machine := range seen {
		x.setServer(machine, &d)
	}
	x.revision = max(x.revision, b.Revision)
	d.finish(b)
	for machine := range d.own {
		x.drop(machine)
	}
	return d
}

// set keeps an entry of a machine's own.
func (x *index) set(machine string, e store.Entry, d *delta) {
	if machine == "" || strings.Contains(machine, "/") {
		return
	}
	p := x.part(machine)
	set(p.own, e.Key, e)
	d.own[machine] = append(d.own[machine], e)
}

func (x *index) part(machine string) *part {
	p := x.parts[machine]
	if p == nil {
		p = &part{own: map[string]store.Entry{}, units: map[string]claim{}, moved: map[string]map[string]store.Entry{}}
		x.parts[machine] = p
	}
	return p
}

// drop forgets a part in which nothing is left.
func (x *index) drop(machine string) {
	if p := x.parts[machine]; p != nil && len(p.own) == 0 && len(p.units) == 0 {
		delete(x.parts, machine)
	}
}

func (x *index) holds(p pair) bool {
	part := x.parts[p.machine]
	if part == nil {
		return false
	}
	_, ok := part.units[p.unit]
	return ok
}

func (x *index) claim(p pair, prefix string, there bool) {
	part := x.part(p.machine)
	c := part.units[p.unit]
	if prefix == cluster.PlacementsPrefix {
		c.placed = there
	} else {
		c.status = there
	}
	if c != (claim{}) {
		part.units[p.unit] = c
		if x.holders[p.unit] == nil {
			x.holders[p.unit] = map[string]struct{}{}
		}
		x.holders[p.unit][p.machine] = struct{}{}
		return
	}
	delete(part.units, p.unit)
	delete(x.holders[p.unit], p.machine)
	if len(x.holders[p.unit]) == 0 {
		delete(x.holders, p.unit)
	}
}

// deliverUnits sends units to the machines that they belong to: one that changed, one that came into a part with its
// placement, and one that left a part as deleted.
func (x *index) deliverUnits(before map[pair]bool, units map[string]bool, d *delta) {
	for unit := range units {
		for machine := range x.holders[unit] {
			p := pair{machine, unit}
			if _, moved := before[p]; !moved {
				d.own[machine] = append(d.own[machine], x.unit(unit, d.revision))
			}
		}
	}
	for p, was := range before {
		switch is := x.holds(p); {
		case is && (!was || units[p.unit]):
			if e := x.unit(p.unit, d.revision); e.Value != nil || was {
				d.own[p.machine] = append(d.own[p.machine], e)
			}
		case was && !is:
			d.own[p.machine] = append(d.own[p.machine], store.Entry{Key: cluster.UnitKey(p.unit), Revision: d.revision})
		}
	}
}

// place keeps where units are that are not global, and tells whether the entry is about such a one. Global ones are
// not moved, and have as many placements as there are machines.
func (x *index) place(p pair, e store.Entry) bool {
	var now cluster.Placement
	global := json.Unmarshal(e.Value, &now) == nil && now.Global
	_, was := x.placed[p.unit][p.machine]
	switch {
	case e.Value != nil && !global:
		if x.placed[p.unit] == nil {
			x.placed[p.unit] = map[string]store.Entry{}
		}
		x.placed[p.unit][p.machine] = e
		return true
	case was:
		delete(x.placed[p.unit], p.machine)
		if len(x.placed[p.unit]) == 0 {
			delete(x.placed, p.unit)
		}
	}
	return was
}

// deliverMoves tells machines that have only a status of a unit left where it is placed now.
func (x *index) deliverMoves(before map[pair]bool, moves map[string]bool, d *delta) {
	for p := range before {
		if !moves[p.unit] {
			x.deliverMove(p, d)
		}
	}
	for unit := range moves {
		for machine := range x.holders[unit] {
			x.deliverMove(pair{machine, unit}, d)
		}
	}
	for p := range before { // Who holds it no more.
		if moves[p.unit] && !x.holds(p) {
			x.deliverMove(p, d)
		}
	}
}

func (x *index) deliverMove(p pair, d *delta) {
	part := x.parts[p.machine]
	if part == nil {
		return
	}
	now := map[string]store.Entry{}
	if part.units[p.unit] == (claim{status: true}) {
		for machine, e := range x.placed[p.unit] {
			if machine != p.machine {
				now[e.Key] = e
			}
		}
	}
	told := part.moved[p.unit]
	for key, e := range now {
		if told[key].Revision != e.Revision {
			d.own[p.machine] = append(d.own[p.machine], e)
		}
	}
	for key := range told {
		if _, still := now[key]; !still {
			d.own[p.machine] = append(d.own[p.machine], store.Entry{Key: key, Revision: d.revision})
		}
	}
	if len(now) > 0 {
		part.moved[p.unit] = now
	} else {
		delete(part.moved, p.unit)
	}
}

// unit is the record of a unit, or its deletion.
func (x *index) unit(name string, revision int64) store.Entry {
	if e, ok := x.units[name]; ok {
		return e
	}
	return store.Entry{Key: cluster.UnitKey(name), Revision: revision}
}

// setServer tells all machines about a server when something changed that they need to reach it: not with every
// record that it writes about itself.
func (x *index) setServer(machine string, d *delta) {
	var own map[string]store.Entry
	if p := x.parts[machine]; p != nil {
		own = p.own
	}
	record, alive := own[cluster.MachineKey(machine)], own[cluster.AliveKey(machine)]
	before, was := x.servers[machine]
	var m cluster.Machine
	is := record.Value != nil && json.Unmarshal(record.Value, &m) == nil && m.Server
	now := server{record, alive, face{m.Name, m.Address, m.PeerURL, m.Version}}
	if is {
		x.servers[machine] = now
	} else {
		delete(x.servers, machine)
		now = server{}
	}
	gone := func(key string) store.Entry { return store.Entry{Key: key, Revision: d.revision} }
	switch {
	case is && (!was || before.face != now.face):
		d.common = append(d.common, record)
	case was && !is:
		d.common = append(d.common, gone(cluster.MachineKey(machine)))
	}
	switch had, has := before.alive.Value != nil, now.alive.Value != nil; {
	case has && !had:
		d.common = append(d.common, alive)
	case had && !has:
		d.common = append(d.common, gone(cluster.AliveKey(machine)))
	}
}

// setLeader tells all machines when another one leads. The leader writes its record with everything that it writes.
func (x *index) setLeader(e store.Entry, d *delta) {
	if e.Key != cluster.LeaderKey() {
		return
	}
	x.leader = e
	var r cluster.Reign
	who := string(e.Value)
	if json.Unmarshal(e.Value, &r) == nil {
		who = r.ID
	}
	if who != x.reign {
		x.reign = who
		d.common = append(d.common, e)
	}
}

// read gives a machine's part, sorted by key.
func (x *index) read(machine string) store.Picture {
	entries := map[string]store.Entry{}
	for id, s := range x.servers {
		entries[cluster.MachineKey(id)] = s.record
		if s.alive.Value != nil {
			entries[cluster.AliveKey(id)] = s.alive
		}
	}
	if x.leader.Value != nil {
		entries[x.leader.Key] = x.leader
	}
	if x.settings.Value != nil {
		entries[x.settings.Key] = x.settings
	}
	if p := x.parts[machine]; p != nil {
		maps.Copy(entries, p.own)
		for _, now := range p.moved {
			maps.Copy(entries, now)
		}
		for name := range p.units {
			if e, ok := x.units[name]; ok {
				entries[e.Key] = e
			}
		}
	}
	return store.Picture{Revision: x.revision, Entries: sorted(slices.Collect(maps.Values(entries)))}
}

// entryBytes is what a reference to an entry takes in memory, roughly.
const entryBytes = 96

// finish sorts what goes out and counts it: values are shared by all to whom they go.
func (d *delta) finish(b store.Batch) {
	d.bytes = len(d.common) * entryBytes
	for _, e := range b.Entries {
		d.bytes += len(e.Key) + len(e.Value)
	}
	for _, entries := range d.own {
		d.bytes += len(sorted(entries)) * entryBytes
	}
}

// of is what a machine is sent. What all are told about a machine, it knows itself.
func (d *delta) of(machine string) []store.Entry {
	own := d.own[machine]
	if len(d.common) == 0 {
		return own
	}
	out := slices.Clone(own)
	for _, e := range d.common {
		if e.Key != cluster.MachineKey(machine) && e.Key != cluster.AliveKey(machine) {
			out = append(out, e)
		}
	}
	return sorted(out)
}

func sorted(entries []store.Entry) []store.Entry {
	slices.SortFunc(entries, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries
}

func set(m map[string]store.Entry, key string, e store.Entry) {
	if e.Value == nil {
		delete(m, key)
	} else {
		m[key] = e
	}
}

// split takes a key apart behind its first slash.
func split(key string) (prefix, rest string) {
	i := strings.IndexByte(key, '/') + 1
	return key[:i], key[i:]
}
