package fake

import (
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// event is a thing that is due at a time.
type event int

const (
	evEnd       event = iota // The program ends by itself.
	evReady                  // It is up.
	evStartTime              // TimeoutStartSec= is over.
	evRuntime                // RuntimeMaxSec= is over.
	evTerm                   // It ends by the stop signal.
	evStopTime               // TimeoutStopSec= is over: SIGKILL.
	evRestart                // RestartSec= is over.
	evElapse                 // A timer.
)

// The signals that the fake knows by number (signal(7)).
const (
	sigHUP, sigINT, sigKILL, sigUSR1, sigUSR2 = 1, 2, 9, 10, 12
	sigPIPE, sigTERM, sigCHLD, sigCONT        = 13, 15, 17, 18
	sigURG, sigWINCH                          = 23, 28
)

// stopTakes is how long a willing program takes to end.
const stopTakes = time.Millisecond

// service is a loaded unit.
type service struct {
	r         *Runtime
	name      string
	u         *unit.Unit
	e         cluster.Evidence
	due       map[event]time.Time
	program   Program
	began     time.Time   // Of the present process.
	starts    []time.Time // For the start limit.
	runs      int         // Since the load.
	asked     bool        // We are stopping it.
	result    string      // What will be the result when the process is gone; "" for what its exit says.
	again     bool        // Start again when it is down.
	lines     []cluster.Line
	followers []*follower
}

func newService(r *Runtime, name string) *service {
	return &service{r: r, name: name, due: map[event]time.Time{}, e: cluster.Evidence{Name: name, Load: "loaded", Active: "inactive", Sub: "dead", Result: "success"}}
}

func (s *service) take(u *unit.Unit) {
	s.u = u
	s.e.Hash = u.Hash()
}

func (s *service) evidence() cluster.Evidence {
	e := s.e
	e.Exits = slices.Clone(e.Exits)
	return e
}

func (s *service) up() bool      { return s.e.Active != "inactive" && s.e.Active != "failed" }
func (s *service) running() bool { return s.e.MainPID != 0 }

func (s *service) state(at time.Time, active, sub string) {
	s.e.Active, s.e.Sub, s.e.StateSince = active, sub, at
}

// start is a person's start: failure, count and start limit begin anew.
func (s *service) start(at time.Time) {
	switch {
	case s.e.Active == "deactivating":
		s.again = true
		return
	case s.up() && s.e.Sub != "auto-restart":
		return
	}
	delete(s.due, evRestart)
	s.starts, s.e.NRestarts, s.e.OOMKills = nil, 0, 0
	if s.u.Timer != nil {
		s.arm(at)
		return
	}
	s.begin(at)
}

// begin is the start of one run, by a person or by Restart=.
func (s *service) begin(at time.Time) {
	svc := s.u.Service
	if s.fenced(at) {
		return
	}
	if s.limited(at) {
		s.e.Result = "start-limit-hit"
		s.down(at, "failed", "failed")
		return
	}
	s.runs++
	s.asked, s.result, s.again = false, "", false
	s.e.Invocation, s.e.Error, s.e.Result, s.e.StatusText = s.r.newInvocation(), nil, "success", ""
	for _, f := range svc.Exec.EnvironmentFiles {
		if !f.Optional && strings.Contains(f.Path, "missing") {
			s.e.Error = reason.Because(reason.ConfigMissing, reason.Args{"path": f.Path, "error": "no such file or directory"})
			s.e.Result = "resources"
			s.after(at)
			return
		}
	}
	s.program = s.pick()
	s.began = at
	s.r.pid++
	s.e.MainPID = s.r.pid
	if s.program.Missing || s.program.Denied {
		s.execFails(at)
		return
	}
	s.launch(at)
}

func (s *service) pick() Program {
	if p, ok := s.r.faults.programs[s.name]; ok {
		return p
	}
	if c := s.u.Service.ExecStart; len(c) > 0 {
		return parseProgram(c[0])
	}
	return Program{}
}

func (s *service) execFails(at time.Time) {
	why := reason.Because(reason.ExecNotFound, reason.Args{"path": s.path(), "directive": "ExecStart"})
	if s.program.Denied {
		why = reason.Because(reason.Permission, reason.Args{"path": s.path()})
	}
	s.end(at, ending{status: 203, why: why})
}

func (s *service) path() string {
	if c := s.u.Service.ExecStart; len(c) > 0 {
		return c[0].Path
	}
	return ""
}

// launch: the process lives.
func (s *service) launch(at time.Time) {
	p, svc := s.program, s.u.Service
	for _, l := range p.Says {
		s.say(at, "stdout", l)
	}
	for _, l := range p.Errs {
		s.say(at, "stderr", l)
	}
	if p.Ends && (p.Fails == 0 || s.runs <= p.Fails) {
		s.due[evEnd] = at.Add(p.After)
	}
	switch svc.Type {
	case unit.TypeOneshot:
		s.state(at, "activating", "start")
		if !p.Ends && p.Fails == 0 && !strings.HasSuffix(s.path(), "/run") {
			s.due[evEnd] = at
		}
	case unit.TypeNotify, unit.TypeForking, unit.TypeDBus:
		s.state(at, "activating", "start")
		if !p.NeverReady {
			s.due[evReady] = at.Add(p.Ready)
		}
	default:
		s.ready(at)
		return
	}
	if finite(svc.TimeoutStart) {
		s.due[evStartTime] = at.Add(svc.TimeoutStart)
	}
}

func finite(d time.Duration) bool { return d > 0 && d < unit.Infinity }

func (s *service) ready(at time.Time) {
	delete(s.due, evStartTime)
	s.e.ActiveSince = at
	s.state(at, "active", "running")
	if svc := s.u.Service; svc.Type == unit.TypeNotify {
		s.e.StatusText = "ready"
	}
	if m := s.u.Service.RuntimeMax; finite(m) {
		s.due[evRuntime] = at.Add(m)
	}
}

// happen does what is due.
func (s *service) happen(kind event, at time.Time) {
	switch kind {
	case evEnd:
		p := s.program
		s.end(at, ending{status: p.Status, signal: p.Signal, oom: p.OOM})
	case evReady:
		s.ready(at)
	case evStartTime, evRuntime:
		s.result = "timeout"
		s.terminate(at)
	case evTerm:
		s.end(at, ending{signal: sigTERM})
	case evStopTime:
		s.result = "timeout"
		s.end(at, ending{signal: sigKILL})
	case evRestart:
		s.e.NRestarts++
		s.begin(at)
	case evElapse:
		s.elapse(at)
	}
}

// stop is a person's stop, or the first half of a restart.
func (s *service) stop(at time.Time, again bool) {
	s.again = again
	switch {
	case s.u.Timer != nil:
		clear(s.due)
		s.e.NextElapse = time.Time{}
		s.down(at, "inactive", "dead")
	case s.e.Active == "deactivating" || !s.up():
	case !s.running():
		delete(s.due, evRestart)
		s.asked = true
		s.down(at, "inactive", "dead")
		s.beginAgain(at)
	default:
		s.asked = true
		s.terminate(at)
	}
}

// terminate sends the stop signal and sets the time after which SIGKILL follows.
func (s *service) terminate(at time.Time) {
	for _, k := range []event{evEnd, evReady, evStartTime, evRuntime} {
		delete(s.due, k)
	}
	s.state(at, "deactivating", "stop-sigterm")
	takes := max(stopTakes, s.program.Term, s.r.faults.slowStop[s.name])
	delete(s.r.faults.slowStop, s.name)
	if !s.program.Stubborn {
		s.due[evTerm] = at.Add(takes)
	}
	if d := s.u.Service.TimeoutStop; finite(d) {
		s.due[evStopTime] = at.Add(d)
	}
}

// signal is one that a person sent by Kill.
func (s *service) signal(at time.Time, sig int) {
	if !s.running() {
		return
	}
	switch sig {
	case sigUSR1, sigUSR2, sigCHLD, sigCONT, sigURG, sigWINCH:
		s.say(at, "stdout", "got signal "+unit.SignalName(sig))
		return
	case sigTERM:
		if s.program.Stubborn || s.program.Term > 0 {
			return
		}
	}
	s.end(at, ending{signal: sig})
}

func (s *service) reload(at time.Time) error {
	if !s.running() || s.e.Active != "active" {
		return reason.Because(reason.Unsupported, reason.Args{"what": s.name + " is not running and cannot be reloaded"})
	}
	if len(s.u.Service.ExecReload) == 0 {
		return reason.Because(reason.Unsupported, reason.Args{"what": s.name + " has no ExecReload="})
	}
	s.say(at, "stdout", "reloaded")
	return nil
}

// ending is how a process ends.
type ending struct {
	status, signal int
	oom            bool
	why            *reason.Reason
}
