package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/api"
	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// proxy stands between client and server and can cut its connections.
type proxy struct {
	l     net.Listener
	to    string
	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "p.sock"))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to}
	p.wg.Go(p.run)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) run() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("unix", p.to)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, c, s)
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
			p.wg.Go(func() {
				_, _ = bufio.NewReader(pair[0]).WriteTo(pair[1])
				_ = pair[0].Close()
				_ = pair[1].Close()
			})
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// TestWatchGoesOn: after a broken connection a watch tells what changed meanwhile, deletions included, and nothing twice.
func TestWatchGoesOn(t *testing.T) {
	h, ctx := start(t), deadline(t)
	p := newProxy(t, h.socket)
	through, err := client.New("unix://" + p.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	apply := func(c ...wire.Change) {
		t.Helper()
		if _, err := h.client.Apply(ctx, wire.ApplyRequest{Changes: c}); err != nil {
			t.Fatal(err)
		}
	}
	apply(wire.Change{Name: "a.service", Text: new(sleepUnit)}, wire.Change{Name: "b.service", Text: new(sleepUnit)}, wire.Change{Name: "c.service", Text: new(sleepUnit)})
	watching, stop := context.WithCancel(ctx)
	updates, err := through.Watch(watching, 0)
	if err != nil {
		t.Fatal(err)
	}
	collect(t, updates, func(e wire.WatchEvent) bool { return e.Synced })
	for range 3 {
		p.cut()
		broke := <-updates
		if broke.Err == nil || !broke.Retrying {
			t.Fatalf("a cut gives %+v", broke)
		}
		apply(wire.Change{Name: "b.service", Destroy: true})
		apply(wire.Change{Name: "c.service", Desired: cluster.Launched})
		var got []string
		for u := range updates {
			switch {
			case u.Gone != "":
				got = append(got, "gone "+u.Gone)
			case u.Answer != nil:
				got = append(got, fmt.Sprint(u.Answer.Unit, " ", u.Answer.Desired))
			}
			if len(got) == 2 {
				break
			}
		}
		if s := strings.Join(got, ", "); s != "gone b.service, c.service launched" && s != "c.service launched, gone b.service" {
			t.Fatalf("after the cut: %s", s)
		}
		apply(wire.Change{Name: "b.service", Text: new(sleepUnit)}, wire.Change{Name: "c.service", Desired: cluster.Inactive})
		collect(t, updates, func(e wire.WatchEvent) bool { return e.Answer != nil && e.Answer.Unit == "c.service" })
	}
	stop()
	for range updates { // The channel is closed when the context ends.
	}
}

// TestWatchSeesSince: the first answers of a watch since a revision are not older than it.
func TestWatchSeesSince(t *testing.T) {
	h, ctx := start(t), deadline(t)
	for i := range 50 {
		desired := []cluster.Desired{cluster.Launched, cluster.Inactive}[i%2]
		rev := h.write(person, put("a.service", desired))
		one, stop := context.WithCancel(ctx)
		updates, err := h.client.Watch(one, rev, "a")
		if err != nil {
			t.Fatal(err)
		}
		if got := collect(t, updates, func(e wire.WatchEvent) bool { return e.Synced }); got["a.service"].Desired != desired {
			t.Fatalf("round %d: a watch since %d begins with %+v", i, rev, got)
		}
		stop()
	}
}

func TestNotReachable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	c, err := client.New("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"call":   func() error { _, err := c.Version(deadline(t)); return err },
		"watch":  func() error { _, err := c.Watch(deadline(t), 0); return err },
		"follow": func() error { return c.FollowEvents(deadline(t), 0, "", nil) },
	} {
		r, ok := errors.AsType[*reason.Reason](call())
		if !ok || r.Code != reason.NotReachable || !strings.Contains(r.Message(), path) {
			t.Errorf("%s: %v", name, r)
		}
	}
	for _, host := range []string{"", "/run/x.sock", "unix://run/x", "tcp://a", "http://"} {
		if _, err := client.New(host); err == nil {
			t.Errorf("host %q is taken", host)
		}
	}
}

// TestListen: a dead socket is removed, a living one and a file are not; the mode is 0660.
func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("d", 60), "argosy.sock")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(path, "no-such-group")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	go func(l net.Listener) { // Somebody answers.
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}(l)
	if _, err := api.Listen(path, ""); err == nil || !strings.Contains(err.Error(), "another argosy answers") {
		t.Errorf("a second listener: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	if l, err = api.Listen(path, ""); err != nil {
		t.Fatalf("a socket that nobody listens on: %v", err)
	}
	_ = l.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(path, ""); err == nil {
		t.Error("a file that is no socket was taken away")
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := api.Listen(filepath.Join(t.TempDir(), strings.Repeat("x", 120)), ""); err == nil {
		t.Error("a path that no socket can have was taken")
	}
}

// TestServeEndsStreams: the end of the server ends open watches at once.
func TestServeEndsStreams(t *testing.T) {
	h := start(t)
	ctx, cancel := context.WithCancel(context.Background())
	l, err := api.Listen(filepath.Join(t.TempDir(), "second.sock"), "")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, h.api, quiet()) }()
	c, err := client.New("unix://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	updates, err := c.Watch(deadline(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	collect(t, updates, func(e wire.WatchEvent) bool { return e.Synced })
	begun := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("the server took %v to end beside a watch", took)
	}
	if u := <-updates; u.Err == nil || !u.Retrying {
		t.Errorf("the watch says %+v", u)
	}
}

// TestLimits: one user cannot watch without end.
func TestLimits(t *testing.T) {
	h := start(t)
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	for i := 0; ; i++ {
		_, err := h.client.Watch(ctx, 0, "x")
		if r, ok := errors.AsType[*reason.Reason](err); ok && r.Code == reason.TooMany {
			break
		}
		if err != nil || i > 200 {
			t.Fatalf("watch %d: %v", i, err)
		}
	}
}
