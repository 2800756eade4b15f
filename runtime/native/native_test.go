package native

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/runtimetest"
	"argosy.dev/argosy/unit"
)

func TestMain(m *testing.M) {
	agentMain()
	runtimetest.NotifyMain()
	if handled, code := Entry(os.Args, os.Stderr); handled {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// patience bounds every wait of these tests; the machine may be busy.
const patience = 30 * time.Second

// open starts an init process of the test's own and ends it, with everything in it, after the test.
func open(t *testing.T) *Runtime {
	t.Helper()
	dir, err := os.MkdirTemp("", "native-test-") //nolint:usetesting // t.TempDir is closed to other users, and too long for a socket.
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Dir: dir + "/data", RunDir: dir + "/run", Init: []string{"/proc/self/exe", InitName}, Log: slog.New(slog.DiscardHandler)}
	if err := os.Chmod(dir, 0o755); err != nil { // Users of the tests have to reach what is theirs.
		t.Fatal(err)
	}
	opt.Bases = Bases{Runtime: dir + "/base/run", State: dir + "/base/state", Cache: dir + "/base/cache", Logs: dir + "/base/log", Config: dir + "/base/etc"}
	r, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = r.Close()
		r, err := Open(ctx, opt) // The test may have closed its own.
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		log, _ := os.ReadFile(opt.Dir + "/init.log")
		if strings.Contains(string(log), "DATA RACE") || strings.Contains(string(log), "panic:") {
			t.Error("the init process is not sound")
		}
		if t.Failed() {
			t.Logf("init.log:\n%s", log)
		}
		_ = r.Close()
		_ = os.RemoveAll(dir)
	})
	return r
}

// await lists after each kick until ok says so.
func await(t *testing.T, r *Runtime, name, what string, ok func(cluster.Evidence) bool) cluster.Evidence {
	t.Helper()
	limit := time.After(patience)
	var last cluster.Evidence
	for {
		all, err := r.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.Name == name {
				last = e
				if ok(e) {
					return e
				}
			}
		}
		select {
		case <-r.Kick():
		case <-limit:
			t.Fatalf("%s: waited in vain for %s; last: %+v\njournal:\n%s", name, what, last, journalOf(t, r, name))
		}
	}
}

func sub(states ...string) func(cluster.Evidence) bool {
	return func(e cluster.Evidence) bool {
		return strings.Contains(" "+strings.Join(states, " ")+" ", " "+e.Sub+" ")
	}
}

func journalOf(t *testing.T, r *Runtime, name string) string {
	t.Helper()
	lines, err := r.Journal(t.Context(), name, runtime.JournalQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for l := range lines {
		fmt.Fprintf(&b, "%s: %s\n", l.Stream, l.Text)
	}
	return b.String()
}

// load hands over a unit file.
func load(t *testing.T, r *Runtime, name, text string) []unit.Warning {
	t.Helper()
	u, err := unit.Load(unit.Name(name), []byte(text), nil, unit.Host{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Load(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func start(t *testing.T, r *Runtime, name string) {
	t.Helper()
	if err := r.Start(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// awaitLine follows the journal until a line holds text.
func awaitLine(t *testing.T, r *Runtime, name, text string) cluster.Line {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lines, err := r.Journal(ctx, name, runtime.JournalQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	for l := range lines {
		if strings.Contains(l.Text, text) {
			return l
		}
	}
	t.Fatalf("%s never wrote %q; journal:\n%s", name, text, journalOf(t, r, name))
	return cluster.Line{}
}
