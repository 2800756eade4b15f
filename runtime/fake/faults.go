package fake

import (
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// faults are what a test has asked for.
type faults struct {
	down      error
	dropKicks int
	foreign   map[string]string
	failStart map[string]*reason.Reason
	slowStop  map[string]time.Duration
	warnings  map[string][]unit.Warning
	programs  map[string]Program
}

func newFaults() faults {
	return faults{
		foreign: map[string]string{}, failStart: map[string]*reason.Reason{}, slowStop: map[string]time.Duration{},
		warnings: map[string][]unit.Warning{}, programs: map[string]Program{},
	}
}

// Behave lays down how a unit's program behaves from its next run on, whatever its ExecStart= says.
func (r *Runtime) Behave(name string, p Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.programs[name] = p
}

// Crash ends a unit's main process by a signal that nobody asked for. It tells whether there was one.
func (r *Runtime) Crash(name string, signal int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step()
	s := r.units[name]
	if s == nil || !s.running() {
		return false
	}
	s.end(r.now(), ending{signal: signal})
	r.changed()
	return true
}

// FailStart makes the next Start of a unit be refused.
func (r *Runtime) FailStart(name string, why *reason.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.failStart[name] = why
}

// SlowStop makes the next stop of a unit take so long.
func (r *Runtime) SlowStop(name string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.slowStop[name] = d
}

// DropKicks loses the next n kicks.
func (r *Runtime) DropKicks(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.dropKicks = n
}

// Foreign makes the machine have a unit of its own under a name.
func (r *Runtime) Foreign(name, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.foreign[name] = path
}

// Warn makes every Load of a unit come back with warnings.
func (r *Runtime) Warn(name string, w ...unit.Warning) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.warnings[name] = w
}

// Down makes every call fail until it is called with nil. Units go on.
func (r *Runtime) Down(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.down = err
	r.changed()
}

// Reboot ends and forgets everything, as a power cut does.
func (r *Runtime) Reboot() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.units {
		s.endFollowers()
	}
	r.units = map[string]*service{}
	r.boot, r.keeper = r.now(), fence.Keeper{}
	r.changed()
}

// Say writes a line as the unit's program.
func (r *Runtime) Say(name, stream, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.units[name]; s != nil {
		s.say(r.now(), stream, text)
	}
}

// Running lists the units whose main process lives, with its pid.
func (r *Runtime) Running() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step()
	out := map[string]int{}
	for name, s := range r.units {
		if s.running() {
			out[name] = s.e.MainPID
		}
	}
	return out
}

// Evidence is what List would tell of one unit.
func (r *Runtime) Evidence(name string) (cluster.Evidence, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step()
	s := r.units[name]
	if s == nil {
		return cluster.Evidence{}, false
	}
	return s.evidence(), true
}
