package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// truth is what the store holds and held, as the checks read it.
type truth struct {
	w         *World
	view      *store.View
	revision  int64
	placedAt  map[cluster.On]int64 // Revision of the picture that a placement was decided from.
	epochs    map[string]int64     // The largest of each unit.
	replaced  map[string]int64     // When a unit's text was replaced.
	rested    map[string]int64     // When a person last wanted it not to run.
	wasSilent map[string]int64     // When a machine was last found silent.
	cordoned  map[string]int64     // Since when.
	restarts  map[string]int64     // Orders, over all lives of a unit's name.
	kills     map[string]int64
	global    map[string]bool // Was a global unit once.
}

func newTruth(w *World) truth {
	return truth{
		w: w, view: store.NewView(w.log), placedAt: map[cluster.On]int64{}, epochs: map[string]int64{}, replaced: map[string]int64{},
		rested: map[string]int64{}, wasSilent: map[string]int64{}, cordoned: map[string]int64{}, restarts: map[string]int64{}, kills: map[string]int64{}, global: map[string]bool{},
	}
}

// picture is the truth's; only the one goroutine of the simulator reads it.
func (t *truth) picture() (p *cluster.Picture) {
	t.view.Peek(func(q *cluster.Picture) { p = q })
	return p
}

// check looks at everything after a step.
func (w *World) check() {
	batches, err := w.store.Since("", w.truth.revision)
	if err != nil {
		w.fail("follow: %v", err)
		return
	}
	for _, b := range batches {
		for _, e := range b.Entries {
			fmt.Fprintf(w.trace, "%d %s %s\n", b.Revision, e.Key, e.Value)
		}
		w.checkBatch(b)
		w.truth.revision = b.Revision
	}
	if len(batches) == 0 {
		return
	}
	p := w.truth.picture()
	w.checkAnswers(p)
	w.checkMachines(p)
}

// checkBatch takes one revision into the truth and checks what it did to placements.
func (w *World) checkBatch(b store.Batch) {
	t, p := &w.truth, w.truth.picture()
	var gone []cluster.On
	for _, e := range b.Entries {
		prefix, rest, _ := strings.Cut(e.Key, "/")
		machine, name, _ := strings.Cut(rest, "/")
		switch {
		case prefix+"/" == cluster.AlivePrefix && e.Value == nil:
			t.wasSilent[rest] = b.Revision
		case prefix+"/" == cluster.PlacementsPrefix && e.Value == nil:
			gone = append(gone, cluster.On{Machine: machine, Unit: name})
		case prefix+"/" == cluster.UnitsPrefix:
			t.orders(p.Units[rest], e, b.Revision)
		}
	}
	t.view.Apply(b)
	for _, e := range b.Entries {
		rest, ok := strings.CutPrefix(e.Key, cluster.PlacementsPrefix)
		if !ok || e.Value == nil {
			continue
		}
		machine, name, _ := strings.Cut(rest, "/")
		w.checkPlacement(p, cluster.On{Machine: machine, Unit: name})
	}
	for _, on := range gone {
		w.checkWithdrawn(p, on)
		delete(t.placedAt, on)
	}
	for id, a := range p.Admin {
		if !a.Cordoned {
			delete(t.cordoned, id)
		} else if t.cordoned[id] == 0 {
			t.cordoned[id] = b.Revision
		}
	}
}

// orders counts what people ordered, over the lives of a name.
func (t *truth) orders(old *cluster.Wanted, e store.Entry, rev int64) {
	name := strings.TrimPrefix(e.Key, cluster.UnitsPrefix)
	if e.Value == nil {
		t.replaced[name] = rev
		return
	}
	var was cluster.Orders
	if old != nil {
		was = old.Orders
	}
	fresh := cluster.NewPicture()
	if _, err := fresh.Apply(e.Key, e.Value, rev); err != nil {
		t.w.fail("%v", err)
		return
	}
	t.restarts[name] += fresh.Units[name].Orders.Restart - was.Restart
	if fresh.Units[name].Desired != cluster.Launched || old != nil && old.Desired != cluster.Launched {
		t.rested[name] = rev
	}
	t.global[name] = t.global[name] || specOf(fresh.Units[name].Text).global
	t.kills[name] += fresh.Units[name].Orders.Kill - was.Kill
}

// checkPlacement: a unit comes only where it may run, once, with an epoch that grows.
func (w *World) checkPlacement(p *cluster.Picture, on cluster.On) {
	t, pl := &w.truth, p.Placements[on]
	t.placedAt[on] = w.leads.seen
	if !pl.Global && pl.Epoch <= t.epochs[on.Unit] {
		w.fail("%s is placed with epoch %d after %d", on.Unit, pl.Epoch, t.epochs[on.Unit])
	}
	t.epochs[on.Unit] = max(t.epochs[on.Unit], pl.Epoch)
	if since, cordoned := t.cordoned[on.Machine], p.Admin[on.Machine] != nil && p.Admin[on.Machine].Cordoned; cordoned && since > 0 && since <= w.leads.seen {
		w.fail("%s was placed on the cordoned %s", on.Unit, on.Machine)
	}
	if n := len(p.PlacedOn(on.Unit)); n > 1 && !pl.Global {
		w.fail("%s is placed on %d machines", on.Unit, n)
	}
	u := p.Units[on.Unit]
	if u == nil || u.Revision > w.leads.seen {
		return // Changed since the leader looked.
	}
	s := specOf(u.Text)
	if zone := p.Metadata(on.Machine)["zone"]; s.zone != "" && s.zone != zone {
		w.fail("%s wants zone %s and was placed in zone %s", on.Unit, s.zone, zone)
	}
	if u.Desired == cluster.Inactive {
		w.fail("%s was placed although nobody wants it", on.Unit)
	}
}

// checkWithdrawn: no placement of a wanted unit goes without a cause.
func (w *World) checkWithdrawn(p *cluster.Picture, on cluster.On) {
	t, u := &w.truth, p.Units[on.Unit]
	at := t.placedAt[on]
	switch {
	case u == nil || u.Desired == cluster.Inactive || u.Revision > w.leads.seen:
	case t.replaced[on.Unit] >= at: // It asks for something else now, or another life of it does.
	case t.rested[on.Unit] >= at: // A person stopped it meanwhile: it had given its room back.
	case t.wasSilent[on.Machine] >= at || !p.Alive[on.Machine]:
	case w.neighbourReplaced(p, on, at):
	default:
		w.fail("%s was withdrawn from %s without a cause; now on %v, unplaced %v", on.Unit, on.Machine, p.PlacedOn(on.Unit), p.Unplaced[on.Unit])
	}
	if u != nil && u.Desired != cluster.Inactive && u.Revision <= w.leads.seen && len(p.PlacedOn(on.Unit)) == 0 && p.Unplaced[on.Unit] == nil {
		w.fail("%s was withdrawn from %s and nothing says why", on.Unit, on.Machine)
	}
}

// neighbourReplaced: another unit there asks for more than before, or conflicts now.
func (w *World) neighbourReplaced(p *cluster.Picture, on cluster.On, at int64) bool {
	for other, rev := range w.truth.replaced {
		if rev >= at && other != on.Unit && p.Units[other] != nil {
			return true
		}
	}
	return false
}

// checkAnswers: every unit has an answer, and every answer that is not healthy has a reason.
func (w *World) checkAnswers(p *cluster.Picture) {
	for name := range p.Units {
		a, ok := p.Answer(name)
		switch {
		case !ok:
			w.fail("%s has no answer", name)
		case a.State == "":
			w.fail("%s has no state", name)
		case a.State != cluster.Healthy && a.Reason == nil:
			w.fail("%s is %s and nothing says why", name, a.State)
		case a.Reason != nil && a.Reason.Message() == "":
			w.fail("%s is %s because of an empty sentence", name, a.State)
		}
	}
}

// checkMachines: nothing is promised beyond what there is, counted from the store and the texts alone. A machine
// where a text changed since the leader looked is left out: the leader has not had its turn.
func (w *World) checkMachines(p *cluster.Picture) {
	for id, m := range p.Machines {
		// What a lost machine holds on to is looked at when it is back and the leader has seen that.
		if p.Alive[id] && w.truth.wasSilent[id] < w.leads.sighted {
			w.checkMachine(p, m)
		}
	}
}

func (w *World) checkMachine(p *cluster.Picture, m *cluster.Machine) {
	var memory, cpu int64
	var who, clash string
	ports := map[string]string{}
	for _, name := range unitsOn(p, m.ID) {
		u := p.Units[name]
		if u == nil || u.Revision > w.leads.sighted {
			return
		}
		if u.Desired == cluster.Loaded {
			continue // It gives its room back when it has ended: see checkRoom.
		}
		s := specOf(u.Text)
		memory, cpu = memory+s.memory, cpu+s.cpu
		who += fmt.Sprintf(" %s %dM", name, s.memory>>20)
		if other := ports[s.port]; s.port != "" && other != "" {
			clash = fmt.Sprintf("%s and %s share port %s on %s", other, name, s.port, m.ID)
		}
		ports[s.port] = name
	}
	if clash != "" {
		w.fail("%s", clash)
	}
	if have := m.Allocatable(); memory > have.Memory || cpu > have.CPU {
		w.fail("%s has %dM and %d of cpu and promised %dM and %d to%s", m.ID, have.Memory>>20, have.CPU, memory>>20, cpu, who)
	}
}

func unitsOn(p *cluster.Picture, id string) []string {
	var out []string
	for on := range p.Placements {
		if on.Machine == id {
			out = append(out, on.Unit)
		}
	}
	slices.Sort(out)
	return out
}

// checkCalls: what an agent asked of its runtime has a cause in what it has seen, and orders are not doubled.
func (w *World) checkCalls(h *host) {
	var seen *cluster.Picture
	h.view.Peek(func(p *cluster.Picture) { seen = p })
	for _, name := range w.names() {
		stops, starts := h.runtime.Calls("stop", name), h.runtime.Calls("start", name)
		if stops > h.stops[name] {
			u := seen.Units[name]
			if seen.Placements[cluster.On{Machine: h.id, Unit: name}] != nil && u != nil && u.Desired == cluster.Launched {
				w.fail("the agent of %s stopped %s, which is to run there", h.id, name)
			}
		}
		if stops != h.stops[name] || starts != h.starts[name] {
			w.tell("%s started %d and stopped %d times on %s", name, starts, stops, h.id)
		}
		h.stops[name], h.starts[name] = stops, starts
		w.checkCount(h, name)
	}
}

// checkCount: a unit is restarted and killed at most as often as people ordered it; a global one on each machine, and
// kills count on each: one that was cut off catches up on its own.
func (w *World) checkCount(h *host, name string) {
	t := &w.truth
	restarts, kills := h.runtime.Calls("restart", name), h.runtime.Calls("kill", name)
	for _, other := range w.hosts {
		if other != h && !t.global[name] {
			restarts += other.runtime.Calls("restart", name)
		}
	}
	// A run that crashed after the order and was started again by Restart= cannot be told from one that was not
	// ordered: an agent that was killed before it could write the order may do it once more.
	if int64(restarts) > t.restarts[name]+w.crashed[name] || int64(kills) > t.kills[name] {
		w.fail("people ordered %d restarts and %d kills of %s, and %d and %d were done", t.restarts[name], t.kills[name], name, restarts, kills)
	}
}

// names are all units that there ever were.
func (w *World) names() []string { return slices.Sorted(maps.Keys(w.truth.restarts)) }

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
	for range settleSteps {
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

// checkNothingElseRuns: only what is placed and wanted runs, but for what the brake holds back and says so.
func (w *World) checkNothingElseRuns(p *cluster.Picture, h *host) {
	if h.off || h.cut {
		return
	}
	braked := len(h.agent.Conditions()) > 0
	for name := range h.runtime.Running() {
		u := p.Units[name]
		switch {
		case p.Placements[cluster.On{Machine: h.id, Unit: name}] != nil && u != nil && u.Desired == cluster.Launched:
		case braked && u != nil && u.Desired == cluster.Launched && len(p.PlacedOn(name)) == 0:
		default:
			w.fail("settled: %s runs on %s and is not to; placed on %v, unplaced %v", name, h.id, p.PlacedOn(name), p.Unplaced[name])
		}
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
