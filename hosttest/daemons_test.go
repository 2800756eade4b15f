package hosttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/hosttest"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/native"
	"argosy.dev/argosy/runtime/systemd"
	"argosy.dev/argosy/unit"
)

func TestMain(m *testing.M) {
	if handled, code := native.Entry(os.Args, os.Stderr); handled {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// daemon is one of Debian's packaged services, run from its unmodified unit file.
type daemon struct {
	unit  string            // Name of the unit as packaged, with its instance.
	kind  unit.ServiceType  // What the file is expected to be: the test is about many kinds.
	files map[string]string // Configuration that the package leaves to its administrator.
	addr  string            // Where it answers,
	ask   string            // what is said to it,
	want  string            // and what its answer has to hold.
}

// mqttConnect is a CONNECT of MQTT 3.1.1 with client id "test"; a broker answers with CONNACK, accepted.
const mqttConnect = "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test"

const httpGet = "GET / HTTP/1.0\r\n\r\n"

// daemons run one after the other: several want the same port.
func daemons() []daemon {
	return []daemon{
		{unit: "redis-server.service", kind: unit.TypeNotify, addr: "127.0.0.1:6379", ask: "PING\r\n", want: "+PONG"},
		{
			unit: "redis-server@two.service", kind: unit.TypeNotify, addr: "127.0.0.1:6380", ask: "PING\r\n", want: "+PONG",
			files: map[string]string{"/etc/redis/redis-two.conf": "bind 127.0.0.1\nport 6380\ndir /var/lib/redis\npidfile /run/redis-two/redis-server.pid\n"},
		},
		{unit: "nginx.service", kind: unit.TypeForking, addr: "127.0.0.1:80", ask: httpGet, want: "200 OK"},
		{unit: "memcached.service", kind: unit.TypeSimple, addr: "127.0.0.1:11211", ask: "stats\r\n", want: "STAT pid"},
		{
			unit: "haproxy.service", kind: unit.TypeNotify, addr: "127.0.0.1:8081", ask: httpGet, want: "200 OK",
			files: map[string]string{"/etc/haproxy/haproxy.cfg": "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nfrontend test\n bind 127.0.0.1:8081\n http-request return status 200\n"},
		},
		{unit: "mosquitto.service", kind: unit.TypeNotify, addr: "127.0.0.1:1883", ask: mqttConnect, want: "\x20\x02\x00\x00"},
		{unit: "ssh.service", kind: unit.TypeNotify, addr: "127.0.0.1:22", want: "SSH-2.0-"},
		{unit: "apache2.service", kind: unit.TypeForking, addr: "127.0.0.1:80", ask: httpGet, want: "200 OK"},
		{unit: "lighttpd.service", kind: unit.TypeSimple, addr: "127.0.0.1:80", ask: httpGet, want: "200 OK"},
		{
			unit: "rsync.service", kind: unit.TypeSimple, addr: "127.0.0.1:873", want: "@RSYNCD:",
			files: map[string]string{"/etc/rsyncd.conf": "[test]\npath = /srv\n"},
		},
	}
}

func TestDaemonsUnderSystemd(t *testing.T) {
	if os.Getenv(hosttest.InHost) != "" {
		t.Skip("this is the host")
	}
	h := hosttest.Systemd(t, hosttest.Options{})
	h.RunTests(systemd.Name, "^TestInHostDaemons$")
}

func TestDaemonsUnderNative(t *testing.T) {
	if os.Getenv(hosttest.InHost) != "" {
		t.Skip("this is the host")
	}
	h := hosttest.Systemd(t, hosttest.Options{Plain: true})
	h.Run("systemd-tmpfiles", "--create") // What every boot does, whoever is PID 1.
	h.RunTests("native", "^TestInHostDaemons$")
}

// patience bounds every wait.
const patience = 30 * time.Second

func TestInHostDaemons(t *testing.T) {
	var rt runtime.Runtime
	// Argosy never takes a name that the machine has from elsewhere, so on a machine with systemd and with the
	// packages the units go by other names. The files are the same.
	prefix := ""
	switch os.Getenv(hosttest.InHost) {
	case systemd.Name:
		r, err := systemd.Open(t.Context(), systemd.Options{})
		if err != nil {
			t.Fatal(err)
		}
		rt, prefix = r, "argosy-"
	case "native":
		rt = openNative(t)
	default:
		t.Skip("runs inside of a host")
	}
	defer rt.Close()
	for _, d := range daemons() {
		t.Run(d.unit, func(t *testing.T) { (&try{t, rt, d, prefix + d.unit}).all() })
	}
	t.Run("logrotate.timer", func(t *testing.T) { timerOf(t, rt, prefix) })
}

func openNative(t *testing.T) runtime.Runtime {
	t.Helper()
	o := native.Options{Dir: "/var/lib/argosy/native", RunDir: "/run/argosy/native", Init: []string{"/proc/self/exe", native.InitName}, Log: slog.New(slog.DiscardHandler)}
	r, err := native.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r, err := native.Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		_ = r.Close()
	})
	return r
}

// try is one daemon's turn.
type try struct {
	*testing.T
	rt   runtime.Runtime
	d    daemon
	name string
}

func (y *try) all() {
	for path, content := range y.d.files {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			y.Fatal(err)
		}
	}
	u, warnings := load(y.T, y.rt, y.d.unit, y.name)
	if u.Service.Type != y.d.kind {
		y.Errorf("Type=%s, want %s", u.Service.Type, y.d.kind)
	}
	began := time.Now()
	y.must(y.rt.Start(y.Context(), y.name))
	e := y.running(func(cluster.Evidence) bool { return true })
	y.answers()
	up := time.Since(began)

	began = time.Now()
	y.must(syscall.Kill(e.MainPID, syscall.SIGKILL))
	back := "Restart="
	after := wait(y.T, y.rt, y.name, "restarted or failed", func(n cluster.Evidence) bool {
		return n.Active == "failed" || n.Active == "active" && n.MainPID != 0 && n.MainPID != e.MainPID
	})
	if after.Active == "failed" {
		if u.Service.Restart == "always" || u.Service.Restart == "on-failure" {
			y.Errorf("Restart=%s did not bring it back: %+v", u.Service.Restart, after)
		}
		back = "a new start, Restart=" + u.Service.Restart
		y.must(y.rt.Start(y.Context(), y.name))
		after = y.running(func(n cluster.Evidence) bool { return n.MainPID != e.MainPID })
	}
	y.sawKill(after, e.Invocation)
	y.answers()
	again := time.Since(began)

	began = time.Now()
	y.must(y.rt.Stop(y.Context(), y.name))
	// How a daemon ends when it is asked to is its own affair: lighttpd now and then says 1, also without us.
	wait(y.T, y.rt, y.name, "stopped", func(n cluster.Evidence) bool {
		return n.Active == "inactive" || n.Active == "failed" && len(n.Exits) > 0 && n.Exits[len(n.Exits)-1].Asked
	})
	if c, err := net.Dial("tcp", y.d.addr); err == nil {
		_ = c.Close()
		y.Errorf("it is stopped, and %s still answers", y.d.addr)
	}
	y.Logf("%s: Type=%s, answers after %v, again after kill -9 in %v (%s), stopped in %v; %d directives warned of",
		y.name, u.Service.Type, ms(up), ms(again), back, ms(time.Since(began)), warnings)
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

func (y *try) must(err error) {
	y.Helper()
	if err != nil {
		y.Fatal(err)
	}
}

func (y *try) running(ok func(cluster.Evidence) bool) cluster.Evidence {
	y.Helper()
	return wait(y.T, y.rt, y.name, "running", func(e cluster.Evidence) bool {
		if e.Active == "failed" {
			tail(y.T, y.rt, y.name)
			y.Fatalf("%s failed: %+v", y.name, e)
		}
		return e.Active == "active" && e.MainPID != 0 && ok(e)
	})
}

// sawKill: the end by SIGKILL is kept as such, not as an OOM and not as one that was asked for.
func (y *try) sawKill(e cluster.Evidence, run string) {
	y.Helper()
	for _, x := range e.Exits {
		if x.Signal == int(syscall.SIGKILL) && x.Invocation == run && !x.OOM && !x.Asked && x.Directive == "ExecStart" {
			return
		}
	}
	y.Errorf("the kill of run %s is not in the evidence: %+v", run, e.Exits)
}

// answers asks until the daemon says what it should: a forking one may be up before its port is.
func (y *try) answers() {
	y.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := y.askOnce()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			tail(y.T, y.rt, y.name)
			y.Fatalf("%s does not answer: %v", y.name, err)
		}
	}
}

func (y *try) askOnce() error {
	c, err := net.DialTimeout("tcp", y.d.addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, y.d.ask); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := io.ReadAtLeast(c, buf, len(y.d.want))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if !strings.Contains(string(buf[:n]), y.d.want) {
		return fmt.Errorf("it says %q, want %q", buf[:n], y.d.want)
	}
	return nil
}

// load submits a packaged unit file, as it is, under a name.
func load(t *testing.T, rt runtime.Runtime, packaged, name string) (u *unit.Unit, warnings int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/lib/systemd/system", file(unit.Name(packaged))))
	if err != nil {
		t.Fatal(err)
	}
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if u, err = unit.Load(unit.Name(name), text, nil, unit.Host{Hostname: hostname}); err != nil {
		t.Fatal(err)
	}
	w, err := rt.Load(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	if err := rt.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return u, len(w)
}

func file(n unit.Name) string {
	if n.IsInstance() {
		return string(n.Template())
	}
	return string(n)
}

func wait(t *testing.T, rt runtime.Runtime, name, what string, ok func(cluster.Evidence) bool) cluster.Evidence {
	t.Helper()
	limit := time.After(patience)
	var last cluster.Evidence
	for {
		list, err := rt.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Name != name {
				continue
			}
			if last = e; ok(e) {
				return e
			}
		}
		select {
		case <-rt.Kick():
		case <-limit:
			tail(t, rt, name)
			t.Fatalf("%s is not %s: %+v", name, what, last)
		}
	}
}

// tail shows what a unit said.
func tail(t *testing.T, rt runtime.Runtime, name string) {
	t.Helper()
	lines, err := rt.Journal(t.Context(), name, runtime.JournalQuery{Lines: 20})
	if err != nil {
		t.Log(err)
		return
	}
	for l := range lines {
		t.Logf("%s %s", l.Stream, l.Text)
	}
}

// timerOf arms a packaged timer, and runs the oneshot that it is for.
func timerOf(t *testing.T, rt runtime.Runtime, prefix string) {
	service, timer := prefix+"logrotate.service", prefix+"logrotate.timer"
	load(t, rt, "logrotate.service", service)
	load(t, rt, "logrotate.timer", timer)
	if err := rt.Start(t.Context(), timer); err != nil {
		t.Fatal(err)
	}
	e := wait(t, rt, timer, "armed", func(e cluster.Evidence) bool {
		return e.Active == "active" && e.Sub == "waiting" && !e.NextElapse.IsZero()
	})
	if in := time.Until(e.NextElapse); in <= 0 || in > 26*time.Hour {
		t.Errorf("OnCalendar=daily: the next run is %v", e.NextElapse)
	}
	if err := rt.Start(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	done := wait(t, rt, service, "finished", func(e cluster.Evidence) bool {
		return (e.Active == "inactive" || e.Active == "failed") && len(e.Exits) > 0
	})
	if done.Active != "inactive" || done.Result != "success" {
		tail(t, rt, service)
		t.Errorf("logrotate: %+v", done)
	}
	if err := rt.Stop(t.Context(), timer); err != nil {
		t.Fatal(err)
	}
	wait(t, rt, timer, "stopped", func(e cluster.Evidence) bool { return e.Active == "inactive" })
	t.Logf("%s: next run %v", timer, e.NextElapse)
}
