package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/store/storetest"
)

// patience bounds every wait; only a failing test waits so long.
const patience = 30 * time.Second

// hosts is a group of machines on loopback addresses, with throw-away certificates.
type hosts struct {
	t     *testing.T
	dir   string
	peers *storetest.Peers
	quota int64
}

func newHosts(t *testing.T) *hosts {
	t.Helper()
	return &hosts{t: t, dir: t.TempDir(), peers: storetest.NewPeers(t)}
}

// peer is a new loopback address with a free port and a certificate for it.
func (h *hosts) peer() etcd.Peer {
	p := h.peers.New(h.t)
	return etcd.Peer{Listen: p.Address, Advertise: p.Address, CertFile: p.CertFile, KeyFile: p.KeyFile, CAFile: p.CAFile}
}

// host is one machine with its store.
type host struct {
	*etcd.Store
	id   string
	opts etcd.Options
}

func (h *hosts) options(id string) etcd.Options {
	return etcd.Options{Dir: filepath.Join(h.dir, id), Name: id, Peer: h.peer(), Quota: h.quota}
}

func (h *hosts) open(o etcd.Options) *host {
	h.t.Helper()
	o.Log = slog.New(slog.NewTextHandler(h.t.Output(), nil)).With("member", o.Name)
	s, err := etcd.Open(h.t.Context(), o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return &host{Store: s, id: o.Name, opts: o}
}

// retry calls f until it gives nil or an error that time does not cure.
func retry(t *testing.T, what string, f func(ctx context.Context) error) time.Duration {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return time.Since(begin)
		}
		if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Cure() != reason.Transient || ctx.Err() != nil {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// grow adds a machine to the members that via belongs to, starts it and gives it its vote.
func (h *hosts) grow(via *host, id string) *host {
	h.t.Helper()
	o := h.options(id)
	retry(h.t, "add "+id, func(ctx context.Context) (err error) {
		o.Join, err = via.AddLearner(ctx, id, o.Peer.URL())
		return err
	})
	n := h.open(o)
	retry(h.t, "promote "+id, func(ctx context.Context) error { return via.Promote(ctx, n.ID()) })
	return n
}

func (h *host) voters(t *testing.T) []string {
	t.Helper()
	all, err := h.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range all {
		if !m.Learner {
			out = append(out, m.MachineID)
		}
	}
	slices.Sort(out)
	return out
}

// writers write numbered keys until they are stopped, and remember what was acknowledged.
type writers struct {
	stop chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	done map[string]string
	fail int
}

// write begins to write through all the members that each gives.
func write(t *testing.T, each func() []*host) *writers {
	w := &writers{stop: make(chan struct{}), done: map[string]string{}}
	for n := range 4 {
		w.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-w.stop:
					return
				case <-time.After(20 * time.Millisecond): // Four writers: 200 writes in a second.
				}
				via := each()
				key, value := fmt.Sprintf("units/w%d@%d.service", n, i), fmt.Sprint(i)
				_, err := via[i%len(via)].Write(t.Context(), ann, store.Change{Key: key, Value: []byte(value)})
				w.mu.Lock()
				if err == nil {
					w.done[key] = value
				} else {
					w.fail++
				}
				w.mu.Unlock()
			}
		})
	}
	return w
}

// check ends the writing and compares what was acknowledged with what each member reads.
func (w *writers) check(t *testing.T, each ...*host) {
	t.Helper()
	close(w.stop)
	w.wg.Wait()
	t.Logf("%d writes acknowledged, %d without an answer", len(w.done), w.fail)
	if len(w.done) == 0 {
		t.Fatal("nothing was written")
	}
	for _, h := range each {
		pic, err := h.Read(t.Context(), "units/")
		if err != nil {
			t.Fatalf("%s: %v", h.id, err)
		}
		got := map[string]string{}
		for _, e := range pic.Entries {
			got[e.Key] = string(e.Value)
		}
		for k, v := range w.done {
			if got[k] != v {
				t.Fatalf("%s lost %s=%s, which was acknowledged", h.id, k, v)
			}
		}
	}
}

// TestGrowFromAlone: a lone member that listened on nothing gets an address, then two more members.
func TestGrowFromAlone(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	a := hs.options("aaaa")
	alone := open(t, etcd.Options{Dir: a.Dir})
	if _, err := put(t, alone, "units/a.service", "A"); err != nil {
		t.Fatal(err)
	}
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	first := hs.open(a)
	all, err := first.Members(t.Context())
	if err != nil || len(all) != 1 || all[0].PeerURL != a.Peer.URL() || all[0].MachineID != "aaaa" {
		t.Fatalf("with an address: %+v, %v", all, err)
	}
	begin := time.Now()
	second := hs.grow(first, "bbbb")
	t.Logf("two after %v", time.Since(begin))
	third := hs.grow(second, "cccc")
	t.Logf("three after %v", time.Since(begin))
	named(t, third, 3)
	if got := third.voters(t); !slices.Equal(got, []string{"aaaa", "bbbb", "cccc"}) {
		t.Errorf("voters: %v", got)
	}
	pic, err := third.Read(t.Context(), "")
	if err != nil || len(pic.Entries) != 1 || string(pic.Entries[0].Value) != "A" {
		t.Errorf("the third reads %+v, %v", pic, err)
	}
}

// group makes a lone member and grows it.
func (h *hosts) group(ids ...string) []*host {
	h.t.Helper()
	out := []*host{h.open(h.options(ids[0]))}
	for _, id := range ids[1:] {
		out = append(out, h.grow(out[0], id))
	}
	return out
}

// named waits until the members know each other's names: a new one tells its own up to seven seconds after its start.
func named(t *testing.T, via *host, n int) {
	t.Helper()
	begin := time.Now()
	for ctx, cancel := context.WithTimeout(t.Context(), patience); ; <-time.After(20 * time.Millisecond) {
		all, err := via.Members(ctx)
		if err == nil && len(all) == n && !slices.ContainsFunc(all, func(m etcd.Member) bool { return !m.Started || m.Learner }) {
			t.Logf("all have names after another %v", time.Since(begin))
			cancel()
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("members: %+v, %v", all, err)
		}
	}
}

func leads(t *testing.T, all []*host) *host {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		for _, h := range all {
			if h.Failed() == nil && h.Leads() {
				return h
			}
		}
	}
	t.Fatal("nobody leads")
	return nil
}

// TestGrowAndShrink grows 1 to 3 to 5 and shrinks to 3 again while others write.
func TestGrowAndShrink(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	all := []*host{hs.open(hs.options("m0"))}
	var mu sync.Mutex
	w := write(t, func() []*host { mu.Lock(); defer mu.Unlock(); return all })
	begin := time.Now()
	for i := 1; i < 5; i++ {
		n := hs.grow(all[0], fmt.Sprintf("m%d", i))
		mu.Lock()
		all = append(slices.Clone(all), n)
		mu.Unlock()
		t.Logf("%d members after %v", len(all), time.Since(begin))
	}
	named(t, all[3], 5)
	st, err := all[3].Status(t.Context())
	if err != nil || !st.Majority || len(st.Members) != 5 {
		t.Fatalf("status: %+v, %v", st, err)
	}
	for _, m := range st.Members {
		t.Logf("%+v", m)
		if !m.Answered || m.Applied == 0 || m.Size == 0 || m.Learner || m.Self != (m.MachineID == "m3") || m.Leads != (m.EtcdID == st.Leader) {
			t.Errorf("status of %s: %+v", m.MachineID, m)
		}
	}
	last := all[4]
	t.Logf("it leads after %v", retry(t, "take the lead", last.TakeLead))
	if !last.Leads() {
		t.Error("it took the lead and does not lead")
	}
	if size, err := all[1].Defragment(t.Context(), last.ID()); err != nil || size <= 0 {
		t.Errorf("defragment another: %d, %v", size, err)
	}
	retry(t, "take the lead back", all[0].TakeLead)
	if term := st.Members[0].Term; term != 2 {
		t.Errorf("growing moved the lead: term %d", term)
	}
	begin = time.Now()
	for _, i := range []int{0, 0} { // The one that leads hands the lead over first.
		mu.Lock()
		gone := all[i]
		all = slices.Delete(slices.Clone(all), i, i+1)
		mu.Unlock()
		via := all[0]
		retry(t, "remove", func(ctx context.Context) error { return via.Remove(ctx, gone.ID()) })
		t.Logf("%d members after %v", len(all), time.Since(begin))
		select {
		case <-gone.Done():
		case <-time.After(patience):
			t.Fatal("a removed member goes on")
		}
		if err := gone.Failed(); !errors.Is(err, etcd.ErrRemoved) {
			t.Errorf("the removed member: %v", err)
		}
		if err := gone.Close(); err != nil {
			t.Error(err)
		}
	}
	w.check(t, all...)
	if got := all[0].voters(t); !slices.Equal(got, []string{"m2", "m3", "m4"}) {
		t.Errorf("voters: %v", got)
	}
}

// learnsRemoved starts a member that was removed while it was off: it finds out.
func (h *hosts) learnsRemoved(gone *host) {
	h.t.Helper()
	o := gone.opts
	o.Log = slog.New(slog.DiscardHandler)
	back, err := etcd.Open(h.t.Context(), o)
	if err == nil { // It may learn it only from the others' answers.
		select {
		case <-back.Done():
			err = back.Failed()
		case <-time.After(patience):
		}
		if cerr := back.Close(); cerr != nil {
			h.t.Error(cerr)
		}
	}
	if !errors.Is(err, etcd.ErrRemoved) {
		h.t.Fatalf("%s was removed while it was off: %v", gone.id, err)
	}
}

// TestReplaceKilled: a member is killed, another takes its place, and the dead one finds out when it comes back.
func TestReplaceKilled(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	all := hs.group("m0", "m1", "m2")
	var mu sync.Mutex
	w := write(t, func() []*host { mu.Lock(); defer mu.Unlock(); return all })
	dead := leads(t, all)
	mu.Lock()
	all = slices.DeleteFunc(slices.Clone(all), func(h *host) bool { return h == dead })
	mu.Unlock()
	id := dead.ID()
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	next := leads(t, all)
	t.Logf("another leads after %v", time.Since(begin))
	if got := next.Reachable(t.Context()); len(got) != 3 || got[id] || !got[all[0].ID()] || !got[all[1].ID()] {
		t.Errorf("reachable: %v", got)
	}
	t.Logf("removed after %v", retry(t, "remove the dead", func(ctx context.Context) error { return next.Remove(ctx, id) }))
	n := hs.grow(next, "m9")
	t.Logf("replaced after %v", time.Since(begin))
	mu.Lock()
	all = append(slices.Clone(all), n)
	mu.Unlock()
	w.check(t, all...)

	begin = time.Now()
	hs.learnsRemoved(dead)
	t.Logf("the dead one knows after %v", time.Since(begin))
	if err := etcd.Wipe(dead.opts.Dir); err != nil {
		t.Fatal(err)
	}
	if again := hs.grow(all[0], dead.id); len(again.voters(t)) != 4 {
		t.Error("the wiped one did not come back")
	}
}

// idle counts what is written while nobody writes: the two rolls that ask for it, and nothing else.
func idle(t *testing.T, h *host) {
	t.Helper()
	applied := func() uint64 {
		st, err := h.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var most uint64
		for _, m := range st.Members {
			most = max(most, m.Applied)
		}
		return most
	}
	begin := time.Now()
	before := applied()
	<-time.After(3 * time.Second)
	written := applied() - before
	t.Logf("%d entries in %v without work", written, time.Since(begin))
	if written > 2*4 {
		t.Error("members that have nothing to do write")
	}
}

// TestAddressFollows: a voter comes back on another address and tells the others itself.
func TestAddressFollows(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	all := hs.group("m0", "m1", "m2")
	named(t, all[0], 3)
	idle(t, all[0])
	moved := leads(t, all)
	if err := moved.Close(); err != nil {
		t.Fatal(err)
	}
	o := moved.opts
	o.Peer = hs.peer()
	begin := time.Now()
	back := hs.open(o)
	other := all[0]
	if other == moved {
		other = all[1]
	}
	for ctx, cancel := context.WithTimeout(t.Context(), patience); ; <-time.After(20 * time.Millisecond) {
		list, err := other.Members(ctx)
		if err == nil && slices.ContainsFunc(list, func(m etcd.Member) bool { return m.EtcdID == back.ID() && m.PeerURL == o.Peer.URL() }) {
			cancel()
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the others do not know the new address: %+v, %v", list, err)
		}
	}
	t.Logf("known at its new address after %v", time.Since(begin))
	if !other.Reachable(t.Context())[back.ID()] {
		t.Error("it is not reached at its new address")
	}
}

// TestConformanceOfThree runs the suite on a follower among three members, which starts anew for each test.
func TestConformanceOfThree(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	all := hs.group("m0", "m1", "m2")
	t.Logf("handed over after %v", retry(t, "hand over", all[0].Transfer))
	follower := all[0]
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, func(t *testing.T) store.Store {
		if strings.Contains(t.Name(), "a_watch_tells") { // From the very beginning: only new members have one.
			return newHosts(t).group("m0", "m1", "m2")[2]
		}
		if err := all[1].Empty(t.Context()); err != nil {
			t.Fatal(err)
		}
		return open(t, follower.opts)
	})
}
