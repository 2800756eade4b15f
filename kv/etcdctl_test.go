package kv_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	argosy "argosy.dev/argosy/client"
)

// TestEtcdctl lets Debian's etcdctl at a server's and at an agent's localhost, then kills the servers that they use.
func TestEtcdctl(t *testing.T) {
	needEtcdctl(t)
	m := newMachines(t)
	m.start("m1", "")
	machines, servers := m.argosy("m1", "token", "create", "--uses", "5"), m.argosy("m1", "token", "create", "--role", "server", "--uses", "5")
	m.start("agent", machines)
	m.start("m2", servers)
	m.start("m3", servers)
	for _, name := range []string{"m1", "agent"} {
		t.Run(name, func(t *testing.T) { verbs(t, m.door(name)) })
	}
	t.Run("who may write", func(t *testing.T) { whoMayWrite(t, m) })
	t.Run("users", func(t *testing.T) { users(t, m) })
	m.until("three voters", func() bool {
		out, err := etcdctl(t, m.door("agent"), "member", "list")
		return err == nil && strings.Count(out, ", started, ") == 3 && strings.Count(out, ", false\n") == 3
	})
	t.Run("the server dies", func(t *testing.T) { survive(t, m) })
}

// verbs are what people and scripts do with etcdctl.
func verbs(t *testing.T, door string) {
	say := func(want string, args ...string) string {
		t.Helper()
		out, err := etcdctl(t, door, args...)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, want) {
			t.Errorf("%v says %q, without %q", args, out, want)
		}
		return out
	}
	watch := bufio.NewScanner(follow(t, door, "watch", "--prefix", "/app/"))
	say("OK", "put", "/app/db", "10.0.0.7")
	say("OK", "put", "/app/mode", "blue")
	if got := say("", "get", "--prefix", "/app/"); got != "/app/db\n10.0.0.7\n/app/mode\nblue\n" {
		t.Errorf("get --prefix: %q", got)
	}
	if got := say("", "get", "--from-key", ""); !strings.HasPrefix(got, "/app/db\n") {
		t.Errorf("get --from-key: %q", got)
	}
	say("OK", "put", "/app/sentinel", "x") // The watch may have begun after the first two.
	for watch.Scan() && watch.Text() != "/app/sentinel" {
	}
	out, err := etcdctlIn(t, "value(\"/app/mode\") = \"blue\"\n\nput /app/mode green\nget /app/mode\n\nget /app/mode\n\n", door, "txn")
	if err != nil || !strings.Contains(out, "SUCCESS") || !strings.Contains(out, "green") {
		t.Errorf("txn: %q %v", out, err)
	}
	for _, want := range []string{"PUT", "/app/mode", "green"} {
		for watch.Scan() && watch.Text() != want {
		}
		if watch.Text() != want {
			t.Errorf("the watch ended before %s: %v", want, watch.Err())
		}
	}
	lease := strings.Fields(say("granted", "lease", "grant", "60"))[1]
	say("OK", "put", "--lease="+lease, "/app/leased", "x")
	say("/app/leased", "lease", "timetolive", "--keys", lease)
	say("keepalived", "lease", "keep-alive", "--once", lease)
	say(lease, "lease", "list")
	say("revoked", "lease", "revoke", lease)
	if got := say("", "get", "/app/leased"); got != "" {
		t.Errorf("the leased key is still there: %q", got)
	}
	say("held", "lock", "deploy", "echo", "held")
	elect := bufio.NewScanner(follow(t, door, "elect", "boss of "+door, "me")) // Killed, it stays elected until its lease ends.
	for elect.Scan() && elect.Text() != "me" {
	}
	if elect.Text() != "me" {
		t.Errorf("elect: %v", elect.Err())
	}
	if got := say("started", "member", "list"); !strings.Contains(got, "http://"+door) {
		t.Errorf("member list names other addresses than this door: %q", got)
	}
	say("", "endpoint", "health") // It speaks on standard error.
	say("3.", "endpoint", "status")
	say("3", "del", "--prefix", "/app/")
	if _, err := etcdctl(t, door, "compact", "1"); err == nil || !strings.Contains(err.Error(), "Argosy compacts the store itself") {
		t.Errorf("compact: %v", err)
	}
}

// whoMayWrite turns the setting and tries both kinds of machine.
func whoMayWrite(t *testing.T, m *machines) {
	for _, s := range []struct {
		setting       string
		server, agent bool
	}{{"none", false, false}, {"servers", true, false}, {"all", true, true}} {
		m.argosy("m1", "settings", "config-write="+s.setting)
		for name, may := range map[string]bool{"m1": s.server, "agent": s.agent} {
			if _, err := etcdctl(t, m.door(name), "get", "k"); err != nil {
				t.Errorf("%s with %s: get: %v", name, s.setting, err)
			}
			_, err := etcdctl(t, m.door(name), "put", "k", "v")
			if may && err != nil {
				t.Errorf("%s with %s: %v", name, s.setting, err)
			}
			if !may && (err == nil || !strings.Contains(err.Error(), "PermissionDenied") || !strings.Contains(err.Error(), "config_write is "+s.setting)) {
				t.Errorf("%s with %s: put says %v", name, s.setting, err)
			}
		}
	}
}

// users reach a server's API itself, with their certificates.
func users(t *testing.T, m *machines) {
	for _, u := range []struct {
		name, role string
		may        bool
	}{{"vera", "viewer", false}, {"dan", "deployer", true}} {
		file := filepath.Join(m.dir, u.name+".context")
		m.argosy("m1", "user", "add", u.name, "--role", u.role, "--out", file)
		flags := certificateFlags(t, file)
		if _, err := etcdctl(t, "https://"+m.address("m1", 0), append(flags, "get", "k")...); err != nil {
			t.Errorf("%s: %v", u.name, err)
		}
		_, err := etcdctl(t, "https://"+m.address("m1", 0), append(flags, "put", "k", "v")...)
		if u.may != (err == nil) || !u.may && !strings.Contains(err.Error(), "the role deployer") {
			t.Errorf("%s, a %s, writes: %v", u.name, u.role, err)
		}
		m.argosy("m1", "user", "rm", u.name)
		if _, err := etcdctl(t, "https://"+m.address("m1", 0), append(flags, "get", "k")...); err == nil {
			t.Errorf("%s still reads without any rights", u.name)
		}
	}
	if _, err := etcdctl(t, "https://"+m.address("m1", 0), "--insecure-skip-tls-verify", "get", "k"); err == nil {
		t.Error("somebody without a certificate reads")
	}
}

// certificateFlags are etcdctl's for a user's context.
func certificateFlags(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x, err := argosy.ParseContext(text)
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for flag, pem := range map[string]string{"--cacert": x.Roots, "--cert": x.Certificate, "--key": x.Key} {
		path := file + strings.TrimPrefix(flag, "-")
		if err := os.WriteFile(path, []byte(pem), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, flag, path)
	}
	return flags
}

// survive writes, watches, renews and holds a lock through the agent while servers die and come back.
func survive(t *testing.T, m *machines) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := connect(t, m.door("agent"))
	lease, err := c.Grant(ctx, 8)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := c.KeepAlive(ctx, lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "alive", "yes", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range renewed { // Only that it goes on counts.
		}
		if ctx.Err() == nil {
			t.Error("the lease was lost")
		}
	})
	// The raw stream shows that the door, not the client, goes on with the watch.
	seen := make(chan int64, 100_000)
	wg.Go(func() { watchRaw(ctx, t, c, seen) })
	etcdctlSees := bufio.NewScanner(follow(t, m.door("agent"), "watch", "n"))
	w := &writer{c: c}
	wg.Go(func() { w.run(ctx) })
	for _, name := range []string{"m1", "m2", "m3"} {
		w.settle(t)
		begun := time.Now()
		m.kill(name)
		w.settle(t)
		t.Logf("%s was killed: ten writes were done after %v", name, time.Since(begun).Round(time.Millisecond))
		m.start(name, "")
	}
	for _, name := range []string{"m1", "m2", "m3"} {
		w.settle(t)
		begun := time.Now()
		m.signal(name, syscall.SIGSTOP)
		w.settle(t)
		t.Logf("%s was frozen: ten writes were done after %v", name, time.Since(begun).Round(time.Millisecond))
		m.signal(name, syscall.SIGCONT)
	}
	last := w.settle(t)
	cancelWrites := w.stop()
	t.Logf("%d writes done, %d without an answer, the longest pause %v", w.done, w.unsure, w.longest.Round(time.Millisecond))
	if got, err := c.Get(ctx, "alive"); err != nil || len(got.Kvs) != 1 {
		t.Errorf("the leased key is gone: %v %v", got, err)
	}
	for etcdctlSees.Scan() && etcdctlSees.Text() != strconv.FormatInt(last, 10) {
	}
	checkSeen(ctx, t, c, seen, cancelWrites)
	cancel()
	wg.Wait()
}

// writer counts a key up, and never repeats a number whose write may have been done.
type writer struct {
	c       *clientv3.Client
	mu      sync.Mutex
	number  int64
	done    int64 // The last that was answered.
	acked   []int64
	unsure  int
	longest time.Duration
	stopped bool
}

func (w *writer) run(ctx context.Context) {
	at := time.Now()
	for ctx.Err() == nil {
		w.mu.Lock()
		if w.stopped {
			w.mu.Unlock()
			return
		}
		w.number++
		n := w.number
		w.mu.Unlock()
		resp, err := w.c.Put(ctx, "n", strconv.FormatInt(n, 10))
		w.mu.Lock()
		if err == nil {
			w.longest, at = max(w.longest, time.Since(at)), time.Now()
			w.done = n
			w.acked = append(w.acked, resp.Header.Revision)
		} else {
			w.unsure++
		}
		w.mu.Unlock()
	}
}

// settle waits for ten more writes that are answered.
func (w *writer) settle(t testing.TB) int64 {
	t.Helper()
	w.mu.Lock()
	want := len(w.acked) + 10
	w.mu.Unlock()
	deadline, tick := time.After(readyWithin), time.NewTicker(look)
	defer tick.Stop()
	for {
		w.mu.Lock()
		n, done := len(w.acked), w.done
		w.mu.Unlock()
		if n >= want {
			return done
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no writes for %v", readyWithin)
		}
	}
}

func (w *writer) stop() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	return w.acked
}

// checkSeen compares what the watch saw with the revisions that were acknowledged, and its order.
func checkSeen(ctx context.Context, t *testing.T, c *clientv3.Client, seen <-chan int64, acked []int64) {
	end, err := c.Put(ctx, "n", "end")
	if err != nil {
		t.Fatal(err)
	}
	got := map[int64]bool{}
	before := int64(0)
	for r := range seen {
		if r <= before {
			t.Fatalf("the watch showed revision %d after %d", r, before)
		}
		before = r
		got[r] = true
		if r == end.Header.Revision {
			break
		}
	}
	for _, r := range acked {
		if !got[r] {
			t.Errorf("the watch left out revision %d", r)
		}
	}
}

func watchRaw(ctx context.Context, t *testing.T, c *clientv3.Client, seen chan<- int64) {
	err := rawWatch(ctx, c, "n", func(r int64) { seen <- r })
	if ctx.Err() == nil {
		t.Errorf("the door ended the watch: %v", err)
	}
	close(seen)
}

var errUncreated = errors.New("not created")

func rawWatch(ctx context.Context, c *clientv3.Client, key string, see func(int64)) error {
	stream, err := newRawWatch(ctx, c, key)
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		if resp.Canceled {
			return fmt.Errorf("%w: %s", errUncreated, resp.CancelReason)
		}
		for _, e := range resp.Events {
			see(e.Kv.ModRevision)
		}
	}
}
