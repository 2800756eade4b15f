package node_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/wire"
)

// lines reads what there is of a unit.
func (m *machine) lines(name string, machines ...string) ([]cluster.Line, error) {
	var out []cluster.Line
	err := m.client.Lines(m.Context(), name, client.LinesQuery{Machines: machines}, func(l cluster.Line) error {
		out = append(out, l)
		return nil
	})
	return out, err
}

// heard is a follow that goes on in the background.
type heard struct {
	*machine
	mu    sync.Mutex
	lines []cluster.Line
	more  chan struct{}
	ended chan error
}

func (m *machine) follow(name string) *heard {
	ctx, cancel := context.WithCancel(m.Context())
	h := &heard{machine: m, more: make(chan struct{}, 1), ended: make(chan error, 1)}
	go func() {
		h.ended <- m.client.Journal(ctx, name, runtime.JournalQuery{Follow: true}, func(l cluster.Line) error {
			h.mu.Lock()
			h.lines = append(h.lines, l)
			h.mu.Unlock()
			select {
			case h.more <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	m.Cleanup(cancel)
	return h
}

// until waits for a line.
func (h *heard) until(what string, ok func(cluster.Line) bool) {
	h.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		h.mu.Lock()
		all := h.lines
		h.mu.Unlock()
		if slices.ContainsFunc(all, ok) {
			return
		}
		select {
		case <-h.more:
		case err := <-h.ended:
			h.Fatalf("the follow ended before %s: %v; %+v", what, err, all)
		case <-late.C:
			h.Fatalf("waited in vain for %s: %+v", what, all)
		}
	}
}

func says(machine, text string) func(cluster.Line) bool {
	return func(l cluster.Line) bool {
		return l.Machine == machine && l.Stream != cluster.StreamJournal && strings.Contains(l.Text, text)
	}
}

func told(machine, text string) func(cluster.Line) bool {
	return func(l cluster.Line) bool {
		return l.Machine == machine && l.Stream == cluster.StreamJournal && strings.Contains(l.Text, text)
	}
}

const talker = "[Service]\nExecStart=/bin/sh -c 'echo up %n; while :; do sleep 0.2; echo tick; done'\n[X-Argosy]\nMonitor=1s\n"

// TestJournalsOverMachines: a global unit's lines come from every machine; a machine that is away is named and costs no
// more than its own; a follow goes where the unit goes; what is gone from the cluster is still kept where it was.
func TestJournalsOverMachines(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "agent")
	m3 := b.join(m1, "m3", "agent")
	for _, name := range []string{"m2", "m3"} { // People there may read.
		viewer := cluster.Viewer
		if _, err := m1.client.PatchMachine(t.Context(), name, wire.MachinePatch{LocalRole: &viewer}); err != nil {
			t.Fatal(err)
		}
	}
	m1.template("every.service", talker+"[X-Fleet]\nGlobal=true\n")
	m1.template("one.service", talker+"[X-Fleet]\nConflicts=other.service\n")
	m1.template("other.service", talker)
	m1.start("every.service", "one.service")
	all := m1.await("both healthy", healthy(2))
	lines, err := m3.lines("every.service")
	if err != nil || !slices.ContainsFunc(lines, says("m1", "up every")) || !slices.ContainsFunc(lines, says("m2", "up every")) || !slices.ContainsFunc(lines, says("m3", "up every")) {
		t.Fatalf("every.service, asked at m3: %v %+v", err, lines)
	}
	for i := range lines[1:] {
		if lines[i+1].At.Before(lines[i].At) {
			t.Errorf("line %d is older than the one before it: %+v", i+1, lines)
		}
	}
	if all["one.service"].Machine == "m1" { // It has to be where it can be lost.
		yes := true
		if _, err := m1.client.PatchMachine(t.Context(), "m1", wire.MachinePatch{Cordoned: &yes}); err != nil {
			t.Fatal(err)
		}
		if _, err := m1.client.Apply(t.Context(), wire.ApplyRequest{Changes: []wire.Change{{Name: "one.service", Desired: cluster.Inactive}}}); err != nil {
			t.Fatal(err)
		}
		m1.await("one off m1", func(all map[string]cluster.Answer) bool { return all["one.service"].MachineID == "" })
		m1.start("one.service")
		all = m1.await("one elsewhere", func(all map[string]cluster.Answer) bool {
			a := all["one.service"]
			return a.State == cluster.Healthy && a.Machine != "m1"
		})
	}
	from := all["one.service"].Machine
	one := m1.follow("one.service")
	one.until("its lines", says(from, "tick"))
	every := m1.follow("every.service")
	every.until("m3's lines", says("m3", "tick"))

	lost := b.machines[from]
	lost.down()
	one.until("the machine being away", told(from, "its lines are missing"))
	var to string
	m1.await("one elsewhere", func(all map[string]cluster.Answer) bool {
		a := all["one.service"]
		to = a.Machine
		return a.State == cluster.Healthy && to != from
	})
	one.until("the move", told(to, "moved from "+from+" to "+to))
	one.until("lines from there", says(to, "up one.service"))
	every.until("the machine being away", told(from, "its lines are missing"))
	lines, err = m1.lines("every.service")
	if err != nil || !slices.ContainsFunc(lines, told(from, "its lines are missing")) || !slices.ContainsFunc(lines, says("m1", "up every")) {
		t.Errorf("every.service without %s: %v, %d lines", from, err, len(lines))
	}
	if _, err := m1.lines("one.service", from); err == nil {
		t.Errorf("%s is down and tells its lines", from)
	}
	lost.run()
	every.until("the machine's return", told(from, "answers again"))

	if _, err := m1.client.Apply(t.Context(), wire.ApplyRequest{Changes: []wire.Change{{Name: "one.service", Destroy: true}}}); err != nil {
		t.Fatal(err)
	}
	m1.await("one gone", func(all map[string]cluster.Answer) bool { _, there := all["one.service"]; return !there })
	_, err = m1.lines("one.service")
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.NoSuchUnit {
		t.Errorf("a destroyed unit: %v", err)
	}
	for _, asked := range []*machine{m1, m2, m3} {
		if lines, err = asked.lines("one.service", from); err != nil || !slices.ContainsFunc(lines, says(from, "up one")) || slices.ContainsFunc(lines, says(to, "")) {
			t.Errorf("what %s keeps, asked at %s: %v %+v", from, asked.name, err, lines)
		}
	}
	if lines, err = m2.lines("one.service", "all"); err != nil || !slices.ContainsFunc(lines, says(from, "up one")) || !slices.ContainsFunc(lines, says(to, "up one")) {
		t.Errorf("what all keep: %v %+v", err, lines)
	}
}
