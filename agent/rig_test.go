package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/fake"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

const me = "0123456789abcdef0123456789abcdef"

// rig is one machine: agent, fake runtime and store, on a clock that the test moves.
type rig struct {
	*testing.T
	ctx     context.Context //nolint:containedctx // a test's own
	now     time.Time
	store   *memory.Store
	view    *store.View
	runtime *fake.Runtime
	agent   *Agent
	term    *store.Term
	log     *slog.Logger
	config  func(*Config)
	seen    map[string]int64
	writes  int // Writes of the agent.
	epoch   int64
	passErr error
}

func newRig(t *testing.T, config func(*Config)) *rig {
	t.Helper()
	r := &rig{T: t, ctx: t.Context(), now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), store: memory.New(), log: newRigLog(), config: config, seen: map[string]int64{}}
	r.runtime = fake.New(r.clock, 7)
	term, err := r.store.Lead(r.ctx, "leader")
	if err != nil {
		t.Fatal(err)
	}
	r.term = term
	r.count(nil)
	r.boot()
	return r
}

func newRigLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (r *rig) clock() time.Time { return r.now }

// count counts the agent's writes, and lets a test make some fail.
func (r *rig) count(fault func() memory.Fault) {
	r.store.Inject(func(by store.Writer, changes []store.Change) memory.Fault {
		if by.Role != store.Machine || len(changes) == 0 {
			return memory.None
		}
		r.writes++
		if fault != nil {
			return fault()
		}
		return memory.None
	})
}

// boot begins an agent that knows nothing but what store and runtime tell it.
func (r *rig) boot() {
	r.Helper()
	r.view = store.NewView(r.log)
	r.seen = map[string]int64{}
	pic, err := r.store.Read(r.ctx, "")
	if err != nil {
		r.Fatal(err)
	}
	r.view.Load(pic)
	for _, e := range pic.Entries {
		r.seen[e.Key] = e.Revision
	}
	c := Config{Machine: me, Store: r.store, View: r.view, Runtime: r.runtime, Now: r.clock, Log: r.log}
	if r.config != nil {
		r.config(&c)
	}
	r.agent = New(c)
}

// sync feeds the view as a watch would.
func (r *rig) sync() {
	r.Helper()
	pic, err := r.store.Read(r.ctx, "")
	if err != nil {
		r.Fatal(err)
	}
	batch := store.Batch{Revision: pic.Revision}
	now := map[string]int64{}
	for _, e := range pic.Entries {
		now[e.Key] = e.Revision
		if r.seen[e.Key] != e.Revision {
			batch.Entries = append(batch.Entries, e)
		}
	}
	for key := range r.seen {
		if _, there := now[key]; !there {
			batch.Entries = append(batch.Entries, store.Entry{Key: key, Revision: pic.Revision})
		}
	}
	r.seen = now
	if len(batch.Entries) > 0 {
		r.view.Apply(batch)
	}
}

func (r *rig) write(by store.Writer, changes ...store.Change) {
	r.Helper()
	if _, err := r.store.Write(r.ctx, by, changes...); err != nil {
		r.Fatal(err)
	}
	r.sync()
}

// want lays down a wish and, unless it is inactive, a placement here.
func (r *rig) want(name, text string, d cluster.Desired, change ...func(*cluster.Wanted)) {
	r.Helper()
	w := r.wish(name)
	w.Name, w.Desired, w.By, w.At = name, d, "anna", r.now
	if text != "" {
		w.Text = text
	}
	for _, f := range change {
		f(&w)
	}
	r.write(store.Writer{Role: store.Person, ID: "anna"}, store.Put(cluster.UnitKey(name), w))
	if d == cluster.Inactive {
		r.unplace(name)
	} else {
		r.place(name)
	}
}

func (r *rig) wish(name string) (w cluster.Wanted) {
	r.view.Peek(func(p *cluster.Picture) {
		if have := p.Units[name]; have != nil {
			w = *have
		}
	})
	return w
}

func (r *rig) start(name, text string) {
	r.Helper()
	r.want(name, text, cluster.Launched, func(w *cluster.Wanted) { w.Orders.Start++ })
}

func (r *rig) place(name string) {
	r.Helper()
	placed := false
	r.view.Peek(func(p *cluster.Picture) { placed = len(p.PlacedOn(name)) > 0 })
	if placed {
		return
	}
	r.epoch++
	r.write(r.term.Writer, store.Put(cluster.PlacementKey(me, name), cluster.Placement{Unit: name, Machine: me, Epoch: r.epoch, At: r.now}))
}

func (r *rig) unplace(name string) {
	r.Helper()
	r.write(r.term.Writer, store.Delete(cluster.PlacementKey(me, name)))
}

func (r *rig) destroy(name string) {
	r.Helper()
	r.write(store.Writer{Role: store.Person, ID: "anna"}, store.Delete(cluster.UnitKey(name)))
	r.unplace(name)
}

// pass runs passes until nothing kicks any more at this time.
func (r *rig) pass() {
	r.Helper()
	for range 50 {
		r.runtime.Step()
		r.passErr = r.agent.Pass(r.ctx)
		r.sync()
		if r.passErr != nil {
			return // The loop pauses.
		}
		select {
		case <-r.view.Kick():
			continue
		case <-r.runtime.Kick():
			r.agent.kicked = true // As Forward does.
			continue
		default:
		}
		return
	}
	r.Fatal("passes never end")
}

// run lets time go by: whatever is due for the runtime or the agent happens on its time.
func (r *rig) run(d time.Duration) {
	r.Helper()
	end := r.now.Add(d)
	for range 100_000 {
		r.pass()
		next := end
		if r.passErr != nil {
			next = r.now.Add(min(100*time.Millisecond, end.Sub(r.now)))
		}
		if n := r.agent.Next(); n > 0 && r.now.Add(n).Before(next) {
			next = r.now.Add(n)
		}
		if at, ok := r.runtime.Next(); ok && at.Before(next) {
			next = at
		}
		if !r.now.Before(end) {
			return
		}
		if next.After(r.now) {
			r.now = next
		} else {
			r.now = r.now.Add(time.Millisecond)
		}
	}
	r.Fatal("time does not go by")
}

func (r *rig) status(name string) *cluster.Status {
	var st *cluster.Status
	r.view.Peek(func(p *cluster.Picture) {
		if s := p.Statuses[cluster.On{Machine: me, Unit: name}]; s != nil {
			c := *s
			st = &c
		}
	})
	return st
}

// is fails unless the unit's status has a state and a reason.
func (r *rig) is(name string, s cluster.State, code reason.Code) *cluster.Status {
	r.Helper()
	st := r.status(name)
	if st == nil {
		r.Fatalf("%s has no status, want %s", name, s)
	}
	if st.State != s || st.Reason == nil || st.Reason.Code != code {
		r.Fatalf("%s is %s because %v, want %s because %s", name, st.State, st.Reason, s, code)
	}
	if st.For != r.wish(name).Revision && r.wish(name).Revision != 0 {
		r.Fatalf("%s: status is for revision %d, the wish is at %d", name, st.For, r.wish(name).Revision)
	}
	return st
}

func (r *rig) pid(name string) int { return r.runtime.Running()[name] }

func (r *rig) calls(method, name string, want int) {
	r.Helper()
	if n := r.runtime.Calls(method, name); n != want {
		r.Errorf("%s %s was called %d times, want %d", method, name, n, want)
	}
}

func service(lines ...string) string {
	text := "[Service]\n"
	for _, l := range lines {
		text += l + "\n"
	}
	return text
}

func names(format string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i+1)
	}
	return out
}
