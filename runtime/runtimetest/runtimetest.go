// Package runtimetest is the conformance suite of runtime.Runtime: what the agent counts on, whoever runs the units.
// A runtime's test gives a Harness and calls Run. The suite waits on the runtime's own kicks with deadlines and never
// sleeps. It tests no judgement (room judge does) and no directive of systemd.service(5) beyond those behaviours.
package runtimetest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/unit"
)

// Behaviour is what a unit of the suite does.
type Behaviour string

// The behaviours.
const (
	Runs          Behaviour = "runs"            // Runs until it is stopped.
	Exits3        Behaviour = "exits-3"         // Writes "giving up" to stderr and exits 3 at once, Restart=no.
	Exits3Restart Behaviour = "exits-3-restart" // The same with Restart=on-failure, RestartSec=50ms and a start limit of 4 in 60 s.
	NotFound      Behaviour = "not-found"       // Its program does not exist.
	Prints        Behaviour = "prints"          // Writes "hello from stdout" and "hello from stderr", then runs.
	IgnoresTERM   Behaviour = "ignores-term"    // Ignores SIGTERM; TimeoutStopSec=1.
	OneshotOK     Behaviour = "oneshot-ok"      // Type=oneshot, ends with success.
	OneshotRemain Behaviour = "oneshot-remain"  // The same with RemainAfterExit=yes.
	OneshotFails  Behaviour = "oneshot-fails"   // Type=oneshot, exits 7.
	Notifies      Behaviour = "notifies"        // Type=notify: READY=1 and STATUS=serving after a while, then runs.
	Reloads       Behaviour = "reloads"         // Runs; ExecReload= writes "reloaded".
	ConfigMissing Behaviour = "config-missing"  // EnvironmentFile= names a file that is not there.
	Timer         Behaviour = "timer"           // A .timer with OnActiveSec=1s whose Unit= is the service of the same name.
	TimerDaily    Behaviour = "timer-daily"     // A .timer with OnCalendar=*-*-* 03:00:00.
)

// Harness is what a runtime's test hands to the suite.
type Harness struct {
	// Open gives a runtime for one test. It is closed, and its units are ended, by the harness's own t.Cleanup.
	Open func(t *testing.T) runtime.Runtime
	// Reopen takes up the same machine again after Close, as a new agent does; nil: not tested.
	Reopen func(t *testing.T) runtime.Runtime
	// Text is the unit file of a behaviour; "" when the runtime cannot do it, and the test is skipped with these words.
	// ShellText serves every runtime that runs real programs.
	Text func(Behaviour) string
	// Foreign gives the name of a unit that the machine has from elsewhere; nil: not tested.
	Foreign func(t *testing.T) string
	// Prefix begins every unit name, so that suites on one machine do not meet. May be empty.
	Prefix string
	// Within is how long anything may take; default 20 s.
	Within time.Duration
}

// ShellText gives unit files made of /bin/sh. notifier is a program that answers to RUNTIMETEST_NOTIFY=1 as NotifyMain
// does (a test binary whose TestMain calls it); "" leaves out Notifies.
func ShellText(notifier string) func(Behaviour) string {
	const sh = "[Service]\nExecStart=/bin/sh -c "
	return func(b Behaviour) string {
		switch b {
		case Runs:
			return sh + "'exec sleep 3600'\n"
		case Exits3:
			return sh + "'echo giving up >&2; exit 3'\n"
		case Exits3Restart:
			return "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=4\n" + sh + "'echo giving up >&2; exit 3'\nRestart=on-failure\nRestartSec=50ms\n"
		case NotFound:
			return "[Service]\nExecStart=/nonexistent/program --flag\n"
		case Prints:
			return sh + "'echo hello from stdout; echo hello from stderr >&2; exec sleep 3600'\n"
		case IgnoresTERM:
			return sh + "'trap \"\" TERM; while :; do sleep 1; done'\nTimeoutStopSec=1\n"
		case OneshotOK:
			return sh + "'echo done'\nType=oneshot\n"
		case OneshotRemain:
			return sh + "'echo done'\nType=oneshot\nRemainAfterExit=yes\n"
		case OneshotFails:
			return sh + "'exit 7'\nType=oneshot\n"
		case Notifies:
			if notifier == "" {
				return ""
			}
			return fmt.Sprintf("[Service]\nType=notify\nEnvironment=RUNTIMETEST_NOTIFY=1\nExecStart=%s\n", notifier)
		case Reloads:
			return sh + "'exec sleep 3600'\nExecReload=/bin/sh -c 'echo reloaded'\n"
		case ConfigMissing:
			return sh + "'exec sleep 3600'\nEnvironmentFile=/nonexistent/missing.env\n"
		case Timer:
			return "[Timer]\nOnActiveSec=1s\nAccuracySec=1ms\n"
		case TimerDaily:
			return "[Timer]\nOnCalendar=*-*-* 03:00:00\n"
		}
		return ""
	}
}

// NotifyMain is the program of Notifies: a TestMain calls it first. It returns at once unless it was started as that
// program; then it says READY=1 to $NOTIFY_SOCKET, waits for SIGTERM and exits.
func NotifyMain() {
	if os.Getenv("RUNTIMETEST_NOTIFY") != "1" {
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	name := os.Getenv("NOTIFY_SOCKET")
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		fmt.Fprintln(os.Stderr, "notify:", err)
		os.Exit(1)
	}
	if _, err := conn.Write([]byte("READY=1\nSTATUS=serving\n")); err != nil {
		fmt.Fprintln(os.Stderr, "notify:", err)
		os.Exit(1)
	}
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(w, "notified")
	if err := w.Flush(); err != nil {
		os.Exit(1)
	}
	<-stop
	os.Exit(0)
}

// suite is one test's runtime.
type suite struct {
	*testing.T
	h   Harness
	rt  runtime.Runtime
	ctx context.Context //nolint:containedctx // a test's own
}

// name makes a unit name of the suite.
func (s *suite) name(base string) string { return s.h.Prefix + base }

// load hands over a unit with a behaviour, or skips the test.
func (s *suite) load(name string, b Behaviour) *unit.Unit {
	s.Helper()
	text := s.h.Text(b)
	if text == "" {
		s.Skipf("this runtime has no unit that %q", b)
	}
	return s.loadText(name, text)
}

func (s *suite) loadText(name, text string) *unit.Unit {
	s.Helper()
	u := s.parse(name, text)
	if _, err := s.rt.Load(s.ctx, u); err != nil {
		s.Fatalf("load %s: %v", name, err)
	}
	s.must("settle", s.rt.Settle(s.ctx))
	return u
}

func (s *suite) parse(name, text string) *unit.Unit {
	s.Helper()
	u, err := unit.Load(unit.Name(name), []byte(text), nil, unit.Host{})
	if err != nil {
		s.Fatalf("unit %s: %v", name, err)
	}
	return u
}

func (s *suite) must(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s *suite) start(name string) { s.Helper(); s.must("start "+name, s.rt.Start(s.ctx, name)) }
func (s *suite) stop(name string)  { s.Helper(); s.must("stop "+name, s.rt.Stop(s.ctx, name)) }

// find is the evidence of one unit, now.
func (s *suite) find(name string) (cluster.Evidence, bool) {
	s.Helper()
	list, err := s.rt.List(s.ctx)
	s.must("list", err)
	for _, e := range list {
		if e.Name == name {
			return e, true
		}
	}
	return cluster.Evidence{}, false
}

// waitFor looks at a unit after every kick until it is as wanted.
func (s *suite) waitFor(name, what string, ok func(cluster.Evidence) bool) cluster.Evidence {
	s.Helper()
	deadline := time.NewTimer(s.h.Within)
	defer deadline.Stop()
	for {
		e, found := s.find(name)
		if found && ok(e) {
			return e
		}
		select {
		case <-s.rt.Kick():
		case <-deadline.C:
			e, found = s.find(name)
			if found && ok(e) {
				s.Errorf("%s: %s came without a kick", name, what)
				return e
			}
			s.Fatalf("%s: not %s within %s (known: %v)\n%+v", name, what, s.h.Within, found, e)
		}
	}
}

func (s *suite) running(name string) cluster.Evidence {
	s.Helper()
	return s.waitFor(name, "running", func(e cluster.Evidence) bool { return e.Active == "active" && e.Sub == "running" && e.MainPID > 0 })
}

func (s *suite) down(name string) cluster.Evidence {
	s.Helper()
	return s.waitFor(name, "inactive", func(e cluster.Evidence) bool { return e.Active == "inactive" })
}

func (s *suite) failed(name string) cluster.Evidence {
	s.Helper()
	return s.waitFor(name, "failed", func(e cluster.Evidence) bool { return e.Active == "failed" })
}
