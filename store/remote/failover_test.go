package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/store/storetest"
)

// backends are the stores that the tests of fail-over run over: both servers over one of them.
func backends(t *testing.T, test func(t *testing.T, s storetest.Troubled)) {
	t.Run("memory", func(t *testing.T) {
		s := memory.New()
		t.Cleanup(func() { _ = s.Close() })
		test(t, s)
	})
	t.Run("etcd", func(t *testing.T) {
		s, err := etcd.Open(within(t), etcd.Options{Dir: t.TempDir(), Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, s)
	})
}

// TestNoGap: while a leader, people and the machine itself write, the links to both servers are cut again and again.
// The machine's watch tells every change of its part once, in order.
func TestNoGap(t *testing.T) {
	backends(t, func(t *testing.T, s storetest.Troubled) {
		const writes = 600
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		dice := rand.New(rand.NewPCG(seed, 0))
		one, _ := serveStore(t, s)
		two, _ := serveStore(t, s)
		links := []*proxy{newProxy(t, hostOf(one)), newProxy(t, hostOf(two))}
		c := client(t, "m1", links[0].addr(), links[1].addr())
		term, err := s.Lead(within(t), "m0")
		if err != nil {
			t.Fatal(err)
		}
		defer term.Resign()
		start := partNow(t, c, "m1")
		got := c.Watch(within(t), store.PartPrefix("m1"), start.Revision)
		wrote := make(chan int64, writes)
		go func() {
			defer close(wrote)
			for i := range writes {
				wrote <- writeSomething(t, s, c, term.Writer, i)
			}
		}()
		x := newIndex(read(t, s, ""))
		feed := s.Watch(within(t), "", x.revision)
		var last int64
		told, cuts := 0, 0
		for rev := range wrote {
			for last < rev {
				b := next(t, feed)
				last = b.Revision
				d := x.ingest(b)
				want := d.of("m1")
				if len(want) == 0 {
					continue
				}
				if dice.IntN(8) == 0 {
					links[dice.IntN(2)].cut()
					cuts++
				}
				if b := next(t, got); b.Err != nil || b.Revision != last || keys(b.Entries) != keys(want) {
					t.Fatalf("revision %d told as %d: %q (%v), want %q", last, b.Revision, keys(b.Entries), b.Err, keys(want))
				}
				told++
			}
		}
		if !mapsEqual(asMap(partNow(t, c, "m1").Entries), partOf(read(t, s, ""), "m1")) {
			t.Error("the part differs from the store in the end")
		}
		t.Logf("%d of %d changes told over %d cuts", told, writes, cuts)
		if told < writes/3 || cuts < 20 {
			t.Error("too little happened")
		}
	})
}

// writeSomething is one write of this machine through its store, or of others in theirs.
func writeSomething(t *testing.T, s store.Store, c *Store, leader store.Writer, i int) int64 {
	unit := fmt.Sprintf("u%d.service", i%7)
	by, to, change := ann, s, store.Put(cluster.UnitKey(unit), i)
	switch i % 5 {
	case 1:
		by, change = leader, placement("m1", unit)
	case 2:
		by, to, change = m1, c, store.Put(cluster.StatusKey("m1", unit), i)
	case 3:
		by, change = leader, placement("m2", unit)
	case 4:
		if i%2 == 0 {
			by, change = leader, store.Delete(cluster.PlacementKey("m1", unit))
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	rev, err := to.Write(ctx, by, change)
	if err != nil {
		t.Errorf("write %d: %v", i, err)
	}
	return rev
}

func partNow(t *testing.T, c *Store, machine string) store.Picture {
	return read(t, c, store.PartPrefix(machine))
}

func read(t testing.TB, s store.Store, prefix string) store.Picture {
	t.Helper()
	pic, err := s.Read(within(t), prefix)
	if err != nil {
		t.Fatalf("read %q: %v", prefix, err)
	}
	return pic
}

func mapsEqual(a, b map[string]string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// TestLeaseOutlivesItsServer: the server that granted a lease dies, and the lease is renewed through the other one for
// longer than its ttl. The times that are told are those before the requests.
func TestLeaseOutlivesItsServer(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, s storetest.Troubled) {
		one, _ := serveStore(t, s)
		two, _ := serveStore(t, s)
		first := newProxy(t, hostOf(one))
		c := client(t, "m1", first.addr(), hostOf(two))
		type beat struct{ sent, told time.Time }
		beats := make(chan beat, 100)
		ctx, stop := context.WithCancel(store.WithRenewed(within(t), func(sent time.Time) { beats <- beat{sent, time.Now()} }))
		ended := make(chan error, 1)
		go func() { ended <- c.KeepAlive(ctx, m1, cluster.AliveKey("m1"), []byte("{}"), minTTL) }()
		last := <-beats
		granted := read(t, s, cluster.AliveKey("m1")).Entries[0].Revision
		first.die()
		dead := time.Now()
		for time.Since(dead) < 2*minTTL {
			select {
			case b := <-beats:
				if b.sent.Before(last.told) || b.sent.After(b.told) {
					t.Errorf("a renewal told at %v was sent at %v, the one before was told at %v", b.told, b.sent, last.told)
				}
				if gap := b.sent.Sub(last.sent); gap > minTTL {
					t.Errorf("no renewal for %v", gap)
				}
				last = b
			case err := <-ended:
				t.Fatalf("the lease was lost: %v", err)
			case <-time.After(patience):
				t.Fatal("no renewal")
			}
		}
		if e := read(t, s, cluster.AliveKey("m1")).Entries; len(e) != 1 || e[0].Revision != granted {
			t.Errorf("the key is %+v, want it as at revision %d", e, granted)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if e := read(t, s, cluster.AliveKey("m1")).Entries; len(e) != 0 {
			t.Error("the lease was not let go")
		}
	})
}

// TestSentIsBeforeTheAnswer: an answer that is late does not make a lease look younger.
func TestSentIsBeforeTheAnswer(t *testing.T) {
	s := memory.New()
	h := asMachine(Handler(s, feed(t, s), quiet))
	held := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
		case <-time.After(patience):
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	c := client(t, "m1", hostOf(srv))
	var clock atomic.Int64 // Of the test: it says 1 when the request goes out, and 2 when the answer is let go.
	clock.Store(1)
	told := make(chan time.Time, 1)
	ctx := store.WithSendClock(within(t), func() time.Time { defer close(held); defer clock.Store(2); return time.Unix(clock.Load(), 0) })
	ctx = store.WithRenewed(ctx, func(sent time.Time) { told <- sent })
	if _, err := c.Grant(ctx, m1, cluster.AliveKey("m1"), nil, minTTL); err != nil {
		t.Fatal(err)
	}
	if sent := <-told; sent.Unix() != 1 {
		t.Errorf("sent at %v", sent.Unix())
	}
}

// TestLostAnswers: what a server did and could not say. A machine's writes are sent again; that a guard does not hold
// then says nothing about who moved it.
func TestLostAnswers(t *testing.T) {
	s := memory.New()
	h := asMachine(Handler(s, feed(t, s), quiet))
	var lose, calls atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if lose.Add(-1) < 0 {
			h.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler) // Cuts the link.
	}))
	t.Cleanup(srv.Close)
	c := client(t, "m1", hostOf(srv))
	lose.Store(2)
	if _, err := c.Write(within(t), m1, store.Put(cluster.MachineKey("m1"), 1)); err != nil {
		t.Error(err)
	}
	if calls.Load() != 3 {
		t.Errorf("%d calls, want 3", calls.Load())
	}
	lose.Store(1)
	_, err := c.Write(within(t), m1, store.PutIf(cluster.StatusKey("m1", "a.service"), 1, 0))
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.StoreUnavailable || errors.Is(err, store.ErrStale) {
		t.Errorf("a guarded write whose answer was lost: %v", err)
	}
	if e := read(t, s, cluster.StatusKey("m1", "a.service")).Entries; len(e) != 1 {
		t.Errorf("it was not done: %v", e)
	}
	if _, err := c.Write(within(t), m1, store.PutIf(cluster.StatusKey("m1", "a.service"), 1, 0)); !errors.Is(err, store.ErrStale) {
		t.Errorf("a stale write: %v", err)
	}
}

// TestNotAServer: whoever cannot serve is left for the next, and asked again later.
func TestNotAServer(t *testing.T) {
	s := memory.New()
	good, _ := serveStore(t, s)
	agent := httptest.NewServer(http.NotFoundHandler())
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	young := httptest.NewServer(asMachine(Handler(s, NewParts(quiet), quiet))) // Knows nothing yet.
	elsewhere := httptest.NewServer(http.RedirectHandler(good.URL, http.StatusTemporaryRedirect))
	for _, srv := range []*httptest.Server{agent, busy, young, elsewhere} {
		t.Cleanup(srv.Close)
	}
	c := client(t, "m1", "127.0.0.1:1", hostOf(agent), hostOf(busy), hostOf(elsewhere), hostOf(young), hostOf(good))
	watch := c.Watch(within(t), store.PartPrefix("m1"), partNow(t, c, "m1").Revision)
	write(t, c, m1, store.Put(cluster.MachineKey("m1"), 1))
	if b := next(t, watch); keys(b.Entries) != "machines/m1" {
		t.Errorf("watched %q, %v", keys(b.Entries), b.Err)
	}
	if err := c.Health(within(t)); err != nil {
		t.Error(err)
	}
	none := client(t, "m1")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := none.Read(ctx, store.PartPrefix("m1"))
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.StoreUnavailable || !strings.Contains(r.Error(), "no server is known") {
		t.Errorf("without servers: %v", err)
	}
}

// TestDeadLink: a link that was cut without a word is noticed by its silence, over HTTP/2 as well.
func TestDeadLink(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the silence of a link")
	}
	t.Parallel()
	s := memory.New()
	var links []*proxy
	var roots *tls.Config
	for range 2 {
		srv := httptest.NewUnstartedServer(asMachine(Handler(s, feed(t, s), quiet)))
		srv.EnableHTTP2 = true
		srv.StartTLS()
		t.Cleanup(srv.Close)
		roots = srv.Client().Transport.(*http.Transport).TLSClientConfig //nolint:forcetypeassert // As httptest says.
		links = append(links, newProxy(t, strings.TrimPrefix(srv.URL, "https://")))
	}
	addrs := []string{links[0].addr(), links[1].addr()}
	c, err := New(Options{Servers: func() []string { return addrs }, TLS: roots, Machine: "m1", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	inner, protocols := c.http.Transport, make(chan string, 100)
	c.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		r.Header.Set("Test-Machine", "m1")
		resp, err := inner.RoundTrip(r)
		if err == nil {
			protocols <- resp.Proto
		}
		return resp, err
	})
	watch := c.Watch(within(t), store.PartPrefix("m1"), partNow(t, c, "m1").Revision)
	write(t, c, m1, store.Put(cluster.MachineKey("m1"), 1))
	next(t, watch)
	links[0].freeze()
	frozen := time.Now()
	write(t, s, ann, store.Put(cluster.AdminKey("m1"), 1))
	if b := next(t, watch); keys(b.Entries) != "admin/m1" {
		t.Errorf("watched %q, %v", keys(b.Entries), b.Err)
	}
	took := time.Since(frozen)
	t.Logf("the watch went on after %v", took)
	if took > silence+2*time.Second {
		t.Errorf("the watch went on after %v, want %v", took, silence)
	}
	if proto := <-protocols; proto != "HTTP/2.0" {
		t.Errorf("spoke %s", proto)
	}
	began := time.Now()
	write(t, c, m1, store.Put(cluster.MachineKey("m1"), 2))
	t.Logf("a write took %v", time.Since(began))
}
