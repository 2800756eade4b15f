package hosttest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/hosttest"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/reason"
)

// failure is one way in which a start goes wrong, and all that the starting command has to say of it.
type failure struct {
	name string
	file string // The unit's text.
	exit int    // Of argosy start.
	code reason.Code
	// state is what the answer says; empty: failed, or failing while the runtime has not done with it yet.
	state cluster.State
	// evidence are the reason's numbers as JSON gives them, written with %v; "+" is any number above zero.
	evidence map[string]string
	text     []string // What people read on standard output.
	log      []string // The last log lines, each in the JSON and under a bar in the text.
	// check looks at the rest of the verdict.
	check func(t *testing.T, i judge.Instance)
}

// heldPort is taken by a process that is none of Argosy's.
const heldPort = 8199

func failures() []failure {
	held := fmt.Sprint(heldPort)
	return []failure{
		{
			name: "crash", exit: judge.ExitFailed, code: reason.CrashLoop, state: cluster.CrashLooping,
			file:     "[Service]\nExecStart=/bin/sh -c 'echo reading config; echo \"Error: Cannot find module ./config\" >&2; exit 3'\nRestart=always\nRestartSec=200ms\n",
			evidence: map[string]string{"count": "+", "window": "+"},
			text:     []string{"✗ crash on m1: crash loop", "times in ", "exit 3 after ", "→ argosy journal crash shows what it said"},
			log:      []string{"reading config", "Error: Cannot find module ./config"},
			check: func(t *testing.T, i judge.Instance) {
				if i.Tries < judge.CrashEnds {
					t.Errorf("%d tries", i.Tries)
				}
			},
		},
		{
			name: "missing", exit: judge.ExitFailed, code: reason.ExecNotFound,
			file:     "[Service]\nExecStart=/usr/bin/docker run --rm web\n",
			evidence: map[string]string{"path": "/usr/bin/docker"},
			text:     []string{"✗ missing on m1: not found (exec-not-found)", "/usr/bin/docker not found (203)", "→ install /usr/bin/docker on the machine"},
		},
		{
			name: "hungry", exit: judge.ExitFailed, code: reason.OOMKilled, state: cluster.Failed,
			file:     "[Service]\nExecStart=/bin/sh -c 'echo filling the cache; exec tail /dev/zero'\nMemoryMax=16M\nMemorySwapMax=0\n",
			evidence: map[string]string{"limit": fmt.Sprint(16 << 20), "kills": "1"},
			text:     []string{"✗ hungry on m1: out of memory (oom-killed)", "killed at MemoryMax=16M", "→ raise MemoryMax="},
			log:      []string{"filling the cache"},
		},
		{
			name: "taken", exit: judge.ExitFailed, code: reason.PortTaken, state: cluster.Failed,
			file:     "[Service]\nExecStart=/usr/bin/nc -lk " + held + "\n[X-Argosy]\nPort=" + held + "\n",
			evidence: map[string]string{"port": held, "proto": "tcp", "pid": "+"},
			text:     []string{"✗ taken on m1: port taken", "port " + held + "/tcp is held by ", "nc", "(pid ", "or choose another port"},
			check: func(t *testing.T, i judge.Instance) {
				if holder := fmt.Sprint(i.Evidence["holder"]); !strings.Contains(holder, "nc") {
					t.Errorf("the holder is %q", holder)
				}
			},
		},
		{
			name: "big", exit: judge.ExitNoRoom, code: reason.NoRoomMemory, state: cluster.Unplaced,
			file:     "[Service]\nExecStart=/bin/sleep infinity\n[X-Argosy]\nMemoryRequest=4T\n",
			evidence: map[string]string{"need": fmt.Sprint(int64(4) << 40), "have": "+", "capacity": "+", "where": "m1"},
			text:     []string{"✗ big: no room (no-room.memory)", "needs 4T memory, but the roomiest machine (m1) has ", "→ add a machine"},
			check: func(t *testing.T, i judge.Instance) {
				if i.Machine != nil || i.Needed["memory"] != 4<<40 {
					t.Errorf("machine %v, needed %v", i.Machine, i.Needed)
				}
				if len(i.Candidates) != 1 || i.Candidates[0].Machine != "m1" || i.Candidates[0].Free["memory"] <= 0 {
					t.Errorf("candidates %+v", i.Candidates)
				}
			},
		},
		{
			name: "noenv", exit: judge.ExitFailed, code: reason.ConfigMissing,
			file:     "[Service]\nEnvironmentFile=/etc/shop/not-there.env\nExecStart=/bin/sleep infinity\n",
			evidence: map[string]string{"path": "/etc/shop/not-there.env"},
			text:     []string{"✗ noenv on m1: config missing", "EnvironmentFile=/etc/shop/not-there.env: ", "→ create /etc/shop/not-there.env on the machine"},
		},
	}
}

// TestFailures is the promise of the starting command: each classic failure is named with its cause, its numbers and
// its last words in the command's own output, soon, and with the exit code of its kind.
func TestFailures(t *testing.T) {
	for name, o := range map[string]hosttest.Options{"native": {Plain: true}, "systemd": {}} {
		t.Run(name, func(t *testing.T) {
			w := startWhole(t, o)
			w.holdPort(heldPort)
			for _, f := range failures() {
				t.Run(f.name, func(t *testing.T) { w.of(t).fails(f) })
			}
			t.Run("invalid", func(t *testing.T) { w.of(t).invalid() })
		})
	}
}

// of is the same host for a test of its own.
func (w *whole) of(t *testing.T) *whole { return &whole{t, w.h} }

// holdPort has a process that is none of Argosy's listen on a port of the host.
func (w *whole) holdPort(port int) {
	w.t.Helper()
	cmd := w.h.Command(w.t.Context(), "nc", "-lk", "127.0.0.1", fmt.Sprint(port))
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = cmd.Wait() }) // The context has ended it.
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := w.h.Dial(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = c.Close() // It was only a question.
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("nobody listens on port %d", port)
		}
	}
}

// fails starts a unit twice: once as a person reads it, once as a program does.
func (w *whole) fails(f failure) {
	t := w.t
	t.Helper()
	path := filepath.Join("/root", f.name+".service")
	w.h.Write(path, 0o644, []byte(f.file))
	text, _ := w.argosy(f.exit, "start", path)
	for _, want := range f.text {
		if !strings.Contains(text, want) {
			t.Errorf("the closing block does not say %q:\n%s", want, text)
		}
	}
	for _, l := range f.log {
		if !strings.Contains(text, "    │ "+l+"\n") {
			t.Errorf("the closing block does not show the log line %q:\n%s", l, text)
		}
	}
	v := w.verdict(f.exit, path)
	if v.Exit != f.exit || v.Wanted != 1 || v.Healthy != 0 || len(v.Instances) != 1 {
		t.Fatalf("the verdict is %+v", v)
	}
	i := v.Instances[0]
	known := i.State == f.state || f.state == "" && (i.State == cluster.Failing || i.State == cluster.Failed)
	if i.Unit != f.name+".service" || !known || i.Reason != f.code || !i.Final || !i.Permanent {
		t.Errorf("the verdict says %+v, want %s because of %s", i, f.state, f.code)
	}
	for k, want := range f.evidence {
		if got := i.Evidence[k]; !sameEvidence(got, want) {
			t.Errorf("evidence %s is %v, want %s (all: %v)", k, got, want, i.Evidence)
		}
	}
	if tail := strings.Join(i.LogTail, "\n"); !strings.Contains(tail, strings.Join(f.log, "\n")) {
		t.Errorf("the log tail is %q, want %q", i.LogTail, f.log)
	}
	if f.check != nil {
		f.check(t, i)
	}
	if t.Failed() {
		t.Logf("the closing block was:\n%s", text)
	}
}

func sameEvidence(got any, want string) bool {
	n, number := got.(float64) // As JSON has it.
	switch {
	case want == "+":
		return number && n > 0
	case number:
		got = int64(n)
	}
	return fmt.Sprint(got) == want
}

// invalid starts a unit file that cannot be one: every fault is named with file and line, and nothing has changed.
func (w *whole) invalid() {
	t := w.t
	t.Helper()
	const path = "/root/invalid.service"
	w.h.Write(path, 0o644, []byte("# Two faults.\n[Service]\nExecStart=sleep/infinity\n[X-Fleet]\nMachine=m1\n"))
	_, said := w.argosy(6, "start", path)
	for _, want := range []string{"invalid.service:3: ExecStart=: ", "sleep/infinity", "invalid.service:5: ", "Machine", "hint: "} {
		if !strings.Contains(said, want) {
			t.Errorf("start does not say %q:\n%s", want, said)
		}
	}
	out, _ := w.argosy(6, "start", "-o", "json", path)
	var f struct {
		Schema string
		Exit   int
		Errors []*reason.Reason
	}
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		t.Fatalf("start -o json: %v\n%s", err, out)
	}
	if f.Schema != "argosy/error/v1" || f.Exit != 6 || len(f.Errors) != 2 {
		t.Fatalf("the error is %+v", f)
	}
	for n, e := range f.Errors {
		if e.Code != reason.UnitInvalid || !strings.HasSuffix(e.Str("file"), "invalid.service") || e.Int("line") != int64(3+2*n) {
			t.Errorf("fault %d is %s %v", n, e.Code, e.Args)
		}
	}
	w.argosy(4, "status", "invalid")
}
