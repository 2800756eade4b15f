package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
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
	lost      map[string]int64     // What the leader had seen when a machine's sign of life ended last.
	cordoned  map[string]int64     // Since when.
	restarts  map[string]int64     // Orders, over all lives of a unit's name.
	kills     map[string]int64
	global    map[string]bool // Was a global unit once.
}

func newTruth(w *World) truth {
	return truth{
		w: w, view: store.NewView(w.log), placedAt: map[cluster.On]int64{}, epochs: map[string]int64{}, replaced: map[string]int64{},
		rested: map[string]int64{}, wasSilent: map[string]int64{}, lost: map[string]int64{}, cordoned: map[string]int64{}, restarts: map[string]int64{}, kills: map[string]int64{}, global: map[string]bool{},
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
			t.wasSilent[rest], t.lost[rest] = b.Revision, w.leads.sighted
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
		seen := w.leads.sighted
		if !p.Alive[id] || w.truth.wasSilent[id] >= seen {
			// What is on a lost machine and finds no other stays where it is: what changed since is as it is, until the leader has
			// seen the machine again.
			seen = min(seen, w.truth.lost[id])
		}
		w.checkMachine(p, m, seen)
	}
}

func (w *World) checkMachine(p *cluster.Picture, m *cluster.Machine, seen int64) {
	var memory, cpu int64
	var who, clash string
	ports := map[string]string{}
	for _, name := range unitsOn(p, m.ID) {
		u := p.Units[name]
		if u == nil || u.Revision > seen {
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
	if int64(restarts) > t.restarts[name] || int64(kills) > t.kills[name] {
		w.fail("people ordered %d restarts and %d kills of %s, and %d and %d were done", t.restarts[name], t.kills[name], name, restarts, kills)
	}
}

// names are all units that there ever were.
func (w *World) names() []string { return slices.Sorted(maps.Keys(w.truth.restarts)) }
