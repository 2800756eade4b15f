// Package agent makes one machine do what its placements say, and tells the truth about it. A pass looks at the picture
// and at the runtime, loads, starts and stops what differs, lets room judge make the state of each unit from the
// evidence, and writes what changed: statuses of this machine, and nothing else.
//
// The wish is carried out once. The status in the store says which orders were done (Status.Done), and an agent may be
// killed between doing and writing. Start and Restart are done first and written then: the next agent sees from the run
// (Status.Invocation against the runtime's, or the run that the Ledger has from before the order) that the order was
// carried out, and only writes it. Reload is done first too:
// twice does no harm. Kill and Trigger are written first and done then: a signal or a run too many would do harm, so that
// an agent killed in between loses them and never doubles them.
//
// It leaves placing to the leader, restarts by Restart= to the runtime, and judgement to room judge.
package agent

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/loop"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/unit"
)

// The agent's bounds.
const (
	maxChunk     = 100             // Statuses in one write.
	minorEvery   = 5 * time.Second // What is no transition (a count, a pid while it loops) is written so often at most.
	pendingGrace = 5 * time.Second // So long may a runtime show the time before an order that it accepted.
	lookEvery    = 10 * time.Minute
)

// Config is what an agent works with.
type Config struct {
	Machine string          // This machine's id.
	Store   store.Store     // Where statuses are written.
	View    *store.View     // A view of its own: View.Fork.
	Runtime runtime.Runtime // What runs the units.
	Prober  Prober          // Health checks; nil: none is asked, and units with a check never get ready.
	Sockets SocketTable     // The machine's listening sockets; nil: not looked at.
	Host    unit.Host       // For specifiers.
	// Record, when set, is this machine's record, which the agent keeps in the store with its conditions.
	Record *cluster.Machine
	// Ledger, when set, tells the next agent which orders were under way: without it an order may be done twice when this
	// agent dies before it is told, and the unit has crashed since.
	Ledger Ledger
	// Sensors, when set, watch the machine itself; their conditions go into the record. Run runs them.
	Sensors *Sensors
	// Part is the prefix under which this machine may read its own placements from the store itself, for exclusive units;
	// default: cluster.PlacementsPrefix and its id.
	Part string
	Now  func() time.Time
	// BootClock is CLOCK_BOOTTIME, for exclusive units; default: none of them gets leave to run.
	BootClock func() time.Duration
	Log       *slog.Logger
}

// Agent is one machine's agent. Pass is called by one goroutine at a time.
type Agent struct {
	Config
	slots     map[string]*slot
	intents   map[string]Intent // As the ledger has them.
	restored  int64             // Revision of the last restore that nobody has settled; 0: none.
	spared    []string          // Units that the brake held back in the last pass, for the condition and for logging once.
	kick      chan struct{}
	mu        sync.Mutex // Guards kicked, next, sensed and isSensed.
	kicked    bool       // The runtime or the prober has kicked since the last List.
	next      time.Duration
	again     bool // The last pass left something over.
	unsettled bool // Units were loaded and the runtime has not settled them.
	running   int
	recordOut bool // The machine's record has to be written.
	deafSince time.Time
	deaf      *reason.Reason // Why the runtime has not answered for long.
	sensed    []cluster.Condition
	isSensed  bool // It has news.

	held  *fence.Keeper // What the keeper of exclusive units holds; nil: not asked in this pass.
	lease int64         // The machine's epoch, as the keeper told it last.
}

// New makes an agent. It does nothing until Pass or Run is called.
func New(c Config) *Agent {
	if c.Prober == nil {
		c.Prober = noProber{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sockets == nil {
		c.Sockets = noSockets
	}
	if c.Part == "" {
		c.Part = cluster.PlacementsPrefix + c.Machine + "/"
	}
	if c.BootClock == nil {
		c.BootClock = func() time.Duration { return math.MaxInt64 }
	}
	a := &Agent{Config: c, slots: map[string]*slot{}, kick: make(chan struct{}, 1), recordOut: c.Record != nil}
	a.readLedger()
	return a
}

// Kick is signalled when a pass is due: the view, the runtime or a health check has news. Somebody has to run Forward.
func (a *Agent) Kick() <-chan struct{} { return a.kick }

// Next is how soon a pass is due although nothing happens; 0: not at all.
func (a *Agent) Next() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.next
}

// Run keeps the machine right until ctx ends: Forward, the loop over Pass, and the prober when it has a Run of its own.
func (a *Agent) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { a.Forward(ctx) })
	if p, ok := a.Prober.(interface{ Run(context.Context) }); ok {
		wg.Go(func() { p.Run(ctx) })
	}
	if a.Sensors != nil {
		wg.Go(func() { a.Sensors.Run(ctx, a.sense) })
	}
	a.Loop().Run(ctx)
	wg.Wait()
}

// Loop is the agent's loop, for a caller who runs Forward itself.
func (a *Agent) Loop() loop.Loop {
	return loop.Loop{Name: "agent", Every: lookEvery, Kick: a.kick, Pass: a.Pass, Log: a.Log, Next: a.Next}
}

// Forward merges the kicks of view, runtime and prober into Kick until ctx ends.
func (a *Agent) Forward(ctx context.Context) {
	for {
		fromRuntime := true
		select {
		case <-ctx.Done():
			return
		case <-a.View.Kick():
			fromRuntime = false
		case <-a.Runtime.Kick():
		case <-a.Prober.Kick():
		}
		if fromRuntime {
			a.mu.Lock()
			a.kicked = true
			a.mu.Unlock()
		}
		select {
		case a.kick <- struct{}{}:
		default:
		}
	}
}

// takeKicked tells whether the runtime has news, whether or not Forward runs.
func (a *Agent) takeKicked() bool {
	a.mu.Lock()
	kicked := a.kicked
	a.kicked = false
	a.mu.Unlock()
	select {
	case <-a.Runtime.Kick():
		kicked = true
	default:
	}
	return kicked
}

func (a *Agent) setNext(d time.Duration) {
	a.mu.Lock()
	a.next = d
	a.mu.Unlock()
}
