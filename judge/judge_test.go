package judge

import (
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// at is a time after t0.
func at(d time.Duration) time.Time { return t0.Add(d) }

// load makes a unit of a text, or ends the test.
func load(t *testing.T, name, text string) *unit.Unit {
	t.Helper()
	u, err := unit.Load(unit.Name(name), []byte(text), nil, unit.Host{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// ends are the exits of runs 1, 2, …, each with a life and a pause between them.
func ends(n int, life, pause time.Duration, x cluster.Exit) []cluster.Exit {
	out := make([]cluster.Exit, n)
	now := time.Duration(0)
	for i := range out {
		now += life
		out[i] = x
		out[i].At, out[i].Uptime, out[i].Invocation = at(now), life, string(rune('a'+i))
		if x.Directive == "" {
			out[i].Directive = "ExecStart"
		}
		now += pause
	}
	return out
}

const second = time.Second

func running(since time.Duration, x ...cluster.Exit) *cluster.Evidence {
	return &cluster.Evidence{Active: "active", Sub: "running", Result: "success", MainPID: 7, Invocation: "z", ActiveSince: at(since), StateSince: at(since), Exits: x, NRestarts: len(x)}
}

func down(active, sub, result string, x ...cluster.Exit) *cluster.Evidence {
	e := &cluster.Evidence{Active: active, Sub: sub, Result: result, Exits: x, NRestarts: max(0, len(x)-1)}
	if result == "start-limit-hit" {
		e.NRestarts = len(x) // The one that was refused is counted.
	}
	if len(x) > 0 {
		e.Invocation, e.StateSince, e.InactiveSince = x[len(x)-1].Invocation, x[len(x)-1].At, x[len(x)-1].At
		e.ActiveSince = e.InactiveSince.Add(-x[len(x)-1].Uptime)
	}
	return e
}

func with(e *cluster.Evidence, f func(*cluster.Evidence)) *cluster.Evidence { f(e); return e }

type want struct {
	state cluster.State
	code  reason.Code
	final bool
	look  time.Duration // 0: not checked.
	says  string        // A part of the sentence.
}

type ruleCase struct {
	name string
	text string
	now  time.Duration
	e    *cluster.Evidence
	in   func(*Input)
	want want
}

const (
	plain  = "[Service]\nExecStart=/bin/x\n"
	always = plain + "Restart=always\n"
)

func (c ruleCase) run(t *testing.T) {
	t.Run(c.name, func(t *testing.T) {
		name := "a.service"
		if strings.Contains(c.text, "[Timer]") {
			name = "a.timer"
		}
		in := Input{Now: at(c.now), Unit: load(t, name, c.text), Desired: cluster.Launched, Orders: cluster.Orders{Start: 1}, By: "anna", Evidence: c.e}
		if c.in != nil {
			c.in(&in)
		}
		o := State(in)
		if o.State != c.want.state || o.Reason == nil || o.Reason.Code != c.want.code || o.Final != c.want.final {
			t.Fatalf("%s because %v (%v), final %v; want %s because %s, final %v", o.State, code(o), o.Reason, o.Final, c.want.state, c.want.code, c.want.final)
		}
		if c.want.look != 0 && o.LookAgain != c.want.look {
			t.Errorf("look again after %s, want %s", o.LookAgain, c.want.look)
		}
		if !strings.Contains(o.Reason.Message(), c.want.says) {
			t.Errorf("says %q, want %q in it", o.Reason.Message(), c.want.says)
		}
	})
}

func code(o Output) reason.Code {
	if o.Reason == nil {
		return ""
	}
	return o.Reason.Code
}

// TestEndedDuringTheStop: a run that a signal ended while the stop was on its way is stopped, not failed; one that began
// by itself after the stop (a timer, Wants=) is told of.
func TestEndedDuringTheStop(t *testing.T) {
	u := load(t, "a.service", "[Service]\nExecStart=/bin/a\n")
	in := Input{Now: at(5 * second), Unit: u, Desired: cluster.Loaded, Orders: cluster.Orders{Start: 1}, Evidence: down("failed", "failed", "signal", ends(1, 2*second, 0, cluster.Exit{Signal: 9})...)}
	in.StoppedAt = at(second) // The run is from 0 to 2.
	if o := State(in); o.State != cluster.Stopped || !o.Final {
		t.Errorf("ended during the stop: %s, %v", o.State, o.Reason)
	}
	in.StoppedAt = at(-second)
	if o := State(in); o.State != cluster.Failed {
		t.Errorf("ran again after the stop: %s, %v", o.State, o.Reason)
	}
}

// TestARunOnItsWayDownIsNotKnown: systemd runs ExecStopPost= after the main process, and only then is it known how many
// processes were killed for want of memory. What was judged before that must not be kept.
func TestARunOnItsWayDownIsNotKnown(t *testing.T) {
	u := load(t, "a.service", "[Service]\nExecStart=/bin/a\nMemoryMax=16M\n")
	killed := ends(1, second, 0, cluster.Exit{Signal: 9})
	in := Input{Now: at(second), Unit: u, Desired: cluster.Launched, Evidence: down("deactivating", "stop-post", "signal", killed...)}
	if o := State(in); o.Why != nil || o.Final {
		t.Errorf("on its way down it says %s for good: %v", o.State, o.Why)
	}
	killed[0].OOM = true
	in.Evidence = down("failed", "failed", "oom-kill", killed...)
	if o := State(in); o.Why == nil || o.Why.Code != reason.OOMKilled || o.WhyOf != killed[0].Invocation {
		t.Errorf("at the end it says %v of run %q", o.Why, o.WhyOf)
	}
}

func TestStability(t *testing.T) {
	check := plain + "[X-Argosy]\nHealthCheck=http://:3300/healthz\n"
	healthy := func(since time.Duration) func(*Input) {
		return func(in *Input) { in.Health = &Health{Invocation: "z", Ready: true, Since: at(since)} }
	}
	for _, c := range []ruleCase{
		{"just up", plain, 0, running(0), nil, want{cluster.Starting, reason.Settling, false, 10 * second, "healthy after 10s"}},
		{"half way", plain, 4 * second, running(0), nil, want{cluster.Starting, reason.Settling, false, 6 * second, "running for 4s"}},
		{"a moment too early", plain, 10*second - 1, running(0), nil, want{cluster.Starting, reason.Settling, false, 1, ""}},
		{"stable", plain, 10 * second, running(0), nil, want{cluster.Healthy, reason.Healthy, true, 0, ""}},
		{"Monitor=", plain + "[X-Argosy]\nMonitor=3s\n", 3 * second, running(0), nil, want{cluster.Healthy, reason.Healthy, true, 0, ""}},
		{"the clock was set back", plain, -3600 * second, running(0), nil, want{cluster.Starting, reason.Settling, false, 10 * second, ""}},
		{"the agent's own clock counts", plain, 3600 * second, running(0), func(in *Input) { in.Up = at(3595 * second) }, want{cluster.Starting, reason.Settling, false, 5 * second, ""}},
		{"reloading counts as up", plain, 10 * second, with(running(0), func(e *cluster.Evidence) { e.Active, e.Sub = "reloading", "reload" }), nil, want{cluster.Healthy, reason.Healthy, true, 0, ""}},
		{"check not asked", check, 60 * second, running(0), nil, want{cluster.Starting, reason.NotReady, false, 0, "not asked yet"}},
		{"check of another run", check, 60 * second, running(0), func(in *Input) { in.Health = &Health{Invocation: "y", Ready: true, Since: at(0)} }, want{cluster.Starting, reason.NotReady, false, 0, ""}},
		{"check fails at first", check, 6 * second, running(0), func(in *Input) { in.Health = &Health{Invocation: "z", Fails: 2, Error: "answered 503"} }, want{cluster.Starting, reason.NotReady, false, 0, "answered 503"}},
		{"ready, five seconds to go", check, 6 * second, running(0), healthy(6 * second), want{cluster.Starting, reason.Settling, false, 5 * second, ""}},
		{"ready and stable", check, 11 * second, running(0), healthy(6 * second), want{cluster.Healthy, reason.Healthy, true, 0, "GET http://127.0.0.1:3300/healthz answers"}},
		{"one failure is none", check, 60 * second, running(0), func(in *Input) { in.Health = &Health{Invocation: "z", Ready: true, Since: at(0), Fails: 1} }, want{cluster.Healthy, reason.Healthy, true, 0, ""}},
		{"three are", check, 60 * second, running(0), func(in *Input) { in.Health = &Health{Invocation: "z", Fails: 3, Error: "answered 500"} }, want{cluster.Unhealthy, reason.Unhealthy, true, 0, "answered 500, 3 times"}},
		{"HealthRetries=", check + "HealthRetries=5\n", 60 * second, running(0), func(in *Input) { in.Health = &Health{Invocation: "z", Ready: true, Since: at(0), Fails: 4} }, want{cluster.Healthy, reason.Healthy, true, 0, ""}},
		{"a declared port is a check", plain + "[X-Argosy]\nPort=6379\n", 60 * second, running(0), nil, want{cluster.Starting, reason.NotReady, false, 0, "port 6379/tcp"}},
		{"notify before READY=1", plain + "Type=notify\n", 60 * second, with(running(0), func(e *cluster.Evidence) { e.Active, e.Sub = "activating", "start" }), nil, want{cluster.Starting, reason.Starting, false, 0, "READY=1"}},
		{"a try after one end settles", always, 3 * second, running(2*second, ends(1, second, second, cluster.Exit{Status: 1})...), nil, want{cluster.Starting, reason.Settling, false, 9 * second, ""}},
	} {
		c.run(t)
	}
}

func TestLoops(t *testing.T) {
	exit1 := cluster.Exit{Status: 1}
	auto := func(x ...cluster.Exit) *cluster.Evidence {
		e := down("activating", "auto-restart", "exit-code", x...)
		e.NextTry = e.StateSince.Add(5 * second)
		return e
	}
	pre := cluster.Exit{Status: 4, Directive: "ExecStartPre"}
	for _, c := range []ruleCase{
		{"one end", always, second, auto(ends(1, second, second, exit1)...), nil, want{cluster.BackingOff, reason.BackingOff, false, 0, "next try in 5s; last: exit 1 after 1s"}},
		{"two ends", always, 3 * second, auto(ends(2, second, second, exit1)...), nil, want{cluster.BackingOff, reason.BackingOff, false, 0, ""}},
		{"three ends", always, 5 * second, auto(ends(3, second, second, exit1)...), nil, want{cluster.CrashLooping, reason.CrashLoop, true, 0, "ended 3 times in 5s; last: exit 1 after 1s"}},
		{"success is an end too", always, 5 * second, auto(ends(3, second, second, cluster.Exit{Success: true})...), nil, want{cluster.CrashLooping, reason.CrashLoop, true, 0, "exit 0"}},
		{"three ends in a minute, each called healthy before", always, 60 * second, auto(ends(3, 15*second, second, exit1)...), nil, want{cluster.CrashLooping, reason.CrashLoop, true, 0, ""}},
		{"three ends in two minutes, each called healthy before", always, 200 * second, auto(ends(3, 60*second, second, exit1)...), nil, want{cluster.BackingOff, reason.BackingOff, false, 0, ""}},
		{"three in a row, never stable, long pauses", always, 300 * second, auto(ends(3, second, 100*second, exit1)...), nil, want{cluster.CrashLooping, reason.CrashLoop, true, 0, ""}},
		{"the next try does not hide it", always, 6 * second, running(6*second, ends(3, second, second, exit1)...), nil, want{cluster.CrashLooping, reason.CrashLoop, true, 0, ""}},
		{"nor does a window without trouble within the minute", always, 40 * second, running(6*second, ends(3, second, second, exit1)...), nil, want{cluster.CrashLooping, reason.CrashLoop, true, 21*second + time.Millisecond, ""}},
		{"a good minute does", always, 70 * second, running(6*second, ends(3, second, second, exit1)...), nil, want{cluster.Healthy, reason.Healthy, true, 0, ""}},
		{"ends of before the last order do not count", always, 6 * second, with(running(6*second, ends(3, second, second, exit1)...), func(e *cluster.Evidence) { e.NRestarts = 0 }), nil, want{cluster.Starting, reason.Settling, false, 0, ""}},
		{"asked ends do not count", always, 5 * second, auto(append(ends(2, second, second, cluster.Exit{Asked: true, Signal: 15}), ends(3, second, second, exit1)[2])...), nil, want{cluster.BackingOff, reason.BackingOff, false, 0, ""}},
		{"start limit", plain, 5 * second, down("failed", "failed", "start-limit-hit", ends(5, second/10, second/10, exit1)...), nil, want{cluster.Failed, reason.CrashLoop, true, 0, "given up (StartLimitBurst=5 in 10s)"}},
		{"start limit after an older order", plain, 5 * second, with(down("failed", "failed", "start-limit-hit", ends(6, second/10, second/10, exit1)...), func(e *cluster.Evidence) { e.NRestarts = 5 }), nil, want{cluster.Failed, reason.CrashLoop, true, 0, "ended 5 times in"}},
		{"start limit keeps a better reason", plain, 5 * second, down("failed", "failed", "start-limit-hit", ends(5, 0, second/10, cluster.Exit{Status: 203, Path: "/usr/bin/docker"})...), nil, want{cluster.Failed, reason.ExecNotFound, true, 0, "/usr/bin/docker not found (203)"}},
		{"start limit without exits", plain, 5 * second, down("failed", "failed", "start-limit-hit"), nil, want{cluster.Failed, reason.CrashLoop, true, 0, ""}},
		{"set-up fails: final at once", always, second, auto(ends(1, 0, 0, cluster.Exit{Status: 203, Path: "/usr/bin/docker"})...), nil, want{cluster.Failing, reason.ExecNotFound, true, 0, ""}},
		{"and the next try does not hide it", always, second, with(auto(ends(1, 0, 0, cluster.Exit{Status: 203, Path: "/usr/bin/docker"})...), func(e *cluster.Evidence) { e.Sub, e.NRestarts = "start-pre", 1 }), nil, want{cluster.Failing, reason.ExecNotFound, true, 0, ""}},
		{"start time once", always, 5 * second, with(auto(ends(1, 2*second, 0, cluster.Exit{Signal: 15})...), func(e *cluster.Evidence) { e.Result, e.ActiveSince = "timeout", time.Time{} }), nil, want{cluster.BackingOff, reason.BackingOff, false, 0, "TimeoutStartSec"}},
		{"ExecStartPre= is named", plain, second, down("failed", "failed", "exit-code", ends(1, 0, 0, pre)...), nil, want{cluster.Failed, reason.Exit, true, 0, "ExecStartPre=: exit 4"}},
		{"protocol twice", always + "Type=notify\n", 5 * second, auto(ends(2, second, second, cluster.Exit{Success: true})...), func(in *Input) {
			in.Evidence.Result = "protocol"
			in.Known = map[string]*reason.Reason{"a": reason.Because(reason.Protocol, reason.Args{"error": "no READY=1"})}
		}, want{cluster.Failing, reason.Protocol, true, 0, "READY=1"}},
		{"what was known of a run does not change with the next", always, 5 * second, running(4*second, ends(2, second, second, exit1)...), func(in *Input) {
			taken := reason.Because(reason.PortTaken, reason.Args{"port": 80, "proto": "tcp", "holder": "nginx"})
			in.Known = map[string]*reason.Reason{"a": taken, "b": taken}
		}, want{cluster.Failing, reason.PortTaken, true, 0, "nginx"}},
	} {
		c.run(t)
	}
}

func TestOutOfMemory(t *testing.T) {
	limited := always + "MemoryMax=64M\n"
	oom := cluster.Exit{Signal: 9, OOM: true}
	auto := func(x ...cluster.Exit) *cluster.Evidence {
		return with(down("activating", "auto-restart", "oom-kill", x...), func(e *cluster.Evidence) { e.MemoryPeak, e.OOMKills = 64<<20, len(x) })
	}
	for _, c := range []ruleCase{
		{"once", limited, second, auto(ends(1, second, 0, oom)...), nil, want{cluster.BackingOff, reason.BackingOff, false, 0, "killed at MemoryMax=64M"}},
		{"twice", limited, 3 * second, auto(ends(2, second, second, oom)...), nil, want{cluster.Failing, reason.OOMKilled, true, 0, "killed at MemoryMax=64M, twice, peak 64M"}},
		{"five times is still out of memory", limited, 20 * second, auto(ends(5, second, second, oom)...), nil, want{cluster.Failing, reason.OOMKilled, true, 0, "5 times"}},
		{"twice, an hour apart", limited, 7300 * second, auto(ends(2, 3600*second, second, oom)...), nil, want{cluster.BackingOff, reason.BackingOff, false, 0, ""}},
		{"kills before the last order do not count", limited, 3 * second, with(down("failed", "failed", "oom-kill", ends(2, second, second, oom)...), func(e *cluster.Evidence) { e.NRestarts, e.OOMKills = 0, 1 }), nil, want{cluster.Failed, reason.OOMKilled, true, 0, "MemoryMax=64M, once"}},
		{"without Restart=", plain, second, down("failed", "failed", "oom-kill", ends(1, second, 0, oom)...), nil, want{cluster.Failed, reason.OOMKilled, true, 0, "the machine was out of memory"}},
		{"SIGKILL is no proof", limited, second, with(down("failed", "failed", "signal", ends(1, second, 0, cluster.Exit{Signal: 9})...), func(e *cluster.Evidence) { e.MemoryPeak = 64 << 20 }), nil, want{cluster.Failed, reason.Signal, true, 0, "SIGKILL"}},
		{"nor is 137", limited, second, down("failed", "failed", "exit-code", ends(1, second, 0, cluster.Exit{Status: 137})...), nil, want{cluster.Failed, reason.Exit, true, 0, "exit 137"}},
		{"137 of a shell, with a kill counted for each run", plain + "MemoryMax=64M\n", 3 * second, with(down("failed", "failed", "start-limit-hit", ends(2, second, second, cluster.Exit{Status: 137})...), func(e *cluster.Evidence) { e.OOMKills = 2 }), nil, want{cluster.Failed, reason.OOMKilled, true, 0, "twice"}},
		{"and without", plain + "MemoryMax=64M\n", 3 * second, with(down("failed", "failed", "start-limit-hit", ends(2, second, second, cluster.Exit{Status: 137})...), func(e *cluster.Evidence) { e.OOMKills = 1 }), nil, want{cluster.Failed, reason.CrashLoop, true, 0, "137"}},
		{"a limit in percent", plain + "MemoryMax=50%\n", second, down("failed", "failed", "oom-kill", ends(1, second, 0, oom)...), func(in *Input) { in.Memory = 8 << 30 }, want{cluster.Failed, reason.OOMKilled, true, 0, "MemoryMax=4G"}},
	} {
		c.run(t)
	}
}

func TestEndings(t *testing.T) {
	one := func(x cluster.Exit) []cluster.Exit { return ends(1, 3*second, 0, x) }
	missing := reason.Because(reason.ConfigMissing, reason.Args{"path": "/etc/x.env", "error": "no such file"})
	for _, c := range []ruleCase{
		{"exit", plain, 4 * second, down("failed", "failed", "exit-code", one(cluster.Exit{Status: 3})...), nil, want{cluster.Failed, reason.Exit, true, 0, "exit 3 after 3s"}},
		{"signal", plain, 4 * second, down("failed", "failed", "signal", one(cluster.Exit{Signal: 15})...), nil, want{cluster.Failed, reason.Signal, true, 0, "SIGTERM"}},
		{"core", plain, 4 * second, down("failed", "failed", "core-dump", one(cluster.Exit{Signal: 11, CoreDumped: true})...), nil, want{cluster.Failed, reason.CoreDump, true, 0, "SIGSEGV"}},
		{"watchdog", plain + "WatchdogSec=30s\n", 4 * second, down("failed", "failed", "watchdog", one(cluster.Exit{Signal: 6})...), nil, want{cluster.Failed, reason.Watchdog, true, 0, "30s"}},
		{"protocol", plain + "Type=forking\nPIDFile=/run/x.pid\n", 4 * second, down("failed", "failed", "protocol", one(cluster.Exit{Success: true})...), nil, want{cluster.Failed, reason.Protocol, true, 0, "/run/x.pid"}},
		{"start time", plain + "Type=notify\nTimeoutStartSec=3s\n", 4 * second, with(down("failed", "failed", "timeout", one(cluster.Exit{Signal: 15})...), func(e *cluster.Evidence) { e.ActiveSince = time.Time{} }), nil, want{cluster.Failed, reason.StartTimeout, true, 0, "3s"}},
		{"run time", plain + "RuntimeMaxSec=3s\n", 4 * second, down("failed", "failed", "timeout", one(cluster.Exit{Signal: 15})...), nil, want{cluster.Failed, reason.RuntimeMax, true, 0, "RuntimeMaxSec="}},
		{"stop time", plain + "TimeoutStopSec=1s\n", 4 * second, down("failed", "failed", "timeout", one(cluster.Exit{Signal: 9})...), nil, want{cluster.Failed, reason.StopTimeout, true, 0, "1s"}},
		{"the runtime's own refusal", plain, 4 * second, with(down("failed", "failed", "resources"), func(e *cluster.Evidence) { e.Error = missing }), nil, want{cluster.Failed, reason.ConfigMissing, true, 0, "/etc/x.env"}},
		{"a refusal that is tried again", always, 4 * second, with(down("activating", "auto-restart", "resources"), func(e *cluster.Evidence) { e.Error = missing }), nil, want{cluster.Failing, reason.ConfigMissing, true, 0, ""}},
		{"set-up detail of the runtime", plain, 4 * second, down("failed", "failed", "exit-code", one(cluster.Exit{Status: 217, Error: reason.Because(reason.UserMissing, reason.Args{"user": "bob"})})...), nil, want{cluster.Failed, reason.UserMissing, true, 0, "bob"}},
		{"nothing to blame", plain, 4 * second, down("failed", "failed", "resources"), nil, want{cluster.Failed, reason.CannotStart, true, 0, "result resources"}},
		{"finished", plain, 4 * second, down("inactive", "dead", "success", one(cluster.Exit{Success: true})...), nil, want{cluster.FinishedOK, reason.Finished, true, 0, ""}},
		{"oneshot finished", plain + "Type=oneshot\n", 4 * second, down("inactive", "dead", "success", one(cluster.Exit{Success: true})...), nil, want{cluster.FinishedOK, reason.Finished, true, 0, ""}},
		{"oneshot runs", plain + "Type=oneshot\n", 4 * second, with(running(0), func(e *cluster.Evidence) { e.Active, e.Sub = "activating", "start" }), nil, want{cluster.Starting, reason.Starting, false, 0, "ExecStart= runs"}},
		{"remains", plain + "Type=oneshot\nRemainAfterExit=yes\n", 4 * second, down("active", "exited", "success", one(cluster.Exit{Success: true})...), nil, want{cluster.FinishedOK, reason.Finished, true, 0, ""}},
		{"skipped by a condition", plain, 4 * second, with(down("inactive", "dead", "success"), func(e *cluster.Evidence) {
			e.Error = reason.Because(reason.ConditionFailed, reason.Args{"condition": "ConditionPathExists=/x"})
		}), nil, want{cluster.Stopped, reason.ConditionFailed, true, 0, "/x"}},
		{"ExecCondition=", plain, 4 * second, down("inactive", "dead", "exec-condition"), nil, want{cluster.Stopped, reason.ConditionFailed, true, 0, "ExecCondition="}},
		{"stopped by somebody else", plain, 4 * second, down("inactive", "dead", "success", one(cluster.Exit{Signal: 15, Asked: true, Success: true})...), nil, want{cluster.Stopped, reason.StoppedByUser, true, 0, "on the machine"}},
		{"a dependency", plain, 4 * second, with(down("inactive", "dead", "success"), func(e *cluster.Evidence) {
			e.Error = reason.Because(reason.DependencyFailed, reason.Args{"dependency": "db.service", "kind": "Requires", "state": "failed"})
		}), nil, want{cluster.Failed, reason.DependencyFailed, true, 0, "db.service"}},
		{"waits", plain, 4 * second, with(down("inactive", "dead", "success"), func(e *cluster.Evidence) { e.WaitingFor = []string{"db.service"} }), nil, want{cluster.Waiting, reason.WaitingFor, false, 0, "db.service"}},
		{"never started", plain, 4 * second, down("inactive", "dead", "success"), nil, want{cluster.Starting, reason.Loading, false, 0, ""}},
		{"a good ExecStopPost= does not hide the failure", plain, 4 * second, down("failed", "failed", "exit-code", append(one(cluster.Exit{Status: 3}), cluster.Exit{Directive: "ExecStopPost", Success: true, Invocation: "a", At: at(3 * second)})...), nil, want{cluster.Failed, reason.Exit, true, 0, "exit 3"}},
	} {
		c.run(t)
	}
}

func TestSetupStatuses(t *testing.T) {
	text := plain + "User=bob\nGroup=crew\nWorkingDirectory=/srv/x\nLoadCredential=db:/etc/db\n"
	for status, want := range map[int]struct {
		code reason.Code
		says string
	}{
		200: {reason.DirectoryMissing, "/srv/x"}, 203: {reason.ExecNotFound, "/bin/x"}, 216: {reason.GroupMissing, "crew"},
		217: {reason.UserMissing, "bob"}, 243: {reason.SecretMissing, "db"}, 226: {reason.SetupFailed, "NAMESPACE failed (226)"},
		209: {reason.SetupFailed, "STDOUT"}, 223: {reason.Exit, "exit 223"},
	} {
		e := down("failed", "failed", "exit-code", ends(1, 0, 0, cluster.Exit{Status: status, Path: "/bin/x"})...)
		o := State(Input{Now: at(second), Unit: load(t, "a.service", text), Desired: cluster.Launched, Evidence: e})
		if o.Reason.Code != want.code || !strings.Contains(o.Reason.Message(), want.says) || !o.Final {
			t.Errorf("status %d: %s %q, want %s %q", status, o.Reason.Code, o.Reason.Message(), want.code, want.says)
		}
	}
	e := down("failed", "failed", "exit-code", ends(1, 60*second, 0, cluster.Exit{Status: 203, Path: "/bin/x"})...)
	if o := State(Input{Now: at(61 * second), Unit: load(t, "a.service", text), Desired: cluster.Launched, Evidence: e}); o.Reason.Code != reason.Exit {
		t.Errorf("203 after a minute is the program's own, not %s", o.Reason.Code)
	}
}

func TestPortsInLogs(t *testing.T) {
	for _, c := range []struct {
		line string
		port uint16
		ok   bool
	}{
		{"bind: Address already in use", 0, true},
		{"Could not create server TCP listening socket *:6379: bind: Address already in use", 6379, true},
		{"nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", 80, true},
		{"listen tcp :8080: bind: address already in use", 8080, true},
		{"2026/11/22 18:35:19 main.go:17: listen tcp [::]:9090: bind: address already in use", 9090, true},
		{"Error: listen EADDRINUSE: address already in use :::3300", 3300, true},
		{"OSError: [Errno 98] Address already in use", 0, true},
		{"Web server failed to start. Port 8081 was already in use. java.net.BindException: Address already in use", 8081, true},
		{"failed to listen on TCP port 11211: Address already in use", 11211, true},
		{"docker: Bind for 0.0.0.0:5432 failed: port 5432 is already allocated.", 5432, true},
		{"everything is fine on port 80", 0, false},
		{"18:35:19 Address in use", 0, true},
	} {
		port, ok := PortInLog([]string{"starting at 12:00:01", c.line, "bye"})
		if port != c.port || ok != c.ok {
			t.Errorf("%q: %d, %v; want %d, %v", c.line, port, ok, c.port, c.ok)
		}
	}
	node := []string{"Error: listen EADDRINUSE", "    at Server.setupListenHandle [as _listen2] (node:net:1463:16)", "  errno: -98,", "  code: 'EADDRINUSE',", "  port: 3300", "}"}
	if port, ok := PortInLog(node); !ok || port != 3300 {
		t.Errorf("Node.js: %d %v", port, ok)
	}
}

func TestPortTaken(t *testing.T) {
	taken := func(in *Input) {
		in.Log = []string{"listen tcp :8080: bind: address already in use"}
		in.Holders = map[uint16]Holder{8080: {PID: 2211, Name: "node"}}
	}
	exit := cluster.Exit{Status: 1}
	for _, c := range []ruleCase{
		{"once, no restart", plain, second, down("failed", "failed", "exit-code", ends(1, 0, 0, exit)...), taken, want{cluster.Failed, reason.PortTaken, true, 0, "port 8080/tcp is held by node (pid 2211)"}},
		{"once", always, second, down("activating", "auto-restart", "exit-code", ends(1, 0, 0, exit)...), taken, want{cluster.BackingOff, reason.BackingOff, false, 0, "port 8080/tcp"}},
		{"the declared port", plain + "[X-Argosy]\nPort=53/udp\n", second, down("failed", "failed", "exit-code", ends(1, 0, 0, exit)...), func(in *Input) { in.Log = []string{"bind: Address already in use"} }, want{cluster.Failed, reason.PortTaken, true, 0, "port 53/udp"}},
		{"unknown port", plain, second, down("failed", "failed", "exit-code", ends(1, 0, 0, exit)...), func(in *Input) { in.Log = []string{"bind: Address already in use"} }, want{cluster.Failed, reason.PortTaken, true, 0, "port ?/tcp"}},
		{"it ended well all the same", plain, second, down("inactive", "dead", "success", ends(1, 0, 0, cluster.Exit{Success: true})...), taken, want{cluster.FinishedOK, reason.Finished, true, 0, ""}},
	} {
		c.run(t)
	}
}

func TestWishes(t *testing.T) {
	asked := ends(1, second, 0, cluster.Exit{Signal: 15, Asked: true, Success: true})
	failed := ends(1, second, 0, cluster.Exit{Status: 3})
	loaded := func(in *Input) { in.Desired = cluster.Loaded }
	inactive := func(in *Input) { in.Desired = cluster.Inactive }
	both := func(f ...func(*Input)) func(*Input) {
		return func(in *Input) {
			for _, f := range f {
				f(in)
			}
		}
	}
	stopped := func(d time.Duration) func(*Input) { return func(in *Input) { in.StoppedAt = at(d) } }
	nameTaken := func(in *Input) {
		in.Refused = reason.Because(reason.NameTaken, reason.Args{"unit": "a.service", "path": "/usr/lib/systemd/system/a.service"})
	}
	for _, c := range []ruleCase{
		{"loaded, never started", plain, second, down("inactive", "dead", "success"), both(loaded, func(in *Input) { in.Orders = cluster.Orders{} }), want{cluster.Stopped, reason.NotStarted, true, 0, ""}},
		{"stopped", plain, second, down("inactive", "dead", "success", asked...), loaded, want{cluster.Stopped, reason.StoppedByUser, true, 0, "stopped by anna"}},
		{"stopped after a failure", plain, 5 * second, down("failed", "failed", "exit-code", failed...), both(loaded, stopped(3*second)), want{cluster.Stopped, reason.StoppedByUser, true, 0, ""}},
		{"a timer ran it since", plain, 5 * second, down("failed", "failed", "exit-code", failed...), both(loaded, stopped(-second/2)), want{cluster.Failed, reason.Exit, true, 0, ""}},
		{"a timer runs it", plain, 5 * second, running(0), both(loaded, stopped(-second)), want{cluster.Starting, reason.Settling, false, 0, ""}},
		{"on its way down", plain, second, with(running(0), func(e *cluster.Evidence) { e.Active = "deactivating" }), loaded, want{cluster.Draining, reason.Stopping, false, 0, ""}},
		{"the stop was handed over", plain, second, running(0), both(loaded, func(in *Input) { in.Pending = true }), want{cluster.Draining, reason.Stopping, false, 0, ""}},
		{"inactive and still up", plain, second, running(0), inactive, want{cluster.Draining, reason.Stopping, false, 0, ""}},
		{"inactive and gone", plain, second, nil, inactive, want{cluster.Stopped, reason.StoppedByUser, true, 0, ""}},
		{"loaded and refused", plain, second, nil, both(loaded, nameTaken), want{cluster.Failed, reason.NameTaken, true, 0, ""}},
		{"refused", plain, second, nil, nameTaken, want{cluster.Failed, reason.NameTaken, true, 0, ""}},
		{"not refused for ever", plain, second, nil, func(in *Input) {
			in.Refused = reason.Because(reason.RuntimeDown, reason.Args{"runtime": "native", "error": "gone"})
		}, want{cluster.Starting, reason.RuntimeDown, false, 0, ""}},
		{"being loaded", plain, second, nil, nil, want{cluster.Starting, reason.Loading, false, 0, ""}},
		{"an old failure while the start is on its way", plain, second, down("failed", "failed", "exit-code", failed...), func(in *Input) { in.Pending = true }, want{cluster.Starting, reason.Starting, false, 0, ""}},
		{"the old health while the restart is on its way", plain, 60 * second, running(0), func(in *Input) { in.Pending = true }, want{cluster.Starting, reason.Starting, false, 0, "restarted"}},
	} {
		c.run(t)
	}
}

func TestTimers(t *testing.T) {
	text := "[Timer]\nOnCalendar=*-*-* 03:00:00\n"
	armed := with(down("active", "waiting", "success"), func(e *cluster.Evidence) { e.NextElapse = at(3600 * second) })
	for _, c := range []ruleCase{
		{"armed", text, 0, armed, nil, want{cluster.Healthy, reason.TimerWaiting, true, 0, "next run 2030-01-02T04:04:05Z"}},
		{"its unit runs", text, 0, down("active", "running", "success"), nil, want{cluster.Healthy, reason.TimerWaiting, true, 0, "when its unit has ended"}},
		{"elapsed", text, 0, down("active", "elapsed", "success"), nil, want{cluster.FinishedOK, reason.Finished, true, 0, ""}},
		{"failed", text, 0, down("failed", "failed", "resources"), nil, want{cluster.Failed, reason.CannotStart, true, 0, ""}},
		{"loaded", text, 0, down("inactive", "dead", "success"), func(in *Input) { in.Desired, in.Orders = cluster.Loaded, cluster.Orders{} }, want{cluster.Stopped, reason.NotStarted, true, 0, ""}},
	} {
		c.run(t)
	}
}

func TestSame(t *testing.T) {
	settling := func(n int) *reason.Reason {
		return reason.Because(reason.Settling, reason.Args{"for": n, "of": 10})
	}
	next := func(s string) *reason.Reason { return reason.Because(reason.TimerWaiting, reason.Args{"next": s}) }
	if !Same(settling(1), settling(2)) || Same(next("a"), next("b")) || Same(settling(1), nil) || !Same(nil, nil) {
		t.Error("the time that goes by is no news; the next run of a timer is")
	}
}
