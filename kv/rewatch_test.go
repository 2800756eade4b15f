package kv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
)

// flaky are two ways to one member, both of which break again and again.
type flaky struct {
	door    string
	servers []*httptest.Server
}

func newFlaky(t testing.TB, m *member) *flaky {
	f := &flaky{}
	var conf *http.Transport
	for range 2 {
		s := m.overNetwork(t, Caller{Who: "machine", MayWrite: m.mayWrite})
		conf, _ = s.Client().Transport.(*http.Transport)
		f.servers = append(f.servers, s)
	}
	f.door = door(t, ForwardOptions{TLS: conf.TLSClientConfig, Servers: func() []string {
		return []string{f.servers[0].Listener.Addr().String(), f.servers[1].Listener.Addr().String()}
	}})
	return f
}

// TestWatchesGoOnWithoutGapOrRepeat makes and cancels watches at random while every connection to the servers breaks at
// random, and compares what each watch saw with what was written.
func TestWatchesGoOnWithoutGapOrRepeat(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	m := newMember(t)
	f := newFlaky(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := pb.NewWatchClient(client(t, f.door).ActiveConnection()).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const watchesMade, keysWritten = 40, 2 // Few keys: what is left out has to be some watch's.
	w := &seen{events: map[int64][]int64{}, created: map[int64]int64{}, canceled: map[int64]bool{}, changed: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { w.read(ctx, t, stream) })
	direct := client(t, door(t, ForwardOptions{Local: m.server}))
	written := map[string][]int64{}
	put := func(key string) int64 {
		resp, err := direct.Put(t.Context(), key, "v")
		if err != nil {
			t.Fatal(err)
		}
		written[key] = append(written[key], resp.Header.Revision)
		return resp.Header.Revision
	}
	asked := map[int64]string{}
	for id := range int64(watchesMade) {
		key := fmt.Sprintf("k%d", dice.IntN(keysWritten))
		asked[id] = key
		if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: []byte(key), Fragment: dice.IntN(2) == 0, ProgressNotify: dice.IntN(2) == 0,
		}}}); err != nil {
			t.Fatal(err)
		}
		for range dice.IntN(20) {
			put(fmt.Sprintf("k%d", dice.IntN(keysWritten)))
		}
		switch dice.IntN(4) {
		case 0:
			f.servers[dice.IntN(2)].CloseClientConnections()
		case 1:
			gone := dice.Int64N(id + 1)
			if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: gone}}}); err != nil {
				t.Fatal(err)
			}
		case 2:
			if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.until(t, func() bool { return len(w.created) == watchesMade })
	last := map[string]int64{}
	for i := range keysWritten {
		key := fmt.Sprintf("k%d", i)
		last[key] = put(key)
	}
	w.until(t, func() bool {
		for id, key := range asked {
			if got := w.events[id]; !w.canceled[id] && (len(got) == 0 || got[len(got)-1] != last[key]) {
				return false
			}
		}
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	total := 0
	for id, key := range asked {
		var want []int64
		for _, r := range written[key] {
			if r > w.created[id] {
				want = append(want, r)
			}
		}
		got := w.events[id]
		total += len(got)
		if w.canceled[id] && len(got) <= len(want) {
			want = want[:len(got)]
		}
		if !slices.Equal(got, want) {
			t.Errorf("watch %d of %s (created at %d, canceled %v) saw %v, of %v", id, key, w.created[id], w.canceled[id], got, want)
		}
	}
	t.Logf("%d events, %d watches canceled", total, len(w.canceled))
	cancel()
	wg.Wait()
}

// seen is what a stream of watches showed.
type seen struct {
	mu       sync.Mutex
	events   map[int64][]int64
	created  map[int64]int64 // The revision that the answer to the creation told.
	canceled map[int64]bool
	changed  chan struct{}
}

func (w *seen) read(ctx context.Context, t *testing.T, stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]) {
	for {
		resp, err := stream.Recv()
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("the door ended the stream: %v", err)
			}
			return
		}
		w.mu.Lock()
		if resp.Created {
			if _, twice := w.created[resp.WatchId]; twice {
				t.Errorf("watch %d was created twice", resp.WatchId)
			}
			w.created[resp.WatchId] = resp.Header.Revision
		}
		if resp.Canceled {
			w.canceled[resp.WatchId] = true
		}
		for _, e := range resp.Events {
			w.events[resp.WatchId] = append(w.events[resp.WatchId], e.Kv.ModRevision)
		}
		w.mu.Unlock()
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *seen) until(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		w.mu.Lock()
		done := ok()
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-w.changed:
		case <-deadline:
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Fatalf("not within 30 s: created %v, canceled %v", w.created, w.canceled)
		}
	}
}

// TestHowFarAWatchIs: what a server says moves a watch on by exactly what the client has been told.
func TestHowFarAWatchIs(t *testing.T) {
	r := &rewatch{open: map[int64]*watcher{}, kick: make(chan struct{}, 1)}
	create := func(start int64) {
		r.take(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k"), StartRevision: start}}})
	}
	create(0)
	create(7)
	at := func(revision int64) *pb.ResponseHeader { return &pb.ResponseHeader{Revision: revision} }
	event := func(revision int64) *mvccpb.Event {
		return &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: revision}}
	}
	steps := []struct {
		what      string
		resp      *pb.WatchResponse
		told      int // Answers that the client sees.
		next      [2]int64
		remaining int
	}{
		{"created", &pb.WatchResponse{Header: at(20), WatchId: 1, Created: true}, 1, [2]int64{21, 7}, 2},
		{"the past of the other, which is not told yet", &pb.WatchResponse{Header: at(20), WatchId: 2, Created: true}, 1, [2]int64{21, 7}, 2},
		{"events", &pb.WatchResponse{Header: at(20), WatchId: 2, Events: []*mvccpb.Event{event(7), event(9)}}, 1, [2]int64{21, 10}, 2},
		{"half a revision", &pb.WatchResponse{Header: at(30), WatchId: 1, Fragment: true, Events: []*mvccpb.Event{event(30)}}, 0, [2]int64{21, 10}, 2},
		{"the other half", &pb.WatchResponse{Header: at(30), WatchId: 1, Events: []*mvccpb.Event{event(30)}}, 2, [2]int64{31, 10}, 2},
		{"progress of one", &pb.WatchResponse{Header: at(40), WatchId: 2}, 1, [2]int64{31, 41}, 2},
		{"progress of all", &pb.WatchResponse{Header: at(50), WatchId: allWatches}, 1, [2]int64{51, 51}, 2},
		{"of a watch that nobody has", &pb.WatchResponse{Header: at(60), WatchId: 9}, 0, [2]int64{51, 51}, 2},
		{"the end", &pb.WatchResponse{Header: at(70), WatchId: 2, Canceled: true}, 1, [2]int64{51, 51}, 1},
	}
	first, second := r.open[0], r.open[1]
	for _, s := range steps {
		if out := r.translate(s.resp); len(out) != s.told {
			t.Errorf("%s: the client sees %v", s.what, out)
		}
		if got := [2]int64{first.next, second.next}; got != s.next || len(r.open) != s.remaining {
			t.Errorf("%s: the watches go on at %v, want %v; %d are open, want %d", s.what, got, s.next, len(r.open), s.remaining)
		}
	}
}

// TestCompactedWatchIsToldSo: a gap that cannot be filled is told, not hidden.
func TestCompactedWatchIsToldSo(t *testing.T) {
	m := newMember(t)
	f := newFlaky(t, m)
	c := client(t, f.door)
	for range 10 {
		if _, err := c.Put(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := pb.NewWatchClient(c.ActiveConnection()).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.store.Compact(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k"), StartRevision: 3}}}); err != nil {
		t.Fatal(err)
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if resp.Canceled {
			if resp.CompactRevision != 8 {
				t.Errorf("canceled with %v, want the revision of the compaction", resp)
			}
			return
		}
	}
}

// TestLeaseOutlivesConnections renews a lease of two seconds while all connections break every now and then.
func TestLeaseOutlivesConnections(t *testing.T) {
	m := newMember(t)
	f := newFlaky(t, m)
	c := client(t, f.door)
	lease, err := c.Grant(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	alive, err := pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for i := range 10 {
		f.servers[i%2].CloseClientConnections()
		if err := alive.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease.ID)}); err != nil {
			t.Fatal(err)
		}
		if resp, err := alive.Recv(); err != nil || resp.TTL != 2 {
			t.Fatalf("renewal %d: %v %v", i, resp, err)
		}
		<-tick.C
	}
}

// TestUsersKeysWakeNobody: Argosy's own watch of everything sees none of the users' writes.
func TestUsersKeysWakeNobody(t *testing.T) {
	m := newMember(t)
	c := client(t, door(t, ForwardOptions{Local: m.server}))
	pic, err := m.store.Read(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	batches := m.store.Watch(t.Context(), "", pic.Revision)
	for range 100 {
		if _, err := c.Put(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
	}
	by := store.Writer{Role: store.Person, ID: "test"}
	if _, err := m.store.Write(t.Context(), by, store.Put(cluster.UnitKey("a.service"), "x")); err != nil {
		t.Fatal(err)
	}
	b := <-batches
	if b.Err != nil || len(b.Entries) != 1 || b.Entries[0].Key != cluster.UnitKey("a.service") {
		t.Errorf("the first thing that the watch shows is %v", b)
	}
	for _, each := range []store.Role{store.Person, store.Leader, store.Machine} {
		if err := (store.Writer{Role: each, ID: "x"}).May(store.Delete(strings.TrimPrefix(prefix, "/") + "k")); err == nil {
			t.Errorf("%s may write users' keys", each)
		}
	}
}
