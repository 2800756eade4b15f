package native

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
)

func stop(t *testing.T, r *Runtime, name string) {
	t.Helper()
	if err := r.Stop(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func TestForkingWithPIDFile(t *testing.T) {
	r := open(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	load(t, r, "f.service", sh("(setsid sleep 1000 & echo $$! > "+pidFile+")", "Type=forking", "PIDFile="+pidFile, "Restart=on-failure", "RestartSec=10ms"))
	start(t, r, "f.service")
	e := await(t, r, "f.service", "running", sub("running"))
	raw, err := os.ReadFile(pidFile)
	if err != nil || strings.TrimSpace(string(raw)) != fmt.Sprint(e.MainPID) {
		t.Fatalf("main pid %d, file %q, %v", e.MainPID, raw, err)
	}
	if err := unix.Kill(e.MainPID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := await(t, r, "f.service", "a restart", func(x cluster.Evidence) bool { return x.Sub == "running" && x.MainPID != e.MainPID })
	if again.NRestarts != 1 || again.Exits[0].Signal != 9 {
		t.Errorf("%+v", again)
	}
	stop(t, r, "f.service")
	await(t, r, "f.service", "dead", sub("dead"))
	if _, err := os.Stat(pidFile); !os.IsNotExist(err) {
		t.Errorf("the PID file stays: %v", err)
	}
}

func TestForkingGuessAndProtocol(t *testing.T) {
	r := open(t)
	load(t, r, "g.service", sh("sleep 1000 & exit 0", "Type=forking"))
	start(t, r, "g.service")
	e := await(t, r, "g.service", "running", sub("running"))
	if e.MainPID == 0 {
		t.Errorf("no main process was guessed: %+v", e)
	}
	load(t, r, "n.service", sh("exit 0", "Type=forking", "PIDFile=/run/argosy-no-such.pid"))
	start(t, r, "n.service")
	e = await(t, r, "n.service", "failed", sub("failed"))
	if e.Result != "protocol" || e.Error == nil || e.Error.Code != reason.Protocol {
		t.Errorf("%+v", e)
	}
}

func TestNotifyWithoutReady(t *testing.T) {
	r := open(t)
	load(t, r, "n.service", sh("exit 0", "Type=notify"))
	start(t, r, "n.service")
	e := await(t, r, "n.service", "failed", sub("failed"))
	if e.Result != "protocol" || e.Error == nil || e.Error.Code != reason.Protocol {
		t.Errorf("%+v", e)
	}
	load(t, r, "t.service", sh("exec sleep 1000", "Type=notify", "TimeoutStartSec=100ms"))
	start(t, r, "t.service")
	if e := await(t, r, "t.service", "failed", sub("failed")); e.Result != "timeout" {
		t.Errorf("%+v", e)
	}
}

// TestWatchdog: a notify service that is ready and then says nothing gets SIGABRT.
func TestWatchdog(t *testing.T) {
	r := open(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	load(t, r, "w.service", "[Service]\nType=notify\nEnvironment=RUNTIMETEST_NOTIFY=1\nWatchdogSec=200ms\nTimeoutStopSec=5s\nLimitCORE=0\nExecStart="+exe+"\n")
	start(t, r, "w.service")
	e := await(t, r, "w.service", "failed", sub("failed"))
	if e.Result != "watchdog" {
		t.Errorf("%+v", e)
	}
}

func TestTypeExec(t *testing.T) {
	r := open(t)
	load(t, r, "e.service", sh("exec sleep 1000", "Type=exec"))
	start(t, r, "e.service")
	await(t, r, "e.service", "running", sub("running"))
	load(t, r, "m.service", "[Service]\nType=exec\nExecStart=/no/such/program\n")
	start(t, r, "m.service")
	if e := await(t, r, "m.service", "failed", sub("failed")); !e.ActiveSince.IsZero() {
		t.Errorf("it was active: %+v", e)
	}
}

func TestRuntimeMaxAndRestartLimit(t *testing.T) {
	r := open(t)
	load(t, r, "m.service", sh("exec sleep 1000", "RuntimeMaxSec=100ms"))
	start(t, r, "m.service")
	if e := await(t, r, "m.service", "failed", sub("failed")); e.Result != "timeout" {
		t.Errorf("%+v", e)
	}
	load(t, r, "l.service", "[Unit]\nStartLimitBurst=3\n"+sh("exit 1", "Restart=always", "RestartSec=1ms"))
	start(t, r, "l.service")
	e := await(t, r, "l.service", "the start limit", sub("failed"))
	if e.Result != "start-limit-hit" || len(e.Exits) != 3 || e.NRestarts != 3 {
		t.Errorf("%+v", e)
	}
}

// TestKillModes: what is left of a group of three processes that all ignore SIGTERM but the main one.
func TestKillModes(t *testing.T) {
	r := open(t)
	dir := t.TempDir()
	for _, c := range []struct {
		mode string
		left bool
	}{{"control-group", false}, {"mixed", false}, {"process", true}} {
		name, pid := c.mode+".service", filepath.Join(dir, c.mode)
		load(t, r, name, sh("sleep 1000 & echo $$! > "+pid+"; echo up; wait", "KillMode="+c.mode, "TimeoutStopSec=5s"))
		start(t, r, name)
		awaitLine(t, r, name, "up")
		stop(t, r, name)
		await(t, r, name, "dead", sub("dead"))
		raw, err := os.ReadFile(pid)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscan(string(raw), &n); err != nil {
			t.Fatal(err)
		}
		if !c.left {
			awaitGone(t, n) // It has its SIGKILL; it may still be a zombie.
			continue
		}
		if err := unix.Kill(n, unix.SIGKILL); err != nil {
			t.Errorf("KillMode=%s: the other process is gone: %v", c.mode, err)
		}
	}
}

func TestOOMKillIsTold(t *testing.T) {
	asRoot(t)
	r := open(t)
	w := load(t, r, "oom.service", sh("x=$$(head -c 300M /dev/zero | tr \"\\\\0\" x); echo unreachable", "MemoryMax=20M"))
	for _, x := range w {
		if x.Directive == "MemoryMax" {
			t.Skipf("this machine does not enforce it: %s", x.Message)
		}
	}
	start(t, r, "oom.service")
	e := await(t, r, "oom.service", "failed", sub("failed"))
	if e.Result != "oom-kill" || e.OOMKills == 0 || e.MemoryPeak == 0 || e.MemoryPeak > 30<<20 {
		t.Errorf("%+v", e)
	}
	// A child is killed, the main process would live on: OOMPolicy=stop.
	load(t, r, "worker.service", sh("(x=$$(head -c 300M /dev/zero | tr \"\\\\0\" x)) & exec sleep 1000", "MemoryMax=20M"))
	start(t, r, "worker.service")
	e = await(t, r, "worker.service", "failed", sub("failed"))
	if e.Result != "oom-kill" || e.OOMKills == 0 {
		t.Errorf("a worker was killed: %+v", e)
	}
	load(t, r, "kill.service", sh("kill -9 $$$$", "MemoryMax=20M"))
	start(t, r, "kill.service")
	e = await(t, r, "kill.service", "failed", sub("failed"))
	if e.Result != "signal" || e.OOMKills != 0 || e.Exits[0].OOM {
		t.Errorf("a kill was taken for an OOM kill: %+v", e)
	}
}

func TestTasksMaxAndCgroupGone(t *testing.T) {
	asRoot(t)
	r := open(t)
	for _, x := range load(t, r, "tasks.service", sh("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo unreachable", "TasksMax=4", "KillMode=control-group")) {
		if x.Directive == "TasksMax" {
			t.Skipf("this machine does not enforce it: %s", x.Message)
		}
	}
	start(t, r, "tasks.service")
	e := await(t, r, "tasks.service", "failed", sub("failed"))
	if strings.Contains(journalOf(t, r, "tasks.service"), "unreachable") {
		t.Errorf("eight processes under TasksMax=4: %+v", e)
	}
	left, err := filepath.Glob("/sys/fs/cgroup/*/argosy-*/tasks.service")
	if err != nil || len(left) > 0 {
		t.Errorf("cgroups stay: %v %v", left, err)
	}
}

func TestJournal(t *testing.T) {
	r := open(t)
	long := strings.Repeat("x", 100_000)
	load(t, r, "j.service", script("head -c 100000 /dev/zero | tr \"\\\\0\" x; echo; printf \"bad \\\\377 byte\\\\n\"; printf end"))
	start(t, r, "j.service")
	await(t, r, "j.service", "dead", sub("dead"))
	lines, err := r.Journal(t.Context(), "j.service", runtime.JournalQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for l := range lines {
		if l.Stream == "stdout" {
			out = append(out, l.Text)
		}
	}
	if len(out) != 5 || strings.Join(out[:3], "") != long || len(out[0]) != 48<<10 || out[3] != "bad \uFFFD byte" || out[4] != "end" {
		t.Errorf("%d lines, last %q", len(out), out[max(0, len(out)-2):])
	}
	info, err := os.Stat(filepath.Join(r.opt.Dir, "journal"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("journal folder: %v %v", info.Mode(), err)
	}
}

// TestFloodIsBoundedAndPreviousRunKept: 20 MB of lines leave 8 MiB at most, and the end of the run before.
func TestFloodIsBoundedAndPreviousRunKept(t *testing.T) {
	r := open(t)
	load(t, r, "f.service", script("if [ -e $$0 ]; then yes 0123456789012345678901234567890123456789 | head -n 200000; else echo first-run; fi"))
	flag := filepath.Join(t.TempDir(), "flag")
	text := script("if [ -e " + flag + " ]; then yes 01234567890123456789012345678901234567890123456789 | head -n 100000; else echo first-run; fi")
	load(t, r, "f.service", text)
	start(t, r, "f.service")
	first := await(t, r, "f.service", "dead", sub("dead"))
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, r, "f.service")
	await(t, r, "f.service", "dead again", func(e cluster.Evidence) bool {
		return e.Sub == "dead" && e.Invocation != first.Invocation && len(e.Exits) == 2
	})
	files, err := filepath.Glob(filepath.Join(r.opt.Dir, "journal", "f.service", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if len(files) > 4 || size > 8<<20 {
		t.Errorf("%d files, %d bytes", len(files), size)
	}
	lines, err := r.Journal(t.Context(), "f.service", runtime.JournalQuery{Invocation: "previous"})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for l := range lines {
		found = found || l.Text == "first-run"
	}
	if !found {
		t.Errorf("the run before is gone")
	}
}

func TestTimerRunsAndPersists(t *testing.T) {
	r := open(t)
	load(t, r, "t.service", script("echo ran"))
	load(t, r, "t.timer", "[Timer]\nOnActiveSec=10ms\nOnUnitActiveSec=20ms\nAccuracySec=1ms\n")
	start(t, r, "t.timer")
	await(t, r, "t.service", "three runs", func(e cluster.Evidence) bool { return len(e.Exits) >= 3 })
	e := await(t, r, "t.timer", "a last trigger", func(e cluster.Evidence) bool { return !e.LastTrigger.IsZero() })
	if e.Active != "active" {
		t.Errorf("%+v", e)
	}
	load(t, r, "c.service", script("echo ran"))
	load(t, r, "c.timer", "[Timer]\nOnCalendar=*-*-* 03:00:00\nPersistent=yes\n")
	stamp := filepath.Join(r.opt.Dir, "stamps", "c.timer")
	if err := os.MkdirAll(filepath.Dir(stamp), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stamp, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(stamp, old, old); err != nil {
		t.Fatal(err)
	}
	start(t, r, "c.timer")
	await(t, r, "c.service", "the missed run", func(e cluster.Evidence) bool { return len(e.Exits) == 1 })
	await(t, r, "c.timer", "waiting again", func(e cluster.Evidence) bool { return e.Sub == "waiting" && e.NextElapse.After(time.Now()) })
}
