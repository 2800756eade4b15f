package remote

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/storetest"
)

// patience bounds every wait of these tests; only a failing test waits so long.
const patience = 20 * time.Second

var (
	quiet = slog.New(slog.DiscardHandler)
	ann   = store.Writer{Role: store.Person, ID: "ann"}
	m1    = store.Writer{Role: store.Machine, ID: "m1"}
)

// within bounds a test's calls.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// feed runs parts over a store until the test ends, and returns when they know it.
func feed(t testing.TB, s store.Store) *Parts {
	t.Helper()
	p := NewParts(quiet)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx, s) }()
	t.Cleanup(func() { cancel(); <-done })
	reach(t, p, 1)
	return p
}

// reach waits until parts are at a revision.
func reach(t testing.TB, p *Parts, revision int64) {
	t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		advanced, there := p.advanced, p.index != nil && p.index.revision >= revision
		p.mu.Unlock()
		if there {
			return
		}
		select {
		case <-advanced:
		case <-late:
			t.Fatalf("the parts are at revision %d, want %d", p.Revision(), revision)
		}
	}
}

// asMachine stands for api: it says who calls, from a header where a certificate would say it.
func asMachine(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(WithMachine(r.Context(), r.Header.Get("Test-Machine"))))
	})
}

// serveStore is a server over a store.
func serveStore(t testing.TB, s store.Store) (*httptest.Server, *Parts) {
	t.Helper()
	p := feed(t, s)
	srv := httptest.NewServer(asMachine(Handler(s, p, quiet)))
	t.Cleanup(srv.Close)
	return srv, p
}

func hostOf(srv *httptest.Server) string { return strings.TrimPrefix(srv.URL, "http://") }

// client is a machine's store over servers, that says its id in the header.
func client(t testing.TB, machine string, servers ...string) *Store {
	t.Helper()
	s, err := New(Options{Servers: func() []string { return servers }, Machine: machine, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	inner := s.http.Transport
	s.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		r.Header.Set("Test-Machine", machine)
		return inner.RoundTrip(r)
	})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func next(t testing.TB, ch <-chan store.Batch) store.Batch {
	t.Helper()
	select {
	case b, ok := <-ch:
		if !ok {
			t.Fatal("the watch ended")
		}
		return b
	case <-time.After(patience):
		t.Fatal("the watch tells nothing")
	}
	return store.Batch{}
}

func write(t testing.TB, s store.Store, by store.Writer, changes ...store.Change) int64 {
	t.Helper()
	rev, err := s.Write(within(t), by, changes...)
	if err != nil {
		t.Fatalf("write by %s: %v", by.Role, err)
	}
	return rev
}

func keys(entries []store.Entry) string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Key
		if e.Value == nil {
			out[i] = "-" + e.Key
		}
	}
	return strings.Join(out, " ")
}

func placement(machine, unit string) store.Change {
	return store.Put(cluster.PlacementKey(machine, unit), cluster.Placement{})
}

// open is a client and a server half for the suite of conformance, which writes as anybody and reads everything: the
// writer comes in a header, and prefixes that are no part go to the store.
func open(t testing.TB, inner storetest.Troubled) storetest.Troubled {
	t.Helper()
	h := newHandler(inner, feed(t, inner), quiet)
	h.writer = func(r *http.Request) (store.Writer, error) {
		var by store.Writer
		err := json.Unmarshal([]byte(r.Header.Get("Test-Writer")), &by)
		return by, err
	}
	m := http.NewServeMux()
	m.Handle("/", h.mux())
	m.HandleFunc("POST "+readPath, func(w http.ResponseWriter, r *http.Request) {
		var req readRequest
		if err := body(w, r, smallBytes, &req); err != nil {
			h.refuse(w, err)
			return
		}
		pic, err := inner.Read(r.Context(), req.Prefix)
		if err != nil {
			h.refuse(w, err)
			return
		}
		_ = newStream(w).batch(store.Batch{Revision: pic.Revision, Entries: pic.Entries})
	})
	m.HandleFunc("GET "+watchPath, func(w http.ResponseWriter, r *http.Request) {
		since, _ := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
		out := newStream(w)
		_ = out.control.Flush()
		for b := range inner.Watch(r.Context(), r.URL.Query().Get("prefix"), since) {
			if b.Err != nil {
				_, f := faultOf(b.Err)
				_ = out.send(line{Fault: f})
				return
			}
			if out.batch(b) != nil || out.control.Flush() != nil {
				return
			}
		}
	})
	srv := httptest.NewServer(m)
	t.Cleanup(srv.Close)
	c := client(t, "m1", hostOf(srv))
	c.sign = func(r *http.Request, by store.Writer) { r.Header.Set("Test-Writer", string(cluster.Encode(by))) }
	return &opened{Store: c, inner: inner}
}

// opened is a remote store for which the store behind it does what only a server may.
type opened struct {
	*Store
	inner storetest.Troubled
}

func (o *opened) Lead(ctx context.Context, id string) (*store.Term, error) {
	return o.inner.Lead(ctx, id)
}
func (o *opened) Expire(ctx context.Context, key string) error { return o.inner.Expire(ctx, key) }
func (o *opened) Depose(ctx context.Context) error             { return o.inner.Depose(ctx) }
func (o *opened) Compact(ctx context.Context, rev int64) error { return o.inner.Compact(ctx, rev) }

// Close closes both: the suite asks what a term and a lease do then.
func (o *opened) Close() error {
	err := o.Store.Close()
	if inner := o.inner.Close(); err == nil {
		err = inner
	}
	return err
}
