package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

var testLog = slog.New(slog.NewTextHandler(io.Discard, nil))

// table feeds a hub by hand.
type table struct {
	t    *testing.T
	view *store.View
	hub  *hub
	rev  int64
}

func newTable(t *testing.T) *table {
	v := store.NewView(testLog)
	return &table{t: t, view: v, hub: newHub(v.Fork())}
}

func (b *table) apply(key string, v any) {
	b.rev++
	e := store.Entry{Key: key, Revision: b.rev}
	if v != nil {
		e.Value = cluster.Encode(v)
	}
	b.view.Apply(store.Batch{Revision: b.rev, Entries: []store.Entry{e}})
}

func (b *table) unit(name string) {
	b.apply(cluster.UnitKey(name), cluster.Wanted{Name: name, Desired: cluster.Launched})
}

func (b *table) status(name string, state cluster.State) {
	b.apply(cluster.StatusKey("m", name), cluster.Status{Unit: name, Machine: "m", For: b.rev, State: state})
}

func (b *table) pass() {
	b.hub.pass(func(*cluster.Picture, map[cluster.Touched]struct{}, bool) {})
}

func (b *table) load() {
	b.rev++
	b.view.Load(store.Picture{Revision: b.rev})
	b.pass()
}

// drain reads all that a subscriber has now.
func drain(t *testing.T, s *subscriber) (events []wire.WatchEvent, last int64) {
	t.Helper()
	for {
		b := s.next()
		if len(b.events) == 0 {
			return events, last
		}
		for _, e := range b.events {
			var w wire.WatchEvent
			if err := json.Unmarshal(e, &w); err != nil {
				t.Fatal(err)
			}
			events = append(events, w)
		}
		if b.id > 0 {
			last = b.id
		}
	}
}

func TestHubCoalescesForSlowReaders(t *testing.T) {
	b := newTable(t)
	b.load()
	for i := range 5 {
		b.unit(fmt.Sprintf("u%d.service", i))
	}
	b.pass()
	s := b.hub.subscribe(&matcher{}, 0)
	if got, _ := drain(t, s); len(got) != 6 || !got[5].Synced || !got[5].Complete {
		t.Fatalf("the first answers are %+v", got)
	}
	b.apply(cluster.MachineKey("m"), cluster.Machine{ID: "m", Name: "m"})
	b.apply(cluster.AliveKey("m"), 1)
	b.apply(cluster.PlacementKey("m", "u0.service"), cluster.Placement{Unit: "u0.service", Machine: "m"})
	for i := range 1000 {
		b.status("u0.service", cluster.States()[i%2])
		b.pass()
	}
	b.status("u0.service", cluster.Failed)
	b.pass()
	if len(s.dirty) != 1 {
		t.Errorf("a reader that does not read holds %d names for 1000 changes of one unit", len(s.dirty))
	}
	got, _ := drain(t, s)
	if len(got) != 1 || got[0].Answer.State != cluster.Failed {
		t.Errorf("after 1001 changes a slow reader gets %+v", got)
	}
}

func TestHubComputesOnlyWhatWasTouched(t *testing.T) {
	b := newTable(t)
	b.load()
	for i := range 100 {
		b.unit(fmt.Sprintf("u%d.service", i))
	}
	b.apply(cluster.MachineKey("m"), cluster.Machine{ID: "m", Name: "m"})
	b.apply(cluster.AliveKey("m"), 1)
	b.pass()
	s := b.hub.subscribe(&matcher{}, 0)
	drain(t, s)
	count := func() int {
		n := -1
		b.hub.view.Look(func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
			n = len(b.hub.namesTouched(p, touched, all))
		})
		return n
	}
	b.status("u7.service", cluster.Healthy)
	if n := count(); n != 1 {
		t.Errorf("one status makes %d answers", n)
	}
	b.apply(cluster.MachineKey("m"), cluster.Machine{ID: "m", Name: "m", At: time.Unix(1, 0)})
	if n := count(); n != 0 {
		t.Errorf("a machine's record that says the same makes %d answers", n)
	}
	if n := count(); n != 0 {
		t.Errorf("nothing makes %d answers", n)
	}
	b.apply(cluster.PlacementKey("m", "u1.service"), cluster.Placement{Unit: "u1.service", Machine: "m"})
	b.pass()
	b.apply(cluster.AliveKey("m"), nil)
	if n := count(); n != 1 {
		t.Errorf("a lost machine with one unit makes %d answers", n)
	}
}

func TestHubResumes(t *testing.T) {
	b := newTable(t)
	b.load()
	b.unit("a.service")
	b.unit("b.service")
	b.unit("c.service")
	b.pass()
	s := b.hub.subscribe(&matcher{}, 0)
	_, last := drain(t, s)
	s.close()
	if len(b.hub.subs) != 0 {
		t.Fatal("a closed subscriber is still fed")
	}
	b.apply(cluster.UnitKey("b.service"), nil)
	b.apply(cluster.UnplacedKey("c.service"), cluster.Placement{Unit: "c.service", Reason: reason.Because(reason.NoMachine, reason.Args{"machines": 0})})
	b.pass()
	got, _ := drain(t, b.hub.subscribe(&matcher{}, last))
	if len(got) != 3 || got[0].Gone != "b.service" || got[1].Answer.Unit != "c.service" || got[1].Answer.State != cluster.Unplaced || !got[2].Synced || got[2].Complete {
		t.Errorf("resumed from %d: %+v", last, got)
	}
	// What the hub cannot know any more is sent anew, and said to be all.
	for _, resume := range []int64{1 << 40, 0} {
		got, _ = drain(t, b.hub.subscribe(&matcher{}, resume))
		if len(got) != 3 || !got[2].Complete {
			t.Errorf("resumed from %d: %+v", resume, got)
		}
	}
}

func TestHubForgetsOldTombs(t *testing.T) {
	b := newTable(t)
	b.load()
	b.unit("a.service")
	b.pass()
	before := b.rev
	for i := range maxTombs + 10 {
		b.unit(fmt.Sprintf("t%d.service", i))
		b.pass()
		b.apply(cluster.UnitKey(fmt.Sprintf("t%d.service", i)), nil)
		b.pass()
	}
	if len(b.hub.tombs) > maxTombs {
		t.Errorf("%d tombs are kept", len(b.hub.tombs))
	}
	got, _ := drain(t, b.hub.subscribe(&matcher{}, before))
	if n := len(got); n != 2 || !got[1].Complete {
		t.Errorf("a resume from before the oldest tomb gives %d events, complete %v", n, got[n-1].Complete)
	}
	got, _ = drain(t, b.hub.subscribe(&matcher{}, b.rev-4))
	if n := len(got); got[n-1].Complete || n != 3 {
		t.Errorf("a resume from just now gives %+v", got)
	}
}

func TestHubCounts(t *testing.T) {
	b := newTable(t)
	b.load()
	b.unit("a.service")
	b.unit("b.service")
	b.pass()
	b.apply(cluster.UnitKey("a.service"), nil)
	b.pass()
	states, reasons := b.hub.counts()
	if len(states) != 1 || states[cluster.Starting] != 1 || reasons[reason.NotScheduled] != 1 || len(reasons) != 1 {
		t.Errorf("counted %v %v", states, reasons)
	}
	b.load() // The store was set up anew: it is empty.
	if states, reasons = b.hub.counts(); len(states)+len(reasons) != 0 {
		t.Errorf("counted %v %v in an empty picture", states, reasons)
	}
}

// TestListsAreInTheOrderOfPeople: web@2 comes before web@10, in lists and in the first part of a watch.
func TestListsAreInTheOrderOfPeople(t *testing.T) {
	b := newTable(t)
	b.load()
	want := []string{"a.service", "web@1.service", "web@2.service", "web@10.service"}
	for _, n := range []string{want[3], want[1], want[0], want[2]} {
		b.unit(n)
	}
	b.pass()
	for _, m := range []*matcher{{}, {globs: []string{"*"}}, {names: map[string]struct{}{want[0]: {}, want[1]: {}, want[2]: {}, want[3]: {}}}} {
		answers, _ := b.hub.list(m)
		var got []string
		for _, a := range answers {
			got = append(got, a.Unit)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v lists %v", m, got)
		}
	}
	events, _ := drain(t, b.hub.subscribe(&matcher{}, 0))
	var got []string
	for _, e := range events {
		if e.Answer != nil {
			got = append(got, e.Answer.Unit)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("a watch begins with %v", got)
	}
}

// TestPace: a connection that asks too fast waits, and is refused when it would wait too long.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{limiter: rate.NewLimiter(2, 1)}
		begun := time.Now()
		for range 5 {
			if err := p.pace(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("5 requests at 2 a second took %v", took)
		}
		slow := &peer{limiter: rate.NewLimiter(0.1, 1)}
		if err := slow.pace(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := slow.pace(t.Context())
		if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.TooMany {
			t.Errorf("a wait of 10 s is %v", err)
		}
	})
}

// TestIdOnlyBehindAll: a watch that breaks in the middle of many answers must not resume behind those that it did not get.
func TestIdOnlyBehindAll(t *testing.T) {
	b := newTable(t)
	b.load()
	for i := range 2*maxBatch + 10 {
		b.unit(fmt.Sprintf("u%d.service", i))
	}
	b.pass()
	s := b.hub.subscribe(&matcher{}, 0)
	for i, want := range []int64{0, 0, b.rev} {
		if got := s.next(); got.id != want || len(got.events) == 0 || len(got.events) > maxBatch+1 {
			t.Errorf("batch %d has %d events and id %d, want id %d", i, len(got.events), got.id, want)
		}
	}
}

// TestSinceWaits: a watch since a revision that the server has not seen says nothing until it has.
func TestSinceWaits(t *testing.T) {
	v := store.NewView(testLog)
	a := New(Config{View: v, Now: time.Now, Log: testLog})
	v.Load(store.Picture{Revision: 5})
	if err := a.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	defer server.Close()
	done := make(chan string, 1)
	go func() {
		resp, err := http.Get(server.URL + "/v1/watch?since=6")
		if err != nil {
			done <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		line, _ := bufio.NewReader(resp.Body).ReadString('\n')
		done <- line
	}()
	select {
	case line := <-done:
		t.Fatalf("a watch since 6 begins at 5 with %q", line)
	case <-time.After(100 * time.Millisecond):
	}
	v.Apply(store.Batch{Revision: 6, Entries: []store.Entry{{Key: cluster.UnitKey("a.service"), Revision: 6, Value: cluster.Encode(cluster.Wanted{Name: "a.service", Desired: cluster.Launched})}}})
	if err := a.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if line := <-done; !strings.Contains(line, `"unit":"a.service"`) {
		t.Errorf("the watch begins with %q", line)
	}
}

// BenchmarkHub is what one status costs a hub of 10,000 units with 50 watches.
func BenchmarkHub(b *testing.B) {
	t := &table{view: store.NewView(testLog)}
	t.hub = newHub(t.view.Fork())
	t.load()
	for i := range 10000 {
		t.unit(fmt.Sprintf("u%d.service", i))
	}
	t.pass()
	for i := range 50 {
		t.hub.subscribe(&matcher{names: map[string]struct{}{fmt.Sprintf("u%d.service", i): {}}}, 0)
	}
	for i := 0; b.Loop(); i++ {
		t.status(fmt.Sprintf("u%d.service", i%10000), cluster.States()[i%2])
		t.pass()
	}
}
