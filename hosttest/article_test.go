package hosttest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/hosttest"
	"argosy.dev/argosy/judge"
)

// whole is the real binary on a real host.
type whole struct {
	t *testing.T
	h *hosttest.Host
}

// startWhole builds argosy, copies it to a host and starts `argosy up` there.
func startWhole(t *testing.T, o hosttest.Options, flags ...string) *whole {
	t.Helper()
	if os.Getenv(hosttest.InHost) != "" {
		t.Skip("this is the host")
	}
	h := hosttest.Systemd(t, o)
	bin := filepath.Join(t.TempDir(), "argosy")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", bin, "argosy.dev/argosy/cmd/argosy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	h.Copy(bin, "/usr/bin/argosy")
	w := &whole{t, h}
	w.up(flags...)
	return w
}

// up starts the machine and waits until it answers.
func (w *whole) up(flags ...string) {
	w.t.Helper()
	cmd := w.h.Command(context.Background(), append([]string{"argosy", "up", "--data", "/var/lib/argosy", "--name", "m1", "--log-level", "warn"}, flags...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, 2*time.Second // What runs in the host holds the pipes.
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if w.t.Failed() {
			w.t.Logf("argosy up said:\n%s", said.String())
		}
	})
	tick, end := time.NewTicker(50*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		if _, _, code := w.h.Exec(w.t.Context(), "argosy", "list-machines"); code == 0 {
			return
		}
		select {
		case <-tick.C:
		case err := <-ended:
			ended <- err
			w.t.Fatalf("argosy up ended: %v", err)
		case <-end:
			w.t.Fatal("argosy up does not answer")
		}
	}
}

// argosy runs one command, which has to end within 30 s with the code.
func (w *whole) argosy(code int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	begin := time.Now()
	stdout, stderr, got := w.h.Exec(ctx, append([]string{"argosy"}, args...)...)
	w.t.Logf("argosy %s: exit %d after %v", strings.Join(args, " "), got, time.Since(begin).Round(time.Millisecond))
	if got != code {
		w.t.Fatalf("argosy %v: exit %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	return stdout, stderr
}

// verdict starts units and reads the verdict object.
func (w *whole) verdict(code int, units ...string) judge.Verdict {
	w.t.Helper()
	stdout, _ := w.argosy(code, append([]string{"start", "-o", "json"}, units...)...)
	var v judge.Verdict
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		w.t.Fatalf("start -o json: %v\n%s", err, stdout)
	}
	return v
}

func (w *whole) reasonOf(v judge.Verdict, unit string) string {
	w.t.Helper()
	for _, i := range v.Instances {
		if i.Unit == unit {
			return string(i.Reason) + " " + i.Message
		}
	}
	w.t.Fatalf("the verdict does not speak of %s", unit)
	return ""
}

// TestArticle runs the set of the article, whole and unchanged, on a machine without Docker: each service ends with
// the exact cause, the timers are listed with their next run, nothing hangs.
func TestArticle(t *testing.T) {
	w := startWhole(t, hosttest.Options{Plain: true}, "--metadata", "class=worker")
	files, err := filepath.Glob("../examples/fulfill-as-in-the-article/*.*e*")
	if err != nil {
		t.Fatal(err)
	}
	submit, services := []string{"submit"}, []string{}
	for _, f := range files {
		name := filepath.Base(f)
		if !strings.HasSuffix(name, ".service") && !strings.HasSuffix(name, ".timer") {
			continue
		}
		w.h.Copy(f, "/root/"+name)
		submit = append(submit, "/root/"+name)
		if strings.HasSuffix(name, "@.service") && !strings.Contains(name, "-elb@") && name != "kong@.service" {
			services = append(services, strings.TrimSuffix(name, "@.service"))
		}
	}
	if len(submit) != 26 || len(services) != 10 {
		t.Fatalf("found %d files and %d services: the example is not whole", len(submit)-1, len(services))
	}
	w.argosy(0, submit...)

	said, _ := w.argosy(0, "start", "release-env") // Its pipelines end with tr's success; its words say what was missing.
	if !strings.Contains(said, "etcdctl: not found") {
		t.Errorf("the start of release-env does not show what it complained of:\n%s", said)
	}
	if words, _ := w.argosy(0, "journal", "release-env"); !strings.Contains(words, "etcdctl: not found") {
		t.Errorf("release-env did not say in its own words what was missing:\n%s", words)
	}
	for _, s := range services { // One after the other: all ten want host port 3300.
		v := w.verdict(1, s+"@1")
		if got := w.reasonOf(v, s+"@1.service"); got != "exec-not-found /usr/bin/docker not found (203)" {
			t.Errorf("%s@1: %s", s, got)
		}
		w.argosy(0, "stop", s+"@1")
	}
	w.verdict(1, "orders@1")
	if got := w.reasonOf(w.verdict(11, "catalog@1"), "catalog@1.service"); !strings.Contains(got, "no-room.port") || !strings.Contains(got, "orders@1.service") {
		t.Errorf("two services on one host port: %s", got)
	}
	if got := w.reasonOf(w.verdict(11, "kong@1"), "kong@1.service"); !strings.Contains(got, "no-machine.metadata") || !strings.Contains(got, "class=edge") {
		t.Errorf("kong: %s", got)
	}
	if got := w.reasonOf(w.verdict(1, "orders-elb@1"), "orders-elb@1.service"); !strings.Contains(got, "docker") && !strings.Contains(got, "orders@1") {
		t.Errorf("sidekick: %s", got)
	}
	w.argosy(0, "start", "reindex.timer", "invoices.timer")
	timers, _ := w.argosy(0, "list-timers")
	for _, want := range []string{"03:00:00", "06:00:00", "reindex.service", "invoices.service"} {
		if !strings.Contains(timers, want) {
			t.Errorf("list-timers does not tell %s:\n%s", want, timers)
		}
	}
	if got := w.reasonOf(w.verdict(1, "reindex"), "reindex.service"); !strings.HasPrefix(got, "exec-not-found") {
		t.Errorf("reindex: %s", got)
	}
}

// TestKilledAndStartedAgain is the promise that Argosy's own end touches nothing: no process, no line, no state.
func TestKilledAndStartedAgain(t *testing.T) {
	for name, o := range map[string]hosttest.Options{"native": {Plain: true}, "systemd": {}} {
		t.Run(name, func(t *testing.T) {
			w := startWhole(t, o)
			w.h.Write("/root/count.service", 0o644, []byte("[Service]\nExecStart=/bin/sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done'\n[X-Argosy]\nMonitor=1s\n"))
			w.h.Write("/root/sleep@.service", 0o644, []byte("[Service]\nExecStart=/bin/sleep infinity\n[X-Argosy]\nMonitor=1s\n"))
			w.argosy(0, "start", "/root/count.service", "/root/sleep@{1..5}.service")
			before := w.pids()
			w.h.Run("pkill", "-KILL", "-f", "^argosy up")
			w.argosy(69, "status")
			w.up()
			if after := w.pids(); fmt.Sprint(after) != fmt.Sprint(before) || len(after) != 6 {
				t.Errorf("processes before %v, after %v", before, after)
			}
			w.argosy(0, "is-active", "count", "sleep@1")
			lines, _ := w.argosy(0, "journal", "count", "-n", "100000")
			last := 0
			for l := range strings.Lines(lines) {
				_, n, ok := strings.Cut(strings.TrimSpace(l), "line ")
				if !ok {
					continue
				}
				var i int
				if _, err := fmt.Sscan(n, &i); err != nil || i != last+1 {
					t.Fatalf("after line %d comes %q", last, l)
				}
				last = i
			}
			t.Logf("%d lines without a gap", last)
			if last < 50 {
				t.Errorf("only %d lines", last)
			}
		})
	}
}

// pids are the main processes of all units.
func (w *whole) pids() map[string]int {
	w.t.Helper()
	stdout, _ := w.argosy(0, "list-units", "-o", "json")
	var list struct{ Units []cluster.Answer }
	if err := json.Unmarshal([]byte(stdout), &list); err != nil {
		w.t.Fatalf("%v\n%s", err, stdout)
	}
	out := map[string]int{}
	for _, a := range list.Units {
		if a.Status != nil && a.Status.MainPID > 0 {
			out[a.Unit] = a.Status.MainPID
		}
	}
	return out
}
