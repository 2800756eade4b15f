package kv_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// machines is a cluster of real processes on loopback addresses.
type machines struct {
	t    testing.TB
	dir  string
	bin  string
	host map[string]string // Loopback address by name.
	port int               // Of every machine's API; the next is its store's, the one after that its door's.
	proc map[string]*exec.Cmd
}

const (
	readyWithin = 60 * time.Second
	look        = 50 * time.Millisecond
)

func newMachines(t testing.TB) *machines {
	t.Helper()
	m := &machines{t: t, dir: t.TempDir(), host: map[string]string{}, proc: map[string]*exec.Cmd{}}
	m.bin = filepath.Join(m.dir, "argosy")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", m.bin, "../cmd/argosy").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	t.Cleanup(func() {
		for name := range m.proc {
			m.end(name)
		}
	})
	return m
}

func (m *machines) address(name string, nth int) string {
	return fmt.Sprintf("%s:%d", m.host[name], m.port+nth)
}

func (m *machines) door(name string) string { return m.address(name, 2) }

// start runs a machine: with a token it joins, without it goes on or founds.
func (m *machines) start(name, token string, more ...string) {
	m.t.Helper()
	if m.host[name] == "" {
		m.host[name] = fmt.Sprintf("127.77.%d.%d", m.port%200, len(m.host)+1)
	}
	args := []string{"up"}
	if token != "" {
		args = []string{"join", token}
	}
	args = append(args, "--data", filepath.Join(m.dir, name), "--socket", m.socket(name), "--name", name, "--stop-units", "--runtime", "native",
		"--listen", m.address(name, 0), "--etcd-listen", m.address(name, 1), "--config-listen", m.door(name))
	c := exec.Command(m.bin, append(args, more...)...)
	log, err := os.OpenFile(filepath.Join(m.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.proc[name] = c
	m.until(name+" answers", func() bool {
		out, err := etcdctl(m.t, m.door(name), "get", "nothing")
		return err == nil && out == ""
	})
}

func (m *machines) socket(name string) string { return filepath.Join(m.dir, name+".sock") }

// kill ends a machine's process without a word, as a loss of power would.
func (m *machines) kill(name string) {
	c := m.proc[name]
	delete(m.proc, name)
	_ = c.Process.Kill()
	_ = c.Wait()
}

func (m *machines) signal(name string, s syscall.Signal) {
	if err := m.proc[name].Process.Signal(s); err != nil {
		m.t.Error(err)
	}
}

func (m *machines) end(name string) {
	c := m.proc[name]
	delete(m.proc, name)
	_ = c.Process.Signal(syscall.SIGCONT)
	_ = c.Process.Signal(syscall.SIGTERM)
	done := time.AfterFunc(20*time.Second, func() { _ = c.Process.Kill() })
	defer done.Stop()
	_ = c.Wait()
	if m.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(m.dir, name+".log"))
		m.t.Logf("%s:\n%s", name, log)
	}
}

func (m *machines) argosy(name string, args ...string) string {
	m.t.Helper()
	c := exec.Command(m.bin, args...)
	c.Env = append(os.Environ(), "ARGOSY_HOST=unix://"+m.socket(name))
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		m.t.Fatalf("argosy %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

func (m *machines) until(what string, ok func() bool) {
	m.t.Helper()
	deadline, t := time.After(readyWithin), time.NewTicker(look)
	defer t.Stop()
	for !ok() {
		select {
		case <-t.C:
		case <-deadline:
			m.t.Fatalf("%s: not within %v", what, readyWithin)
		}
	}
}

// needEtcdctl skips a test where Debian's etcdctl is not, unless CI says that it has to be there.
func needEtcdctl(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("etcdctl"); err != nil {
		if os.Getenv("ARGOSY_REQUIRE_HOSTS") != "" {
			t.Fatal("etcdctl is not here, and has to be: apt-get install etcd-client")
		}
		t.Skip("etcdctl is not here: make deps as root, or apt-get install etcd-client")
	}
	if testing.Short() {
		t.Skip("runs real processes; -short is set")
	}
}

func etcdctlCommand(ctx context.Context, door string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "etcdctl", append([]string{"--endpoints", door}, args...)...)
	c.Env = append(os.Environ(), "ETCDCTL_API=3")
	return c
}

// etcdctl gives what it writes to its standard output; the error has the rest.
func etcdctl(t testing.TB, door string, args ...string) (string, error) {
	return etcdctlIn(t, "", door, args...)
}

func etcdctlIn(t testing.TB, in, door string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := etcdctlCommand(ctx, door, args...)
	c.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("etcdctl %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// follow starts an etcdctl that goes on, and gives what it writes.
func follow(t testing.TB, door string, args ...string) io.Reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := etcdctlCommand(ctx, door, args...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = c.Wait() })
	return out
}

func connect(t testing.TB, door string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{door}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// newRawWatch watches a key without clientv3's own resumption.
func newRawWatch(ctx context.Context, c *clientv3.Client, key string) (pb.Watch_WatchClient, error) {
	stream, err := pb.NewWatchClient(c.ActiveConnection()).Watch(ctx)
	if err != nil {
		return nil, err
	}
	return stream, stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte(key)}}})
}
