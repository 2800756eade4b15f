package sim

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"argosy.dev/argosy/agent"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/leader"
	"argosy.dev/argosy/runtime/fake"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/unit"
)

// The bounds of a Split.
const (
	splitHosts    = 4
	splitTick     = 250 * time.Millisecond // Of agents, leader and the store's leases, when nothing is due before.
	splitRest     = 5 * time.Minute        // Without faults at the end, until everything has to be right.
	splitDepth    = 8                      // Calls that wait within each other; what comes then answers at once.
	maxRatePPM    = 500                    // Of a machine's clock.
	longestDelay  = 9 * time.Second        // Of a request or of an answer.
	longestFreeze = 60 * time.Second
)

// Split is the world of exclusive units: the same leader, planner, agents and beats as in World, with their time drawn out.
// Each call to the store takes its time, in which everything else goes on; machines are cut off in one direction or
// both, agents are frozen and killed in the middle of what they do, the store loses leases, clocks run at rates of their
// own. Ground truth is what the fake runtimes run.
type Split struct {
	ctx     context.Context
	dice    *rand.Rand
	store   *memory.Store
	log     *slog.Logger
	t       time.Duration // True time since the beginning.
	events  events
	serial  int64
	depth   int
	hosts   []*box
	boss    *boss
	faults  bool
	story   []string
	problem error
	users   map[string]bool // Exclusive units, by name; whether people want it to run.
	names   []string
}

type rate struct {
	offset time.Duration
	ppm    int64
}

func (r rate) at(t time.Duration) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(r.offset + t + t/1_000_000*time.Duration(r.ppm))
}

// box is one machine.
type box struct {
	w        *Split
	id       string
	clock    rate
	runtime  *fake.Runtime
	ledger   ledger
	up, down bool // Whether requests get out, and answers get in.
	off      bool
	slow     bool          // Requests and answers take long.
	expires  time.Duration // Of its lease; 0: it has none.
	proc     *proc         // Nil: no agent runs.
}

// proc is one life of an agent.
type proc struct {
	b           *box
	dead        bool
	frozen      time.Duration // Until then.
	view        *store.View
	seen        int64
	agent       *agent.Agent
	beat        *agent.Beat
	busy, beats bool // In the middle of a pass, of a beat.
}

// boss is one life of a leader.
type boss struct {
	w      *Split
	dead   bool
	busy   bool
	frozen time.Duration
	deaf   time.Duration // Until then its watch brings nothing.
	view   *store.View
	seen   int64
	leader *leader.Leader
	term   *store.Term
}

type happening struct {
	at     time.Duration
	serial int64
	do     func()
}

type events []happening

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].serial < e[j].serial
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(happening)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// NewSplit draws a world from a seed.
func NewSplit(ctx context.Context, seed uint64, log *slog.Logger) *Split {
	w := &Split{ctx: ctx, dice: rand.New(rand.NewPCG(seed, 0xfe)), store: memory.New(), log: log, users: map[string]bool{}} //nolint:gosec // A simulator's dice.
	w.store.Inject(w.fault)
	for i := range splitHosts {
		w.addBox(fmt.Sprintf("m%d", i))
	}
	w.elect()
	w.after(0, w.tickStore)
	w.submitAll()
	return w
}

// Run plays so long with faults, and then until everything has come to rest.
func (w *Split) Run(long time.Duration) error {
	w.faults = true
	w.after(time.Second, w.tickFaults)
	w.run(long)
	w.faults = false
	w.healAll()
	w.run(long + splitRest)
	w.checkRest()
	return w.problem
}

// Story tells the last steps.
func (w *Split) Story() []string { return w.story }

func (w *Split) tell(format string, args ...any) {
	line := fmt.Sprintf("%10.3f ", w.t.Seconds()) + fmt.Sprintf(format, args...)
	if w.story = append(w.story, line); len(w.story) > 2*storyLength {
		w.story = append([]string(nil), w.story[storyLength:]...)
	}
}

func (w *Split) fail(format string, args ...any) {
	if w.problem == nil {
		w.problem = fmt.Errorf("at %v: "+format, append([]any{w.t}, args...)...)
		w.tell("%v", w.problem)
	}
}

func (w *Split) chance(n int) bool { return w.dice.IntN(n) == 0 }

// upTo draws a time.
func (w *Split) upTo(d time.Duration) time.Duration {
	return time.Duration(w.dice.Int64N(int64(d))) + 1
}

func (w *Split) drawRate() rate {
	return rate{offset: w.upTo(time.Hour), ppm: w.dice.Int64N(2*maxRatePPM+1) - maxRatePPM}
}

func (w *Split) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.events, happening{w.t + d, w.serial, do})
}

// run does all that happens until a time. A call that waits runs within another's run.
func (w *Split) run(until time.Duration) {
	for w.problem == nil && len(w.events) > 0 && w.events[0].at <= until {
		e := heap.Pop(&w.events).(happening)
		w.move(e.at)
		e.do()
		w.checkOnce()
	}
	if w.problem == nil {
		w.move(until)
	}
}

// move lets time go on to a moment; one that has passed while a call waited is now.
func (w *Split) move(t time.Duration) {
	if t <= w.t {
		return
	}
	w.t = t
	for _, b := range w.hosts {
		if !b.off {
			b.runtime.Step()
		}
	}
}

// checkOnce is the promise: no two live instances of an exclusive unit.
func (w *Split) checkOnce() {
	on := map[string]string{}
	for _, b := range w.hosts {
		if b.off {
			continue
		}
		for name := range b.runtime.Running() {
			if _, exclusive := w.users[name]; !exclusive {
				continue
			}
			if other := on[name]; other != "" {
				w.fail("%s runs on %s and on %s", name, other, b.id)
			}
			on[name] = b.id
		}
	}
}

func (w *Split) addBox(id string) {
	b := &box{w: w, id: id, clock: w.drawRate(), ledger: ledger{}, up: true, down: true}
	b.runtime = fake.New(func() time.Time { return b.clock.at(w.t) }, w.dice.Uint64())
	w.hosts = append(w.hosts, b)
	w.must(store.Writer{Role: store.Machine, ID: id}, store.Put(cluster.MachineKey(id), cluster.Machine{
		ID: id, Name: id, Runtime: "fake", Types: b.runtime.Types(), Capacity: unit.Resources{CPU: 64000, Memory: 384 << 20, Disk: 1 << 40},
	}))
	b.start()
}

// start begins another life of the machine's agent.
func (b *box) start() {
	w := b.w
	if b.off || b.proc != nil {
		return
	}
	p := &proc{b: b, view: store.NewView(w.log)}
	b.proc = p
	b.runtime.Reopen()
	link := &wire{Store: w.store, w: w, b: b, p: p}
	now := func() time.Time { return b.clock.at(w.t) }
	units := &ended{Runtime: b.runtime, p: p}
	p.agent = agent.New(agent.Config{
		Machine: b.id, Store: link, View: p.view, Runtime: units, Log: w.log, Now: now, Ledger: b.ledger, BootClock: b.runtime.BootClock,
		Prober: goodProber{runs: map[string]judge.Health{}, now: now, kick: func() { b.runtime.Down(nil) }}, Host: unit.Host{MachineID: b.id, Hostname: "m"},
	})
	p.beat = &agent.Beat{
		Machine: b.id, Store: link, Part: cluster.PlacementsPrefix + b.id + "/", Fencer: units, BootClock: b.runtime.BootClock, Log: w.log,
	}
	w.after(w.upTo(splitTick), p.tick)
	w.after(w.upTo(splitTick), p.tickBeat)
}

func (p *proc) idle() bool { return p.frozen <= p.b.w.t }

// tick is a pass of the agent.
func (p *proc) tick() {
	w := p.b.w
	if p.dead {
		return
	}
	next := splitTick
	if p.idle() && !p.busy {
		p.busy = true
		if p.b.up && p.b.down {
			p.seen = w.follow(p.view, p.seen)
		}
		_ = p.agent.Pass(w.ctx) // It is tried again by the next tick.
		p.busy = false
		if n := p.agent.Next(); n > 0 && n < next {
			next = n
		}
	}
	w.after(next, p.tick)
}

func (p *proc) tickBeat() {
	w, next := p.b.w, splitTick
	if p.dead {
		return
	}
	if p.idle() && !p.beats {
		p.beats = true
		next = max(p.beat.Step(w.ctx), time.Millisecond)
		p.beats = false
	}
	w.after(next, p.tickBeat)
}

// kill ends the agent's life, whatever it is in the middle of. Its units go on.
func (b *box) kill() {
	if b.proc != nil {
		b.proc.dead = true
		b.proc = nil
	}
}

// follow brings a view up to date.
func (w *Split) follow(view *store.View, seen int64) int64 {
	batches, err := w.store.Since("", seen)
	if seen == 0 || err != nil {
		pic, err := w.store.Read(w.ctx, "")
		if err != nil {
			w.fail("read: %v", err)
			return seen
		}
		view.Load(pic)
		return pic.Revision
	}
	n := len(batches)
	if w.faults && n > 1 && w.chance(4) {
		n = w.dice.IntN(n)
	}
	for _, each := range batches[:n] {
		view.Apply(each)
		seen = each.Revision
	}
	return seen
}

// elect begins another life of a leader. The one before may not have noticed.
func (w *Split) elect() {
	if w.boss != nil && w.chance(2) {
		w.boss.dead = true
	}
	s := &boss{w: w, view: store.NewView(w.log), term: w.store.Elect(leaderID)}
	clock := w.drawRate()
	s.leader = leader.New(leader.Config{
		Store: &bossWire{Store: w.store, s: s}, View: s.view, Log: w.log, Seed: w.dice.Uint64(), Now: func() time.Time { return clock.at(w.t) },
	})
	w.boss = s
	w.after(w.upTo(splitTick), s.tick)
}

func (s *boss) tick() {
	w := s.w
	if s.dead {
		return
	}
	next := splitTick
	if !s.busy && s.frozen <= w.t {
		s.busy = true
		if s.deaf <= w.t {
			s.seen = w.follow(s.view, s.seen)
		}
		err := s.leader.Pass(w.ctx, s.term.Writer)
		s.busy = false
		if errors.Is(err, store.ErrStale) && s != w.boss {
			s.dead = true
			return
		}
		if err == nil && s == w.boss && s.leader.Looked() {
			if err := s.leader.Check(); err != nil {
				w.fail("%v", err)
			}
		}
		if n := s.leader.Next(); n > 0 && n < next {
			next = n
		}
	}
	w.after(next, s.tick)
}

// tickStore lets leases run out.
func (w *Split) tickStore() {
	for _, b := range w.hosts {
		if b.expires > 0 && w.t >= b.expires {
			w.expire(b)
		}
	}
	w.after(splitTick+w.upTo(splitTick), w.tickStore)
}

func (w *Split) expire(b *box) {
	b.expires = 0
	if w.store.Expire(w.ctx, cluster.AliveKey(b.id)) == nil {
		w.tell("the lease of %s ends", b.id)
	}
}

// must writes without faults.
func (w *Split) must(by store.Writer, changes ...store.Change) {
	w.store.Inject(nil)
	defer w.store.Inject(w.fault)
	if _, err := w.store.Write(w.ctx, by, changes...); err != nil {
		w.fail("write by %s: %v", by.Role, err)
	}
}

// fault draws what goes wrong with one write.
func (w *Split) fault(_ store.Writer, changes []store.Change) memory.Fault {
	if !w.faults || len(changes) == 0 || !w.chance(60) {
		return memory.None
	}
	return []memory.Fault{memory.Stale, memory.LostRequest, memory.LostAnswer}[w.dice.IntN(3)]
}

func leaseEnd(w *Split) time.Duration { return w.t + fence.TTL }
