package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

// partOf says plainly what a machine's part of a whole store is.
func partOf(all store.Picture, machine string) map[string]string {
	out, units := map[string]string{}, map[string]bool{}
	values := asMap(all.Entries)
	there := func(key string) bool { _, ok := values[key]; return ok }
	for _, e := range all.Entries {
		for _, prefix := range []string{cluster.PlacementsPrefix, cluster.StatusesPrefix} {
			if unit, ok := strings.CutPrefix(e.Key, prefix+machine+"/"); ok {
				out[e.Key], units[unit] = string(e.Value), true
			}
		}
		switch e.Key {
		case cluster.MachineKey(machine), cluster.AdminKey(machine), cluster.AliveKey(machine), cluster.MemberKey(machine), cluster.CondemnedKey(machine), cluster.LeaderKey():
			out[e.Key] = string(e.Value)
		}
		var m cluster.Machine
		if strings.HasPrefix(e.Key, cluster.MachinesPrefix) && json.Unmarshal(e.Value, &m) == nil && m.Server {
			out[e.Key] = string(e.Value)
			if alive, ok := values[cluster.AliveKey(m.ID)]; ok {
				out[cluster.AliveKey(m.ID)] = alive
			}
		}
	}
	for _, e := range all.Entries {
		if unit, ok := strings.CutPrefix(e.Key, cluster.UnitsPrefix); ok && units[unit] {
			out[e.Key] = string(e.Value)
		}
		if rest, ok := strings.CutPrefix(e.Key, cluster.PlacementsPrefix); ok {
			_, unit, _ := strings.Cut(rest, "/")
			if there(cluster.StatusKey(machine, unit)) && !there(cluster.PlacementKey(machine, unit)) && !strings.Contains(string(e.Value), `"global":true`) {
				out[e.Key] = string(e.Value)
			}
		}
	}
	return out
}

// essence leaves out of a part what machines are told of others only with their next read: who leads, without since
// when, and what they need to reach a server.
func essence(part map[string]string, machine string) map[string]string {
	out := maps.Clone(part)
	for key, value := range out {
		switch {
		case key == cluster.LeaderKey():
			var r cluster.Reign
			_ = json.Unmarshal([]byte(value), &r)
			out[key] = r.ID
		case strings.HasPrefix(key, cluster.MachinesPrefix) && key != cluster.MachineKey(machine):
			var m cluster.Machine
			_ = json.Unmarshal([]byte(value), &m)
			out[key] = m.Name + m.Address + m.PeerURL
		case strings.HasPrefix(key, cluster.AlivePrefix) && key != cluster.AliveKey(machine):
			out[key] = "there"
		}
	}
	return out
}

func asMap(entries []store.Entry) map[string]string {
	out := map[string]string{}
	for _, e := range entries {
		out[e.Key] = string(e.Value)
	}
	return out
}

// storm makes random revisions, also such in which writers meet that never write together today.
type storm struct {
	r        *rand.Rand
	revision int64
	entries  map[string]store.Entry
}

func newStorm(seed uint64) *storm {
	return &storm{r: rand.New(rand.NewPCG(seed, 1)), revision: 1, entries: map[string]store.Entry{}}
}

func (m *storm) pick(prefix string, n int) string { return fmt.Sprintf("%s%d", prefix, m.r.IntN(n)) }

// change draws a key and a value.
func (m *storm) change() (key string, v any) {
	machine, unit := m.pick("m", 4), m.pick("u", 5)+".service"
	v = m.r.Int()
	switch m.r.IntN(8) {
	case 0, 1:
		return cluster.UnitKey(unit), v
	case 2, 3:
		return cluster.PlacementKey(machine, unit), cluster.Placement{Unit: unit, Epoch: m.r.Int64(), Global: m.r.IntN(3) == 0}
	case 4, 5:
		return cluster.StatusKey(machine, unit), v
	case 6:
		return cluster.LeaderKey(), cluster.Reign{ID: m.pick("m", 2)}
	}
	return m.other(machine, v)
}

func (m *storm) other(machine string, v any) (string, any) {
	switch m.r.IntN(6) {
	case 0:
		return cluster.AdminKey(machine), v
	case 1:
		return cluster.AliveKey(machine), v
	case 2:
		return cluster.MemberKey(machine), v
	case 3:
		return cluster.UnplacedKey("u"), v
	case 4:
		return cluster.CondemnedKey(machine), v
	}
	return cluster.MachineKey(machine), cluster.Machine{
		ID: machine, Server: m.r.IntN(2) == 0, Address: m.pick("a", 2), Kernel: m.pick("k", 9),
	}
}

func (m *storm) next() store.Batch {
	m.revision++
	changed := map[string]store.Entry{}
	for range 1 + m.r.IntN(6) {
		key, v := m.change()
		e := store.Entry{Key: key, Value: cluster.Encode(v), Revision: m.revision}
		if _, there := m.entries[key]; there && m.r.IntN(3) == 0 {
			e.Value = nil
		}
		changed[key] = e
	}
	for key, e := range changed {
		set(m.entries, key, e)
	}
	return store.Batch{Revision: m.revision, Entries: sorted(slices.Collect(maps.Values(changed)))}
}

func (m *storm) all() store.Picture {
	return store.Picture{Revision: m.revision, Entries: sorted(slices.Collect(maps.Values(m.entries)))}
}

// TestPartsAreTheStore: whatever happens, a machine that read its part once and followed it knows what the store holds
// for it; and a new reader too.
func TestPartsAreTheStore(t *testing.T) {
	const seeds, revisions = 25, 80
	for seed := range uint64(seeds) {
		m := newStorm(seed)
		for range m.r.IntN(40) {
			m.next()
		}
		x := newIndex(m.all())
		known := map[string]map[string]string{}
		for i := range 4 {
			id := fmt.Sprintf("m%d", i)
			known[id] = asMap(x.read(id).Entries)
		}
		for range revisions {
			d := x.ingest(m.next())
			for id, part := range known {
				apply(t, part, d.of(id), seed)
				want := partOf(m.all(), id)
				if got := asMap(x.read(id).Entries); !maps.Equal(got, want) {
					t.Fatalf("seed %d, revision %d: %s reads %v, want %v", seed, m.revision, id, got, want)
				}
				if !maps.Equal(essence(part, id), essence(want, id)) {
					t.Fatalf("seed %d, revision %d: %s followed to %v, want %v", seed, m.revision, id, part, want)
				}
			}
		}
	}
}

func apply(t *testing.T, part map[string]string, entries []store.Entry, seed uint64) {
	t.Helper()
	if !slices.IsSortedFunc(entries, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) }) {
		t.Fatalf("seed %d: not sorted: %s", seed, keys(entries))
	}
	for i, e := range entries {
		if i > 0 && entries[i-1].Key == e.Key {
			t.Fatalf("seed %d: %s is twice in one revision", seed, e.Key)
		}
		if e.Value == nil {
			delete(part, e.Key)
		} else {
			part[e.Key] = string(e.Value)
		}
	}
}

// TestIndexForgets: what is gone leaves nothing behind.
func TestIndexForgets(t *testing.T) {
	m := newStorm(7)
	for range 300 {
		m.next()
	}
	x := newIndex(m.all())
	last := store.Batch{Revision: x.revision + 1}
	for _, e := range m.all().Entries {
		last.Entries = append(last.Entries, store.Entry{Key: e.Key, Revision: last.Revision})
	}
	x.ingest(last)
	if len(x.units)+len(x.holders)+len(x.placed)+len(x.parts)+len(x.servers) > 0 || x.leader.Value != nil {
		t.Errorf("left over: %d units, %d holders, %d parts, %d servers", len(x.units), len(x.holders), len(x.parts), len(x.servers))
	}
}

// TestOneStartWakesOneMachine: among a thousand machines, starting a unit concerns the one that it is placed on.
func TestOneStartWakesOneMachine(t *testing.T) {
	const machines = 1000
	s := memory.New()
	p := feed(t, s)
	leader := s.Elect("m0").Writer
	var all []*watch
	for i := range machines {
		w, err := p.watch(within(t), fmt.Sprintf("m%d", i), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		all = append(all, w)
	}
	before := p.Woken()
	write(t, s, ann, store.Put(cluster.UnitKey("web.service"), cluster.Wanted{Name: "web.service"}))
	write(t, s, leader, placement("m417", "web.service"), store.Put(cluster.UnplacedKey("x.service"), 1))
	rev := write(t, s, store.Writer{Role: store.Machine, ID: "m417"}, store.Put(cluster.StatusKey("m417", "web.service"), 1))
	reach(t, p, rev)
	if p.Wakes("m417") != 2 || p.Woken()-before != 2 { // For its placement, and for its own status.
		t.Errorf("m417 was woken %d times, all machines %d times, want 2 and 2", p.Wakes("m417"), p.Woken()-before)
	}
	for i, w := range all {
		select {
		case <-w.wake:
			if i != 417 {
				t.Errorf("m%d was woken", i)
			}
		default:
			if i == 417 {
				t.Error("m417 was not woken")
			}
		}
	}
	if p.Watches() != machines {
		t.Errorf("%d watches", p.Watches())
	}
}

// TestRingIsBounded: a watch that stayed behind for too long reads again.
func TestRingIsBounded(t *testing.T) {
	s := memory.New()
	p := feed(t, s)
	w, err := p.watch(within(t), "m1", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	var rev int64
	for i := range keptRevisions + 1 {
		rev = write(t, s, ann, store.Put(cluster.AdminKey("m1"), i))
	}
	reach(t, p, rev)
	if _, _, err := w.next(); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("got %v", err)
	}
	again, err := p.watch(within(t), "m1", rev-keptRevisions)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	n := 0
	for {
		batches, reached, err := again.next()
		if err != nil {
			t.Fatal(err)
		}
		if n += len(batches); len(batches) == 0 {
			if reached != rev {
				t.Errorf("reached %d, want %d", reached, rev)
			}
			break
		}
	}
	if n != keptRevisions {
		t.Errorf("%d batches of the last %d", n, keptRevisions)
	}
	// A quiet machine stays as near to the present as one that is told something.
	rev2 := write(t, s, ann, store.Put(cluster.RevokedKey("machine", "m7"), 1))
	reach(t, p, rev2)
	if batches, reached, err := again.next(); err != nil || len(batches) > 0 || reached != rev2 {
		t.Errorf("reached %d with %d batches (%v), want %d", reached, len(batches), err, rev2)
	}
	late, err := p.watch(within(t), "m1", rev-1)
	if err != nil {
		t.Fatal(err)
	}
	defer late.close()
	if batches, _, err := late.next(); err != nil || len(batches) != 1 || batches[0].Revision != rev {
		t.Errorf("after the last but one revision come %d batches, %v", len(batches), err)
	}
	if _, err := p.watch(within(t), "m1", rev2+1); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a revision that the store never had: %v", err)
	}
}

// TestRevokedWatchEnds: a certificate that counts no more is not asked for while a watch is open.
func TestRevokedWatchEnds(t *testing.T) {
	s := memory.New()
	p := feed(t, s)
	w, err := p.watch(within(t), "m1", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	reach(t, p, write(t, s, ann, store.Put(cluster.RevokedKey("machine", "m1"), 1)))
	if _, _, err := w.next(); !errors.Is(err, errBarred) {
		t.Errorf("the watch of a revoked machine: %v", err)
	}
	if _, err := p.watch(within(t), "m1", 1); !errors.Is(err, errBarred) {
		t.Errorf("a revoked machine is back at once: %v", err)
	}
	if _, err := p.watch(within(t), "m2", 0); err != nil {
		t.Error(err)
	}
}

// TestWatchesAreBounded, for each machine.
func TestWatchesAreBounded(t *testing.T) {
	p := feed(t, memory.New())
	for range watchesEach {
		w, err := p.watch(within(t), "m1", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
	}
	if _, err := p.watch(within(t), "m1", 0); err == nil {
		t.Error("one machine has as many watches as it likes")
	}
	w, err := p.watch(within(t), "m2", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.close()
}

func BenchmarkStart(b *testing.B) {
	const machines = 10_000
	x := newIndex(store.Picture{Revision: 1})
	p := NewParts(quiet)
	p.reset(x)
	for i := range machines {
		if err := p.add(&watch{parts: p, machine: fmt.Sprintf("m%d", i), wake: make(chan struct{}, 1)}); err != nil {
			b.Fatal(err)
		}
	}
	value := []byte(strings.Repeat("x", 300))
	rev := int64(1)
	for i := 0; b.Loop(); i++ {
		unit := fmt.Sprintf("u%d.service", i%100_000)
		machine := fmt.Sprintf("m%d", i%machines)
		for _, key := range []string{cluster.UnitKey(unit), cluster.PlacementKey(machine, unit), cluster.StatusKey(machine, unit)} {
			rev++
			p.take(store.Batch{Revision: rev, Entries: []store.Entry{{Key: key, Value: value, Revision: rev}}})
		}
	}
}
