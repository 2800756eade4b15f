package plan

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

var update = flag.Bool("update", false, "write testdata/*.txt anew")

// stage plays a drawn script: machines, units and events in, plan and reasons out.
type stage struct {
	t        *testing.T
	p        *Planner
	machines map[string]Machine
	units    map[string]Unit
	out      strings.Builder
}

// TestDrawn plays testdata/*.txt. A script is blocks of commands, each followed by ---- and what they print:
//
//	machine NAME [memory=4G] [cpu=2] [disk=10G] [types=service,timer] [runtime=native] [KEY=VALUE as metadata]
//	cordon|uncordon|lose|back|remove|drain MACHINE
//	stays MACHINE  prints what keeps its units there
//	unit NAME... [memory= cpu= disk= port=[ADDR:]N[/udp] conflicts= replaces= of= id= meta=KEY=A|B spread= priority=] [global] [inactive]
//	start|stop|forget UNIT...
//	adopt UNIT MACHINE EPOCH
//	decide        prints the changes
//	explain UNIT  prints the reasons
//	promised MACHINE
func TestDrawn(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("scripts: %v %v", files, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s went another way (-update rewrites it):\n%s", f, firstDifference(string(text), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			return fmt.Sprintf("line %d:\n want %s\n got  %s", i+1, strings.Join(w[min(i, len(w)):min(i+5, len(w))], "\n      "), strings.Join(g[i:min(i+5, len(g))], "\n      "))
		}
	}
	return fmt.Sprintf("line %d: more was wanted", len(g))
}

// play runs a script and gives it back with what it prints now.
func play(t *testing.T, text string) string {
	s := &stage{t: t, p: New(1), machines: map[string]Machine{}, units: map[string]Unit{}}
	var b strings.Builder
	skip := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "----":
			fmt.Fprintf(&b, "----\n%s", s.out.String())
			s.out.Reset()
			skip = true
		case skip && line != "":
		case skip || line == "" || line[0] == '#':
			skip = false
			b.WriteString(line + "\n")
		default:
			s.command(strings.Fields(line))
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func (s *stage) command(f []string) {
	s.t.Helper()
	switch verb, args := f[0], f[1:]; verb {
	case "machine":
		s.machine(args)
	case "cordon", "uncordon", "lose", "back", "drain":
		m := s.machines[args[0]]
		switch verb {
		case "drain":
			m.Draining = true
		case "cordon", "uncordon":
			m.Cordoned, m.Draining = verb == "cordon", false
		default:
			m.Down = verb == "lose"
		}
		s.machines[args[0]] = m
		s.p.SetMachine(m)
	case "stays":
		for _, stay := range s.p.Stays(s.machines[args[0]].ID) {
			why := "could leave"
			if stay.Why != nil {
				why = string(stay.Why.Code) + ": " + stay.Why.Message()
			}
			fmt.Fprintf(&s.out, "%s: %s\n", strings.TrimSuffix(stay.Unit, ".service"), why)
		}
	case "remove":
		s.p.RemoveMachine(s.machines[args[0]].ID)
	case "unit":
		s.unit(args)
	case "start", "stop":
		for _, a := range args {
			u := s.units[full(a)]
			u.Wanted = verb == "start"
			s.units[full(a)] = u
			s.p.SetUnit(u)
		}
	case "forget":
		for _, a := range args {
			s.p.RemoveUnit(full(a))
		}
	case "adopt":
		epoch, err := strconv.ParseInt(args[2], 10, 64)
		s.must(err)
		s.p.Adopt(full(args[0]), id(args[1]), epoch)
	case "decide":
		s.decide()
	case "explain":
		s.explain(full(args[0]))
	case "promised":
		r := s.p.Promised(id(args[0]))
		fmt.Fprintf(&s.out, "%s: cpu %s, memory %s, disk %s\n", args[0], reason.CPU(r.CPU), reason.Bytes(r.Memory), reason.Bytes(r.Disk))
	default:
		s.t.Fatalf("command %q", verb)
	}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func id(name string) string { return (name + strings.Repeat("0", 32))[:32] }

func full(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return name + ".service"
}

func (s *stage) machine(args []string) {
	m := Machine{ID: id(args[0]), Name: args[0], Runtime: "native", Metadata: map[string]string{}, Allocatable: unit.Resources{CPU: 4000, Memory: 4 << 30, Disk: 100 << 30}}
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "memory":
			m.Allocatable.Memory = s.size(v)
		case "disk":
			m.Allocatable.Disk = s.size(v)
		case "cpu":
			m.Allocatable.CPU = s.cores(v)
		case "types":
			m.Types = strings.Split(v, ",")
		case "runtime":
			m.Runtime = v
		default:
			m.Metadata[k] = v
		}
	}
	s.machines[args[0]] = m
	s.p.SetMachine(m)
}

func (s *stage) size(v string) int64 {
	n, err := strconv.ParseInt(strings.TrimRight(v, "KMG"), 10, 64)
	s.must(err)
	return n << (10 * (1 + strings.Index("KMG", v[len(v)-1:])))
}

func (s *stage) cores(v string) int64 {
	n, err := strconv.ParseFloat(v, 64)
	s.must(err)
	return int64(n * 1000)
}

func (s *stage) unit(args []string) {
	u := Unit{Wanted: true}
	var names []string
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		switch {
		case !ok && a == "global":
			u.Demand.Global = true
		case !ok && a == "inactive":
			u.Wanted = false
		case !ok:
			names = append(names, full(a))
		default:
			s.demand(&u.Demand, k, v)
		}
	}
	for _, n := range names {
		u.Name, u.Type = n, unit.Name(n).Type()
		u.Demand.Service = n
		if unit.Name(n).IsInstance() {
			u.Demand.Service = string(unit.Name(n).Template())
		}
		s.units[n] = u
		s.p.SetUnit(u)
	}
}

func (s *stage) demand(d *unit.Demand, k, v string) {
	list := strings.Split(v, ",")
	switch k {
	case "memory":
		d.Request.Memory = s.size(v)
	case "disk":
		d.Request.Disk = s.size(v)
	case "cpu":
		d.Request.CPU = s.cores(v)
	case "port":
		number, proto, _ := strings.Cut(v, "/")
		address := ""
		if i := strings.LastIndexByte(number, ':'); i >= 0 {
			address, number = number[:i], number[i+1:]
		}
		n, err := strconv.ParseUint(number, 10, 16)
		s.must(err)
		d.Ports = append(d.Ports, unit.Port{Number: uint16(n), Proto: proto, Address: address})
	case "conflicts":
		d.Conflicts = list
	case "replaces":
		d.Replaces = list
	case "of":
		for _, p := range list {
			d.MachineOf = append(d.MachineOf, full(p))
		}
	case "id":
		d.MachineID = v
	case "meta":
		key, values, _ := strings.Cut(v, "=")
		d.Metadata = append(d.Metadata, unit.MetadataTerm{Key: key, Values: strings.Split(values, "|")})
	case "spread":
		d.Spread = list
	case "priority":
		n, err := strconv.Atoi(v)
		s.must(err)
		d.Priority = n
	default:
		s.t.Fatalf("demand %q", k)
	}
}

func (s *stage) decide() {
	for again := true; again; again = s.p.Behind() {
		for _, c := range slices.Clone(s.p.Decide()) {
			fmt.Fprintln(&s.out, s.line(c))
		}
	}
	if again := s.p.Decide(); len(again) > 0 {
		s.t.Errorf("a second Decide without news says %v", again)
	}
	if err := s.p.Check(); err != nil {
		s.t.Errorf("after %s: %v", s.out.String(), err)
	}
}

func (s *stage) name(id string) string {
	for _, n := range slices.Sorted(maps.Keys(s.machines)) {
		if s.machines[n].ID == id {
			return n
		}
	}
	return id
}

func (s *stage) line(c Change) string {
	b := strings.TrimSuffix(c.Unit, ".service")
	if c.From != "" {
		b += " from " + s.name(c.From)
	}
	switch {
	case c.Machine != "":
		b += " to " + s.name(c.Machine)
		if c.Global {
			b += " (global)"
		}
		b += fmt.Sprintf(", epoch %d", c.Epoch)
		if n := c.Reason.Int("candidates"); n > 0 {
			b += fmt.Sprintf(", of %d", n)
		}
		if cause := c.Reason.Str("cause"); cause != "" {
			b += ": " + cause
		}
	case c.Reason != nil:
		b += fmt.Sprintf(": %s: %s", c.Reason.Code, c.Reason.Message())
	default:
		b += " withdrawn"
	}
	return b
}

func (s *stage) explain(name string) {
	e := s.p.Explain(name)
	fmt.Fprintf(&s.out, "%s: fits %d of %d\n", strings.TrimSuffix(name, ".service"), e.Fits, e.Machines)
	for _, r := range []*reason.Reason{e.Placed, e.Unplaced} {
		if r != nil {
			fmt.Fprintf(&s.out, "  %s: %s\n", r.Code, r.Message())
			if h := r.Hint(); h != "" {
				fmt.Fprintf(&s.out, "  hint: %s\n", h)
			}
		}
	}
	for _, c := range e.Candidates {
		for _, r := range c.Because {
			fmt.Fprintf(&s.out, "  %s: %s: %s\n", c.Machine, r.Code, r.Message())
		}
	}
}
