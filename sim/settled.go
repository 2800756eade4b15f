package sim

import (
	"encoding/json"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// settle ends all faults, lets the cluster come to rest, and checks that everything is as it has to be.
func (w *World) settle() error {
	for _, h := range w.hosts {
		if h.off || h.cut {
			if w.chance(3) && h != w.hosts[0] {
				continue // Lost for good.
			}
			w.bringBack(h)
		}
	}
	for i := range settleSteps {
		if i == settleSteps/3 {
			w.pass(steadyMost) // Machines that came and went take new units again.
		}
		w.round()
		if w.problem != nil {
			return w.problem
		}
	}
	w.checkSettled()
	w.checkSecondPlan()
	w.checkOrders()
	return w.problem
}

// round lets everybody have a turn.
func (w *World) round() {
	w.step++
	w.pass(settleEvery)
	w.leaderPass(w.leads)
	for _, h := range w.hosts {
		if !h.cut {
			h.runtime.Down(nil) // A kick, as after the agent's period: the lost ones are found by then.
			w.agentPass(h)
		}
	}
	w.check()
}

// checkSettled: every wanted unit with room runs, and only where it is placed.
func (w *World) checkSettled() {
	p := w.truth.picture()
	for _, name := range p.UnitNames() {
		u := p.Units[name]
		s, on := specOf(u.Text), p.PlacedOn(name)
		switch {
		case u.Desired == cluster.Inactive:
			if len(on) > 0 || p.Unplaced[name] != nil {
				w.fail("settled: nobody wants %s, and it is on %v, %v", name, on, p.Unplaced[name])
			}
		case len(on) == 0 && p.Unplaced[name] == nil:
			w.fail("settled: %s is on no machine and nothing says why", name)
		case len(on) == 0:
			w.checkNoRoom(p, name, s)
		case p.Unplaced[name] != nil:
			w.fail("settled: %s is on %v and has a record why not: %v", name, on, p.Unplaced[name].Reason)
		default:
			w.checkRuns(p, u, s, on)
		}
	}
	for _, h := range w.hosts {
		w.checkRoom(p, h)
		w.checkNothingElseRuns(p, h)
	}
}

// checkNothingElseRuns: only what is placed and wanted runs, but for what the brake holds back. That must stay allowed: no
// machine has room for these units, nobody asked for them to stop, and the agent ends no three of them on that ground.
// It has to say of how many it is so.
func (w *World) checkNothingElseRuns(p *cluster.Picture, h *host) {
	if h.off || h.cut {
		return
	}
	held, told := int64(0), int64(0)
	for _, c := range h.agent.Conditions() {
		told += c.Reason.Int("units")
	}
	for name := range h.runtime.Running() {
		u := p.Units[name]
		switch {
		case u == nil || u.Desired != cluster.Launched:
			w.fail("settled: %s runs on %s and nobody wants it", name, h.id)
		case p.Placements[cluster.On{Machine: h.id, Unit: name}] != nil:
		case len(p.PlacedOn(name)) > 0:
			w.fail("settled: %s runs on %s and is not to; placed on %v", name, h.id, p.PlacedOn(name))
		default:
			held++
		}
	}
	if held != told {
		w.fail("settled: %d units run on %s that are placed nowhere, and the brake tells of %d", held, h.id, told)
	}
}

// checkRoom: what runs on a machine fits on it.
func (w *World) checkRoom(p *cluster.Picture, h *host) {
	m, memory := p.Machines[h.id], int64(0)
	for name := range h.runtime.Running() {
		if u := p.Units[name]; u != nil {
			memory += specOf(u.Text).memory
		}
	}
	if !h.off && !h.cut && memory > m.Allocatable().Memory {
		w.fail("settled: what runs on %s asks for %dM of its %dM", h.id, memory>>20, m.Allocatable().Memory>>20)
	}
}

// checkNoRoom looks for a machine that could take the unit, by the simulator's own count.
func (w *World) checkNoRoom(p *cluster.Picture, name string, s spec) {
	why := p.Unplaced[name].Reason
	if p.Units[name].Desired == cluster.Loaded {
		s.memory, s.cpu, s.port = 0, 0, ""
	}
	if s.conflicts || strings.HasPrefix(name, "c") {
		return // Left to plan's own tests.
	}
	for id, m := range p.Machines {
		if !p.Alive[id] || p.Admin[id] != nil && p.Admin[id].Cordoned || s.zone != "" && s.zone != p.Metadata(id)["zone"] {
			continue
		}
		have, taken := m.Allocatable(), false
		for _, other := range unitsOn(p, id) {
			o := specOf(p.Units[other].Text)
			if p.Units[other].Desired == cluster.Loaded {
				continue
			}
			have.Memory, have.CPU = have.Memory-o.memory, have.CPU-o.cpu
			taken = taken || s.port != "" && o.port == s.port
		}
		if !taken && have.Memory >= s.memory && have.CPU >= s.cpu {
			w.fail("settled: %s has room on %s (%d bytes, %d cpu free) and is on no machine: %v", name, id, have.Memory, have.CPU, why)
		}
	}
}

func (w *World) checkRuns(p *cluster.Picture, u *cluster.Wanted, s spec, on []string) {
	a, _ := p.Answer(u.Name)
	for _, id := range on {
		h := w.host(id)
		if h.off || h.cut {
			if a.State != cluster.Lost && !a.Global {
				w.fail("settled: %s is on the lost %s and is %s", u.Name, id, a.State)
			}
			continue
		}
		st := p.Statuses[cluster.On{Machine: id, Unit: u.Name}]
		switch {
		case st == nil || st.For != u.Revision:
			w.fail("settled: the agent of %s says nothing of %s as it is wanted now", id, u.Name)
		case st.Done != u.Orders && (st.Done.Start != u.Orders.Start || st.Done.Restart != u.Orders.Restart || st.Done.Kill != u.Orders.Kill):
			w.fail("settled: %s: orders %+v, done %+v", u.Name, u.Orders, st.Done)
		case u.Desired != cluster.Launched:
		default:
			w.checkState(h, u, s, st)
		}
	}
}

// checkState compares the agent's word with the runtime's process.
func (w *World) checkState(h *host, u *cluster.Wanted, s spec, st *cluster.Status) {
	_, runs := h.runtime.Running()[u.Name]
	switch {
	case st.State == cluster.Healthy && !runs:
		w.fail("settled: %s on %s is called healthy and does not run", u.Name, h.id)
	case st.State == cluster.Starting || st.State == cluster.Draining:
		w.fail("settled: %s on %s is still %s: %v", u.Name, h.id, st.State, st.Reason)
	case s.keeps && runs && st.State != cluster.Healthy && st.State != cluster.CrashLooping:
		w.fail("settled: %s on %s runs and is called %s: %v", u.Name, h.id, st.State, st.Reason)
	case s.keeps && !runs && !excused(st):
		w.fail("settled: %s on %s is to run and does not: %s, %v", u.Name, h.id, st.State, st.Reason)
	}
}

// excused: it was ended by a person's signal or by a crash that its Restart= does not cure, and that is said.
func excused(st *cluster.Status) bool {
	return st.Reason != nil && st.Reason.Code != reason.Healthy && st.State != cluster.Stopped
}

func (w *World) host(id string) *host {
	for _, h := range w.hosts {
		if h.id == id {
			return h
		}
	}
	return nil
}

// checkSecondPlan: another leader that looks at the settled picture has nothing to do but say that it leads.
func (w *World) checkSecondPlan() {
	w.elect()
	before, told := w.truth.revision, map[string]*reason.Reason{}
	for name, u := range w.truth.picture().Unplaced {
		told[cluster.UnplacedKey(name)] = u.Reason
	}
	for range 3 {
		w.now = w.now.Add(time.Minute) // Silent machines count as down for it too.
		w.leaderPass(w.leads)
	}
	batches, err := w.store.Since("", before)
	if err != nil {
		w.fail("follow: %v", err)
		return
	}
	for _, b := range batches {
		for _, e := range b.Entries {
			var again cluster.Placement // The same reason may name another of several equal machines, and who is on it.
			if json.Unmarshal(e.Value, &again) == nil && again.Reason != nil && again.Machine == "" && sameLack(told[e.Key], again.Reason) {
				continue
			}
			if e.Key != cluster.LeaderKey() {
				w.fail("a second plan on the settled picture writes %s %s, told was %v", e.Key, e.Value, told[e.Key])
			}
		}
	}
	w.check()
}

// sameLack tells whether two reasons say the same but for names.
func sameLack(a, b *reason.Reason) bool {
	if a == nil || a.Code != b.Code {
		return false
	}
	for _, number := range []string{"need", "have", "most", "machines"} {
		if a.Str(number) != b.Str(number) {
			return false
		}
	}
	return true
}

// checkOrders: in quiet, each order is carried out exactly once.
func (w *World) checkOrders() {
	p := w.truth.picture()
	for _, name := range p.UnitNames() {
		a, _ := p.Answer(name)
		if a.State != cluster.Healthy || a.Global || a.Desired != cluster.Launched {
			continue
		}
		h := w.host(a.MachineID)
		before := h.runtime.Calls("restart", name)
		wish := *p.Units[name]
		wish.Orders.Restart++
		w.user.put(wish)
		w.check()
		for range 6 {
			w.round()
			w.startAgent(h) // Also an agent that is killed again and again does it once.
		}
		if n := h.runtime.Calls("restart", name) - before; n != 1 {
			w.fail("one order to restart %s on %s was carried out %d times", name, h.id, n)
		}
		return // One for each seed is enough.
	}
}
