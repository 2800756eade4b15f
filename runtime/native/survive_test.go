package native

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/runtime"
)

// agentEnv makes the test binary act as an agent that starts units and is killed.
const agentEnv = "NATIVE_TEST_AGENT"

// agentMain is that agent: it opens the runtime, starts a unit, says so and waits for its death.
func agentMain() {
	dir := os.Getenv(agentEnv)
	if dir == "" {
		return
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "native-") {
		return // Its init process inherits the environment.
	}
	r, err := Open(context.Background(), Options{Dir: dir + "/data", RunDir: dir + "/run", Init: []string{"/proc/self/exe", InitName}, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = r.Start(context.Background(), "a.service")
	}
	fmt.Println("started", err)
	select {}
}

// TestAgentIsKilled: kill -9 of the agent touches no unit; exits that happened meanwhile are known to the next one.
func TestAgentIsKilled(t *testing.T) {
	r := open(t)
	flag := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(flag, 0o600); err != nil {
		t.Fatal(err)
	}
	load(t, r, "a.service", sh("echo before; read x < "+flag+"; echo after; exit 7"))
	load(t, r, "b.service", sh("exec sleep 1000"))
	start(t, r, "b.service")
	b := await(t, r, "b.service", "running", sub("running"))
	initPID := r.PID()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.CommandContext(t.Context(), exe)
	agent.Env = append(os.Environ(), agentEnv+"="+filepath.Dir(r.opt.Dir))
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	n, err := out.Read(said)
	if err != nil || string(said[:n]) != "started <nil>\n" {
		t.Fatalf("%q, %v", said[:n], err)
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
	if err := os.WriteFile(flag, []byte("x\n"), 0); err != nil {
		t.Fatal(err)
	}
	r2, err := Open(t.Context(), r.opt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r2.Close() }()
	e := await(t, r2, "a.service", "failed", sub("failed"))
	if len(e.Exits) != 1 || e.Exits[0].Status != 7 {
		t.Errorf("the exit that no agent saw: %+v", e.Exits)
	}
	if j := journalOf(t, r2, "a.service"); !strings.Contains(j, "before") || !strings.Contains(j, "after") {
		t.Errorf("lines are lost:\n%s", j)
	}
	if again := await(t, r2, "b.service", "running", sub("running")); again.MainPID != b.MainPID || r2.PID() != initPID {
		t.Errorf("pid %d became %d, init %d became %d", b.MainPID, again.MainPID, initPID, r2.PID())
	}
}

// TestInitIsKilled: kill -9 of the init process touches no unit, and the next one takes them over.
func TestInitIsKilled(t *testing.T) {
	r := open(t)
	dir := t.TempDir()
	flag := filepath.Join(dir, "go")
	for _, f := range []string{flag, flag + "2", dir + "/gone"} {
		if err := unix.Mkfifo(f, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load(t, r, "a.service", sh("echo one; read x < "+flag+"; echo two; read x < "+flag+"2; exit 5", "Restart=no"))
	load(t, r, "gone.service", sh("echo up; read x < "+dir+"/gone; exit 4"))
	load(t, r, "s.service", sh("trap \"echo got-term; exit 0\" TERM; echo up; sleep 1000 & while :; do wait; done"))
	load(t, r, "d.timer", "[Timer]\nOnCalendar=*-*-* 03:00:00\nUnit=a.service\n")
	for _, n := range []string{"a.service", "gone.service", "s.service", "d.timer"} {
		start(t, r, n)
	}
	awaitLine(t, r, "a.service", "one")
	awaitLine(t, r, "gone.service", "up")
	awaitLine(t, r, "s.service", "up")
	a := await(t, r, "a.service", "running", sub("running"))
	gone := await(t, r, "gone.service", "running", sub("running"))
	killInit(t, r)
	// While no init process runs: one unit writes, another one ends.
	for _, f := range []string{flag, dir + "/gone"} {
		if err := os.WriteFile(f, []byte("x\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
	awaitGone(t, gone.MainPID)
	again := await(t, r, "a.service", "running", sub("running"))
	if again.MainPID != a.MainPID || again.Invocation != a.Invocation || again.NRestarts != 0 {
		t.Errorf("before %+v\nafter %+v", a, again)
	}
	awaitLine(t, r, "a.service", "two")
	g := await(t, r, "gone.service", "failed", sub("failed"))
	if len(g.Exits) != 1 || g.Exits[0].Status != -1 || g.Exits[0].Error == nil {
		t.Errorf("an exit status that nobody saw: %+v", g.Exits)
	}
	await(t, r, "d.timer", "waiting", sub("waiting"))
	// What it took over ends and stops like any other.
	if err := os.WriteFile(flag+"2", []byte("x\n"), 0); err != nil {
		t.Fatal(err)
	}
	e := await(t, r, "a.service", "failed", sub("failed"))
	if x := e.Exits[0]; x.Status != 5 && x.Status != -1 {
		t.Errorf("%+v", x)
	}
	t.Logf("exit status of a process that is not our child: %d", e.Exits[0].Status)
	stop(t, r, "s.service")
	await(t, r, "s.service", "dead", sub("dead", "failed"))
	if j := journalOf(t, r, "s.service"); !strings.Contains(j, "got-term") {
		t.Errorf("journal:\n%s", j)
	}
}

// killInit kills the init process and waits until it is gone.
func killInit(t *testing.T, r *Runtime) {
	t.Helper()
	pid := r.PID()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pid)
}

// awaitGone waits for the end of a process.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, int(patience/time.Millisecond)); n != 1 {
		t.Fatalf("process %d stays: %v", pid, err)
	}
}

// TestTornStateFile: the state before the last one is taken when the last one is not good.
func TestTornStateFile(t *testing.T) {
	r := open(t)
	load(t, r, "a.service", sh("exec sleep 1000"))
	start(t, r, "a.service")
	e := await(t, r, "a.service", "running", sub("running"))
	load(t, r, "a.service", sh("exec sleep 1001"))
	killInit(t, r)
	path := filepath.Join(r.opt.Dir, "units", "a.service.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(t.TempDir(), "torn")
	if err := os.WriteFile(torn, raw[:len(raw)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(torn, path); err != nil { // A write in place would tear the file before, too: it may be the same.
		t.Fatal(err)
	}
	if again := await(t, r, "a.service", "running", sub("running")); again.MainPID != e.MainPID {
		t.Errorf("pid %d became %d", e.MainPID, again.MainPID)
	}
}

// TestHundredUnits starts and stops 100 units, and kills one.
func TestHundredUnits(t *testing.T) {
	const n = 100
	r := open(t)
	for i := range n {
		load(t, r, fmt.Sprintf("s%03d.service", i), sh("exec sleep 1000", "Restart=always", "RestartSec=10ms"))
	}
	began := time.Now()
	for i := range n {
		start(t, r, fmt.Sprintf("s%03d.service", i))
	}
	awaitAll(t, r, n, "running")
	t.Logf("%d units running after %s", n, time.Since(began))
	e := await(t, r, "s042.service", "running", sub("running"))
	if err := unix.Kill(e.MainPID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, r, "s042.service", "its restart", func(x cluster.Evidence) bool { return x.Sub == "running" && x.NRestarts == 1 })
	began = time.Now()
	for i := range n {
		stop(t, r, fmt.Sprintf("s%03d.service", i))
	}
	awaitAll(t, r, n, "dead")
	t.Logf("%d units stopped after %s", n, time.Since(began))
}

func awaitAll(t *testing.T, r *Runtime, n int, state string) {
	t.Helper()
	limit := time.After(patience)
	for {
		all, err := r.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, e := range all {
			if e.Sub == state {
				count++
			}
		}
		if count == n {
			return
		}
		select {
		case <-r.Kick():
		case <-limit:
			t.Fatalf("%d of %d are %s", count, n, state)
		}
	}
}

// TestFollowSeesEveryLine: a reader that follows gets each line once, in order, over rotations.
func TestFollowSeesEveryLine(t *testing.T) {
	r := open(t)
	const n = 50_000
	load(t, r, "f.service", script(fmt.Sprintf("i=0; while [ $$i -lt %d ]; do echo $$i 0123456789012345678901234567890123456789; i=$$((i+1)); done", n)))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lines, err := r.Journal(ctx, "f.service", runtime.JournalQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	start(t, r, "f.service")
	next := 0
	for l := range lines {
		if l.Stream != "stdout" {
			continue
		}
		if !strings.HasPrefix(l.Text, fmt.Sprint(next)+" ") {
			t.Fatalf("line %d is %q", next, l.Text)
		}
		if next++; next == n {
			return
		}
	}
	t.Fatalf("only %d lines", next)
}

// TestReplace: another program in the place of the init process touches no unit and loses no exit status.
func TestReplace(t *testing.T) {
	r := open(t)
	flag := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(flag, 0o600); err != nil {
		t.Fatal(err)
	}
	load(t, r, "a.service", sh("echo up; read x < "+flag+"; exit 6"))
	start(t, r, "a.service")
	awaitLine(t, r, "a.service", "up")
	e, pid := await(t, r, "a.service", "running", sub("running")), r.PID()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Replace(t.Context(), []string{exe, InitName}); err != nil {
		t.Fatal(err)
	}
	again := await(t, r, "a.service", "running", sub("running"))
	if again.MainPID != e.MainPID || r.PID() != pid {
		t.Errorf("unit %d became %d, init %d became %d", e.MainPID, again.MainPID, pid, r.PID())
	}
	if err := os.WriteFile(flag, []byte("x\n"), 0); err != nil {
		t.Fatal(err)
	}
	if e := await(t, r, "a.service", "failed", sub("failed")); e.Exits[0].Status != 6 {
		t.Errorf("%+v", e.Exits)
	}
	load(t, r, "b.service", sh("exec sleep 1000"))
	start(t, r, "b.service")
	await(t, r, "b.service", "running", sub("running"))
}
