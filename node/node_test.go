package node_test

import (
	"bytes"
	"context"
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

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/node"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/native"
	"argosy.dev/argosy/shell"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

func TestMain(m *testing.M) {
	if handled, code := native.Entry(os.Args, os.Stderr); handled {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// patience bounds every wait.
const patience = 60 * time.Second

// bed is a cluster of real machines in this process, each with its own directory, socket and loopback address.
type bed struct {
	*testing.T
	dir      string
	machines map[string]*machine
}

// machine is one of them.
type machine struct {
	*bed
	name, address string
	client        *client.Client
	stop          context.CancelFunc
	ended         chan error
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("", "node-") //nolint:usetesting // Short: sockets lie below it.
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t, dir, map[string]*machine{}}
	t.Cleanup(func() {
		for _, m := range b.machines {
			m.down()
			m.endUnits()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return b
}

// address gives two neighbouring free ports on a loopback address of the machine's own.
func (b *bed) address(i int) string {
	b.Helper()
	host := fmt.Sprintf("127.77.0.%d", i)
	for range 50 {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			b.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		next, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port+1))
		_ = l.Close()
		if err == nil {
			_ = next.Close()
			return fmt.Sprintf("%s:%d", host, port)
		}
	}
	b.Fatal("no two free ports")
	return ""
}

func (b *bed) config(m *machine) node.Config {
	return node.Config{
		Data: filepath.Join(b.dir, m.name), Socket: filepath.Join(b.dir, m.name+".sock"), Listen: m.address, Name: m.name,
		Capacity: unit.Resources{CPU: 2000, Memory: 1 << 30}, Runtime: "native", Init: []string{"/proc/self/exe", native.InitName},
		Version: "test", Log: slog.New(slog.NewTextHandler(b.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// up runs a machine and waits until it answers.
func (b *bed) up(name string) *machine {
	b.Helper()
	m := b.machines[name]
	if m == nil {
		m = &machine{bed: b, name: name, address: b.address(len(b.machines) + 1)}
		b.machines[name] = m
		c, err := client.New("unix://" + filepath.Join(b.dir, name+".sock"))
		if err != nil {
			b.Fatal(err)
		}
		m.client = c
	}
	m.run()
	return m
}

func (m *machine) run() {
	m.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	conf := m.config(m)
	conf.Ready = func() { close(ready) }
	m.stop, m.ended = cancel, make(chan error, 1)
	go func() { m.ended <- node.Run(ctx, conf) }()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-ready:
	case err := <-m.ended:
		m.Fatalf("%s ended: %v", m.name, err)
	case <-late.C:
		m.Fatalf("%s is not ready", m.name)
	}
}

// down ends a machine's daemon; its units go on.
func (m *machine) down() {
	if m.stop == nil {
		return
	}
	m.stop()
	if err := <-m.ended; err != nil {
		m.Errorf("%s: %v", m.name, err)
	}
	m.stop = nil
}

// endUnits ends what a daemon that is down has left running.
func (m *machine) endUnits() {
	if _, err := os.Stat(filepath.Join(m.dir, m.name, "native")); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := m.openRuntime()
	if err := r.Shutdown(ctx); err != nil {
		m.Error(err)
	}
	_ = r.Close()
}

// join makes a new machine a member by a token of another one, and runs it.
func (b *bed) join(by *machine, name, role string) *machine {
	b.Helper()
	t, err := by.client.CreateToken(b.Context(), wire.TokenRequest{Role: role})
	if err != nil {
		b.Fatal(err)
	}
	m := &machine{bed: b, name: name, address: b.address(len(b.machines) + 1)}
	b.machines[name] = m
	c := b.config(m)
	if err := node.Join(b.Context(), node.JoinConfig{Token: t.Token, Data: c.Data, Name: name, Listen: c.Listen}); err != nil {
		b.Fatal(err)
	}
	if m.client, err = client.New("unix://" + c.Socket); err != nil {
		b.Fatal(err)
	}
	m.run()
	return m
}

// template submits a template.
func (m *machine) template(name, text string) {
	m.Helper()
	if _, err := m.client.Apply(m.Context(), wire.ApplyRequest{Changes: []wire.Change{{Name: name, Text: &text}}}); err != nil {
		m.Fatal(err)
	}
}

// start starts units that the cluster knows, or has a template of.
func (m *machine) start(names ...string) {
	m.Helper()
	var changes []wire.Change
	for _, n := range names {
		changes = append(changes, wire.Change{Name: n, Desired: cluster.Launched, Start: true})
	}
	if _, err := m.client.Apply(m.Context(), wire.ApplyRequest{Changes: changes}); err != nil {
		m.Fatal(err)
	}
}

// locally is the machine asked for what it knows itself.
func (m *machine) locally() *machine {
	other := *m
	other.client = m.client.Local()
	return &other
}

// running waits for what the machine's runtime says of a unit.
func (m *machine) running(what, name string, ok func(cluster.Evidence) bool) {
	m.Helper()
	r := m.openRuntime()
	defer func() { _ = r.Close() }()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		list, err := r.List(m.Context())
		if err != nil {
			m.Fatal(err)
		}
		for _, e := range list {
			if e.Name == name && ok(e) {
				return
			}
		}
		select {
		case <-r.Kick():
		case <-late.C:
			m.Fatalf("%s: waited in vain for %s of %s: %+v", m.name, what, name, list)
		}
	}
}

// openRuntime connects to the machine's init process.
func (m *machine) openRuntime() *native.Runtime {
	m.Helper()
	id, err := os.ReadFile(filepath.Join(m.dir, m.name, "machine-id"))
	if err != nil {
		m.Fatal(err)
	}
	r, err := native.Open(context.Background(), native.Options{
		Dir: filepath.Join(m.dir, m.name, "native"), RunDir: filepath.Join("/run/argosy", cluster.ShortID(string(id))),
		Init: []string{"/proc/self/exe", native.InitName}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		m.Fatal(err)
	}
	return r
}

// await watches a machine's cluster until the answers are as they should be.
func (m *machine) await(what string, ok func(map[string]cluster.Answer) bool) map[string]cluster.Answer {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), patience)
	defer cancel()
	seen := map[string]cluster.Answer{}
	updates, err := m.client.Watch(ctx, 0)
	if err != nil {
		m.Fatal(err)
	}
	for u := range updates {
		if u.Answer != nil {
			seen[u.Answer.Unit] = *u.Answer
		}
		if u.Gone != "" {
			delete(seen, u.Gone)
		}
		if ok(seen) {
			return seen
		}
	}
	m.Fatalf("%s: waited in vain for %s: %+v", m.name, what, seen)
	return nil
}

func healthy(n int) func(map[string]cluster.Answer) bool {
	return func(all map[string]cluster.Answer) bool {
		count := 0
		for _, a := range all {
			if a.State == cluster.Healthy {
				count++
			}
		}
		return count == n
	}
}

// on counts healthy units for each machine.
func on(all map[string]cluster.Answer) map[string]int {
	out := map[string]int{}
	for _, a := range all {
		if a.State == cluster.Healthy {
			out[a.Machine]++
		}
	}
	return out
}

const sleeper = "[Service]\nExecStart=/bin/sh -c 'echo I am %n; exec sleep 1000'\n[X-Argosy]\nMonitor=1s\nMemoryRequest=100M\nSpread=machine\n"

// TestFoundAndJoin: one machine founds, another joins as an agent; units run on both and are seen, and read, from both.
func TestFoundAndJoin(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "agent")
	m1.template("w@.service", sleeper)
	m1.start("w@1.service", "w@2.service", "w@3.service", "w@4.service", "w@5.service", "w@6.service")
	all := m1.await("six healthy", healthy(6))
	if n := on(all); n["m1"] == 0 || n["m2"] == 0 {
		t.Fatalf("placed on %v", n)
	}
	if got := m2.await("the same from the agent", healthy(6)); len(on(got)) != 2 {
		t.Errorf("m2 sees %v", on(got))
	}
	for name, a := range all { // From whichever machine.
		if a.Template {
			continue
		}
		found := false
		err := m1.client.Journal(t.Context(), name, runtime.JournalQuery{}, func(l cluster.Line) error {
			found = found || strings.Contains(l.Text, "I am "+name)
			return nil
		})
		if err != nil || !found {
			t.Errorf("journal of %s on %s: %t %v", name, all[name].Machine, found, err)
		}
	}
	for name, a := range all { // A command where the unit is, through the other machine where it is on one.
		if a.Template || a.Machine != "m2" {
			continue
		}
		conn, err := m1.client.UnitShell(t.Context(), name, shell.Command{Argv: []string{"sh", "-c", "echo $INVOCATION_ID; exit 3"}})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		status, err := shell.Attach(conn, shell.Person{Out: &out, Err: io.Discard})
		if err != nil || status != 3 || strings.TrimSpace(out.String()) != a.Status.Invocation {
			t.Errorf("exec in %s: status %d, %q, %v; its invocation is %s", name, status, out.String(), err, a.Status.Invocation)
		}
		_ = conn.Close()
		break
	}
	// An agent's people may look, and nothing else.
	if _, err := m2.client.MachineShell(t.Context(), "m1", shell.Command{}); err == nil {
		t.Error("an agent's socket gives a shell on a server")
	}
	if _, err := m2.client.Apply(t.Context(), wire.ApplyRequest{Changes: []wire.Change{{Name: "w@1.service", Destroy: true}}}); err == nil {
		t.Error("an agent's socket may destroy units")
	}
}

// TestServersAway: with every server down an agent's units go on, come back when they crash, and outlive a restart of
// the daemon; when the server is back it finds them as they are.
func TestServersAway(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "agent")
	m1.template("w@.service", "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=100ms\n[X-Argosy]\nMonitor=1s\nSpread=machine\n")
	m1.start("w@1.service", "w@2.service")
	before := m1.await("two healthy", healthy(2))
	mine := ""
	for name, a := range before {
		if a.Machine == "m2" {
			mine = name
		}
	}
	if mine == "" {
		t.Fatalf("nothing on m2: %v", on(before))
	}
	m1.down()
	m2.down()
	m2.run() // It knows what it knew.
	local := m2.locally()
	pid := before[mine].Status.MainPID
	e := local.await("its unit, as it was", func(all map[string]cluster.Answer) bool { return all[mine].State == cluster.Healthy })
	if e[mine].Status.MainPID != pid {
		t.Errorf("a restart of the daemon changed the unit: pid %d, was %d", e[mine].Status.MainPID, pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m2.running("a new process", mine, func(e cluster.Evidence) bool { return e.Sub == "running" && e.MainPID != pid })
	m1.run()
	m1.await("the agent's news", func(all map[string]cluster.Answer) bool {
		a := all[mine]
		return healthy(2)(all) && a.Machine == "m2" && a.Status.MainPID != pid
	})
}

// TestServersGrow: machines that join as servers become voters by themselves, and an agent joins through any of them;
// the first server goes, and everything still answers.
func TestServersGrow(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "server")
	m3 := b.join(m2, "m3", "server") // Through a machine that may not be a server yet.
	m1.servers(3)
	m4 := b.join(m3, "m4", "agent")
	m1.template("w@.service", sleeper)
	m2.start("w@1.service", "w@2.service", "w@3.service", "w@4.service")
	if n := on(m3.await("four healthy", healthy(4))); len(n) != 4 {
		t.Errorf("placed on %v", n)
	}
	m1.down() // Two of three are left.
	m4.start4(m2)
}

// start4 starts four more units through a server, and sees them from an agent.
func (m *machine) start4(by *machine) {
	m.Helper()
	by.start("w@5.service", "w@6.service", "w@7.service", "w@8.service")
	m.await("the new ones healthy", func(all map[string]cluster.Answer) bool {
		for _, n := range []string{"w@5.service", "w@6.service", "w@7.service", "w@8.service"} {
			if all[n].State != cluster.Healthy {
				return false
			}
		}
		return true
	})
}

// servers waits until so many machines hold the store.
func (m *machine) servers(n int) {
	m.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		list, err := m.client.Machines(m.Context())
		if err != nil {
			m.Fatal(err)
		}
		count := 0
		for _, one := range list.Machines {
			if one.Server && one.Alive {
				count++
			}
		}
		if count == n {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			m.Fatalf("%d machines hold the store, want %d: %+v", count, n, list.Machines)
		}
	}
}
