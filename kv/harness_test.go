package kv

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
)

// member is a store with a server in front of it.
type member struct {
	store  *etcd.Store
	server *Server
	deny   atomic.Pointer[error] // What MayWrite says.
}

func newMember(t testing.TB) *member {
	t.Helper()
	s, err := etcd.Open(t.Context(), etcd.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{store: s}
	m.server, err = NewServer(Options{
		Etcd: s.Server(), Log: slog.New(slog.DiscardHandler),
		MayWrite: m.mayWrite,
		Machine:  func(string) (string, string) { return "m1", "10.0.0.1:7443" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *member) mayWrite() error {
	if e := m.deny.Load(); e != nil {
		return *e
	}
	return nil
}

func (m *member) forbid(err error) { m.deny.Store(&err) }

// seed writes facts of Argosy's own, whose prefix surrounds the users' one on both sides.
func (m *member) seed(t testing.TB) {
	t.Helper()
	by := store.Writer{Role: store.Person, ID: "test"}
	if _, err := m.store.Write(t.Context(), by, store.Put("units/web.service", "secret"), store.Put("settings/cluster", map[string]int{"servers": 3})); err != nil {
		t.Fatal(err)
	}
}

// overNetwork mounts the server as the API does, and counts calls. Its address is what a Forward's Servers names; the test
// has no TLS, so its upstreams are made by plain.
func (m *member) overNetwork(t testing.TB, c Caller) *httptest.Server {
	t.Helper()
	h := m.server.Handler()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), c)))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// door opens a machine's door and returns its address.
func door(t testing.TB, o ForwardOptions) string {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Servers == nil {
		o.Servers = func() []string { return nil }
	}
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.URL = "http://" + l.Addr().String()
	f := NewForward(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { f.Run(ctx); done <- struct{}{} }()
	go func() {
		if err := Serve(ctx, l, f, o.Log); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		done <- struct{}{}
	}()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return l.Addr().String()
}

func client(t testing.TB, address string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + address}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second, Context: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
