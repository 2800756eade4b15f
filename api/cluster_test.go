package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// running puts a unit of 100M on m1.
func (h *harness) running(name string) {
	h.t.Helper()
	lead := leads(h.store)
	rev := h.apply(wire.Change{Name: name, Text: new(sleepUnit + "MemoryMax=100M\n[X-Argosy]\nCPURequest=0.5\n"), Desired: cluster.Launched}).Revision
	h.write(lead, store.Put(cluster.PlacementKey(m1, name), cluster.Placement{
		Unit: name, Machine: m1, Epoch: 1, At: at,
		Reason: reason.Because(reason.Placed, reason.Args{"machine": "m1", "candidates": 1}),
	}))
	h.seen(h.status(name, rev, cluster.Healthy, reason.Because(reason.Healthy, nil)))
}

func TestMachines(t *testing.T) {
	h, ctx := start(t), deadline(t)
	h.machine()
	h.running("a.service")
	h.running("b.service")
	list, err := h.client.Machines(ctx)
	if err != nil || len(list.Machines) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	m := list.Machines[0]
	if m.Promised.Memory != 200<<20 || m.Promised.CPU != 1000 || m.Units != 2 || !m.Alive || m.Allocatable.Memory != 1<<30 || m.Cordoned {
		t.Errorf("m1 is %+v", m)
	}
	yes, ssd, none := true, "ssd", ""
	d, err := h.client.PatchMachine(ctx, "m1", wire.MachinePatch{Cordoned: &yes, Metadata: map[string]*string{"disk": &ssd, "zone": &none}})
	if err != nil || !d.Cordoned || len(d.Metadata) != 1 || d.Metadata["disk"] != "ssd" {
		t.Errorf("patched: %+v, %v", d, err)
	}
	if d, err = h.client.PatchMachine(ctx, m1[:8], wire.MachinePatch{Metadata: map[string]*string{"zone": nil}}); err != nil || !d.Cordoned || d.Metadata["zone"] != "a" {
		t.Errorf("patched back: %+v, %v", d, err)
	}
	_, err = h.client.Machine(ctx, "m7")
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.NoSuchMachine {
		t.Errorf("a machine that is not there: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	h := start(t)
	h.machine()
	h.running("a.service")
	h.apply(wire.Change{Name: "b.service", Text: new(sleepUnit)})
	_, _, body := h.do("GET", "/metrics", "")
	for _, line := range []string{
		`argosy_build_info{go="`, `argosy_unit_state{state="healthy"} 1`, `argosy_unit_state{state="stopped"} 1`, `argosy_unit_state{state="failed"} 0`,
		`argosy_units{reason="healthy"} 1`, `argosy_units{reason="not-started"} 1`, `argosy_machine_up{machine="m1"} 1`,
		`argosy_machine_memory_allocatable_bytes{machine="m1"} 1.073741824e+09`, `argosy_machine_memory_requested_bytes{machine="m1"} 1.048576e+08`,
		`argosy_machine_cpu_requested_cores{machine="m1"} 0.5`, `argosy_api_requests_total{call="applyUnits",code="200"} 2`, `argosy_api_watches `,
		`argosy_machine_cordoned{machine="m1"} 0`, `argosy_unit_restarts_total 0`, `argosy_unit_failures_total{reason="oom-killed"} 0`, `argosy_events_unwritten 0`,
		`process_resident_memory_bytes `, `go_goroutines `,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no %s in\n%s", line, body)
		}
	}
	if strings.Contains(body, "a.service") {
		t.Error("a unit's name is a label: the number of series has no bound")
	}
}

// TestCounters: what happens to units is added up, over orders and moves, and without any unit's name.
func TestCounters(t *testing.T) {
	h := start(t)
	h.machine()
	h.running("a.service")
	rev := h.wanted("a.service").Revision
	limit := reason.Because(reason.OOMKilled, reason.Args{"limit": 1 << 20, "kills": 2})
	exit := reason.Because(reason.Exit, reason.Args{"status": 1, "uptime": 5})
	for _, s := range []struct {
		state    cluster.State
		why      *reason.Reason
		restarts int
		kills    int
	}{
		{cluster.BackingOff, reason.Because(reason.BackingOff, reason.Args{"next": 100, "last": "killed"}), 1, 1},
		{cluster.Failing, limit, 2, 2},
		{cluster.Failing, reason.Because(reason.OOMKilled, reason.Args{"limit": 1 << 20, "kills": 3}), 3, 3}, // The same failure.
		{cluster.Starting, reason.Because(reason.Starting, nil), 0, 0},                                       // An order.
		{cluster.Failed, exit, 1, 0},
		{cluster.Healthy, reason.Because(reason.Healthy, nil), 1, 0},
		{cluster.Failed, exit, 1, 0},
	} {
		h.seen(h.write(agent, store.Put(cluster.StatusKey(m1, "a.service"), cluster.Status{
			Unit: "a.service", Machine: m1, Epoch: 1, State: s.state, Reason: s.why, For: rev, Restarts: s.restarts, OOMKills: s.kills,
		})))
	}
	_, _, body := h.do("GET", "/metrics", "")
	for _, line := range []string{
		"argosy_unit_restarts_total 4\n", "argosy_unit_oom_kills_total 3\n",
		`argosy_unit_failures_total{reason="oom-killed"} 1` + "\n", `argosy_unit_failures_total{reason="exit"} 2` + "\n",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no %s in\n%s", line, body)
		}
	}
}

// TestEvents: what happened is listed and followed, and numbers resume.
func TestEvents(t *testing.T) {
	h, ctx := start(t), deadline(t)
	h.machine()
	h.running("a.service")
	list, err := h.client.Events(ctx, 0, "a", 0)
	if err != nil || len(list.Events) < 3 || list.Events[0].Message != "submitted, start" || list.Events[0].Who != h.wanted("a.service").By {
		t.Fatalf("%+v, %v", list, err)
	}
	enough := errors.New("enough")
	go func() {
		if _, err := h.client.Destroy(ctx, "a.service", nil); err != nil {
			t.Error(err)
		}
	}()
	var got []string
	err = h.client.FollowEvents(ctx, list.Last, "", func(e wire.Event) error {
		got = append(got, e.Message+" by "+e.Who)
		return enough
	})
	if !errors.Is(err, enough) || got[0] != "destroyed by "+list.Events[0].Who {
		t.Errorf("followed %q, %v", got, err)
	}
	few, err := h.client.Events(ctx, 0, "", 2)
	if err != nil || len(few.Events) != 2 || few.Last != few.Events[1].Seq {
		t.Errorf("two events: %+v, %v", few, err)
	}
}

// TestWhyOverTheWire: the gathered parts come together.
func TestWhyOverTheWire(t *testing.T) {
	h, ctx := start(t), deadline(t)
	h.machine()
	h.running("web@1.service")
	h.running("web@2.service")
	rev := h.wanted("web@2.service").Revision
	h.journal.lines = []cluster.Line{{Text: "starting"}, {Text: "boom"}}
	h.seen(h.status("web@2.service", rev, cluster.Failed, reason.Because(reason.Exit, reason.Args{"status": 1, "uptime": 10})))
	w, err := h.client.Why(ctx, "web@2")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.Cause, "exit 1") || len(w.Compare) == 0 || len(w.Changed) == 0 || len(w.Placed) == 0 || len(w.Timeline) < 3 || len(w.Log) != 2 || len(w.Try) == 0 {
		t.Errorf("%+v", w)
	}
	if w, err = h.client.Why(ctx, "web@1"); err != nil || !strings.Contains(w.Headline, "nothing wrong") || w.Cause != "" || w.Log != nil {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestHealthAndVersion(t *testing.T) {
	h, ctx := start(t), deadline(t)
	v, err := h.client.Version(ctx)
	if err != nil || v.Version != "1.2.3" || v.Machine != m1 || v.API != "v1" {
		t.Errorf("%+v, %v", v, err)
	}
	h.machine()
	h.running("a.service")
	health, err := h.client.Health(ctx)
	if err != nil || !health.OK || health.Units != 1 || health.Machines != 1 {
		t.Errorf("%+v, %v", health, err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	health, err = h.client.Health(ctx)
	if err != nil || health.OK || health.Store == nil || health.Store.Reason.Code != reason.StoreUnavailable {
		t.Errorf("without a store: %+v, %v", health, err)
	}
	if list, err := h.client.Units(ctx); err != nil || len(list.Units) != 1 {
		t.Errorf("without a store the last picture is shown: %+v, %v", list, err)
	}
}

// A machine is drained, asked about and forgotten; what stays says why.
func TestMachineGoes(t *testing.T) {
	h, ctx := start(t), deadline(t)
	h.machine()
	h.running("a.service")
	yes, no := true, false
	if d, err := h.client.PatchMachine(ctx, "m1", wire.MachinePatch{Draining: &yes}); err != nil || !d.Draining || !d.Cordoned {
		t.Errorf("drained: %+v, %v", d, err)
	}
	d, err := h.client.Machine(ctx, "m1")
	if err != nil || len(d.On) != 1 || d.On[0].Unit != "a.service" || d.On[0].State != cluster.Healthy || d.On[0].Stays == nil || d.On[0].Stays.Reason.Code != reason.MachineDraining {
		t.Errorf("m1 has %+v, %v", d.On, err)
	}
	p, err := h.client.Plan(ctx, wire.PlanRequest{Add: []wire.AddMachine{{Resources: unit.Resources{CPU: 4000, Memory: 1 << 30, Disk: 1 << 40}}}})
	if err != nil || !p.Fits || len(p.Moves) != 1 || p.Moves[0] != (wire.PlanMove{Unit: "a.service", From: "m1", To: "new1"}) {
		t.Errorf("planned: %+v, %v", p, err)
	}
	if d, err := h.client.PatchMachine(ctx, "m1", wire.MachinePatch{Cordoned: &no}); err != nil || d.Draining || d.Cordoned {
		t.Errorf("opened: %+v, %v", d, err)
	}
	_, err = h.client.RemoveMachine(ctx, "m1", false)
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.MachineAlive {
		t.Errorf("a machine that is alive is removed: %v", err)
	}
	h.seen(h.write(store.Writer{Role: store.Machine, ID: m1}, store.Delete(cluster.AliveKey(m1))))
	if _, err = h.client.RemoveMachine(ctx, "m1", false); err != nil {
		t.Error(err)
	}
	if list, err := h.client.Machines(ctx); err != nil || len(list.Machines) != 0 {
		t.Errorf("still there: %+v, %v", list, err)
	}
	if pic, err := h.store.Read(ctx, ""); err != nil || strings.Contains(fmt.Sprint(pic.Entries), "statuses/"+m1) {
		t.Errorf("left: %v, %v", pic.Entries, err)
	}
}
