package runtimetest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
)

// Run runs the suite. Each test gets a runtime of its own from Harness.Open.
func Run(t *testing.T, h Harness) {
	if h.Within == 0 {
		h.Within = 20 * time.Second
	}
	tests := []struct {
		name string
		test func(*suite)
	}{
		{"says what it is", whatItIs},
		{"loads without starting", loadsWithoutStarting},
		{"starts, stops and starts again", startStop},
		{"a start of a running unit changes nothing", startRunning},
		{"restart is a new run with a new process", restart},
		{"a load of a changed unit does not touch it", changedLoad},
		{"unknown units are refused by name", unknownUnits},
		{"unload forgets, and twice is no error", unload},
		{"exit status is evidence", exitStatus},
		{"a missing program is evidence", missingProgram},
		{"a missing environment file is evidence", missingConfig},
		{"Restart= counts and ends at the start limit", restartPolicy},
		{"a start resets failure and start limit", startResets},
		{"SIGKILL is evidence of a signal", killed},
		{"a signal reaches the process", signals},
		{"a stop that is ignored ends by SIGKILL", ignoresTERM},
		{"oneshot: success, remaining, failure", oneshots},
		{"notify: active after READY=1", notifies},
		{"reload runs ExecReload=", reload},
		{"journal: both streams, bounded, by run", journal},
		{"journal: follow", journalFollow},
		{"a unit of the machine's own is refused", nameTaken},
		{"another agent finds the same units running", reopen},
		{"a timer runs its unit", timer},
		{"a timer tells its next run", timerNext},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*h.Within)
			defer cancel()
			test.test(&suite{T: t, h: h, rt: h.Open(t), ctx: ctx})
		})
	}
}

func whatItIs(s *suite) {
	if s.rt.Name() == "" || !slices.Contains(s.rt.Types(), "service") {
		s.Fatalf("name %q, types %v", s.rt.Name(), s.rt.Types())
	}
}

func loadsWithoutStarting(s *suite) {
	name := s.name("a.service")
	u := s.load(name, Runs)
	e := s.down(name)
	if e.Load != "loaded" || e.Hash != u.Hash() || e.MainPID != 0 || len(e.Exits) != 0 {
		s.Errorf("after load: %+v, want hash %s", e, u.Hash())
	}
}

func startStop(s *suite) {
	name := s.name("a.service")
	s.load(name, Runs)
	s.start(name)
	e := s.running(name)
	if e.Invocation == "" || e.ActiveSince.IsZero() || e.Result != "success" || e.NRestarts != 0 {
		s.Errorf("running: %+v", e)
	}
	s.stop(name)
	d := s.down(name)
	if d.MainPID != 0 || d.InactiveSince.Before(e.ActiveSince) {
		s.Errorf("stopped: %+v", d)
	}
	if n := len(d.Exits); n == 0 || !d.Exits[n-1].Asked || d.Exits[n-1].Invocation != e.Invocation {
		s.Errorf("the exit of a stop is asked for, and of the run %s: %+v", e.Invocation, d.Exits)
	}
	s.stop(name) // Of a stopped unit: no error.
	s.start(name)
	if again := s.running(name); again.Invocation == e.Invocation || again.MainPID == e.MainPID {
		s.Errorf("started again: invocation %s, pid %d as before", again.Invocation, again.MainPID)
	}
}

func startRunning(s *suite) {
	name := s.name("a.service")
	s.load(name, Runs)
	s.start(name)
	e := s.running(name)
	s.start(name)
	if again := s.running(name); again.MainPID != e.MainPID || again.Invocation != e.Invocation {
		s.Errorf("pid %d became %d", e.MainPID, again.MainPID)
	}
}

func restart(s *suite) {
	name := s.name("a.service")
	s.load(name, Runs)
	s.start(name)
	e := s.running(name)
	s.must("restart", s.rt.Restart(s.ctx, name))
	n := s.waitFor(name, "running anew", func(n cluster.Evidence) bool {
		return n.Active == "active" && n.MainPID > 0 && n.Invocation != e.Invocation
	})
	if n.MainPID == e.MainPID || n.NRestarts != 0 {
		s.Errorf("restarted: pid %d as before, or counted as a try of Restart=: %+v", e.MainPID, n)
	}
	s.stop(name)
	s.down(name)
	s.must("restart of a stopped unit", s.rt.Restart(s.ctx, name))
	s.running(name)
}

func changedLoad(s *suite) {
	name := s.name("a.service")
	s.load(name, Runs)
	s.start(name)
	e := s.running(name)
	u := s.load(name, Prints)
	n := s.running(name)
	if n.MainPID != e.MainPID {
		s.Errorf("a load restarted the unit: pid %d became %d", e.MainPID, n.MainPID)
	}
	if n.Hash != u.Hash() {
		s.Errorf("hash %s, want that of the new definition %s", n.Hash, u.Hash())
	}
}

func unknownUnits(s *suite) {
	name := s.name("unknown.service")
	for what, err := range map[string]error{
		"start": s.rt.Start(s.ctx, name), "stop": s.rt.Stop(s.ctx, name), "restart": s.rt.Restart(s.ctx, name),
		"reload": s.rt.Reload(s.ctx, name), "kill": s.rt.Kill(s.ctx, name, 15),
	} {
		if err == nil || reason.From(err).Code != reason.NoSuchUnit {
			s.Errorf("%s of an unknown unit: %v, want %s", what, err, reason.NoSuchUnit)
		}
	}
}

func unload(s *suite) {
	name := s.name("a.service")
	s.load(name, Runs)
	s.start(name)
	s.running(name)
	s.stop(name)
	s.down(name)
	for range 2 {
		s.must("unload", s.rt.Unload(s.ctx, name))
		s.must("settle", s.rt.Settle(s.ctx))
	}
	if e, found := s.find(name); found {
		s.Errorf("still listed: %+v", e)
	}
	failing := s.name("b.service")
	s.load(failing, Exits3)
	s.start(failing)
	s.failed(failing)
	s.must("unload of a failed unit", s.rt.Unload(s.ctx, failing))
}

// lastExit is the last end of the main process.
func (s *suite) lastExit(e cluster.Evidence) cluster.Exit {
	s.Helper()
	for _, x := range slices.Backward(e.Exits) {
		if x.Directive == "ExecStart" {
			return x
		}
	}
	s.Fatalf("%s: no exit of ExecStart= is kept: %+v", e.Name, e.Exits)
	return cluster.Exit{}
}

func exitStatus(s *suite) {
	name := s.name("a.service")
	s.load(name, Exits3)
	s.start(name)
	e := s.failed(name)
	x := s.lastExit(e)
	if e.Result != "exit-code" || x.Status != 3 || x.Signal != 0 || x.Success || x.Asked || x.Path == "" || x.At.IsZero() || x.Invocation != e.Invocation {
		s.Errorf("result %s, exit %+v", e.Result, x)
	}
}

func missingProgram(s *suite) {
	name := s.name("a.service")
	s.load(name, NotFound)
	s.start(name)
	e := s.failed(name)
	if x := s.lastExit(e); x.Status != 203 || x.Error != nil && x.Error.Code != reason.ExecNotFound {
		s.Errorf("exit %+v, want 203 and %s", x, reason.ExecNotFound)
	}
}

func missingConfig(s *suite) {
	name := s.name("a.service")
	s.load(name, ConfigMissing)
	if err := s.rt.Start(s.ctx, name); err != nil {
		if r := reason.From(err); r.Code != reason.ConfigMissing {
			s.Errorf("start: %v, want %s", err, reason.ConfigMissing)
		}
		return
	}
	e := s.failed(name)
	if e.Error == nil || e.Error.Code != reason.ConfigMissing || !strings.Contains(e.Error.Str("path"), "missing") {
		s.Errorf("error %v, want %s with the path", e.Error, reason.ConfigMissing)
	}
}

func restartPolicy(s *suite) {
	name := s.name("a.service")
	s.load(name, Exits3Restart)
	s.start(name)
	e := s.failed(name)
	if e.Result != "start-limit-hit" && e.Result != "exit-code" {
		s.Errorf("result %s", e.Result)
	}
	runs := map[string]bool{}
	for _, x := range e.Exits {
		if x.Directive == "ExecStart" {
			runs[x.Invocation] = true
			if x.Status != 3 {
				s.Errorf("exit %+v", x)
			}
		}
	}
	if len(runs) != 4 || e.NRestarts < 3 || e.NRestarts > 4 {
		s.Errorf("%d runs, %d restarts counted; StartLimitBurst=4 allows 4 runs", len(runs), e.NRestarts)
	}
}

func startResets(s *suite) {
	name := s.name("a.service")
	s.load(name, Exits3Restart)
	s.start(name)
	first := s.failed(name)
	s.start(name)
	e := s.waitFor(name, "failed again", func(e cluster.Evidence) bool {
		return e.Active == "failed" && e.Invocation != first.Invocation
	})
	if e.NRestarts > 4 {
		s.Errorf("restarts were counted on: %d", e.NRestarts)
	}
}

func killed(s *suite) {
	name := s.name("a.service")
	s.load(name, Runs)
	s.start(name)
	s.running(name)
	s.must("kill", s.rt.Kill(s.ctx, name, 9))
	e := s.failed(name)
	if x := s.lastExit(e); e.Result != "signal" || x.Signal != 9 || x.OOM {
		s.Errorf("result %s, exit %+v: a kill is a signal and no OOM", e.Result, x)
	}
}

func signals(s *suite) {
	name := s.name("a.service")
	s.load(name, Runs)
	s.start(name)
	s.running(name)
	s.must("kill", s.rt.Kill(s.ctx, name, 15))
	e := s.down(name) // SIGTERM is a clean end for a service: systemd.service(5), SuccessExitStatus=.
	if x := s.lastExit(e); x.Signal != 15 && x.Status != 143 || !x.Success {
		s.Errorf("exit %+v", x)
	}
}

func ignoresTERM(s *suite) {
	name := s.name("a.service")
	s.load(name, IgnoresTERM)
	s.start(name)
	s.running(name)
	if text := s.h.Text(Prints); text == "" { // Without output nothing tells when the trap is set.
		s.Skip("no output to wait for")
	}
	s.stop(name)
	e := s.waitFor(name, "gone", func(e cluster.Evidence) bool { return e.Active == "failed" || e.Active == "inactive" })
	if x := s.lastExit(e); x.Signal != 9 && x.Signal != 15 || !x.Asked {
		s.Errorf("exit %+v", x)
	}
}

func oneshots(s *suite) {
	ok, remain, fails := s.name("ok.service"), s.name("remain.service"), s.name("fails.service")
	s.load(ok, OneshotOK)
	s.load(remain, OneshotRemain)
	s.load(fails, OneshotFails)
	for _, n := range []string{ok, remain, fails} {
		s.start(n)
	}
	e := s.waitFor(ok, "finished", func(e cluster.Evidence) bool { return e.Active == "inactive" && len(e.Exits) > 0 })
	if x := s.lastExit(e); !x.Success || e.Result != "success" || x.Asked {
		s.Errorf("%s: %s, %+v", ok, e.Result, x)
	}
	s.waitFor(remain, "active (exited)", func(e cluster.Evidence) bool { return e.Active == "active" && e.Sub == "exited" })
	if x := s.lastExit(s.failed(fails)); x.Status != 7 {
		s.Errorf("%s: %+v", fails, x)
	}
}

func notifies(s *suite) {
	name := s.name("a.service")
	s.load(name, Notifies)
	s.start(name)
	if e := s.running(name); e.StatusText == "" {
		s.Errorf("STATUS= is lost: %+v", e)
	}
}

func reload(s *suite) {
	name := s.name("a.service")
	s.load(name, Reloads)
	s.start(name)
	e := s.running(name)
	s.must("reload", s.rt.Reload(s.ctx, name))
	s.awaitLine(name, runtime.JournalQuery{Follow: true}, "reloaded")
	if n := s.running(name); n.MainPID != e.MainPID {
		s.Errorf("a reload restarted the unit")
	}
}

// awaitLine reads until a line with the text comes.
func (s *suite) awaitLine(name string, q runtime.JournalQuery, text string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, s.h.Within)
	defer cancel()
	ch, err := s.rt.Journal(ctx, name, q)
	s.must("journal", err)
	var got []cluster.Line
	for l := range ch {
		got = append(got, l)
		if strings.Contains(l.Text, text) {
			return
		}
	}
	s.Fatalf("%s: no line %q in %+v", name, text, got)
}

func (s *suite) count(name string, q runtime.JournalQuery, text string) (n int) {
	s.Helper()
	ch, err := s.rt.Journal(s.ctx, name, q)
	s.must("journal", err)
	for l := range ch {
		if strings.Contains(l.Text, text) {
			n++
		}
	}
	return n
}

func journal(s *suite) {
	name := s.name("a.service")
	s.load(name, Prints)
	s.start(name)
	first := s.running(name)
	s.awaitLine(name, runtime.JournalQuery{Follow: true}, "hello from stdout")
	s.awaitLine(name, runtime.JournalQuery{Follow: true}, "hello from stderr")
	s.must("restart", s.rt.Restart(s.ctx, name))
	second := s.waitFor(name, "running anew", func(e cluster.Evidence) bool {
		return e.Active == "active" && e.MainPID > 0 && e.Invocation != first.Invocation
	})
	for _, text := range []string{"hello from stdout", "hello from stderr"} {
		s.awaitLine(name, runtime.JournalQuery{Follow: true, Invocation: second.Invocation}, text)
		if n := s.count(name, runtime.JournalQuery{}, text); n != 2 {
			s.Errorf("%q %d times in all, want 2", text, n)
		}
		for _, run := range []string{first.Invocation, second.Invocation, "previous"} {
			if n := s.count(name, runtime.JournalQuery{Invocation: run}, text); n != 1 {
				s.Errorf("%q %d times in run %q, want 1", text, n, run)
			}
		}
	}
	if n := s.count(name, runtime.JournalQuery{Lines: 1}, ""); n != 1 {
		s.Errorf("Lines: 1 gave %d lines", n)
	}
}

func journalFollow(s *suite) {
	name := s.name("a.service")
	s.load(name, Prints)
	ctx, cancel := context.WithTimeout(s.ctx, s.h.Within)
	defer cancel()
	ch, err := s.rt.Journal(ctx, name, runtime.JournalQuery{Follow: true})
	s.must("journal", err)
	s.start(name)
	found := map[string]bool{}
	for len(found) < 2 {
		l, ok := <-ch
		if !ok {
			s.Fatalf("the stream ended: %v", found)
		}
		if text, ok := strings.CutPrefix(l.Text, "hello from "); ok {
			found[text] = true
			if l.Stream != text && l.Stream != "" && s.rt.Name() != "systemd" || l.At.IsZero() || l.Unit != name {
				s.Errorf("line %+v", l)
			}
		}
	}
	cancel()
	for range ch { // It has to be closed.
	}
}

func nameTaken(s *suite) {
	if s.h.Foreign == nil {
		s.Skip("the machine has no units from elsewhere")
	}
	name := s.h.Foreign(s.T)
	u := s.parse(name, s.h.Text(Runs))
	if _, err := s.rt.Load(s.ctx, u); err == nil || reason.From(err).Code != reason.NameTaken {
		s.Errorf("load of %s: %v, want %s", name, err, reason.NameTaken)
	}
}

func reopen(s *suite) {
	if s.h.Reopen == nil {
		s.Skip("cannot be opened again")
	}
	up, down := s.name("up.service"), s.name("down.service")
	s.load(up, Runs)
	u := s.load(down, Exits3)
	s.start(up)
	e := s.running(up)
	s.must("close", s.rt.Close())
	s.rt = s.h.Reopen(s.T)
	if n := s.running(up); n.MainPID != e.MainPID || n.Invocation != e.Invocation || n.Hash != e.Hash {
		s.Errorf("before %+v\nafter  %+v", e, n)
	}
	if n, found := s.find(down); !found || n.Hash != u.Hash() {
		s.Errorf("%s: %v %+v", down, found, n)
	}
	s.start(down)
	s.failed(down)
}

func timer(s *suite) {
	if !slices.Contains(s.rt.Types(), "timer") {
		s.Skip("runs no timers")
	}
	service, timer := s.name("a.service"), s.name("a.timer")
	s.load(service, OneshotOK)
	s.load(timer, Timer)
	s.start(timer)
	e := s.waitFor(timer, "armed", func(e cluster.Evidence) bool { return e.Active == "active" })
	if e.Sub == "waiting" && e.NextElapse.IsZero() {
		s.Errorf("armed without a next run: %+v", e)
	}
	s.waitFor(service, "run by its timer", func(e cluster.Evidence) bool { return len(e.Exits) > 0 })
	s.waitFor(timer, "told of its run", func(e cluster.Evidence) bool { return !e.LastTrigger.IsZero() })
	s.stop(timer)
	s.down(timer)
}

func timerNext(s *suite) {
	if !slices.Contains(s.rt.Types(), "timer") {
		s.Skip("runs no timers")
	}
	service, timer := s.name("a.service"), s.name("a.timer")
	s.load(service, OneshotOK)
	s.load(timer, TimerDaily)
	s.start(timer)
	e := s.waitFor(timer, "waiting", func(e cluster.Evidence) bool {
		return e.Active == "active" && e.Sub == "waiting" && !e.NextElapse.IsZero()
	})
	if next := e.NextElapse.Local(); next.Hour() != 3 || next.Minute() != 0 {
		s.Errorf("next run %s, want 03:00 local time", next)
	}
}
