package plan

// By default the units of one service keep apart, zones before machines, so that the death of one takes as few of them as
// can be: among the machines of a sample the zone with the fewest of them, then the machine with the fewest, and only then
// the score decides. It is soft: room, and what Spread= says, come first.

// zoneKey is the metadata that says which machines fail together.
const zoneKey = "zone"

// evenShare: a machine that holds no more than one in so many of a service's units is as good as one that holds none. So
// services of up to as many units are spread strictly, and bigger ones do not put a small unit onto every last machine,
// where the big units of others would have fitted (bench/place).
const evenShare = 16

// candidate is a machine that may take a unit.
type candidate struct {
	slot  int32
	zone  int32 // Index of the sample's zones; -1: no machine has one.
	peers int32 // Units of the same service there.
	units int32 // All units there.
	score float64
}

// zone is a value of the key, with how many units of the service are there.
type zone struct {
	name  string
	peers int32
}

func (p *Planner) candidate(c *class, s int32, need *amounts) candidate {
	a := candidate{slot: s, zone: -1, units: int32(len(p.slots.on[s])), score: p.score(s, need)}
	if c.service.on.total > 0 {
		a.peers = c.service.on.get(s)
		a.score -= peerWeight * float64(a.peers)
	}
	if p.slots.attrs[zoneKey] != nil {
		a.zone = p.sample.zone(p.slots.spec[s].Metadata[zoneKey])
	}
	return a
}

// zone finds a zone among those of the sample.
func (m *sample) zone(name string) int32 {
	for i := range m.zones {
		if m.zones[i].name == name {
			return int32(i)
		}
	}
	m.zones = append(m.zones, zone{name: name})
	return int32(len(m.zones) - 1)
}

// best gives the best machine of the sample.
func (p *Planner) best(c *class) (int32, float64, int32) {
	m := &p.sample
	for i := range m.zones {
		m.zones[i].peers = c.zones.units[m.zones[i].name]
	}
	share := int32(c.service.on.total / evenShare)
	best := 0
	for i := 1; i < len(m.list); i++ {
		if m.better(&m.list[i], &m.list[best], share) {
			best = i
		}
	}
	m.last = best
	return m.list[best].slot, m.list[best].score, m.fits
}

// better tells whether a is strictly better than b.
func (m *sample) better(a, b *candidate, share int32) bool {
	if a.zone != b.zone {
		if x, y := m.zones[a.zone].peers, m.zones[b.zone].peers; x != y {
			return x < y
		}
	}
	if x, y := max(a.peers, share), max(b.peers, share); x != y {
		return x < y
	}
	if a.score != b.score {
		return a.score > b.score
	}
	return a.units < b.units
}
