package service

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// TestRestartTable is the table of Restart= in systemd.service(5), row by row.
func TestRestartTable(t *testing.T) {
	settings := []string{"no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"}
	for _, row := range []struct {
		r    Result
		want string // A + where that setting restarts.
	}{
		{Success, "-++----"},
		{ExitCode, "-+-+---"},
		{SignalResult, "-+-+++-"},
		{CoreDump, "-+-+++-"},
		{Timeout, "-+-++--"},
		{Watchdog, "-+-++-+"},
		{OOMKill, "-+-++--"},
		{Resources, "-+-++--"},
		{Protocol, "-+-++--"},
		{SkipCondition, "-------"},
	} {
		for i, set := range settings {
			if got, want := ShallRestart(set, row.r, false, false), row.want[i] == '+'; got != want {
				t.Errorf("Restart=%s after %s: %v, want %v", set, row.r, got, want)
			}
			if ShallRestart(set, row.r, true, true) {
				t.Errorf("Restart=%s after %s in spite of RestartPreventExitStatus=", set, row.r)
			}
			if !ShallRestart(set, row.r, false, true) {
				t.Errorf("Restart=%s after %s: no restart in spite of RestartForceExitStatus=", set, row.r)
			}
		}
	}
}

func TestClassify(t *testing.T) {
	ok := unit.ExitSet{Status: []int{7}, Signals: []int{10}}
	for _, c := range []struct {
		e       Ended
		command bool
		want    Result
	}{
		{Ended{}, false, Success},
		{Ended{Status: 1}, false, ExitCode},
		{Ended{Status: 7}, true, Success},
		{Ended{Signal: 15}, false, Success},
		{Ended{Signal: 15}, true, SignalResult},
		{Ended{Signal: 13}, false, Success},
		{Ended{Signal: 10}, true, Success},
		{Ended{Signal: 9}, false, SignalResult},
		{Ended{Signal: 11, Core: true}, false, CoreDump},
		{Ended{Signal: 9, OOM: true, Starved: true}, false, OOMKill},
		{Ended{Status: 137, Starved: true}, false, OOMKill},
		{Ended{Starved: true}, false, Success},
		{Ended{Unknown: true}, false, ExitCode},
	} {
		if got := Classify(c.e, c.command, ok); got != c.want {
			t.Errorf("%+v command %v: %s, want %s", c.e, c.command, got, c.want)
		}
	}
}

// fakeHost has processes that are numbers, and writes down what it is asked to do.
type fakeHost struct {
	now     time.Time
	next    int
	live    map[int]bool
	refuse  *reason.Reason
	pidFile int
	log     []string
	again   int
}

func (h *fakeHost) Now() time.Time                  { return h.now }
func (h *fakeHost) NewInvocation() string           { return "run" }
func (h *fakeHost) Prepare(*Service) *reason.Reason { return h.refuse }
func (h *fakeHost) Say(*Service, string)            {}
func (h *fakeHost) Down(_ *Service, again bool)     { h.did("down %v", again) }
func (h *fakeHost) Again(*Service)                  { h.again++ }
func (h *fakeHost) Empty(*Service) bool             { return len(h.live) == 0 }
func (h *fakeHost) Guess(*Service) (int, bool)      { return 0, false }
func (h *fakeHost) Changed(s *Service, from State) {
	if s.State != from {
		h.did("%s", s.State)
	}
}

func (h *fakeHost) did(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *fakeHost) Spawn(_ *Service, d string, c unit.Command) (Proc, *reason.Reason) {
	h.next++
	h.live[h.next] = true
	h.did("spawn %d %s %s", h.next, d, c.Path)
	return Proc{PID: h.next, At: h.now, Path: c.Path}, nil
}

func (h *fakeHost) Signal(_ *Service, p *Proc, sig int) bool {
	if !h.live[p.PID] {
		return false
	}
	if sig != 18 {
		h.did("kill %d %d", p.PID, sig)
	}
	return true
}

func (h *fakeHost) SignalRest(_ *Service, sig int, but ...*Proc) int {
	n := 0
	for pid := range h.live {
		if !slices.ContainsFunc(but, func(p *Proc) bool { return p != nil && p.PID == pid }) {
			n++
			if sig != 18 {
				h.did("kill %d %d", pid, sig)
			}
		}
	}
	return n
}

func (h *fakeHost) Identify(_ *Service, pid int) (Proc, bool) {
	return Proc{PID: pid, At: h.now}, h.live[pid]
}

func (h *fakeHost) PIDFile(*Service) (int, error) {
	if h.pidFile == 0 {
		return 0, errors.New("none")
	}
	return h.pidFile, nil
}

// story drives one service.
type story struct {
	t *testing.T
	h *fakeHost
	s *Service
}

func begin(t *testing.T, text string) *story {
	t.Helper()
	u, err := unit.Load("x.service", []byte(text), nil, unit.Host{})
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHost{now: time.Unix(1e9, 0), live: map[int]bool{}}
	return &story{t, h, New("x.service", u, h)}
}

func (y *story) end(pid int, e Ended) {
	delete(y.h.live, pid)
	y.s.Ended(pid, e)
	if len(y.h.live) == 0 {
		y.s.Emptied()
	}
}

// pass lets the time until the next alarm go by.
func (y *story) pass() {
	y.t.Helper()
	w := y.s.Wake()
	if w.IsZero() {
		y.t.Fatalf("nothing to wait for in state %s", y.s.State)
	}
	y.h.now = w
	y.s.Tick()
}

func (y *story) want(steps string) {
	y.t.Helper()
	if got := strings.Join(y.h.log, "; "); got != steps {
		y.t.Errorf("did\n  %s, want\n  %s", got, steps)
	}
	y.h.log = nil
}

const plain = "[Service]\nExecStart=/bin/a\n"

func TestWholeLife(t *testing.T) {
	y := begin(t, "[Service]\nType=notify\nExecCondition=/bin/c\nExecStartPre=/bin/p\nExecStart=/bin/a\nExecStartPost=/bin/q\nExecReload=/bin/r\nExecStop=/bin/s\nExecStopPost=/bin/z\n")
	y.s.Start(false)
	y.end(1, Ended{})
	y.end(2, Ended{})
	y.want("spawn 1 ExecCondition /bin/c; condition; spawn 2 ExecStartPre /bin/p; start-pre; spawn 3 ExecStart /bin/a; start")
	y.s.Notify(99, "READY=1") // Not the main process.
	y.s.Notify(3, "STATUS=up\nREADY=1")
	y.end(4, Ended{})
	y.want("spawn 4 ExecStartPost /bin/q; start-post; running")
	if y.s.StatusText != "up" {
		t.Errorf("status %q", y.s.StatusText)
	}
	if why := y.s.Reload(); why != nil {
		t.Fatal(why)
	}
	y.end(5, Ended{})
	y.s.Stop(false)
	y.end(6, Ended{})
	y.end(3, Ended{Signal: 15})
	y.end(7, Ended{})
	y.want("spawn 5 ExecReload /bin/r; reload; running; spawn 6 ExecStop /bin/s; stop; kill 3 15; stop-sigterm; spawn 7 ExecStopPost /bin/z; stop-post; down false; dead")
}

func TestStopEscalates(t *testing.T) {
	y := begin(t, plain+"TimeoutStopSec=5\nSendSIGHUP=yes\n")
	y.s.Start(false)
	y.h.live[77] = true // Another process of the group.
	y.s.Stop(false)
	y.want("spawn 1 ExecStart /bin/a; running; kill 1 15; kill 1 1; kill 77 15; kill 77 1; stop-sigterm")
	y.pass()
	y.want("kill 1 9; kill 77 9; stop-sigkill")
	y.end(1, Ended{Signal: 9})
	y.want("kill 77 15; kill 77 1; final-sigterm")
	y.end(77, Ended{Signal: 9})
	y.want("down false; failed")
	if y.s.Result != Timeout {
		t.Errorf("result %s", y.s.Result)
	}
}

func TestCrashAndStartLimit(t *testing.T) {
	y := begin(t, "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=60\n"+plain+"Restart=on-failure\nRestartSec=1\n")
	y.s.Start(false)
	y.end(1, Ended{Status: 1})
	y.want("spawn 1 ExecStart /bin/a; running; down true; auto-restart")
	y.pass()
	if y.h.again != 1 || y.s.NRestarts != 1 {
		t.Fatalf("again %d, restarts %d", y.h.again, y.s.NRestarts)
	}
	y.s.Start(true)
	y.end(2, Ended{Signal: 11, Core: true})
	y.pass()
	y.s.Start(true)
	y.want("spawn 2 ExecStart /bin/a; running; down true; auto-restart; down false; failed")
	if y.s.Result != StartLimitHit {
		t.Errorf("result %s", y.s.Result)
	}
	y.s.ResetFailed()
	y.s.Start(false)
	if y.s.State != Running || y.s.NRestarts != 0 {
		t.Errorf("after a reset: %s, %d restarts", y.s.State, y.s.NRestarts)
	}
}

func TestStopDoesNotRestart(t *testing.T) {
	y := begin(t, plain+"Restart=always\nRestartSec=10\n")
	y.s.Start(false)
	y.s.Stop(false)
	y.end(1, Ended{Signal: 15})
	if y.s.State != Dead {
		t.Errorf("a stopped service is %s", y.s.State)
	}
}

func TestStopDuringAutoRestart(t *testing.T) {
	y := begin(t, plain+"Restart=always\nRestartSec=10\n")
	y.s.Start(false)
	y.end(1, Ended{})
	y.s.Stop(false)
	if y.s.State != Dead || !y.s.Wake().IsZero() {
		t.Errorf("%s, wakes %s", y.s.State, y.s.Wake())
	}
}

func TestForkingStory(t *testing.T) {
	y := begin(t, "[Service]\nType=forking\nPIDFile=/run/x.pid\nExecStart=/bin/d\nTimeoutStartSec=3\n")
	y.s.Start(false)
	y.h.live[50] = true
	y.end(1, Ended{})
	if y.s.State != Start {
		t.Fatalf("state %s before the PID file", y.s.State)
	}
	y.pass()
	y.h.pidFile = 50
	y.pass()
	if y.s.State != Running || y.s.MainPID() != 50 {
		t.Fatalf("%s, main %d", y.s.State, y.s.MainPID())
	}
	y.end(50, Ended{Status: 2})
	if y.s.State != Failed || y.s.Result != ExitCode {
		t.Errorf("%s %s", y.s.State, y.s.Result)
	}
}

func TestExtendTimeoutAndStartTimeout(t *testing.T) {
	y := begin(t, "[Service]\nType=notify\nExecStart=/bin/a\nTimeoutStartSec=2\n")
	y.s.Start(false)
	first := y.s.Deadline
	y.s.Notify(1, "EXTEND_TIMEOUT_USEC=60000000")
	if !y.s.Deadline.After(first) {
		t.Error("the time-out was not extended")
	}
	y.pass()
	y.want("spawn 1 ExecStart /bin/a; start; kill 1 15; stop-sigterm")
	if y.s.Result != Timeout {
		t.Errorf("result %s", y.s.Result)
	}
}

func TestWatchdogStory(t *testing.T) {
	y := begin(t, "[Service]\nType=notify\nExecStart=/bin/a\nWatchdogSec=5\nTimeoutAbortSec=1\n")
	y.s.Start(false)
	y.s.Notify(1, "READY=1")
	at := y.s.WatchdogAt
	y.h.now = y.h.now.Add(time.Second)
	y.s.Notify(1, "WATCHDOG=1")
	if !y.s.WatchdogAt.Equal(at.Add(time.Second)) {
		t.Errorf("fed at %s, due %s", y.h.now, y.s.WatchdogAt)
	}
	y.h.log = nil
	y.pass()
	y.want("kill 1 6; stop-watchdog")
	y.end(1, Ended{Signal: 6, Core: true})
	if y.s.Result != Watchdog || y.s.State != Failed {
		t.Errorf("%s %s", y.s.State, y.s.Result)
	}
}

func TestRefusedPreparation(t *testing.T) {
	y := begin(t, plain)
	y.h.refuse = reason.Because(reason.ConfigMissing, reason.Args{"path": "/x", "error": "gone"})
	y.s.Start(false)
	if y.s.State != Failed || y.s.Result != Resources || y.s.Evidence().Error.Code != reason.ConfigMissing {
		t.Errorf("%+v", y.s.Evidence())
	}
}

func TestRemainAfterExitAndNotifiedMain(t *testing.T) {
	y := begin(t, "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/a\nExecStart=-/bin/b\nExecStop=/bin/s\n")
	y.s.Start(false)
	y.end(1, Ended{})
	y.end(2, Ended{Status: 1})
	y.want("spawn 1 ExecStart /bin/a; start; spawn 2 ExecStart /bin/b; exited")
	y.s.Stop(false)
	y.end(3, Ended{})
	y.want("spawn 3 ExecStop /bin/s; stop; down false; dead")
	n := begin(t, "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/a\n")
	n.s.Start(false)
	n.h.live[9] = true
	n.s.Notify(9, "MAINPID=9\nREADY=1")
	if n.s.MainPID() != 9 {
		t.Errorf("main %d", n.s.MainPID())
	}
}
