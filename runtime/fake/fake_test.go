package fake_test

import (
	"context"
	"testing"
	"time"

	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/fake"
	"argosy.dev/argosy/runtime/runtimetest"
)

// drive steps a fake runtime when something is due, on the wall clock, until ctx ends.
func drive(ctx context.Context, r *fake.Runtime) {
	for ctx.Err() == nil {
		wait := time.Millisecond
		if at, ok := r.Next(); ok {
			wait = min(wait, max(0, time.Until(at)))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		r.Step()
	}
}

func text(b runtimetest.Behaviour) string {
	const exec = "[Service]\nExecStart=/fake/"
	switch b {
	case runtimetest.Runs:
		return exec + "run\n"
	case runtimetest.Exits3:
		return exec + "exit status=3 err=giving_up\n"
	case runtimetest.Exits3Restart:
		return "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=4\n" + exec + "exit status=3\nRestart=on-failure\nRestartSec=50ms\n"
	case runtimetest.NotFound:
		return exec + "missing\n"
	case runtimetest.Prints:
		return exec + "run say=hello_from_stdout err=hello_from_stderr\n"
	case runtimetest.IgnoresTERM:
		return exec + "run term=never\nTimeoutStopSec=1\n"
	case runtimetest.OneshotOK:
		return exec + "exit\nType=oneshot\n"
	case runtimetest.OneshotRemain:
		return exec + "exit\nType=oneshot\nRemainAfterExit=yes\n"
	case runtimetest.OneshotFails:
		return exec + "exit status=7\nType=oneshot\n"
	case runtimetest.Notifies:
		return exec + "run ready=20ms\nType=notify\n"
	case runtimetest.Reloads:
		return exec + "run\nExecReload=/fake/reload\n"
	case runtimetest.ConfigMissing:
		return exec + "run\nEnvironmentFile=/nonexistent/missing.env\n"
	case runtimetest.Timer:
		return "[Timer]\nOnActiveSec=100ms\n"
	case runtimetest.TimerDaily:
		return "[Timer]\nOnCalendar=*-*-* 03:00:00\n"
	}
	return ""
}

func TestConformance(t *testing.T) {
	var last *fake.Runtime
	runtimetest.Run(t, runtimetest.Harness{
		Open: func(t *testing.T) runtime.Runtime {
			r := fake.New(time.Now, 1)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { defer close(done); drive(ctx, r) }()
			t.Cleanup(func() { cancel(); <-done })
			last = r
			return r
		},
		Reopen: func(*testing.T) runtime.Runtime { last.Reopen(); return last },
		Foreign: func(*testing.T) string {
			last.Foreign("ssh.service", "/usr/lib/systemd/system/ssh.service")
			return "ssh.service"
		},
		Text:   text,
		Within: 5 * time.Second,
	})
}
