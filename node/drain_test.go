package node_test

import (
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

// TestDrain: instances keep apart by default; a drained machine's services are started on the other one before they end,
// so that each is healthy somewhere all the time; a dead machine is forgotten.
func TestDrain(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "agent")
	m1.template("w@.service", "[Service]\nExecStart=/bin/sleep 1000\n[X-Argosy]\nMonitor=1s\nMemoryRequest=100M\n")
	m1.template("big@.service", "[Service]\nExecStart=/bin/sleep 1000\n[X-Argosy]\nMonitor=1s\nMemoryRequest=500M\n")
	m1.start("w@1.service", "w@2.service", "w@3.service", "w@4.service")
	m1.start("big@1.service")
	all := m1.await("five healthy", healthy(5))
	n := map[string]int{}
	for _, name := range []string{"w@1.service", "w@2.service", "w@3.service", "w@4.service"} {
		n[all[name].Machine]++
	}
	if n["m1"] != 2 || n["m2"] != 2 {
		t.Errorf("instances are on %v", n)
	}
	away := m2
	forecast, err := m1.client.Plan(t.Context(), wire.PlanRequest{Drain: []string{"m2"}})
	if err != nil || len(forecast.Moves) < 2 {
		t.Fatalf("forecast: %+v, %v", forecast, err)
	}
	yes, began := true, time.Now()
	if _, err := m1.client.PatchMachine(t.Context(), away.name, wire.MachinePatch{Draining: &yes}); err != nil {
		t.Fatal(err)
	}
	handing := 0
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		list, err := m1.client.Units(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list.Units {
			if !a.Template && a.State != cluster.Healthy {
				t.Errorf("after %v %s is %s on %s", time.Since(began), a.Unit, a.State, a.Machine)
			}
		}
		m, err := m1.client.Machine(t.Context(), away.name)
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, on := range m.On {
			if on.To != "" {
				handing++
			}
			left++
		}
		if left == 0 || t.Failed() {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("still there: %+v", m.On)
		}
		<-look.C
	}
	t.Logf("drained in %v; forecast %+v", time.Since(began), forecast.Moves)
	if handing == 0 {
		t.Error("no unit was seen at both places")
	}
	got := m1.await("five healthy", healthy(5))
	for _, move := range forecast.Moves {
		if got[move.Unit].Machine != move.To {
			t.Errorf("%s was to come to %s and is on %s", move.Unit, move.To, got[move.Unit].Machine)
		}
	}
	away.down()
	if _, err := m1.client.RemoveMachine(t.Context(), away.name, true); err != nil {
		t.Fatal(err)
	}
	if list, err := m1.client.Machines(t.Context()); err != nil || len(list.Machines) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}
