package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/unit"
)

func loadUnit(t *testing.T, text string) *unit.Unit {
	t.Helper()
	u, err := unit.Load("a.service", []byte(text), nil, unit.Host{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// inBubble runs Checks on the bubble's clock with an answer of the test's own.
func inBubble(t *testing.T, text string, ask func(age time.Duration) error, f func(c *Checks, result func() judge.Health)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		u, began := loadUnit(t, text), time.Now()
		c := NewChecks(nil, nil)
		c.ask = func(context.Context, *Target, SocketTable) error { return ask(time.Since(began)) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		c.Watch("a.service", &Target{Invocation: "i", Unit: u, Since: began})
		f(c, func() judge.Health {
			synctest.Wait()
			h, ok := c.Result("a.service")
			if !ok || h.Invocation != "i" {
				t.Fatalf("no result: %+v", h)
			}
			return h
		})
		cancel()
		<-done
	})
}

const httpCheck = "[Service]\nExecStart=/bin/x\n[X-Argosy]\nHealthCheck=http://:3300/healthz\n"

func TestReadyIsSeenSoonAndAskedSeldomAfterwards(t *testing.T) {
	var asked atomic.Int64
	inBubble(t, httpCheck, func(age time.Duration) error {
		asked.Add(1)
		if age < 3*time.Second {
			return errors.New("connection refused")
		}
		return nil
	}, func(c *Checks, result func() judge.Health) {
		<-c.Kick() // The first failure: people are told why it is not ready.
		if h := result(); h.Ready || h.Error != "connection refused" || !c.News("a.service") {
			t.Errorf("%+v", h)
		}
		<-c.Kick()
		if h := result(); !h.Ready || h.Error != "" || h.Fails != 0 || !c.News("a.service") || c.News("a.service") {
			t.Errorf("%+v", h)
		}
		before := asked.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := asked.Load() - before; n < 11 || n > 13 {
			t.Errorf("asked %d times in a minute, at an interval of 5 s", n)
		}
		if c.News("a.service") {
			t.Error("good answers are no news")
		}
	})
}

func TestUnhealthyAfterRetriesAndHealthyAgain(t *testing.T) {
	var bad atomic.Bool
	inBubble(t, httpCheck, func(time.Duration) error {
		if bad.Load() {
			return errors.New("answered 500")
		}
		return nil
	}, func(c *Checks, result func() judge.Health) {
		<-c.Kick()
		bad.Store(true)
		time.Sleep(9 * time.Second)
		if h := result(); !h.Ready || h.Fails == 0 || h.Fails > 2 {
			t.Errorf("one or two failures are none: %+v", h)
		}
		time.Sleep(6 * time.Second)
		if h := result(); h.Ready || h.Fails != 3 {
			t.Errorf("three are: %+v", h)
		}
		bad.Store(false)
		time.Sleep(6 * time.Second)
		if h := result(); !h.Ready || h.Fails != 0 || time.Since(h.Since) > 6*time.Second {
			t.Errorf("healthy again: %+v", h)
		}
	})
}

func TestAStartPeriodAndEagerAskingDoNotCount(t *testing.T) {
	inBubble(t, httpCheck+"HealthStartPeriod=20s\n", func(time.Duration) error { return errors.New("no") }, func(_ *Checks, result func() judge.Health) {
		time.Sleep(19 * time.Second)
		if h := result(); h.Fails != 0 {
			t.Errorf("within the start period: %+v", h)
		}
		time.Sleep(13 * time.Second)
		if h := result(); h.Fails != 3 {
			t.Errorf("after it: %+v", h)
		}
	})
	inBubble(t, httpCheck, func(time.Duration) error { return errors.New("no") }, func(_ *Checks, result func() judge.Health) {
		time.Sleep(14 * time.Second)
		if h := result(); h.Fails != 2 {
			t.Errorf("asked eagerly, counted at the interval: %+v", h)
		}
	})
}

func TestANewRunIsAskedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := loadUnit(t, httpCheck)
		c := NewChecks(nil, nil)
		c.targets["a.service"] = &asked{target: Target{Invocation: "old", Unit: u}, health: judge.Health{Invocation: "old", Ready: true}}
		c.Watch("a.service", &Target{Invocation: "new", Unit: u, Since: time.Now()})
		if h, _ := c.Result("a.service"); h.Ready || h.Invocation != "new" {
			t.Errorf("%+v", h)
		}
		c.Watch("a.service", nil)
		if _, ok := c.Result("a.service"); ok {
			t.Error("still watched")
		}
	})
}

// ask probes a real unit once.
func ask(t *testing.T, text string, pid int, sockets SocketTable) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return probe(ctx, &Target{Unit: loadUnit(t, text), PID: pid}, sockets)
}

func TestProbes(t *testing.T) {
	redirected := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected = true }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bad":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/away":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closed, err := net.SplitHostPort(free.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	const head = "[Service]\nExecStart=/bin/x\n[X-Argosy]\n"
	for _, c := range []struct{ name, keys, says string }{
		{"http", "HealthCheck=http://" + address + "/", ""},
		{"http 503", "HealthCheck=http://" + address + "/bad", "answered 503"},
		{"a redirect is an answer", "HealthCheck=http://" + address + "/away", ""},
		{"http, nobody", "HealthCheck=http://:" + closed + "/", "connection refused"},
		{"http, too slow", "HealthCheck=http://" + address + "/slow", "no answer in time"},
		{"tcp", "HealthCheck=tcp://" + address, ""},
		{"tcp, nobody", "HealthCheck=tcp://:" + closed, "connection refused"},
		{"port", "Port=" + port, ""},
		{"port, nobody", "Port=" + closed, "127.0.0.1:" + closed + ": connection refused"},
		{"exec", "HealthCheck=exec:/bin/true", ""},
		{"exec fails", "HealthCheck=exec:/bin/sh -c 'echo not yet; exit 2'", "exit status 2: not yet"},
		{"exec missing", "HealthCheck=exec:/nonexistent/check", "no such file"},
		{"exec hangs", "HealthCheck=exec:/bin/sleep 100", "no answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := ask(t, head+c.keys+"\n", 0, noSockets)
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
	if redirected {
		t.Error("a redirect was followed")
	}
}

func TestAFailingCheckSaysWhereTheUnitListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = ask(t, "[Service]\nExecStart=/bin/x\n[X-Argosy]\nPort=1\n", os.Getpid(), ProcSockets("/proc"))
	if err == nil || !strings.Contains(err.Error(), "it listens on") || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("%v, want %s in it", err, listener.Addr())
	}
}

func TestProcSocketsFindsHolders(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		listener, err := net.Listen(network, ":0")
		if err != nil {
			t.Logf("no %s here: %v", network, err)
			continue
		}
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		table, found := ProcSockets("/proc")(), false
		for _, s := range table.List {
			if int(s.Port) != n || s.Proto != "tcp" {
				continue
			}
			found = true
			if pid, command := table.Owner(s); pid != os.Getpid() || command == "" {
				t.Errorf("%s: held by %d %q, want %d", network, pid, command, os.Getpid())
			}
			if !clashes(unit.Port{Number: s.Port}, s) || !clashes(unit.Port{Number: s.Port, Address: "127.0.0.1"}, s) || clashes(unit.Port{Number: s.Port, Proto: "udp"}, s) {
				t.Errorf("%+v clashes with the wrong ports", s)
			}
		}
		if !found {
			t.Errorf("%s: port %d is not in the table", network, n)
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}
	if parents := (&owners{root: "/proc"}).parents(os.Getpid()); len(parents) == 0 || parents[0] != os.Getppid() {
		t.Errorf("parents %v, want %d first", parents, os.Getppid())
	}
}

func TestParseSocketTakesNothingBroken(t *testing.T) {
	good := "   0: 0100007F:0CE4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0"
	s, ok := parseSocket(good, "tcp")
	if !ok || s.Address != "127.0.0.1" || s.Port != 3300 || s.Inode != 4242 {
		t.Errorf("%+v %v", s, ok)
	}
	for i := range len(good) {
		parseSocket(good[:i], "tcp")
		parseSocket(good[i:], "udp")
	}
	if _, ok := parseSocket(strings.Replace(good, " 0A ", " 01 ", 1), "tcp"); ok {
		t.Error("a connection is not a listener")
	}
	if a, ok := parseAddress("00000000000000000000000001000000"); !ok || a != "::1" {
		t.Errorf("%s %v", a, ok)
	}
}

func TestMeasure(t *testing.T) {
	m := Measure(Machine{ID: "m", Name: "m1", DataDir: t.TempDir()})
	a := m.Allocatable()
	if m.Capacity.Memory <= 0 || m.Capacity.CPU < 1000 || m.Capacity.Disk <= 0 || a.Memory <= 0 || a.Memory >= m.Capacity.Memory || m.BootID == "" || m.Kernel == "" || m.Arch == "" {
		t.Errorf("%+v", m)
	}
	if reserved := m.Reserved.Memory; reserved > m.Capacity.Memory/4 {
		t.Errorf("reserved %d of %d", reserved, m.Capacity.Memory)
	}
	m = Measure(Machine{ID: "m", Capacity: unit.Resources{Memory: 512 << 20}})
	if got := m.Allocatable().Memory; got != 512<<20 {
		t.Errorf("--capacity memory=512M leaves %d: a person has said what may be counted on", got)
	}
}
