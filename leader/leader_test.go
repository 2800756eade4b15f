package leader_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/leader"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/unit"
)

// world is a store, a view of it and a leader, stepped by hand.
type world struct {
	t    *testing.T
	s    *memory.Store
	view *store.View
	seen int64
	now  time.Time
	l    *leader.Leader
	term *store.Term
}

var ann = store.Writer{Role: store.Person, ID: "ann"}

const gib = 1 << 30

func newWorld(t *testing.T) *world {
	w := &world{t: t, s: memory.New(), now: time.Unix(1_000_000, 0)}
	w.lead("m1")
	return w
}

// lead starts a leader anew, as another process does.
func (w *world) lead(id string) {
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil))
	w.view, w.seen = store.NewView(log), 0
	w.term = w.s.Elect(id)
	w.l = leader.New(leader.Config{Store: w.s, View: w.view, Log: log, Now: func() time.Time { return w.now }, Seed: 1})
}

func (w *world) follow() {
	w.t.Helper()
	if w.seen == 0 {
		pic, err := w.s.Read(w.t.Context(), "")
		if err != nil {
			w.t.Fatal(err)
		}
		w.view.Load(pic)
		w.seen = pic.Revision
	}
	batches, err := w.s.Since("", w.seen)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range batches {
		w.view.Apply(b)
		w.seen = b.Revision
	}
}

// settle passes until nothing is written any more.
func (w *world) settle() {
	w.t.Helper()
	for range 10 {
		w.follow()
		before := w.seen
		if err := w.l.Pass(w.t.Context(), w.term.Writer); err != nil {
			w.t.Fatalf("pass: %v", err)
		}
		w.follow()
		if w.seen == before {
			return
		}
	}
	w.t.Fatal("the leader does not settle")
}

func (w *world) write(by store.Writer, changes ...store.Change) {
	w.t.Helper()
	if _, err := w.s.Write(w.t.Context(), by, changes...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) machine(id string, memory int64) {
	w.write(store.Writer{Role: store.Machine, ID: id},
		store.Put(cluster.MachineKey(id), cluster.Machine{ID: id, Name: id, Capacity: unit.Resources{CPU: 4000, Memory: memory, Disk: 100 * gib}, Types: []string{"service"}}),
		store.Put(cluster.AliveKey(id), 1))
}

func (w *world) silent(id string) {
	w.write(store.Writer{Role: store.Machine, ID: id}, store.Delete(cluster.AliveKey(id)))
}

func text(memory string) string {
	return "[Service]\nExecStart=/bin/sleep inf\n[X-Argosy]\nMemoryRequest=" + memory + "\n"
}

func (w *world) want(name, text string, desired cluster.Desired) {
	w.write(ann, store.Put(cluster.UnitKey(name), cluster.Wanted{Name: name, Text: text, Desired: desired}))
}

// is says where a unit is by the store alone: "m1", "m1+m2", or the code of its unplaced record, or "".
func (w *world) is(name string) string {
	w.t.Helper()
	w.follow()
	var out string
	w.view.Peek(func(p *cluster.Picture) {
		out = strings.Join(p.PlacedOn(name), "+")
		if u := p.Unplaced[name]; u != nil {
			out += string(u.Reason.Code)
		}
	})
	return out
}

func (w *world) check(want map[string]string) {
	w.t.Helper()
	for name, where := range want {
		if got := w.is(name); got != where {
			w.t.Errorf("%s is on %q, want %q", name, got, where)
		}
	}
}

func (w *world) epoch(machine, name string) (epoch int64) {
	w.view.Peek(func(p *cluster.Picture) {
		if pl := p.Placements[cluster.On{Machine: machine, Unit: name}]; pl != nil {
			epoch = pl.Epoch
		}
	})
	return epoch
}

func TestPlacesCountsAndWithdraws(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	for i := range 4 {
		w.want(fmt.Sprintf("web@%d.service", i), text("400M"), cluster.Launched)
	}
	w.want("web@.service", text("400M"), cluster.Inactive)
	w.want("off.service", text("1M"), cluster.Inactive)
	w.settle()
	var placed, refused int
	for i := range 4 {
		switch w.is(fmt.Sprintf("web@%d.service", i)) {
		case "m1":
			placed++
		case string(reason.NoRoomMemory):
			refused++
		}
	}
	if placed != 2 || refused != 2 {
		t.Errorf("%d placed and %d refused, want 2 and 2", placed, refused)
	}
	w.check(map[string]string{"web@.service": "", "off.service": ""})
	w.machine("m2", gib)
	w.settle()
	for i := range 4 {
		if at := w.is(fmt.Sprintf("web@%d.service", i)); at != "m1" && at != "m2" {
			t.Errorf("with room web@%d is %q", i, at)
		}
	}
	w.want("web@0.service", text("400M"), cluster.Inactive)
	w.write(ann, store.Delete(cluster.UnitKey("web@1.service")))
	w.settle()
	w.check(map[string]string{"web@0.service": "", "web@1.service": ""})
}

func TestEpochGrowsOverEverything(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("1M"), cluster.Launched)
	w.settle()
	last := int64(0)
	for range 3 {
		w.lead("m1")
		w.want("a.service", text("1M"), cluster.Inactive)
		w.settle()
		w.want("a.service", text("1M"), cluster.Launched)
		w.settle()
		if e := w.epoch("m1", "a.service"); e <= last {
			t.Fatalf("epoch %d after %d", e, last)
		} else {
			last = e
		}
	}
}

func TestUnreadableText(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	bad := "[Service]\nExecStart=/bin/sleep inf\n[X-Argosy]\nMemoryRequest=lots\n"
	w.want("new.service", bad, cluster.Launched)
	w.want("old.service", text("1M"), cluster.Launched)
	w.settle()
	w.check(map[string]string{"new.service": string(reason.UnitInvalid), "old.service": "m1"})
	w.want("old.service", bad, cluster.Launched)
	w.settle()
	w.check(map[string]string{"old.service": "m1"}) // Nothing that runs is stopped for it.
	w.want("new.service", text("1M"), cluster.Launched)
	w.settle()
	w.check(map[string]string{"new.service": "m1"})
	w.want("new2.service", bad, cluster.Launched)
	w.settle()
	w.want("new2.service", bad, cluster.Inactive)
	w.settle()
	w.check(map[string]string{"new2.service": ""})
	w.want("new2.service", bad, cluster.Launched)
	w.settle()
	w.lead("m2")
	w.settle()
	w.check(map[string]string{"new2.service": string(reason.UnitInvalid), "old.service": "m1"})
	w.write(ann, store.Delete(cluster.UnitKey("new2.service")))
	w.settle()
	w.check(map[string]string{"new2.service": ""})
}

func TestSilentMachine(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("600M"), cluster.Launched)
	w.want("b.service", text("300M"), cluster.Launched)
	w.settle()
	w.machine("m2", gib/2)
	w.settle()
	w.silent("m1")
	w.settle()
	w.check(map[string]string{"a.service": "m1", "b.service": "m1"}) // An agent may start again.
	if n := w.l.Next(); n <= 0 || n > leader.DefaultDownAfter {
		t.Errorf("next look in %v", n)
	}
	w.now = w.now.Add(leader.DefaultDownAfter)
	w.settle()
	// b moves; a fits nowhere else, and stays where it may still run.
	w.check(map[string]string{"a.service": "m1", "b.service": "m2"})
	w.lead("m2") // Another leader gives it its time anew, and thinks the same.
	w.settle()
	w.now = w.now.Add(leader.DefaultDownAfter)
	w.settle()
	w.check(map[string]string{"a.service": "m1", "b.service": "m2"})
	w.machine("m1", gib) // It is back.
	w.settle()
	w.check(map[string]string{"a.service": "m1", "b.service": "m2"})
	w.silent("m1")
	w.settle()
	w.now = w.now.Add(leader.DefaultDownAfter)
	w.settle()
	w.machine("m1", gib/4) // It is back, smaller: what it held on to has no room there.
	w.settle()
	w.check(map[string]string{"a.service": string(reason.NoRoomMemory)})
	w.silent("m1")
	w.settle()
	w.now = w.now.Add(leader.DefaultDownAfter)
	w.settle()
	w.machine("m3", gib)
	w.settle()
	w.check(map[string]string{"a.service": "m3"})
}

func TestLingerEndsWhereItIsPlacedOrStopped(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("600M"), cluster.Launched)
	w.want("b.service", text("300M"), cluster.Launched)
	w.settle()
	w.silent("m1")
	w.settle()
	w.now = w.now.Add(time.Hour)
	w.settle()
	w.check(map[string]string{"a.service": "m1", "b.service": "m1"})
	w.want("b.service", text("300M"), cluster.Inactive)
	w.settle()
	w.check(map[string]string{"a.service": "m1", "b.service": ""})
	w.machine("m2", gib)
	w.settle()
	w.check(map[string]string{"a.service": "m2"})
}

// A lost machine is promised too much, as a text there has grown: another leader leaves it so until it is back.
func TestAnotherLeaderLeavesALostMachineAlone(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("600M"), cluster.Launched)
	w.want("b.service", text("300M"), cluster.Launched)
	w.settle()
	w.silent("m1")
	w.settle()
	w.now = w.now.Add(time.Hour)
	w.settle()
	w.want("b.service", text("700M"), cluster.Launched)
	w.settle()
	where := map[string]string{"a.service": "m1", "b.service": "m1"}
	w.check(where)
	for range 2 {
		w.lead("m2")
		w.settle()
		w.check(where)
		w.now = w.now.Add(time.Hour)
		w.settle()
		w.check(where)
	}
	w.machine("m1", gib) // It is back, and has room for one.
	w.settle()
	if a, b := w.is("a.service"), w.is("b.service"); a+b != "m1"+string(reason.NoRoomMemory) && b+a != "m1"+string(reason.NoRoomMemory) {
		t.Errorf("a is on %q and b on %q, want one on m1", a, b)
	}
}

func TestStaleAndLostWritesBreakTheChainOnly(t *testing.T) {
	for _, fault := range []memory.Fault{memory.Stale, memory.LostRequest, memory.LostAnswer, memory.Full} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			w := newWorld(t)
			w.machine("m1", gib)
			w.machine("m2", gib)
			w.settle()
			for i := range 6 {
				w.want(fmt.Sprintf("u@%d.service", i), text("200M"), cluster.Launched)
			}
			w.follow()
			n := 0
			w.s.Inject(func(by store.Writer, _ []store.Change) memory.Fault {
				if n++; by.Role == store.Leader && n == 1 {
					return fault
				}
				return memory.None
			})
			if err := w.l.Pass(t.Context(), w.term.Writer); err == nil {
				t.Fatal("a failed write is no error")
			}
			// The picture has not seen what was done without an answer: the pass waits for it.
			if err := w.l.Pass(t.Context(), w.term.Writer); err != nil {
				t.Fatal(err)
			}
			w.settle()
			for i := range 6 {
				if at := w.is(fmt.Sprintf("u@%d.service", i)); at != "m1" && at != "m2" {
					t.Errorf("u@%d is on %q", i, at)
				}
			}
		})
	}
}

func TestDeposed(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.settle()
	w.s.Elect("m2")
	w.want("a.service", text("1M"), cluster.Launched)
	w.follow()
	if err := w.l.Pass(t.Context(), w.term.Writer); !errors.Is(err, store.ErrStale) {
		t.Errorf("a deposed leader passes with %v", err)
	}
	w.check(map[string]string{"a.service": ""})
}

func TestGlobalOnEveryMachine(t *testing.T) {
	w := newWorld(t)
	global := text("1M") + "[X-Fleet]\nGlobal=true\n"
	w.want("g.service", global, cluster.Launched)
	w.settle()
	if at := w.is("g.service"); at == "" || strings.HasPrefix(at, "m") && !strings.HasPrefix(at, "machine") && at != string(reason.NoMachine) {
		t.Errorf("without machines it is on %q", at)
	}
	w.machine("m1", gib)
	w.machine("m2", gib)
	w.settle()
	w.check(map[string]string{"g.service": "m1+m2"})
	w.want("g.service", global, cluster.Inactive)
	w.settle()
	w.check(map[string]string{"g.service": ""})
}

func TestWaveIsWrittenInBoundedTransactions(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.machine(fmt.Sprintf("m%d", i), 64*gib)
	}
	const units = 1300
	for i := range units {
		w.want(fmt.Sprintf("u@%d.service", i), text("1M")+"CPURequest=0.01\n", cluster.Launched)
	}
	w.settle()
	batches, err := w.s.Since(cluster.PlacementsPrefix, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range batches {
		n += len(b.Entries)
		if len(b.Entries) > 500 {
			t.Errorf("%d changes in one transaction", len(b.Entries))
		}
	}
	if n != units || len(batches) != 3 {
		t.Errorf("%d placements in %d transactions, want %d in 3", n, len(batches), units)
	}
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("2G"), cluster.Launched)
	w.settle()
	if e, ok := w.l.Explain("a.service"); !ok || len(e.Candidates) != 1 {
		t.Errorf("explained %v as %+v", ok, e)
	}
	if _, ok := w.l.Explain("none.service"); ok {
		t.Error("an unknown unit is explained")
	}
}

func TestRunLeadsAndFollows(t *testing.T) {
	w := newWorld(t)
	w.term.Resign()
	w.machine("m1", gib)
	w.want("a.service", text("1M"), cluster.Launched)
	view := store.NewView(slog.New(slog.DiscardHandler))
	go view.Run(t.Context(), w.s, "")
	ctx := t.Context()
	for _, id := range []string{"m1", "m2"} {
		l := leader.New(leader.Config{Store: w.s, View: view.Fork(), Log: slog.New(slog.DiscardHandler)})
		go l.Run(ctx, id)
	}
	await := func(prefix string, n int) {
		t.Helper()
		for b := range w.s.Watch(ctx, prefix, 0) {
			if n -= len(b.Entries); n <= 0 {
				return
			}
		}
		t.Fatalf("%s was not written", prefix)
	}
	await(cluster.PlacementsPrefix, 1)
	if err := w.s.Depose(ctx); err != nil {
		t.Fatal(err)
	}
	w.want("b.service", text("1M"), cluster.Launched)
	await(cluster.PlacementsPrefix, 2)
}

// TestReasonsFollowWhatChanges: a unit that waits for memory is told that a port is what it lacks when that is so, although
// nothing became free.
func TestReasonsFollowWhatChanges(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("600M"), cluster.Launched)
	w.settle()
	w.want("b.service", text("600M")+"Port=80\n", cluster.Launched)
	w.settle()
	w.check(map[string]string{"b.service": "no-room.memory"})
	w.want("c.service", text("10M")+"Port=80\n", cluster.Launched)
	w.settle()
	w.check(map[string]string{"b.service": "no-room.port", "c.service": "m1"})
	if next := w.l.Next(); next != 0 {
		t.Errorf("settled, and the next pass is in %v", next)
	}
}
