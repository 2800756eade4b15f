package systemd

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"argosy.dev/argosy/hosttest"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/runtimetest"
)

func TestMain(m *testing.M) {
	runtimetest.NotifyMain()
	os.Exit(m.Run())
}

// TestHost boots a host and runs this very test binary in it.
func TestHost(t *testing.T) {
	if os.Getenv(hosttest.InHost) != "" {
		t.Skip("this is the host")
	}
	hosttest.Systemd(t, hosttest.Options{}).RunTests("limits", "^TestInHost")
}

// TestHostWithoutLimits: a machine whose systemd has no controllers.
func TestHostWithoutLimits(t *testing.T) {
	if os.Getenv(hosttest.InHost) != "" {
		t.Skip("this is the host")
	}
	hosttest.Systemd(t, hosttest.Options{Unified: true}).RunTests("no limits", "^TestInHostLimitNotEnforced$")
}

func needHost(t *testing.T, word string) {
	t.Helper()
	if os.Getenv(hosttest.InHost) != word {
		t.Skipf("runs inside of a host with %s", word)
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
	if left, err := filepath.Glob(filepath.Join(unitDir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v %v", unitDir, left, err)
	}
}

func TestInHostConformance(t *testing.T) {
	needHost(t, "limits")
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
