package member_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/member"
	"argosy.dev/argosy/quorum"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/store/storetest"
)

const (
	patience = 60 * time.Second // Only a failing test waits so long.
	away     = 3 * time.Second  // A voter's time to come back, in these tests.
	aliveTTL = 2 * time.Second
	pause    = 20 * time.Millisecond
)

var ann = store.Writer{Role: store.Person, ID: "ann"}

// site is machines that live as node has them live: as agents until their record says that they hold the store.
type site struct {
	t     *testing.T
	dir   string
	peers *storetest.Peers
	log   *slog.Logger
	mu    sync.Mutex
	open  []*etcd.Store
	all   map[string]*machine
}

type machine struct {
	site   *site
	id     string
	opts   etcd.Options
	keeper *member.Keeper
	off    context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	begun  int // Lives as a server.
}

func newSite(t *testing.T) *site {
	return &site{
		t: t, dir: t.TempDir(), peers: storetest.NewPeers(t), all: map[string]*machine{},
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
}

// any is a store that answers, of any machine.
func (s *site) any() *etcd.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.open {
		if st.Failed() == nil {
			return st
		}
	}
	return nil
}

// try calls f with any store until it works.
func (s *site) try(ctx context.Context, f func(ctx context.Context, st *etcd.Store) error) {
	for ctx.Err() == nil {
		if st := s.any(); st != nil && f(ctx, st) == nil {
			return
		}
		<-time.After(pause)
	}
}

func (s *site) add(id, zone string, first bool) *machine {
	s.t.Helper()
	p := s.peers.New(s.t)
	m := &machine{site: s, id: id, done: make(chan struct{}), opts: etcd.Options{
		Dir: filepath.Join(s.dir, id), Name: id, Log: s.log.With("on", id),
		Peer: etcd.Peer{Listen: p.Address, Advertise: p.Address, CertFile: p.CertFile, KeyFile: p.KeyFile, CAFile: p.CAFile},
	}}
	ctx, cancel := context.WithCancel(s.t.Context())
	m.off = cancel
	s.all[id] = m
	var wg sync.WaitGroup
	wg.Go(func() { m.live(ctx, first) })
	wg.Go(func() { m.alive(ctx, zone) })
	go func() { wg.Wait(); close(m.done) }()
	s.t.Cleanup(m.kill)
	return m
}

func (m *machine) kill() {
	m.off()
	<-m.done
}

// alive writes the machine's record and renews its sign of life.
func (m *machine) alive(ctx context.Context, zone string) {
	by := store.Writer{Role: store.Machine, ID: m.id}
	m.site.try(ctx, func(ctx context.Context, st *etcd.Store) error {
		_, err := st.Write(ctx, by, store.Put(cluster.MachineKey(m.id), cluster.Machine{
			ID: m.id, Name: m.id, PeerURL: m.opts.Peer.URL(), Metadata: map[string]string{"zone": zone},
		}))
		return err
	})
	m.site.try(ctx, func(ctx context.Context, st *etcd.Store) error {
		return errors.Join(st.KeepAlive(ctx, by, cluster.AliveKey(m.id), nil, aliveTTL), errors.New("again"))
	})
}

func (m *machine) live(ctx context.Context, first bool) {
	for ctx.Err() == nil {
		o := m.opts
		if !first {
			m.site.try(ctx, func(ctx context.Context, st *etcd.Store) error {
				pic, err := st.Read(ctx, cluster.MemberKey(m.id))
				if err != nil || len(pic.Entries) == 0 {
					return errors.Join(err, errors.New("no member"))
				}
				var r cluster.Member
				if err := json.Unmarshal(pic.Entries[0].Value, &r); err != nil {
					return err
				}
				if o.Join = r.InitialCluster; o.Join == "" {
					return errors.New("no way in")
				}
				return nil
			})
		}
		if ctx.Err() == nil {
			first = m.serve(ctx, o) && first
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// serve is a life as a server. It tells whether the machine keeps its part of the store.
func (m *machine) serve(ctx context.Context, o etcd.Options) bool {
	st, err := etcd.Open(ctx, o)
	if err != nil {
		m.site.log.Warn("cannot hold the store", "on", m.id, "error", err)
		return !errors.Is(err, etcd.ErrRemoved) || etcd.Wipe(o.Dir) != nil
	}
	m.mu.Lock()
	m.begun++
	m.mu.Unlock()
	m.site.mu.Lock()
	m.site.open = append(m.site.open, st)
	m.site.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-st.Done():
		case <-ctx.Done():
		}
		cancel()
	}()
	var wg sync.WaitGroup
	view := store.NewView(m.site.log)
	wg.Go(func() { view.Run(ctx, st, "") })
	m.mu.Lock()
	m.keeper = member.New(member.Config{
		Store: st, View: view.Fork(), Machine: m.id, Log: o.Log, Patience: away, Snapshots: filepath.Join(o.Dir, "snapshots"),
	})
	k := m.keeper
	m.mu.Unlock()
	for ctx.Err() == nil {
		if term, err := st.Lead(ctx, m.id); err == nil {
			reign, end := context.WithCancel(ctx)
			go func() { <-term.Done; end() }()
			k.Run(reign, term.Writer)
			end()
			term.Resign()
		}
	}
	wg.Wait()
	removed := errors.Is(st.Failed(), etcd.ErrRemoved)
	m.site.mu.Lock()
	m.site.open = slices.DeleteFunc(m.site.open, func(o *etcd.Store) bool { return o == st })
	m.site.mu.Unlock()
	if err := st.Close(); err != nil {
		m.site.t.Error(err)
	}
	if removed {
		if err := etcd.Wipe(o.Dir); err != nil {
			m.site.t.Error(err)
		}
	}
	return !removed
}

// voters waits until n machines vote, all of them by name, and this one does, or does not.
func (s *site) voters(n int, id string, in bool) (got []string, took time.Duration) {
	s.t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if st := s.any(); st != nil {
			got = nil
			all, err := st.Members(ctx)
			named := true
			for _, m := range all {
				named = named && m.Started && !m.Learner
				got = append(got, m.MachineID)
			}
			slices.Sort(got)
			if err == nil && named && len(got) == n && slices.Contains(got, id) == in {
				return got, time.Since(begin)
			}
		}
		<-time.After(pause)
	}
	for _, m := range s.all {
		m.mu.Lock()
		if m.keeper != nil {
			if r := m.keeper.Report(); r.Step.Reason != nil {
				s.t.Logf("%s: %s: %s; %v", m.id, r.Step.Kind, r.Step.Reason, r.Trouble)
			}
		}
		m.mu.Unlock()
	}
	s.t.Fatalf("after %v the members are %v, want %d, %s among them: %v", time.Since(begin), got, n, id, in)
	return nil, 0
}

func (s *site) wish(n int) {
	s.try(s.t.Context(), func(ctx context.Context, st *etcd.Store) error {
		_, err := st.Write(ctx, ann, store.Put(cluster.SettingsKey(), cluster.Settings{Servers: n}))
		return err
	})
}

// TestStoreAdministersItself: machines join and go, and nobody but the keepers does anything about the store.
func TestStoreAdministersItself(t *testing.T) {
	s := newSite(t)
	s.add("m0", "a", true)
	s.voters(1, "m0", true)
	s.add("m1", "a", false)
	s.add("m2", "b", false)
	_, took := s.voters(3, "m2", true)
	t.Logf("three vote after %v", took)
	s.add("m3", "c", false)
	s.add("m4", "d", false)
	_, took = s.voters(5, "m4", true)
	t.Logf("five vote after %v", took)
	s.wish(3)
	got, took := s.voters(3, "m1", false) // Its zone has another one, whose machine leads.
	t.Logf("three vote again after %v: %v", took, got)
	if !slices.Contains(got, "m0") {
		t.Error("the machine that leads did not stay")
	}
	begin := time.Now()
	dead := got[1]
	s.all[dead].kill()
	got, took = s.voters(3, dead, false)
	t.Logf("%s is dead and replaced after %v, its time to come back was %v: %v", dead, took, away, got)
	if time.Since(begin) < away {
		t.Error("it did not have its time to come back")
	}
	s.all["m0"].kill()
	got, took = s.voters(3, "m0", false)
	t.Logf("the dead leader is replaced after %v: %v", took, got)
	s.records(got...)
	snaps, err := member.Snapshots(filepath.Join(s.all["m0"].opts.Dir, "snapshots"))
	if err != nil || len(snaps) == 0 {
		t.Fatalf("snapshots: %v, %v", snaps, err)
	}
	for _, one := range snaps {
		if info, err := etcd.Verify(one.Path); err != nil || info.Keys == 0 {
			t.Errorf("%s: %+v, %v", one.Path, info, err)
		}
	}
}

// records waits until the records say who holds the store.
func (s *site) records(want ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var got []string
	s.try(ctx, func(ctx context.Context, st *etcd.Store) error {
		pic, err := st.Read(ctx, cluster.MembersPrefix)
		if err != nil {
			return err
		}
		got = nil
		for _, e := range pic.Entries {
			var r cluster.Member
			if err := json.Unmarshal(e.Value, &r); err != nil {
				return err
			}
			if r.Role == cluster.Voter && r.InitialCluster == "" {
				got = append(got, r.Machine)
			}
		}
		if !slices.Equal(got, want) {
			return errors.New("not yet")
		}
		return nil
	})
	if !slices.Equal(got, want) {
		s.t.Errorf("the records name %v, want %v", got, want)
	}
}

// TestSnapshotsAreBounded: the schedule takes one when the last is too old, and lets the oldest go.
func TestSnapshotsAreBounded(t *testing.T) {
	s := newSite(t)
	st, err := etcd.Open(t.Context(), etcd.Options{Dir: filepath.Join(s.dir, "m0"), Name: "m0", Log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	if _, err := st.Write(t.Context(), ann, store.Put(cluster.SettingsKey(), cluster.Settings{})); err != nil {
		t.Fatal(err)
	}
	now, dir := time.Date(2026, 11, 22, 21, 0, 0, 0, time.UTC), filepath.Join(s.dir, "snapshots")
	k := member.New(member.Config{
		Store: st, View: store.NewView(s.log), Log: s.log, Now: func() time.Time { return now }, Snapshots: dir, Keep: 3,
	})
	for i := range 20 { // Every five minutes a look: every third one takes a snapshot.
		if err := k.SnapshotPass(t.Context()); err != nil {
			t.Fatal(i, err)
		}
		now = now.Add(5 * time.Minute)
	}
	all, err := member.Snapshots(dir)
	if err != nil || len(all) != 3 {
		t.Fatalf("kept %v, %v", all, err)
	}
	if gap := all[2].At.Sub(all[1].At); gap != member.DefaultEvery || !k.Report().Snapshot.Equal(all[2].At) {
		t.Errorf("%v between two, the newest %v, reported %v", gap, all[2].At, k.Report().Snapshot)
	}
}

// TestRefusalIsNoFailure: a step that the store refuses for now is tried again soon and told.
func TestRefusalIsNoFailure(t *testing.T) {
	f := &fake{members: []etcd.Member{{MachineID: "m0", EtcdID: 1, PeerURL: "https://m0", Started: true}}}
	view := store.NewView(slog.New(slog.DiscardHandler))
	var pic store.Picture
	for i := range 3 {
		id := fmt.Sprintf("m%d", i)
		pic.Entries = append(pic.Entries,
			store.Entry{Key: cluster.MachineKey(id), Value: cluster.Encode(cluster.Machine{ID: id, Name: id, PeerURL: "https://" + id})},
			store.Entry{Key: cluster.AliveKey(id), Value: []byte("x")})
	}
	view.Load(pic)
	k := member.New(member.Config{Store: f, View: view, Machine: "m0", Log: slog.New(slog.DiscardHandler)})
	f.refuse = reason.Because(reason.StoreNotReady, reason.Args{"what": "add a member", "error": "unhealthy cluster"})
	if err := k.Pass(t.Context(), store.Writer{}); err != nil {
		t.Fatal(err)
	}
	r := k.Report()
	if r.Step.Kind != quorum.AddLearner || r.Trouble == nil || r.Trouble.Code != reason.StoreNotReady || k.Next() > time.Second {
		t.Errorf("refused: %+v, next look in %v", r, k.Next())
	}
	f.refuse = errors.New("broken")
	view.Forget()
	if err := k.Pass(t.Context(), store.Writer{}); err == nil {
		t.Error("a failure is not told")
	}
}

// fake is a store whose answers are made up. What is not overridden is not called.
type fake struct {
	member.Store
	members []etcd.Member
	refuse  error
}

func (f *fake) ID() uint64                                                 { return 1 }
func (f *fake) LeaderID() uint64                                           { return 1 }
func (f *fake) Members(context.Context) ([]etcd.Member, error)             { return f.members, nil }
func (f *fake) Reachable(context.Context) map[uint64]bool                  { return map[uint64]bool{1: true} }
func (f *fake) AddLearner(context.Context, string, string) (string, error) { return "", f.refuse }
func (f *fake) Write(context.Context, store.Writer, ...store.Change) (int64, error) {
	return 1, nil
}
