package api_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/api"
	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/history"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/unit"
)

const m1 = "0123456789abcdef0123456789abcdef"

var at = time.Date(2026, 3, 1, 14, 2, 7, 0, time.UTC)

// harness is one machine's API over a memory store, on a real socket.
type harness struct {
	t       *testing.T
	store   *memory.Store
	api     *api.API
	client  *client.Client
	socket  string
	history *history.Recorder
	journal *journal
	http    *http.Client
}

// journal is a Journal that gives the lines it was given, and then more.
type journal struct {
	mu    sync.Mutex
	lines []cluster.Line
	more  chan cluster.Line
	asked []runtime.JournalQuery
}

func (j *journal) Journal(ctx context.Context, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, q)
	lines := j.lines
	if q.Lines > 0 && len(lines) > q.Lines {
		lines = lines[len(lines)-q.Lines:]
	}
	out := make(chan cluster.Line)
	go func() {
		defer close(out)
		for _, l := range lines {
			select {
			case out <- l:
			case <-ctx.Done():
				return
			}
		}
		for q.Follow {
			select {
			case l := <-j.more:
				out <- l
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func now() time.Time { return at }

func start(t *testing.T) *harness {
	t.Helper()
	h := &harness{t: t, store: memory.New(), socket: filepath.Join(t.TempDir(), "argosy.sock"), journal: &journal{more: make(chan cluster.Line)}}
	hist, err := history.Open(t.TempDir(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	h.history = history.NewRecorder(hist, now, quiet())
	view := store.NewView(quiet())
	h.api = api.New(api.Config{Store: h.store, View: view, Journal: h.journal, History: h.history, Version: "1.2.3", MachineID: m1, Now: now, Log: quiet()})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { view.Run(ctx, h.store, "") })
	wg.Go(func() { h.api.Loop().Run(ctx) })
	h.serve(ctx, &wg)
	t.Cleanup(func() {
		h.client.Close()
		cancel()
		wg.Wait()
		if err := hist.Close(); err != nil {
			t.Error(err)
		}
	})
	if h.client, err = client.New("unix://" + h.socket); err != nil {
		t.Fatal(err)
	}
	h.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", h.socket)
	}}}
	return h
}

// serve listens until ctx ends.
func (h *harness) serve(ctx context.Context, wg *sync.WaitGroup) {
	l, err := api.Listen(h.socket, api.Group)
	if err != nil {
		h.t.Fatal(err)
	}
	wg.Go(func() {
		if err := api.Serve(ctx, l, h.api, quiet()); err != nil {
			h.t.Error(err)
		}
	})
}

// write puts facts in the store as their writers do.
func (h *harness) write(by store.Writer, changes ...store.Change) int64 {
	h.t.Helper()
	rev, err := h.store.Write(context.Background(), by, changes...)
	if err != nil {
		h.t.Fatal(err)
	}
	return rev
}

var agent = store.Writer{Role: store.Machine, ID: m1}

// leads makes a leader.
func leads(s *memory.Store) store.Writer {
	term, err := s.Lead(context.Background(), m1)
	if err != nil {
		panic(err)
	}
	return term.Writer
}

// machine brings up m1.
func (h *harness) machine() {
	h.write(agent, store.Put(cluster.MachineKey(m1), cluster.Machine{
		ID: m1, Name: "m1", Address: "10.0.0.1", Runtime: "fake", Types: []string{"service", "timer"},
		Metadata: map[string]string{"zone": "a"}, Capacity: unit.Resources{CPU: 2000, Memory: 1 << 30, Disk: 1 << 30}, At: at,
	}),
		store.Put(cluster.AliveKey(m1), struct{}{}))
}

// status says what m1's agent says of a unit that the leader has placed there.
func (h *harness) status(name string, revision int64, state cluster.State, r *reason.Reason) int64 {
	return h.write(agent, store.Put(cluster.StatusKey(m1, name), cluster.Status{
		Unit: name, Machine: m1, Epoch: 1, State: state, Reason: r, Since: at,
		For: revision, Load: "loaded", Active: "active", Sub: "running",
	}))
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const sleepUnit = "[Service]\nExecStart=/bin/sleep infinity\n"

// seen waits until the API shows a revision: a watch since it is synced.
func (h *harness) seen(revision int64) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(deadline(h.t))
	defer cancel()
	updates, err := h.client.Watch(ctx, revision, "no-unit-of-this-name")
	if err != nil {
		h.t.Fatal(err)
	}
	for u := range updates {
		if u.Synced {
			return
		}
	}
}

var person = store.Writer{Role: store.Person, ID: "test"}

func put(name string, desired cluster.Desired) store.Change {
	return store.Put(cluster.UnitKey(name), cluster.Wanted{Name: name, Text: sleepUnit, Desired: desired, At: at})
}
