package history

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

var (
	quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func reopen(t *testing.T, dir string, limit int64) *History {
	t.Helper()
	h, err := open(dir, quiet, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func add(t *testing.T, h *History, n int) {
	t.Helper()
	for i := range n {
		if err := h.Append(wire.Event{At: noon, Kind: wire.EventState, Unit: fmt.Sprintf("u%d.service", i%3), Message: "m"}); err != nil {
			t.Fatal(err)
		}
	}
}

// numbers are the numbers of all events after seq, page by page.
func numbers(t *testing.T, h *History, seq int64, unit string) []int64 {
	t.Helper()
	var out []int64
	for {
		events, _, _, err := h.Since(seq, unit, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			out = append(out, e.Seq)
			seq = e.Seq
		}
		if len(events) < 7 {
			return out
		}
	}
}

// TestNumbersGrowOverRestarts: over rotation and restarts every event that is kept is found once and in order.
func TestNumbersGrowOverRestarts(t *testing.T) {
	dir := t.TempDir()
	var total int64
	for round := range 6 {
		h := reopen(t, dir, 2000)
		add(t, h, 37)
		total += 37
		_, first, last, err := h.Since(0, "", 1)
		if err != nil || last != total {
			t.Fatalf("round %d: the last number is %d, want %d, %v", round, last, total, err)
		}
		for _, since := range []int64{0, first, first + 5, last - 10, last} {
			got := numbers(t, h, since, "")
			want := max(since, first-1) + 1
			for _, n := range got {
				if n != want {
					t.Fatalf("round %d: since %d gives %v", round, since, got)
				}
				want++
			}
			if want != last+1 {
				t.Fatalf("round %d: since %d ends at %d of %d", round, since, want-1, last)
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > maxFiles || len(files) < 3 {
		t.Errorf("%d files are kept, %v", len(files), err)
	}
}

// TestTornEnd: whatever a crash leaves behind the last whole line is dropped, and numbers go on.
func TestTornEnd(t *testing.T) {
	for name, tail := range map[string]string{
		"half a line": `{"seq":4,"at":"2026-03-01T12:`, "zeros": "\x00\x00\x00\x00", "a whole line of rubbish": "rubbish\n", "zeros and a line end": "\x00\x00\n\x00",
	} {
		dir := t.TempDir()
		h := reopen(t, dir, maxFile)
		add(t, h, 3)
		path := h.files[0].path
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(tail); err != nil { // The first history is never closed: kill -9.
			t.Fatal(err)
		}
		_ = f.Close()
		h = reopen(t, dir, maxFile)
		add(t, h, 1)
		if got := fmt.Sprint(numbers(t, h, 0, "")); got != "[1 2 3 4]" {
			t.Errorf("%s: %s", name, got)
		}
		text, err := os.ReadFile(path)
		if err != nil || strings.Count(string(text), "\n") != 4 || strings.Contains(string(text), "\x00") {
			t.Errorf("%s: the file is %q, %v", name, text, err)
		}
	}
}

func TestOneUnitAndFollow(t *testing.T) {
	h := reopen(t, t.TempDir(), maxFile)
	add(t, h, 9)
	if got := fmt.Sprint(numbers(t, h, 0, "u1.service")); got != "[2 5 8]" {
		t.Errorf("of one unit: %s", got)
	}
	select {
	case <-h.Changed(9):
		t.Error("told of an event that is not there")
	default:
	}
	<-h.Changed(8)
	waiting := h.Changed(9)
	var wg sync.WaitGroup
	wg.Go(func() { add(t, h, 1) })
	<-waiting
	wg.Wait()
	if err := os.WriteFile(filepath.Join(h.dir, "other.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := reopen(t, h.dir, maxFile); len(got.files) != 1 {
		t.Error("another's file is taken for ours")
	}
}

// scene is a view and a recorder whose clock goes on a second with every step.
type scene struct {
	t    *testing.T
	view *store.View
	rec  *Recorder
	now  time.Time
	rev  int64
}

func newScene(t *testing.T, dir string) *scene {
	s := &scene{t: t, view: store.NewView(quiet), now: noon}
	s.rec = NewRecorder(reopen(t, dir, maxFile), func() time.Time { return s.now }, quiet)
	return s
}

func (s *scene) entry(key string, v any) store.Entry {
	s.rev++
	e := store.Entry{Key: key, Revision: s.rev}
	if v != nil {
		e.Value = cluster.Encode(v)
	}
	return e
}

func (s *scene) look() {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	s.view.Look(s.rec.See)
	if err := s.rec.Flush(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) apply(key string, v any) {
	s.t.Helper()
	s.view.Apply(store.Batch{Revision: s.rev + 1, Entries: []store.Entry{s.entry(key, v)}})
	s.look()
}

// told is the messages since a number, one a line.
func (s *scene) told(seq int64) string {
	events, _, _, err := s.rec.Since(seq, "", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%d %s %s %s>%s %s", e.Seq, e.Kind, e.Unit, e.From, e.State, e.Message)
		if e.Who != "" {
			b.WriteString(" by " + e.Who)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const m = "0123456789abcdef"

func TestRecorderTellsTheStory(t *testing.T) {
	dir := t.TempDir()
	s := newScene(t, dir)
	s.view.Load(store.Picture{Revision: 1, Entries: []store.Entry{s.entry(cluster.MachineKey(m), cluster.Machine{ID: m, Name: "m1"}), s.entry(cluster.AliveKey(m), 1)}})
	s.look()
	u := cluster.Wanted{Name: "a.service", Text: "x", Desired: cluster.Launched, By: "anna", At: noon}
	s.apply(cluster.UnitKey("a.service"), u)
	s.apply(cluster.UnplacedKey("a.service"), cluster.Placement{Unit: "a.service", At: noon, Reason: reason.Because(reason.NoMachine, reason.Args{"machines": 1})})
	s.view.Apply(store.Batch{Revision: s.rev + 1, Entries: []store.Entry{s.entry(cluster.UnplacedKey("a.service"), nil)}})
	s.apply(cluster.PlacementKey(m, "a.service"), cluster.Placement{Unit: "a.service", Machine: m, Epoch: 1, At: noon})
	wish := s.rev
	status := cluster.Status{Unit: "a.service", Machine: m, Epoch: 1, For: wish, State: cluster.Healthy, Reason: reason.Because(reason.Healthy, nil), Since: noon}
	s.apply(cluster.StatusKey(m, "a.service"), status)
	status.Restarts = 4 // No change of state: no event.
	s.apply(cluster.StatusKey(m, "a.service"), status)
	s.apply(cluster.AliveKey(m), nil)
	s.apply(cluster.AliveKey(m), 1)
	u.Orders.Restart++
	u.Text, u.By = "y", "bob"
	s.apply(cluster.UnitKey("a.service"), u)
	s.rec.Blame("a.service", "carl")
	s.apply(cluster.UnitKey("a.service"), nil)
	want := `1 wish a.service > submitted, start by anna
2 state a.service >starting a.service waits for the leader to place it
3 place a.service > not placed: none of 1 machines may take it
4 state a.service starting>no-room none of 1 machines may take it
5 place a.service > placed on m1
6 state a.service no-room>starting placed on m1, whose agent has not taken it up yet
7 state a.service starting>healthy running and stable
8 state a.service healthy>lost m1 has not been heard of; what runs there is not known
9 state a.service lost>healthy running and stable
10 wish a.service > unit file replaced, restart by bob
11 state a.service healthy>starting placed on m1, whose agent has not taken it up yet
12 wish a.service starting> destroyed by carl
`
	if got := s.told(0); got != want {
		t.Errorf("told\n%swant\n%s", got, want)
	}
}

// TestRecorderOverRestart: what was there before is not told again; what changed while nobody looked is.
// TestStatesComeInOrder: nobody notes when a machine fell silent; the event must not be from before the one before it.
func TestStatesComeInOrder(t *testing.T) {
	s := newScene(t, t.TempDir())
	s.view.Load(store.Picture{Revision: 1, Entries: []store.Entry{s.entry(cluster.MachineKey(m), cluster.Machine{ID: m, Name: "m1"}), s.entry(cluster.AliveKey(m), 1)}})
	s.apply(cluster.UnitKey("a.service"), cluster.Wanted{Name: "a.service", Desired: cluster.Launched, At: noon})
	s.apply(cluster.PlacementKey(m, "a.service"), cluster.Placement{Unit: "a.service", Machine: m, Epoch: 1, At: noon})
	s.apply(cluster.StatusKey(m, "a.service"), cluster.Status{Unit: "a.service", Machine: m, Epoch: 1, State: cluster.Healthy, Since: s.now, For: 99})
	s.apply(cluster.AliveKey(m), nil)
	events, _, _, err := s.rec.Since(0, "a.service", 100)
	if err != nil || len(events) < 4 || events[len(events)-1].State != cluster.Lost {
		t.Fatalf("%+v, %v", events, err)
	}
	for i, e := range events {
		if i > 0 && e.Kind == wire.EventState && e.At.Before(events[i-1].At.Add(-time.Second)) {
			t.Errorf("%s is at %v, after an event at %v", e.State, e.At, events[i-1].At)
		}
	}
}

func TestRecorderOverRestart(t *testing.T) {
	dir := t.TempDir()
	s := newScene(t, dir)
	wanted := func(n string) store.Entry {
		return s.entry(cluster.UnitKey(n), cluster.Wanted{Name: n, Text: "x", Desired: cluster.Inactive, At: noon})
	}
	s.view.Load(store.Picture{Revision: 9, Entries: []store.Entry{wanted("a.service"), wanted("b.service")}})
	s.look()
	before := s.told(0)
	if strings.Count(before, "\n") != 2 {
		t.Fatalf("first told:\n%s", before)
	}
	again := newScene(t, dir)
	again.rev = s.rev
	launched := cluster.Wanted{Name: "b.service", Text: "x", Desired: cluster.Launched, At: noon}
	again.view.Load(store.Picture{Revision: 20, Entries: []store.Entry{wanted("a.service"), again.entry(cluster.UnitKey("b.service"), launched)}})
	again.look()
	if got := again.told(2); got != "3 state b.service stopped>starting b.service waits for the leader to place it\n" {
		t.Errorf("after the restart:\n%s", got)
	}
	again.view.Load(store.Picture{Revision: 21}) // Read anew: both are gone.
	again.look()
	if got := again.told(3); strings.Count(got, "destroyed") != 2 {
		t.Errorf("destroyed while nobody looked:\n%s", got)
	}
}

// TestRecorderThinsOut: a unit that changes all the time cannot push the others out of the history.
func TestRecorderThinsOut(t *testing.T) {
	s := newScene(t, t.TempDir())
	s.view.Load(store.Picture{Revision: 1, Entries: []store.Entry{
		s.entry(cluster.MachineKey(m), cluster.Machine{ID: m, Name: "m1"}), s.entry(cluster.AliveKey(m), 1),
		s.entry(cluster.UnitKey("a.service"), cluster.Wanted{Name: "a.service", Desired: cluster.Launched}),
		s.entry(cluster.PlacementKey(m, "a.service"), cluster.Placement{Unit: "a.service", Machine: m}),
	}})
	s.look()
	for i := range 1000 {
		s.apply(cluster.StatusKey(m, "a.service"), cluster.Status{
			Unit: "a.service", Machine: m, For: 1000, State: []cluster.State{cluster.Starting, cluster.BackingOff}[i%2],
			Reason: reason.Because(reason.Starting, nil),
		})
	}
	events, _, _, err := s.rec.Since(0, "", 10000)
	if err != nil {
		t.Fatal(err)
	}
	written, skipped := len(events), 0
	for _, e := range events {
		skipped += e.Skipped
	}
	if written > burst+1000/10+5 || written < burst || written+skipped < 980 {
		t.Errorf("of 1000 changes %d were written, which tell of %d more", written, skipped)
	}
}

// TestDiskFull: events wait while the disk takes none, and come later with their numbers in order.
func TestDiskFull(t *testing.T) {
	s := newScene(t, t.TempDir())
	out := s.rec.out
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	s.view.Load(store.Picture{Revision: 1, Entries: []store.Entry{s.entry(cluster.UnitKey("a.service"), cluster.Wanted{Name: "a.service"})}})
	s.rec.out = full
	s.view.Look(s.rec.See)
	if err := s.rec.Flush(); err == nil {
		t.Fatal("a full disk is no error")
	}
	s.rec.out = out
	s.apply(cluster.UnitKey("b.service"), cluster.Wanted{Name: "b.service", Text: "x", Desired: cluster.Inactive, At: noon})
	if got := s.told(0); !strings.HasPrefix(got, "1 state a.service") || !strings.Contains(got, "2 wish b.service") {
		t.Errorf("after the disk had room again:\n%s", got)
	}
}
