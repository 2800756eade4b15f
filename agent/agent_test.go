package agent

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

var sleeper = service("ExecStart=/fake/run")

func TestStartIsHealthyAfterItsWindow(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", sleeper)
	r.run(9 * time.Second)
	st := r.is("a.service", cluster.Starting, reason.Settling)
	if st.Final || st.MainPID == 0 {
		t.Errorf("while settling: %+v", st)
	}
	r.run(2 * time.Second)
	st = r.is("a.service", cluster.Healthy, reason.Healthy)
	if !st.Final || st.Done.Start != 1 || st.Desired != cluster.Launched || st.Hash == "" || st.Active != "active" {
		t.Errorf("healthy: %+v", st)
	}
	r.calls("start", "a.service", 1)
	r.calls("load", "a.service", 1)
	r.start("a.service", "") // Again, of a healthy unit: nothing to do, and said at once.
	r.pass()
	r.is("a.service", cluster.Healthy, reason.Healthy)
	r.calls("start", "a.service", 1)
}

func TestShortWindowByMonitor(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", sleeper+"[X-Argosy]\nMonitor=2s\n")
	r.run(2100 * time.Millisecond)
	r.is("a.service", cluster.Healthy, reason.Healthy)
}

func TestLivesOneSecondIsNeverHealthy(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", "[Unit]\nStartLimitIntervalSec=0\n"+service("ExecStart=/fake/exit after=1s", "Restart=always"))
	for range 120 {
		r.run(time.Second)
		if st := r.status("a.service"); st.State == cluster.Healthy {
			t.Fatalf("healthy at %s: %+v", r.now, st)
		}
	}
	st := r.is("a.service", cluster.CrashLooping, reason.CrashLoop)
	if !st.Final || st.Reason.Int("count") < 3 || !strings.Contains(st.Reason.Message(), "exit 0") {
		t.Errorf("%+v: %s", st.Reason, st.Reason.Message())
	}
}

func TestCrashLoopIsNamedAndWrittenSeldom(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", "[Unit]\nStartLimitIntervalSec=0\n"+service("ExecStart=/fake/exit status=3 after=300ms say=no_database", "Restart=always", "RestartSec=100ms"))
	r.run(3 * time.Second)
	st := r.is("a.service", cluster.CrashLooping, reason.CrashLoop)
	if !st.Final || st.Reason.Int("status") != 3 || len(st.LogTail) != 1 || st.LogTail[0] != "no database" {
		t.Errorf("%+v %v", st, st.LogTail)
	}
	before := r.writes
	r.run(60 * time.Second)
	if n := r.writes - before; n > 15 {
		t.Errorf("%d writes in a minute of looping", n)
	}
	if st := r.status("a.service"); st.Restarts < 100 {
		t.Errorf("restarts %d", st.Restarts)
	}
}

func TestFailuresAreFinalAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, text string
		state      cluster.State
		code       reason.Code
	}{
		{"exit", service("ExecStart=/fake/exit status=3"), cluster.Failed, reason.Exit},
		{"missing", service("ExecStart=/fake/missing"), cluster.Failed, reason.ExecNotFound},
		{"missing, restarted", service("ExecStart=/fake/missing", "Restart=always", "RestartSec=30s"), cluster.Failing, reason.ExecNotFound},
		{"denied", service("ExecStart=/fake/denied"), cluster.Failed, reason.Permission},
		{"config", service("ExecStart=/fake/run", "EnvironmentFile=/etc/missing.env"), cluster.Failed, reason.ConfigMissing},
		{"oom", service("ExecStart=/fake/oom after=1s", "MemoryMax=64M"), cluster.Failed, reason.OOMKilled},
		{"signal", service("ExecStart=/fake/signal signal=11 after=1s"), cluster.Failed, reason.Signal},
		{"oneshot", service("ExecStart=/fake/exit status=1", "Type=oneshot"), cluster.Failed, reason.Exit},
		{"start limit", service("ExecStart=/fake/exit status=1", "Restart=always"), cluster.Failed, reason.CrashLoop},
		{"start time", service("ExecStart=/fake/run ready=never", "Type=notify", "TimeoutStartSec=2s"), cluster.Failed, reason.StartTimeout},
		{"finished", service("ExecStart=/fake/exit after=1s"), cluster.FinishedOK, reason.Finished},
		{"oneshot ok", service("ExecStart=/fake/exit", "Type=oneshot"), cluster.FinishedOK, reason.Finished},
		{"remains", service("ExecStart=/fake/exit", "Type=oneshot", "RemainAfterExit=yes"), cluster.FinishedOK, reason.Finished},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.start("a.service", c.text)
			r.run(4 * time.Second)
			if st := r.is("a.service", c.state, c.code); !st.Final {
				t.Errorf("not final: %+v", st)
			}
		})
	}
}

func TestOrdersAreCarriedOutOnce(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", service("ExecStart=/fake/run", "ExecReload=/fake/reload"))
	r.run(11 * time.Second)
	pid := r.pid("a.service")
	r.want("a.service", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Restart++ })
	r.run(20 * time.Second)
	r.is("a.service", cluster.Healthy, reason.Healthy)
	if r.pid("a.service") == pid {
		t.Error("not restarted")
	}
	r.want("a.service", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Reload++ })
	r.want("a.service", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Kill++; w.Orders.Signal = 10 })
	r.run(20 * time.Second)
	for method, n := range map[string]int{"start": 1, "restart": 1, "reload": 1, "kill": 1, "load": 1} {
		r.calls(method, "a.service", n)
	}
	r.boot()
	r.run(20 * time.Second)
	for method, n := range map[string]int{"start": 1, "restart": 1, "reload": 1, "kill": 1, "load": 1} {
		r.calls(method, "a.service", n)
	}
	r.is("a.service", cluster.Healthy, reason.Healthy)
}

func TestRestartIsSettlingAndNeverTheOldHealth(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", service("ExecStart=/fake/run term=3s"))
	r.run(11 * time.Second)
	r.is("a.service", cluster.Healthy, reason.Healthy)
	before := r.wish("a.service").Revision
	r.store.Inject(func(by store.Writer, changes []store.Change) memory.Fault { // Every status counts: a waiting command reads it.
		for _, c := range changes {
			var st cluster.Status
			if by.Role == store.Machine && json.Unmarshal(c.Value, &st) == nil && st.For > before && st.Final {
				t.Errorf("%s because %v for the new wish", st.State, st.Reason)
			}
		}
		return memory.None
	})
	r.want("a.service", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Restart++ })
	r.run(12 * time.Second)
	r.count(nil)
	r.run(2 * time.Second)
	r.is("a.service", cluster.Healthy, reason.Healthy)
}

// TestKilledBetweenDoingAndWriting: the order was carried out, its status was lost, and the agent with it.
func TestKilledBetweenDoingAndWriting(t *testing.T) {
	for _, c := range []struct {
		name, text, method string
		order              func(*cluster.Wanted)
		want               int
	}{
		{"start of a oneshot", service("ExecStart=/fake/exit", "Type=oneshot"), "start", func(w *cluster.Wanted) { w.Orders.Start++ }, 2},
		{"restart", sleeper, "restart", func(w *cluster.Wanted) { w.Orders.Restart++ }, 1},
		{"kill", sleeper, "kill", func(w *cluster.Wanted) { w.Orders.Kill++; w.Orders.Signal = 10 }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.start("a.service", c.text)
			r.run(11 * time.Second)
			r.count(func() memory.Fault { return memory.LostRequest })
			r.want("a.service", "", cluster.Launched, c.order)
			r.run(50 * time.Millisecond)
			if r.passErr == nil {
				t.Fatal("the write was to fail")
			}
			r.count(nil)
			r.boot()
			if c.method == "kill" {
				c.want = 1 // It was not sent yet: it is written first, and done by the agent that wrote it.
			}
			r.run(20 * time.Second)
			r.calls(c.method, "a.service", c.want)
			if st := r.status("a.service"); st.Done != r.wish("a.service").Orders {
				t.Errorf("done %+v, ordered %+v", st.Done, r.wish("a.service").Orders)
			}
		})
	}
}

func TestAWriteThatFailsIsRepeatedAndNothingElse(t *testing.T) {
	r := newRig(t, nil)
	fail := true
	r.count(func() memory.Fault {
		if fail {
			return memory.LostAnswer
		}
		return memory.None
	})
	r.start("a.service", sleeper)
	r.run(500 * time.Millisecond)
	fail = false
	r.run(20 * time.Second)
	r.calls("start", "a.service", 1)
	r.is("a.service", cluster.Healthy, reason.Healthy)
}

func TestStopAndLoadAndDestroy(t *testing.T) {
	r := newRig(t, nil)
	r.want("a.service", sleeper, cluster.Loaded)
	r.run(time.Second)
	if st := r.is("a.service", cluster.Stopped, reason.NotStarted); !st.Final {
		t.Errorf("loaded: %+v", st)
	}
	r.start("a.service", "")
	r.run(11 * time.Second)
	r.is("a.service", cluster.Healthy, reason.Healthy)
	r.runtime.SlowStop("a.service", 3*time.Second)
	r.want("a.service", "", cluster.Loaded)
	r.run(time.Second)
	r.is("a.service", cluster.Draining, reason.Stopping)
	r.run(3 * time.Second)
	st := r.is("a.service", cluster.Stopped, reason.StoppedByUser)
	if !st.Final || st.Reason.Str("who") != "anna" {
		t.Errorf("stopped: %+v", st)
	}
	r.want("a.service", "", cluster.Inactive)
	r.run(time.Second)
	if st := r.status("a.service"); st != nil {
		t.Errorf("status of an inactive unit is left: %+v", st)
	}
	if _, known := r.runtime.Evidence("a.service"); known {
		t.Error("still loaded")
	}
	r.start("a.service", "")
	r.run(time.Second)
	r.destroy("a.service")
	r.run(time.Second)
	if _, known := r.runtime.Evidence("a.service"); known || r.status("a.service") != nil {
		t.Error("a destroyed unit is still there")
	}
}

func TestStoppedFailureIsStopped(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", service("ExecStart=/fake/exit status=1"))
	r.run(time.Second)
	r.is("a.service", cluster.Failed, reason.Exit)
	r.run(time.Second)
	r.want("a.service", "", cluster.Loaded)
	r.run(time.Second)
	r.is("a.service", cluster.Stopped, reason.StoppedByUser)
	r.boot()
	r.run(time.Second)
	r.is("a.service", cluster.Stopped, reason.StoppedByUser)
}

func TestATimersServiceIsNotStoppedAndItsRunIsTold(t *testing.T) {
	r := newRig(t, nil)
	r.want("backup.service", service("ExecStart=/fake/exit status=2 after=5s", "Type=oneshot"), cluster.Loaded)
	r.start("backup.timer", "[Timer]\nOnActiveSec=10s\n")
	r.run(5 * time.Second)
	r.is("backup.service", cluster.Stopped, reason.NotStarted)
	st := r.is("backup.timer", cluster.Healthy, reason.TimerWaiting)
	if st.Next.IsZero() || !st.Final {
		t.Errorf("timer: %+v", st)
	}
	r.run(7 * time.Second)
	r.is("backup.service", cluster.Starting, reason.Starting)
	r.run(5 * time.Second)
	r.is("backup.service", cluster.Failed, reason.Exit)
	r.is("backup.timer", cluster.FinishedOK, reason.Finished)
	r.calls("stop", "backup.service", 0)
}

func TestTriggerRunsTheTimersUnitNow(t *testing.T) {
	r := newRig(t, nil)
	r.want("backup.service", service("ExecStart=/fake/exit", "Type=oneshot"), cluster.Loaded)
	r.start("backup.timer", "[Timer]\nOnCalendar=*-*-* 03:00:00\n")
	r.run(time.Second)
	r.want("backup.timer", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Trigger++ })
	r.run(time.Second)
	r.calls("start", "backup.service", 1)
	r.is("backup.service", cluster.FinishedOK, reason.Finished)
}

func TestChangedTextIsLoadedAndNotRestarted(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", sleeper)
	r.run(11 * time.Second)
	pid, hash := r.pid("a.service"), r.status("a.service").Hash
	r.want("a.service", sleeper+"Nice=5\n", cluster.Launched)
	r.run(time.Second)
	if r.pid("a.service") != pid {
		t.Error("a new text restarted the unit")
	}
	if st := r.is("a.service", cluster.Healthy, reason.Healthy); st.Hash == hash {
		t.Error("the new text was not loaded")
	}
	r.calls("load", "a.service", 2)
}

func TestAPoisonedUnitStopsNobody(t *testing.T) {
	r := newRig(t, nil)
	r.runtime.Foreign("b.service", "/usr/lib/systemd/system/b.service")
	r.runtime.FailStart("c.service", reason.Because(reason.CannotStart, reason.Args{"error": "no"}))
	r.start("a.service", "[Service]\nType=nonsense\n")
	r.start("b.service", sleeper)
	r.start("c.service", sleeper)
	r.start("d.service", sleeper)
	r.start("e.socket", "[Socket]\nListenStream=80\n")
	r.run(11 * time.Second)
	for name, code := range map[string]reason.Code{"a.service": reason.UnitInvalid, "b.service": reason.NameTaken, "c.service": reason.CannotStart, "e.socket": reason.NoMachineRuntime} {
		if st := r.is(name, cluster.Failed, code); !st.Final {
			t.Errorf("%s: not final", name)
		}
	}
	r.is("d.service", cluster.Healthy, reason.Healthy)
	r.view.Forget()
	r.run(time.Second)
	r.calls("load", "b.service", 1)
	r.start("c.service", "")
	r.run(11 * time.Second)
	r.is("c.service", cluster.Healthy, reason.Healthy)
}

func TestRuntimeDownIsToldAndHeals(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", sleeper)
	r.run(11 * time.Second)
	r.runtime.Down(errors.New("no answer"))
	r.start("b.service", sleeper)
	r.pass()
	if r.passErr == nil {
		t.Error("a runtime that is away is an error of the pass")
	}
	r.is("a.service", cluster.Healthy, reason.Healthy)
	r.is("b.service", cluster.Starting, reason.RuntimeDown)
	r.runtime.Down(nil)
	r.run(11 * time.Second)
	r.is("b.service", cluster.Healthy, reason.Healthy)
	r.calls("start", "a.service", 1)
}

func TestAfterARebootWhatWasLaunchedRunsAgain(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", sleeper)
	r.want("b.service", sleeper, cluster.Loaded)
	r.run(11 * time.Second)
	r.runtime.Reboot()
	r.boot()
	r.run(11 * time.Second)
	r.is("a.service", cluster.Healthy, reason.Healthy)
	r.is("b.service", cluster.Stopped, reason.NotStarted)
	if r.pid("a.service") == 0 || r.pid("b.service") != 0 {
		t.Errorf("running: %v", r.runtime.Running())
	}
}

func TestRestartOfTheAgentTouchesNothing(t *testing.T) {
	r := newRig(t, nil)
	for _, n := range names("w@%d.service", 20) {
		r.start(n, sleeper)
	}
	r.run(11 * time.Second)
	before, writes := r.runtime.Running(), r.writes
	r.boot()
	r.run(time.Minute)
	for n, pid := range before {
		if r.pid(n) != pid {
			t.Errorf("%s: pid %d became %d", n, pid, r.pid(n))
		}
		r.is(n, cluster.Healthy, reason.Healthy)
	}
	if r.writes != writes {
		t.Errorf("%d writes although nothing changed", r.writes-writes)
	}
}

func TestManyAreWrittenInBoundedBatches(t *testing.T) {
	r := newRig(t, nil)
	var biggest int
	r.store.Inject(func(by store.Writer, changes []store.Change) memory.Fault {
		if by.Role == store.Machine {
			biggest = max(biggest, len(changes))
			r.writes++
		}
		return memory.None
	})
	all := names("w@%d.service", 250)
	for _, n := range all {
		r.start(n, sleeper)
	}
	r.run(11 * time.Second)
	for _, n := range all {
		r.is(n, cluster.Healthy, reason.Healthy)
	}
	if biggest > maxChunk || biggest < 50 {
		t.Errorf("the biggest write had %d statuses", biggest)
	}
	if r.writes > 20 {
		t.Errorf("%d writes for 250 starts", r.writes)
	}
	lists := r.runtime.Calls("list", "")
	r.run(5 * time.Minute)
	if n := r.runtime.Calls("list", "") - lists; n > 3 {
		t.Errorf("250 idle units were listed %d times in five minutes", n)
	}
}
