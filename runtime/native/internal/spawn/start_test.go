package spawn

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == HelperName {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

func starter(t *testing.T) *Starter {
	t.Helper()
	st, err := NewStarter("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// wait reaps a child; one that does not end within a minute is killed and fails the test.
func wait(t *testing.T, pid int) unix.WaitStatus {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = p.Kill() })
	defer late.Stop()
	s, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return unix.WaitStatus(s.Sys().(syscall.WaitStatus))
}

// untilExec is how long the helper takes from the fork to the exec, the middle of some tries.
func untilExec(t *testing.T, st *Starter, sleep string) time.Duration {
	t.Helper()
	var took []time.Duration
	for range 9 {
		began := time.Now()
		p, err := st.Start(&Setup{Path: sleep, Argv: []string{"sleep", "0"}})
		if err != nil {
			t.Fatal(err)
		}
		fds := []unix.PollFd{{Fd: int32(p.Report), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, 60_000); err != nil { // The exec closes the other end.
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		wait(t, p.PID)
		_ = unix.Close(p.Report)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// TestSignalBeforeExec: a signal that comes at any moment after the fork ends the process; the helper swallows none.
func TestSignalBeforeExec(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep")
	}
	const seed = 1
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, seed))
	st := starter(t)
	usual := untilExec(t, st, sleep)
	for range 400 {
		p, err := st.Start(&Setup{Path: sleep, Argv: []string{"sleep", "1000"}, UMask: 0o22})
		if err != nil {
			t.Fatal(err)
		}
		// Not a wait for anything: the moment is drawn, and most of them lie around the exec.
		for end := time.Now().Add(usual/2 + time.Duration(dice.Int64N(int64(usual)))); time.Now().Before(end); {
		}
		sig := unix.SIGTERM
		if dice.IntN(2) == 0 {
			sig = unix.SIGHUP
		}
		if err := unix.Kill(p.PID, sig); err != nil {
			t.Fatal(err)
		}
		ws := wait(t, p.PID)
		_ = unix.Close(p.Report)
		if !ws.Signaled() || ws.Signal() != sig {
			t.Fatalf("%s was lost: ended with %+v", sig, ws)
		}
	}
}

// TestSignalsAreDefault: nothing that we ignore or block reaches the service, but for SIGPIPE when it is asked for.
func TestSignalsAreDefault(t *testing.T) {
	grep, err := exec.LookPath("grep")
	if err != nil {
		t.Skip("no grep")
	}
	if err := setAction(int(unix.SIGTSTP), kernelAction{handler: ignore}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = setAction(int(unix.SIGTSTP), kernelAction{}) }()
	for pipe, want := range map[bool]string{false: "0000000000000000", true: "0000000000001000"} {
		out := t.TempDir() + "/out"
		p, err := starter(t).Start(&Setup{
			Path: grep, Argv: []string{"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}, SIGPIPE: pipe,
			Stdout: Stream{Path: out, Flags: unix.O_WRONLY | unix.O_CREAT},
		})
		if err != nil {
			t.Fatal(err)
		}
		ws := wait(t, p.PID)
		_ = unix.Close(p.Report)
		raw, err := os.ReadFile(out)
		if err != nil || ws.ExitStatus() != 0 {
			t.Fatal(ws, err)
		}
		if got := strings.Fields(string(raw)); len(got) != 4 || got[1] != strings.Repeat("0", 16) || got[3] != want {
			t.Errorf("SIGPIPE %t: %q, want nothing blocked and %s ignored", pipe, raw, want)
		}
	}
}
