package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/hosttest/light"
	"argosy.dev/argosy/wire"
)

// binary is argosy, built once for all tests of this package.
var binary string

func TestMain(m *testing.M) {
	if handled, code := light.Entry(os.Args); handled {
		os.Exit(code)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "scenario-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }() // Only a copy of what can be built again.
		binary = filepath.Join(dir, "argosy")
		build := exec.Command("go", "build", "-trimpath", "-o", binary, "argosy.dev/argosy/cmd/argosy")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build argosy: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

const (
	inside   = "/usr/local/bin/argosy"
	patience = 90 * time.Second // Bounds every wait.
	glance   = 100 * time.Millisecond
)

// fleet is a cluster on light hosts.
type fleet struct {
	*testing.T
	bed   *light.Bed
	hosts []*light.Host
	up    map[string]*light.Process
	// classes of hosts, by name; for metadata.
	classes map[string]string
}

// newFleet makes n hosts with a real disk each.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	b := light.Hosts(t, n, light.Options{DiskMiB: 512, Binds: map[string]string{binary: inside}})
	return &fleet{T: t, bed: b, hosts: b.Hosts(), up: map[string]*light.Process{}}
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// daemon runs a verb that makes a machine of a host: up, or join with its token.
func (f *fleet) daemon(h *light.Host, verb ...string) {
	f.Helper()
	argv := append([]string{inside}, verb...)
	argv = append(argv, "--data", "/var/lib/argosy", "--listen", h.Address()+":7443", "--name", h.Name,
		"--metadata", f.metadata(h), "--capacity", "memory=2G,cpu=4", "--log-level", "warn")
	p, err := h.Start(argv...)
	f.must(err)
	f.up[h.Name] = p
}

// metadata of a host: its zone, and its class where the fleet has classes.
func (f *fleet) metadata(h *light.Host) string {
	if class := f.classes[h.Name]; class != "" {
		return "zone=" + zone(h) + ",class=" + class
	}
	return "zone=" + zone(h)
}

// zone spreads the hosts over three zones.
func zone(h *light.Host) string {
	return string("abc"[int(h.Name[len(h.Name)-1]-'1')%3])
}

// found makes the first host a cluster and lets the others join it, as servers or agents.
func (f *fleet) found(servers int) {
	f.Helper()
	f.daemon(f.hosts[0], "up")
	f.answers(f.hosts[0])
	for i, h := range f.hosts[1:] {
		role := "agent"
		if i+1 < servers {
			role = "server"
		}
		f.daemon(h, "join", f.token(role))
		f.answers(h)
	}
	f.eventually(fmt.Sprintf("%d servers", servers), func() bool { return f.servers(f.hosts[0]) == servers })
}

// token lets one machine join. The first server's address is known a moment after its socket answers.
func (f *fleet) token(role string) (token string) {
	f.Helper()
	f.eventually("a token", func() bool {
		out, _, code := f.hosts[0].Exec(f.Context(), inside, "-q", "token", "create", "--role", role)
		token = strings.TrimSpace(out)
		return code == 0
	})
	return token
}

// answers waits until a host's socket answers.
func (f *fleet) answers(h *light.Host) {
	f.Helper()
	f.eventually(h.Name+" answers", func() bool {
		_, _, code := h.Exec(f.Context(), inside, "list-machines", "-o", "json")
		return code == 0
	})
}

// servers counts the living servers as a host sees them.
func (f *fleet) servers(h *light.Host) int {
	n := 0
	for _, m := range f.machines(h) {
		if m.Server && m.Alive {
			n++
		}
	}
	return n
}

func (f *fleet) machines(h *light.Host) []wire.MachineDetail {
	var list wire.MachineList
	f.ask(h, &list, "list-machines", "-o", "json")
	return list.Machines
}

// units are the present answers as a host sees them; nil when it cannot tell.
func (f *fleet) units(h *light.Host) map[string]cluster.Answer {
	var list wire.UnitList
	if !f.ask(h, &list, "list-units", "-o", "json") {
		return nil
	}
	out := map[string]cluster.Answer{}
	for _, a := range list.Units {
		if !a.Template {
			out[a.Unit] = a
		}
	}
	return out
}

// ask runs a verb on a host and reads its JSON; false when the verb fails.
func (f *fleet) ask(h *light.Host, into any, verb ...string) bool {
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	out, _, code := h.Exec(ctx, append([]string{inside}, verb...)...)
	return code == 0 && json.Unmarshal([]byte(out), into) == nil
}

// eventually looks again and again until it holds, and tells how long that took.
func (f *fleet) eventually(what string, holds func() bool) time.Duration {
	f.Helper()
	began := time.Now()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late.C:
			f.Fatalf("waited in vain for: %s\n%s", what, f.picture())
		case <-f.Context().Done():
			f.Fatal(f.Context().Err())
		}
	}
	return time.Since(began)
}

// picture is what the hosts say, for a test that failed.
func (f *fleet) picture() string {
	var b strings.Builder
	for _, h := range f.hosts {
		if f.up[h.Name] == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		for _, verb := range []string{"list-machines", "list-units"} {
			out, errs, _ := h.Exec(ctx, inside, verb)
			fmt.Fprintf(&b, "%s %s:\n%s%s", h.Name, verb, out, errs)
		}
		cancel()
	}
	return b.String()
}

// start starts units and waits for the verdict; it fails the test when that is not good.
func (f *fleet) start(h *light.Host, units ...string) {
	f.Helper()
	out, errs, code := h.Exec(f.Context(), append([]string{inside, "start", "-o", "json"}, units...)...)
	if code != 0 {
		f.Fatalf("start %s: exit %d\n%s%s", units, code, out, errs)
	}
}

// healthyOn counts healthy units by machine.
func healthyOn(all map[string]cluster.Answer) map[string]int {
	out := map[string]int{}
	for _, a := range all {
		if a.State == cluster.Healthy {
			out[a.Machine]++
		}
	}
	return out
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

const webTemplate = `[Service]
ExecStart=/bin/sh -c 'echo %n runs; exec sleep 100000'
Restart=always
[X-Argosy]
Monitor=1s
MemoryRequest=64M
Spread=machine
`

// TestGrowAndLose: 1 -> 5 voters by themselves; a host is lost with its power, then the leader, then two at once (S11,
// S30 in small): nothing is lost, every unit is answered for, and nothing else moves.
func TestGrowAndLose(t *testing.T) {
	f := newFleet(t, 5)
	began := time.Now()
	f.found(5)
	t.Logf("five hosts founded and joined, five servers: %v", time.Since(began).Round(time.Millisecond))
	h1 := f.hosts[0]
	h1.Write(t, "/root/web@.service", []byte(webTemplate))
	h1.Run(t, inside, "submit", "/root/web@.service")
	f.start(h1, "web@{1..20}")
	before := f.units(h1)
	if n := healthyOn(before); sum(n) != 20 || len(n) != 5 {
		t.Fatalf("healthy units: %v", n)
	}

	f.lose(before, f.hosts[4])
	f.back(f.hosts[4])
	leader := f.leader(h1)
	f.lose(f.units(h1), leader)
	f.back(leader)
	f.lose(f.units(f.hosts[0]), f.hosts[1], f.hosts[2])
}

// lose cuts the power of hosts, and waits until their units run elsewhere; those of the others must not move.
func (f *fleet) lose(before map[string]cluster.Answer, lost ...*light.Host) {
	f.Helper()
	names := []string{}
	for _, h := range lost {
		f.must(h.Kill())
		names = append(names, h.Name)
		delete(f.up, h.Name)
	}
	var left *light.Host
	for _, h := range f.hosts {
		if f.up[h.Name] != nil {
			left = h
		}
	}
	var after map[string]cluster.Answer
	took := f.eventually(fmt.Sprintf("the units of %v are healthy elsewhere", names), func() bool {
		after = f.units(left)
		n := healthyOn(after)
		return sum(n) == len(before) && !slices.ContainsFunc(names, func(name string) bool { return n[name] > 0 })
	})
	f.Logf("power of %v lost: all %d units healthy again after %v", names, len(before), took.Round(time.Millisecond))
	for name, a := range before {
		if slices.Contains(names, a.Machine) {
			continue
		}
		if now := after[name]; now.Machine != a.Machine || now.Status == nil || a.Status == nil || now.Status.MainPID != a.Status.MainPID {
			f.Errorf("%s was not on a lost host, and changed: %s pid %d before, %s pid %d after", name, a.Machine, pid(a), now.Machine, pid(now))
		}
	}
}

func pid(a cluster.Answer) int {
	if a.Status == nil {
		return 0
	}
	return a.Status.MainPID
}

// back gives a host its power back; it comes up with what it knew.
func (f *fleet) back(h *light.Host) {
	f.Helper()
	f.must(h.On())
	f.daemon(h, "up")
	took := f.eventually(h.Name+" is alive again", func() bool {
		for _, m := range f.machines(h) {
			if m.Name == h.Name {
				return m.Alive
			}
		}
		return false
	})
	f.Logf("%s is back after %v", h.Name, took.Round(time.Millisecond))
}

// leader is the host that leads.
func (f *fleet) leader(h *light.Host) *light.Host {
	f.Helper()
	var v struct{ Cluster wire.VersionInfo }
	if !f.ask(h, &v, "version", "-o", "json") {
		f.Fatal("no version")
	}
	for _, one := range f.hosts {
		if one.Name == v.Cluster.Leader {
			return one
		}
	}
	f.Fatalf("nobody leads: %+v", v)
	return nil
}
