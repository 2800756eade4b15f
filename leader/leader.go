// Package leader is the loop that places units: it looks at what is wanted, lets package plan decide, and writes
// placements and why not. One machine of the cluster leads at a time; a deposed one cannot write.
//
// Its planner holds what the store holds, because nobody else writes placements: every write of a leader holds on
// to the one before it (a guard on cluster.LeaderKey), so a write that was lost, late or done without an answer
// breaks the chain, and the planner is built anew from a picture that has seen the new link.
//
// It leaves to others: deciding (plan), starting and stopping (agent), electing (store).
package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/loop"
	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// Config is what a Leader needs.
type Config struct {
	Store store.Store
	View  *store.View // Of the whole store (prefix ""), for this loop alone: Fork one.
	Log   *slog.Logger
	Now   func() time.Time
	Seed  uint64 // Decides between equal machines.
	// DownAfter is how long after its sign of life ended a machine counts as down and its units move away:
	// time for an agent to start again. 0: DefaultDownAfter.
	DownAfter time.Duration
	// During, when set, runs beside the passes while this machine leads, and ends with its ctx: whatever else only the
	// leader does, such as care for the members of the store.
	During func(ctx context.Context, by store.Writer)
}

// DefaultDownAfter together with the lease of a machine's sign of life is how long a lost machine goes unnoticed.
const DefaultDownAfter = fence.DownAfter

const (
	every      = 30 * time.Second       // A look at least so often, also without a kick.
	firstPause = 200 * time.Millisecond // After a failed election; doubling.
	lastPause  = 10 * time.Second
	// So soon after a pass the next few reasons of waiting units are made anew (plan.Planner.Behind): 200 classes in a
	// second, which costs one of 10,000 machines' leader about a hundredth of a core.
	refreshEvery = 20 * time.Millisecond
)

// Leader places units. Make it with New.
type Leader struct {
	cfg Config

	mu       sync.Mutex // Guards the rest: Explain comes from other goroutines.
	by       store.Writer
	chain    int64         // Revision of our last write; 0: unknown, a new link has to be made.
	planner  *plan.Planner // nil: has to be built from the picture.
	demands  demands
	last     map[string]*read     // What a unit's last readable text asked for.
	down     map[string]time.Time // Machines without a sign of life, since when.
	isDown   map[string]bool      // Those told to the planner as down.
	held     map[cluster.On]cluster.Placement
	count    map[string]int // Machines that hold a unit.
	unplaced map[string]*reason.Reason
	lingers  map[cluster.On]*reason.Reason // Held by a lost machine, as no other can take it.
	handing  map[cluster.On]bool           // Held by a drained machine until it is healthy elsewhere.
	rested   map[string]bool               // Told to the planner as holding nothing: see Rests.
	waking   []plan.Unit                   // Rested, and are to run again: told to it as unwanted for one decision.
	bad      map[string]*reason.Reason     // Units whose text cannot be read.
	wanted   map[string]bool
	next     time.Duration

	gated     map[string]*gated        // Exclusive units that wait for their last machine.
	claims    map[string][]fence.Claim // To exclusive units, by unit; nil: to be looked up.
	condemned map[string]seen          // Machines, by this leader's own clock.

	steady    map[string]steadiness // Machines that were lost and came back.
	closedFor map[string]bool       // Those told to the planner as not steady yet.
	paced     map[string]cluster.Placement
	bucket    bucket
	told      []cluster.Condition // As the store has them.
}

// New makes a leader that has not looked yet.
func New(cfg Config) *Leader {
	if cfg.DownAfter == 0 {
		cfg.DownAfter = DefaultDownAfter
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Leader{cfg: cfg, demands: demands{}, down: map[string]time.Time{}, condemned: map[string]seen{}, steady: map[string]steadiness{}}
}

// Pass looks, decides and writes. An error means that nothing can be said about the last write: the next Pass
// builds the planner anew. After ErrStale the caller may have been deposed; it sees that on its Term.
func (l *Leader) Pass(ctx context.Context, by store.Writer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if by != l.by || l.chain == 0 {
		if err := l.link(ctx, by); err != nil {
			return err
		}
	}
	if !l.look() {
		return nil // The picture has not seen our own link yet; it kicks when it has.
	}
	if err := l.write(ctx, l.decide()); err != nil {
		if planted != "noretry" {
			l.chain, l.planner = 0, nil
		}
		return err
	}
	return nil
}

// link makes the first link of a new chain: from here on no earlier write of ours can be done any more.
func (l *Leader) link(ctx context.Context, by store.Writer) error {
	if by != l.by {
		l.by, l.down = by, map[string]time.Time{} // A new leader gives silent machines their time anew,
		l.condemned = map[string]seen{}           // and condemned ones theirs.
		l.steady = map[string]steadiness{}
	}
	l.chain, l.planner = 0, nil
	rev, err := l.cfg.Store.Write(ctx, by, store.Put(cluster.LeaderKey(), cluster.Reign{ID: by.ID, At: l.cfg.Now(), Conditions: l.told}))
	if err != nil {
		return err
	}
	l.chain = rev
	return nil
}

// Looked tells whether it has looked at the picture since it began to lead, and nothing has failed since.
func (l *Leader) Looked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.planner != nil
}

// Next tells how soon a Pass is needed without a kick: when a silent machine will count as down, or when more reasons can
// be made anew. 0: no hurry.
func (l *Leader) Next() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.planner != nil && l.planner.Behind() && (l.next == 0 || l.next > refreshEvery) {
		return refreshEvery
	}
	return l.next
}

// Explain says why a unit is where it is, and what speaks for and against each machine. It is false while this
// machine does not lead or does not know the unit.
func (l *Leader) Explain(unit string) (plan.Explanation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.wanted[unit]; l.planner == nil || !known {
		return plan.Explanation{}, false
	}
	return l.planner.Explain(unit), true
}

// Run leads whenever this machine is elected, until ctx ends.
func (l *Leader) Run(ctx context.Context, id string) {
	pause := firstPause
	for ctx.Err() == nil {
		term, err := l.cfg.Store.Lead(ctx, id)
		if err != nil {
			if ctx.Err() == nil {
				l.cfg.Log.Warn("cannot stand for election, trying again", "in", pause, "error", err)
				wait(ctx, pause)
				pause = min(2*pause, lastPause)
			}
			continue
		}
		pause = firstPause
		l.cfg.Log.Info("this machine leads", "machine", id)
		l.reign(ctx, term)
	}
}

func (l *Leader) reign(ctx context.Context, term *store.Term) {
	defer term.Resign()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-term.Done:
		case <-ctx.Done():
		}
		cancel()
	}()
	if l.cfg.During != nil {
		var beside sync.WaitGroup
		beside.Go(func() { l.cfg.During(ctx, term.Writer) })
		defer func() {
			cancel()
			beside.Wait()
		}()
	}
	loop.Loop{
		Name: "leader", Every: every, Kick: l.cfg.View.Kick(), Next: l.Next, Log: l.cfg.Log,
		Pass: func(ctx context.Context) error {
			err := l.Pass(ctx, term.Writer)
			if errors.Is(err, store.ErrStale) && ended(term) {
				return nil
			}
			return err
		},
	}.Run(ctx)
}

func ended(term *store.Term) bool {
	select {
	case <-term.Done:
		return true
	default:
		return false
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Check derives anew what the planner believes, and compares what this leader believes of the store with a picture
// that has seen its last write: for tests and the simulator.
func (l *Leader) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.planner == nil {
		return nil
	}
	if err := l.planner.Check(); err != nil {
		return fmt.Errorf("the planner: %w", err)
	}
	var err error
	l.cfg.View.Peek(func(p *cluster.Picture) {
		if p.Revision < l.chain {
			return
		}
		for on := range l.held {
			if p.Placements[on] == nil {
				err = fmt.Errorf("the leader believes that %s is on %s", on.Unit, on.Machine)
			}
		}
		if len(l.held) != len(p.Placements) || len(l.unplaced) != len(p.Unplaced) {
			err = fmt.Errorf("the leader believes in %d placements and %d records why not; there are %d and %d",
				len(l.held), len(l.unplaced), len(p.Placements), len(p.Unplaced))
		}
	})
	return err
}
