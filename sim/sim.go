// Package sim is the whole cluster in one goroutine from one seed: the real leader, planner and agents over the
// memory store and the fake runtime, on a clock that the simulator turns. A seed draws the machines, the units, what
// people do and what goes wrong; after every step the invariants are checked against the store and the runtimes,
// never against what the program believes. It finds what only an odd order of events shows, and a seed replays it.
//
// It leaves to others: real processes (runtimetest, hosttest), real etcd (storetest), time in the runtime's own
// rules. Nothing imports it.
package sim

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"argosy.dev/argosy/agent"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/leader"
	"argosy.dev/argosy/runtime/fake"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/unit"
)

// The bounds of one seed.
const (
	steps       = 160              // With faults.
	settleSteps = 60               // Rounds without faults, until everything has to be right.
	settleEvery = 5 * time.Second  // Of a round.
	steadyMost  = 31 * time.Minute // After so long without a loss a machine's past is forgotten.
	maxMachines = 5
	maxUnits    = 14
	leaderID    = "m0" // The leader's machine; its clock is the first host's.
)

// World is one seed's cluster.
type World struct {
	ctx     context.Context
	dice    *rand.Rand
	store   *memory.Store
	now     time.Time // True time.
	hosts   []*host
	leads   *leads
	old     *leads // A deposed leader that has not noticed.
	user    user
	truth   truth
	faults  bool
	trace   hash.Hash64
	story   []string // The last steps, for people.
	step    int
	problem error
	log     *slog.Logger
}

// follower is a picture that lags behind the store.
type follower struct {
	view *store.View
	seen int64
}

// host is one machine.
type host struct {
	follower
	id      string
	runtime *fake.Runtime
	agent   *agent.Agent
	skew    time.Duration // Of its clock.
	cut     bool          // From the store: its agent works on what it has.
	off     bool          // Without power.
	alive   bool          // Its sign of life is in the store.
	silent  time.Time     // When it was cut or switched off.
	ledger  ledger
	stops   map[string]int
	starts  map[string]int
}

// leads is a leader and its term.
type leads struct {
	follower
	leader  *leader.Leader
	term    *store.Term
	sighted int64 // The picture that its last good pass had seen.
}

// New draws a cluster from a seed.
func New(ctx context.Context, seed uint64, log *slog.Logger) *World {
	w := &World{
		ctx: ctx, dice: rand.New(rand.NewPCG(seed, 0x5a)), store: memory.New(), //nolint:gosec // A simulator's dice.
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), trace: fnv.New64a(), log: log,
	}
	w.user.w, w.truth = w, newTruth(w)
	w.store.Inject(w.fault)
	for range 1 + w.dice.IntN(3) {
		w.addMachine()
	}
	w.elect()
	return w
}

// Run plays the seed and gives the first problem found.
func (w *World) Run() error {
	w.faults = true
	for w.step = range steps {
		w.act()
		w.check()
		if w.problem != nil {
			return w.problem
		}
	}
	w.faults = false
	return w.settle()
}

// Trace is a hash over all that was written and called: equal for equal seeds.
func (w *World) Trace() string { return hex.EncodeToString(w.trace.Sum(nil)) }

// Story tells the last steps.
func (w *World) Story() []string { return w.story }

const storyLength = 150

func (w *World) tell(format string, args ...any) {
	line := fmt.Sprintf("%3d %s ", w.step, w.now.Format("15:04:05.000")) + fmt.Sprintf(format, args...)
	fmt.Fprintln(w.trace, line)
	if !w.faults && strings.HasSuffix(line, "passes (false)") {
		return // Of the quiet rounds only what is odd is told.
	}
	if w.story = append(w.story, line); len(w.story) > storyLength {
		w.story = w.story[1:]
	}
}

// fail keeps the first problem.
func (w *World) fail(format string, args ...any) {
	if w.problem == nil {
		w.problem = fmt.Errorf("step %d: "+format, append([]any{w.step}, args...)...)
	}
}

// chance is true once in n times.
func (w *World) chance(n int) bool { return w.dice.IntN(n) == 0 }

// act does one drawn thing.
func (w *World) act() {
	switch n := w.dice.IntN(100); {
	case n < 20:
		w.pass(time.Duration(1+w.dice.IntN(3000)) * time.Millisecond)
	case n < 25:
		w.pass(time.Duration(5+w.dice.IntN(20)) * time.Second)
	case n < 55:
		w.agentPass(w.hosts[w.dice.IntN(len(w.hosts))])
	case n < 75:
		w.leaderPass(w.leads)
	case n < 90:
		w.user.act()
	default:
		w.trouble()
	}
}

// pass lets time go.
func (w *World) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for _, h := range w.hosts {
		if h.alive && (h.cut || h.off) && w.now.Sub(h.silent) >= leaseTTL {
			w.mustWrite(store.Writer{Role: store.Machine, ID: h.id}, store.Delete(cluster.AliveKey(h.id)))
			h.alive = false
			w.tell("the lease of %s ends", h.id)
		}
		if !h.off {
			h.runtime.Step()
		}
	}
}

const leaseTTL = 10 * time.Second

// catchUp brings a follower nearer to the store: all the way, or only some batches.
func (w *World) catchUp(f *follower, all bool) {
	batches, err := w.store.Since("", f.seen)
	if f.seen == 0 || err != nil {
		pic, err := w.store.Read(w.ctx, "")
		if err != nil {
			w.fail("read: %v", err)
			return
		}
		f.view.Load(pic)
		f.seen = pic.Revision
		return
	}
	n := len(batches)
	if !all && n > 1 && w.chance(3) {
		n = w.dice.IntN(n)
	}
	for _, b := range batches[:n] {
		f.view.Apply(b)
		f.seen = b.Revision
	}
}

func (w *World) agentPass(h *host) {
	if h.off {
		return
	}
	if !h.cut {
		w.catchUp(&h.follower, !w.faults)
	}
	err := h.agent.Pass(w.ctx)
	if err != nil && !w.faults {
		w.fail("the agent of %s: %v", h.id, err)
	}
	w.tell("agent %s passes (%v)", h.id, err != nil)
	w.checkCalls(h)
}

func (w *World) leaderPass(l *leads) {
	w.catchUp(&l.follower, !w.faults)
	err := l.leader.Pass(w.ctx, l.term.Writer)
	w.tell("leader passes (%v)%s", err != nil, w.placedNow())
	switch {
	case err == nil && l.leader.Looked():
		l.sighted = l.seen
		if err := l.leader.Check(); err != nil {
			w.fail("%v", err)
		}
	case err != nil && !w.faults:
		w.fail("the leader: %v", err)
	}
}

// placedNow is where the units are now, for people.
func (w *World) placedNow() string {
	if w.store == nil || !w.faults {
		return ""
	}
	pic, err := w.store.Read(w.ctx, cluster.PlacementsPrefix)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range pic.Entries {
		b.WriteString(" " + strings.TrimSuffix(strings.TrimPrefix(e.Key, cluster.PlacementsPrefix), ".service"))
	}
	return b.String()
}

// elect starts a leader anew.
func (w *World) elect() {
	h := w.hosts[0]
	view := store.NewView(w.log)
	w.leads = &leads{
		follower: follower{view: view}, term: w.store.Elect(leaderID),
		leader: leader.New(leader.Config{Store: w.store, View: view, Log: w.log, Seed: w.dice.Uint64(), Now: func() time.Time { return w.now.Add(h.skew) }}),
	}
}

func (w *World) addMachine() {
	id := fmt.Sprintf("m%d", len(w.hosts))
	h := &host{id: id, ledger: ledger{}, stops: map[string]int{}, starts: map[string]int{}}
	h.runtime = fake.New(func() time.Time { return w.now.Add(h.skew) }, w.dice.Uint64())
	w.hosts = append(w.hosts, h)
	w.startAgent(h)
	zone := []string{"a", "b"}[w.dice.IntN(2)]
	w.mustWrite(store.Writer{Role: store.Machine, ID: id}, store.Put(cluster.MachineKey(id), cluster.Machine{
		ID: id, Name: id, Metadata: map[string]string{"zone": zone}, Runtime: "fake", Types: h.runtime.Types(),
		Capacity: unit.Resources{CPU: 4000, Memory: int64(1+w.dice.IntN(3)) << 30, Disk: 1 << 40},
	}))
	w.revive(h)
	w.tell("machine %s in zone %s", id, zone)
}

// startAgent starts a host's agent anew; its units go on.
func (w *World) startAgent(h *host) {
	h.follower = follower{view: store.NewView(w.log)}
	h.runtime.Reopen()
	now := func() time.Time { return w.now.Add(h.skew) }
	h.agent = agent.New(agent.Config{
		Machine: h.id, Store: &link{Store: w.store, h: h}, View: h.view, Runtime: h.runtime, Log: w.log, Now: now, Ledger: h.ledger,
		Prober: goodProber{runs: map[string]judge.Health{}, now: now, kick: func() { h.runtime.Down(nil) }}, Host: unit.Host{MachineID: h.id, Hostname: "m"},
	})
}

func (w *World) revive(h *host) {
	if !h.alive {
		w.mustWrite(store.Writer{Role: store.Machine, ID: h.id}, store.Put(cluster.AliveKey(h.id), 1))
		h.alive = true
	}
}

// mustWrite writes without faults.
func (w *World) mustWrite(by store.Writer, changes ...store.Change) {
	w.store.Inject(nil)
	defer w.store.Inject(w.fault)
	if _, err := w.store.Write(w.ctx, by, changes...); err != nil {
		w.fail("write by %s: %v", by.Role, err)
	}
}

// link is a host's way to the store, which may be cut.
type link struct {
	store.Store
	h *host
}

func (l *link) Write(ctx context.Context, by store.Writer, changes ...store.Change) (int64, error) {
	if l.h.cut {
		return 0, store.Unavailable(context.DeadlineExceeded)
	}
	return l.Store.Write(ctx, by, changes...)
}

// ledger is a host's disk, which outlives its agents.
type ledger map[string]agent.Intent

func (l ledger) Read() (map[string]agent.Intent, error) { return l, nil }

func (l ledger) Note(unit string, i *agent.Intent) error {
	if delete(l, unit); i != nil {
		l[unit] = *i
	}
	return nil
}

// goodProber finds every port and check well, of the run that it is told to watch.
type goodProber struct {
	runs map[string]judge.Health
	now  func() time.Time
	kick func() // agent.Forward takes the prober's kick for the runtime's; here the runtime gives it.
}

func (g goodProber) Watch(name string, t *agent.Target) {
	switch {
	case t == nil:
		delete(g.runs, name)
	case g.runs[name].Invocation != t.Invocation:
		g.runs[name] = judge.Health{Invocation: t.Invocation, Ready: true, Since: g.now()}
		g.kick()
	}
}

func (g goodProber) Result(name string) (judge.Health, bool) { h, ok := g.runs[name]; return h, ok }
func (g goodProber) News(string) bool                        { return true }
func (g goodProber) Kick() <-chan struct{}                   { return nil }
