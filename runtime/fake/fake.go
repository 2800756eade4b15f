// Package fake is a runtime that lives in memory and behaves: its units start, settle, crash, are restarted by Restart=,
// run into start limits and time-outs, write lines and ignore signals, as the programs that they name say (program.go).
// It has no goroutine and no clock of its own: Step does what is due at the time that the given clock shows, so that a
// simulator replays a seed exactly. Faults (faults.go) are asked for by the test.
//
// It does not order units (After=, Requires=) and knows no cgroups: conformance on those is the real runtimes' matter.
package fake

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/unit"
)

// firstPID is the pid before the first one that is given out.
const firstPID = 1000

// Runtime is one machine's fake init.
type Runtime struct {
	mu     sync.Mutex
	now    func() time.Time
	dice   *rand.Rand
	boot   time.Time
	units  map[string]*service
	kick   chan struct{}
	pid    int
	run    int64
	closed bool
	faults faults
	// Calls counts what was asked for, by method and unit ("start web.service"), for tests.
	calls map[string]int
	// keeper is what stops exclusive units in time: it outlives agents.
	keeper fence.Keeper
}

var _ runtime.Runtime = (*Runtime)(nil)

// New is a machine without units. The seed makes its invocation ids.
func New(now func() time.Time, seed uint64) *Runtime {
	return &Runtime{
		now: now, dice: rand.New(rand.NewPCG(seed, seed)), boot: now(), units: map[string]*service{}, //nolint:gosec // ids of a simulator, no secrets
		kick: make(chan struct{}, 1), pid: firstPID, calls: map[string]int{}, faults: newFaults(),
	}
}

// Name is "fake".
func (r *Runtime) Name() string { return "fake" }

// Types lists service and timer.
func (r *Runtime) Types() []string { return []string{"service", "timer"} }

// Kick is signalled when something happened in a Step or by a call.
func (r *Runtime) Kick() <-chan struct{} { return r.kick }

// Close lets go of it; the units go on when the clock does. Reopen takes it up again.
func (r *Runtime) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

// Reopen is the machine as a new agent finds it.
func (r *Runtime) Reopen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = false
	if !fence.Persists() && r.keeper.Sent > 0 {
		r.keeper.Sent = r.BootClock()
	}
	r.changed()
}

// enter locks, brings the machine up to the present and applies the faults that every call meets.
func (r *Runtime) enter(method, name string) error {
	r.mu.Lock()
	r.step()
	r.calls[method+" "+name]++
	switch {
	case r.closed:
		return reason.Because(reason.RuntimeDown, reason.Args{"runtime": "fake", "error": "closed"})
	case r.faults.down != nil:
		return reason.Because(reason.RuntimeDown, reason.Args{"runtime": "fake", "error": r.faults.down.Error()})
	}
	return nil
}

// Calls tells how often a method was called for a unit.
func (r *Runtime) Calls(method, name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[method+" "+name]
}

func noSuchUnit(name string) error {
	return reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
}

// Load takes a unit, new or changed.
func (r *Runtime) Load(_ context.Context, u *unit.Unit) ([]unit.Warning, error) {
	name := string(u.Name)
	err := r.enter("load", name)
	defer r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if path := r.faults.foreign[name]; path != "" {
		return nil, reason.Because(reason.NameTaken, reason.Args{"unit": name, "path": path})
	}
	if t := u.Name.Type(); !slices.Contains(r.Types(), t) {
		return nil, reason.Because(reason.NoMachineRuntime, reason.Args{"type": t, "runtime": "fake"})
	}
	s := r.units[name]
	if s == nil {
		s = newService(r, name)
		r.units[name] = s
	}
	s.take(u)
	r.changed()
	return slices.Clone(r.faults.warnings[name]), nil
}

// Settle has nothing to do.
func (r *Runtime) Settle(context.Context) error {
	err := r.enter("settle", "")
	defer r.mu.Unlock()
	return err
}

// Unload forgets a unit that is down.
func (r *Runtime) Unload(_ context.Context, name string) error {
	err := r.enter("unload", name)
	defer r.mu.Unlock()
	if err != nil {
		return err
	}
	s := r.units[name]
	switch {
	case s == nil:
		return nil
	case s.up():
		return reason.Because(reason.CannotStart, reason.Args{"error": name + " is " + s.e.Active + " and cannot be unloaded"})
	}
	s.endFollowers()
	delete(r.units, name)
	r.keeper.Forget(name)
	r.changed()
	return nil
}

// Start begins a run, unless one is on.
func (r *Runtime) Start(_ context.Context, name string) error {
	return r.do("start", name, func(s *service, at time.Time) error {
		if why := r.faults.failStart[name]; why != nil {
			delete(r.faults.failStart, name)
			return why
		}
		s.start(at)
		return nil
	})
}

// Stop ends the run.
func (r *Runtime) Stop(_ context.Context, name string) error {
	return r.do("stop", name, func(s *service, at time.Time) error {
		s.stop(at, false)
		return nil
	})
}

// Restart ends the run, if any, and begins another.
func (r *Runtime) Restart(_ context.Context, name string) error {
	return r.do("restart", name, func(s *service, at time.Time) error {
		if !s.up() {
			s.start(at)
			return nil
		}
		s.stop(at, true)
		return nil
	})
}

// Reload runs ExecReload=.
func (r *Runtime) Reload(_ context.Context, name string) error {
	return r.do("reload", name, func(s *service, at time.Time) error { return s.reload(at) })
}

// Kill sends a signal.
func (r *Runtime) Kill(_ context.Context, name string, signal int) error {
	return r.do("kill", name, func(s *service, at time.Time) error {
		s.signal(at, signal)
		return nil
	})
}

func (r *Runtime) do(method, name string, f func(*service, time.Time) error) error {
	err := r.enter(method, name)
	defer r.mu.Unlock()
	if err != nil {
		return err
	}
	s := r.units[name]
	if s == nil {
		return noSuchUnit(name)
	}
	if err := f(s, r.now()); err != nil {
		return err
	}
	r.changed()
	return nil
}

// List tells all, sorted by name.
func (r *Runtime) List(context.Context) ([]cluster.Evidence, error) {
	err := r.enter("list", "")
	defer r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	out := make([]cluster.Evidence, 0, len(r.units))
	for _, name := range slices.Sorted(maps.Keys(r.units)) {
		out = append(out, r.units[name].evidence())
	}
	return out, nil
}

// Step does everything that is due by now, in the order of its time.
func (r *Runtime) Step() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step()
}

// Next is when the next thing is due.
func (r *Runtime) Next() (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, _, at := r.earliest()
	return at, s != nil
}

// maxSteps bounds what one Step may do: a program that ends in no time with no pause would never let it return.
const maxSteps = 100_000

func (r *Runtime) step() {
	now := r.now()
	for range maxSteps {
		s, kind, at := r.earliest()
		if kept, due := r.keptAt(); due && !kept.After(now) && (s == nil || !kept.After(at)) {
			r.keep(kept)
			continue
		}
		if s == nil || at.After(now) {
			return
		}
		delete(s.due, kind)
		s.happen(kind, at)
		r.changed()
	}
}

func (r *Runtime) earliest() (first *service, kind event, at time.Time) {
	for _, s := range r.units {
		for k, t := range s.due {
			if first == nil || t.Before(at) || t.Equal(at) && (s.name < first.name || s == first && k < kind) {
				first, kind, at = s, k, t
			}
		}
	}
	return first, kind, at
}

func (r *Runtime) changed() {
	if r.faults.dropKicks > 0 {
		r.faults.dropKicks--
		return
	}
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *Runtime) newInvocation() string {
	r.run++
	return fmt.Sprintf("%08x%016x%08x", r.run, r.dice.Uint64(), r.dice.Uint32())
}
