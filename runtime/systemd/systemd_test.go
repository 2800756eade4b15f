package systemd

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/hosttest"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/runtimetest"
)

// inHost is set in the test binary that runs inside of a booted host. The tests that need one begin with TestInHost.
const inHost = "ARGOSY_TEST_IN_HOST"

// innerTimeout bounds all tests in one host: the goroutines of a test that hangs are printed.
const innerTimeout = 90 * time.Second

func TestMain(m *testing.M) {
	runtimetest.NotifyMain()
	os.Exit(m.Run())
}

// TestHost boots a host and runs this very test binary in it.
func TestHost(t *testing.T) {
	if os.Getenv(inHost) != "" {
		t.Skip("this is the host")
	}
	h := hosttest.Systemd(t, hosttest.Options{})
	relay(t, h, "^TestInHost")
}

// relay runs tests of this binary in a host and makes their outcome its own.
func relay(t *testing.T, h *hosttest.Host, run string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.Copy(exe, "/root/inner.test")
	began := time.Now()
	cmd := h.Command(t.Context(), "env", inHost+"=1", "/root/inner.test", "-test.v", "-test.timeout", innerTimeout.String(), "-test.run", run)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if strings.HasPrefix(line, "--- PASS") {
			ran++
		}
		if line != "" {
			t.Log(strings.TrimRight(line, "\n"))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the tests in the host failed: %v", err)
	}
	if ran == 0 {
		t.Fatalf("no test in the host passed: does %q name any?", run)
	}
	t.Logf("%d tests in the host, %v after its boot of %v", ran, time.Since(began).Round(time.Millisecond), h.Booted.Round(time.Millisecond))
}

func needHost(t *testing.T) {
	t.Helper()
	if os.Getenv(inHost) == "" {
		t.Skip("runs inside of TestHost's host")
	}
}

func open(t *testing.T) *Runtime {
	t.Helper()
	rt, err := Open(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rt.Close() })
	return rt
}

// cleanUp ends and unloads everything that a test has loaded, as a new agent finds it.
func cleanUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt, err := Open(ctx, Options{})
	if err != nil {
		t.Error(err)
		return
	}
	defer rt.Close()
	for {
		up := false
		list, err := rt.List(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		for _, e := range list {
			if e.Active != "inactive" && e.Active != "failed" {
				up = true
				if err := rt.Stop(ctx, e.Name); err != nil {
					t.Error(err)
				}
				if err := rt.Kill(ctx, e.Name, sigKILL); err != nil && reason.From(err).Code != reason.Unsupported {
					t.Error(err)
				}
			}
		}
		if !up {
			for _, e := range list {
				if err := rt.Unload(ctx, e.Name); err != nil {
					t.Error(err)
				}
			}
			break
		}
		select {
		case <-rt.Kick():
		case <-ctx.Done():
			t.Errorf("units do not end: %+v", list)
			return
		}
	}
	if err := rt.Settle(ctx); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(unitDir, "rt-*")); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v %v", unitDir, left, err)
	}
}

func TestInHostConformance(t *testing.T) {
	needHost(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runtimetest.Run(t, runtimetest.Harness{
		Open: func(t *testing.T) runtime.Runtime {
			t.Cleanup(func() { cleanUp(t) })
			return open(t)
		},
		Reopen:  func(t *testing.T) runtime.Runtime { return open(t) },
		Text:    runtimetest.ShellText(exe),
		Foreign: func(*testing.T) string { return "redis-server.service" },
		Prefix:  "rt-",
	})
}
