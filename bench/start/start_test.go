package start

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

// machine is one `argosy up` of the real binary in a directory of its own.
type machine struct {
	b      *testing.B
	client *client.Client
	daemon int
	init   int
}

const template = "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=0\nStartLimitIntervalSec=0\n[X-Argosy]\nMemoryRequest=1M\nCPURequest=1m\nMonitor=%s\n"

func boot(b *testing.B, monitor string) *machine {
	b.Helper()
	dir := b.TempDir()
	bin := filepath.Join(dir, "argosy")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "argosy.dev/argosy/cmd/argosy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	socket := filepath.Join(dir, "a.sock")
	up := exec.Command(bin, "up", "--data", filepath.Join(dir, "data"), "--socket", socket, "--name", "bench", "--runtime", "native", "--stop-units", "--log-level", "error")
	var said bytes.Buffer
	up.Stderr = &said
	if err := up.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = up.Process.Signal(syscall.SIGTERM)
		_ = up.Wait()
		if b.Failed() {
			b.Log(said.String())
		}
	})
	c, err := client.New("unix://" + socket)
	if err != nil {
		b.Fatal(err)
	}
	m := &machine{b: b, client: c, daemon: up.Process.Pid}
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
	defer cancel()
	text := fmt.Sprintf(template, monitor)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if _, err = c.Apply(ctx, wire.ApplyRequest{Changes: []wire.Change{{Name: "sleep@.service", Text: &text}}}); err == nil {
			break
		}
		if ctx.Err() != nil {
			b.Fatal(err)
		}
	}
	m.init = m.initProcess()
	return m
}

// initProcess finds the init process of the native runtime: the one that was started with our data directory.
func (m *machine) initProcess() int {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	dir := filepath.Dir(m.client.Host()[len("unix://"):])
	for _, p := range procs {
		line, err := os.ReadFile(p)
		if err == nil && bytes.Contains(line, []byte("native-init")) && bytes.Contains(line, []byte(dir)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			return pid
		}
	}
	m.b.Fatal("no init process")
	return 0
}

// cpu is the time that a process has used so far, of proc_pid_stat(5), in seconds.
func cpu(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// rss is the resident memory of a process in MiB.
func rss(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	return 0
}

// ask sends one change for each of n instances.
func (m *machine) ask(n int, change wire.Change) int64 {
	m.b.Helper()
	changes := make([]wire.Change, n)
	for i := range changes {
		changes[i] = change
		changes[i].Name = fmt.Sprintf("sleep@%d.service", i+1)
	}
	resp, err := m.client.Apply(m.b.Context(), wire.ApplyRequest{Changes: changes})
	if err != nil {
		m.b.Fatal(err)
	}
	return resp.Revision
}

// follow calls see with every answer since a revision until it says that this is enough.
func (m *machine) follow(since int64, see func(cluster.Answer) (enough bool)) {
	m.b.Helper()
	ctx, cancel := context.WithTimeout(m.b.Context(), 3*time.Minute)
	defer cancel()
	updates, err := m.client.Watch(ctx, since, "sleep@*")
	if err != nil {
		m.b.Fatal(err)
	}
	for u := range updates {
		if u.Err != nil {
			m.b.Fatal(u.Err)
		}
		if u.Answer != nil && see(*u.Answer) {
			return
		}
	}
	m.b.Fatal("not done in time")
}

// startAll starts n units and tells after how long all ran and all were healthy.
func (m *machine) startAll(n int) (running, healthy time.Duration) {
	begin := time.Now()
	rev := m.ask(n, wire.Change{Desired: cluster.Launched, Start: true})
	up, good := map[string]bool{}, map[string]bool{}
	m.follow(rev, func(a cluster.Answer) bool {
		if a.Status != nil && a.Status.Active == "active" && a.Status.MainPID > 0 {
			up[a.Unit] = true
		}
		if a.State == cluster.Healthy {
			good[a.Unit], up[a.Unit] = true, true
		}
		if running == 0 && len(up) == n {
			running = time.Since(begin)
		}
		return len(good) == n
	})
	return running, time.Since(begin)
}

func (m *machine) stopAll(n int) {
	rev := m.ask(n, wire.Change{Desired: cluster.Inactive})
	down := map[string]bool{}
	m.follow(rev, func(a cluster.Answer) bool {
		if a.State == cluster.Stopped {
			down[a.Unit] = true
		}
		return len(down) == n
	})
}

// BenchmarkStart is `argosy start 'sleep@{1..N}'`, over the API, with a stability window of one second.
func BenchmarkStart(b *testing.B) {
	for _, n := range []int{10, 100, 500} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			m := boot(b, "1s")
			for b.Loop() {
				daemon, init := cpu(m.daemon), cpu(m.init)
				running, healthy := m.startAll(n)
				b.ReportMetric(running.Seconds(), "s-to-running")
				b.ReportMetric(healthy.Seconds(), "s-to-healthy")
				b.ReportMetric(cpu(m.daemon)-daemon, "cpu-s-daemon")
				b.ReportMetric(cpu(m.init)-init, "cpu-s-init")
				b.ReportMetric(0, "ns/op")
				begin := time.Now()
				m.stopAll(n)
				b.ReportMetric(time.Since(begin).Seconds(), "s-to-stopped")
			}
		})
	}
}

// BenchmarkIdle is what 500 healthy units cost while nothing happens, over 60 s.
func BenchmarkIdle(b *testing.B) {
	const n, span = 500, 60 * time.Second
	m := boot(b, "1s")
	m.startAll(n)
	for b.Loop() {
		daemon, init := cpu(m.daemon), cpu(m.init)
		<-time.After(span)
		b.ReportMetric(100*(cpu(m.daemon)-daemon)/span.Seconds(), "%cpu-daemon")
		b.ReportMetric(100*(cpu(m.init)-init)/span.Seconds(), "%cpu-init")
		b.ReportMetric(rss(m.daemon), "MiB-daemon")
		b.ReportMetric(rss(m.init), "MiB-init")
		b.ReportMetric(0, "ns/op")
	}
	m.stopAll(n)
}

// BenchmarkCrashSeen is the time from the death of a process to its word on the watch of a person, 100 times.
func BenchmarkCrashSeen(b *testing.B) {
	const deaths = 100 // Each of another unit: one that dies again and again is told less often.
	m := boot(b, "1s")
	m.startAll(deaths)
	var took []time.Duration
	for b.Loop() {
		for i := range deaths {
			took = append(took, m.crash(fmt.Sprintf("sleep@%d.service", i+1)))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
	b.ReportMetric(0, "ns/op")
}

func (m *machine) crash(name string) time.Duration {
	m.b.Helper()
	ctx, cancel := context.WithTimeout(m.b.Context(), time.Minute)
	defer cancel()
	updates, err := m.client.Watch(ctx, 0, name)
	if err != nil {
		m.b.Fatal(err)
	}
	var begin time.Time
	victim := 0
	for u := range updates {
		switch a := u.Answer; {
		case u.Err != nil:
			m.b.Fatal(u.Err)
		case a == nil || a.Status == nil:
		case victim == 0 && a.Status.MainPID > 0:
			victim, begin = a.Status.MainPID, time.Now()
			if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
				m.b.Fatal(err)
			}
		case victim != 0 && a.Status.MainPID != victim:
			return time.Since(begin)
		}
	}
	m.b.Fatal("the crash was not seen")
	return 0
}
