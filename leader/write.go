package leader

import (
	"context"
	"maps"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// maxBatch bounds the changes of one transaction, the link included: above some hundreds a larger one is no
// faster, and holds up everybody else's writes (performance.md).
const maxBatch = 500

// edit is what is to be written about one unit, or about one machine of a global unit: never split.
type edit struct {
	unit  string
	order int // Who leaves goes first, so that no machine is promised twice in between.
	drop  []cluster.On
	put   *cluster.Placement
	why   *reason.Reason // The unplaced record to be written.
	clear bool           // The unplaced record goes.

	condemn string // A machine whose epoch is to end; nothing else is set then.
}

// The order of edits.
const (
	leaving = iota
	moving
	coming
)

func (e *edit) size() int {
	n := len(e.drop)
	if e.put != nil {
		n++
	}
	if e.why != nil || e.clear {
		n++
	}
	if e.condemn != "" {
		n += 2
	}
	return n
}

// decide asks the planner and translates its changes into edits. What the store holds is remembered as if they were
// written already: if they are not, everything is built anew.
func (l *Leader) decide() []edit {
	var edits []edit
	l.claims = nil
	l.planner.Pace(maxHanding - len(l.handing))
	changes := l.planner.Decide()
	if len(l.waking) > 0 {
		changes = slices.Clone(changes)
		for _, u := range l.waking {
			l.planner.SetUnit(u)
		}
		l.waking = nil
		changes = append(changes, l.planner.Decide()...)
	}
	for _, c := range changes {
		delete(l.gated, c.Unit)
		delete(l.paced, c.Unit)
		if l.bad[c.Unit] != nil {
			continue // Told below.
		}
		e := l.translate(c)
		l.gate(&e)
		l.pace(&e, c)
		switch planted {
		case "noreason":
			e.why = nil
		case "twoplaces":
			if e.put != nil {
				e.drop = nil
			}
		}
		if e.size() > 0 {
			edits = append(edits, e)
			l.remember(e)
		}
	}
	edits = append(edits, l.stopLingering()...)
	edits = append(edits, l.finishHandovers()...)
	edits = append(edits, l.openGates()...)
	edits = append(edits, l.movePaced()...)
	for _, name := range slices.Sorted(maps.Keys(l.bad)) {
		if !reason.Equal(l.unplaced[name], l.bad[name]) {
			edits = append(edits, edit{unit: name, order: leaving, why: l.bad[name]})
			l.unplaced[name] = l.bad[name]
		}
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return a.order - b.order })
	return edits
}

func (l *Leader) translate(c plan.Change) edit {
	e := edit{unit: c.Unit, order: leaving}
	if c.From != "" && c.From != c.Machine {
		_, held := l.held[cluster.On{Machine: c.From, Unit: c.Unit}]
		if c.Machine == "" && c.Reason != nil && l.wanted[c.Unit] && l.isDown[c.From] && held {
			l.lingers[cluster.On{Machine: c.From, Unit: c.Unit}] = c.Reason
			return e // No other machine can take it: it stays where it may still run, and is shown as lost.
		}
		if !l.handsOver(c) {
			e.drop = append(e.drop, cluster.On{Machine: c.From, Unit: c.Unit})
		}
	}
	if !c.Global || c.Machine == "" && c.From == "" {
		e.drop = l.elsewhere(c, e.drop)
	}
	if c.Machine != "" {
		l.come(&e, c)
		return e
	}
	if c.Reason == nil || l.left(c.Unit, e.drop) > 0 {
		e.clear = c.Reason == nil && !c.Global && l.hasUnplaced(c.Unit)
		return e
	}
	if !l.hasUnplaced(c.Unit) || !reason.Equal(l.unplaced[c.Unit], c.Reason) {
		e.why = c.Reason
	}
	return e
}

// elsewhere adds the machines that still hold a unit which is to be on one machine only, or on none: a lost
// machine that held on to it.
func (l *Leader) elsewhere(c plan.Change, drop []cluster.On) []cluster.On {
	if l.count[c.Unit] == 0 {
		return drop
	}
	for on := range l.lingers {
		if on.Unit == c.Unit && on.Machine != c.Machine && !slices.Contains(drop, on) {
			if c.Machine == "" && c.Reason != nil && l.silent(on.Machine) && l.wanted[c.Unit] {
				l.lingers[on] = c.Reason
				continue
			}
			drop = append(drop, on)
		}
	}
	slices.SortFunc(drop, func(a, b cluster.On) int { return strings.Compare(a.Machine, b.Machine) })
	return drop
}

// silent: it gives no sign of life, or did not when last looked. Nothing is withdrawn from it for lack of room alone: a
// leader that is new gives it its time anew, and would undo what the one before it was content with.
func (l *Leader) silent(machine string) bool {
	_, silent := l.down[machine]
	return silent || l.isDown[machine]
}

func (l *Leader) come(e *edit, c plan.Change) {
	e.order = coming
	if len(e.drop) > 0 {
		e.order = moving
	}
	e.clear = l.hasUnplaced(c.Unit)
	on := cluster.On{Machine: c.Machine, Unit: c.Unit}
	delete(l.lingers, on)
	if p, held := l.held[on]; held && p.Global == c.Global {
		return // It comes back to where it never left.
	}
	e.put = &cluster.Placement{Unit: c.Unit, Machine: c.Machine, Global: c.Global, Reason: small(c.Reason)}
}

// small keeps a placement's record small: the candidates can be asked for by Explain.
func small(r *reason.Reason) *reason.Reason {
	if r == nil || r.Candidates == nil {
		return r
	}
	return &reason.Reason{Code: r.Code, Args: r.Args}
}

func (l *Leader) hasUnplaced(unit string) bool { _, ok := l.unplaced[unit]; return ok }

// left counts the machines that hold a unit when some let go.
func (l *Leader) left(unit string, drop []cluster.On) int {
	n := l.count[unit]
	for _, on := range drop {
		if _, held := l.held[on]; held {
			n--
		}
	}
	return n
}

// stopLingering withdraws units that held on to a lost machine which is back, or gone for good, where the
// planner did not place them there again.
func (l *Leader) stopLingering() []edit {
	var edits []edit
	for _, on := range sortedOn(l.lingers) {
		why := l.lingers[on]
		if _, held := l.held[on]; !held {
			delete(l.lingers, on)
			continue
		}
		if l.silent(on.Machine) && l.wanted[on.Unit] {
			continue
		}
		delete(l.lingers, on)
		e := edit{unit: on.Unit, order: leaving, drop: []cluster.On{on}}
		if l.wanted[on.Unit] && l.left(on.Unit, e.drop) == 0 {
			e.why = why
		}
		edits = append(edits, e)
		l.remember(e)
	}
	return edits
}

// write puts the edits into the store, in transactions that each hold on to the one before.
func (l *Leader) write(ctx context.Context, edits []edit) error {
	if c := l.conditions(); !slices.EqualFunc(c, l.told, sameCondition) {
		for _, one := range c {
			l.cfg.Log.Error("the cluster has a condition", "kind", one.Kind, "reason", one.Reason.Message())
		}
		if l.told = c; len(edits) == 0 {
			return l.commit(ctx, nil)
		}
	}
	for len(edits) > 0 {
		n, size := 0, 1
		for n < len(edits) && (n == 0 || size+edits[n].size() <= maxBatch) {
			size += edits[n].size()
			n++
		}
		if err := l.commit(ctx, edits[:n]); err != nil {
			return err
		}
		edits = edits[n:]
	}
	return nil
}

// commit writes one transaction. The epoch is the revision before the
// write: it grows with every move, also over withdrawals and changes of the leader.
func (l *Leader) commit(ctx context.Context, edits []edit) error {
	now := l.cfg.Now()
	t := transaction{at: map[string]int{}}
	t.set(store.PutIf(cluster.LeaderKey(), cluster.Reign{ID: l.by.ID, At: now, Conditions: l.told}, l.chain))
	for i := range edits {
		e := &edits[i]
		if e.condemn != "" {
			t.set(store.Put(cluster.CondemnedKey(e.condemn), cluster.Condemned{Machine: e.condemn, At: now}))
			t.set(store.Delete(cluster.AliveKey(e.condemn)))
		}
		for _, on := range e.drop {
			t.set(store.Delete(cluster.PlacementKey(on.Machine, on.Unit)))
		}
		if e.put != nil {
			e.put.Epoch, e.put.At = l.chain, now
			if planted == "epoch" {
				e.put.Epoch = 1
			}
			t.set(store.Put(cluster.PlacementKey(e.put.Machine, e.put.Unit), e.put))
		}
		if e.why != nil {
			t.set(store.Put(cluster.UnplacedKey(e.unit), cluster.Placement{Unit: e.unit, Reason: e.why, At: now}))
		} else if e.clear {
			t.set(store.Delete(cluster.UnplacedKey(e.unit)))
		}
	}
	rev, err := l.cfg.Store.Write(ctx, l.by, t.changes...)
	if err != nil {
		return err
	}
	l.chain = rev
	return nil
}

func sameCondition(a, b cluster.Condition) bool {
	return a.Kind == b.Kind && reason.Equal(a.Reason, b.Reason)
}

// transaction is changes in order, each key once: of several edits of a unit the last one counts.
type transaction struct {
	changes []store.Change
	at      map[string]int
}

func (t *transaction) set(c store.Change) {
	if i, ok := t.at[c.Key]; ok {
		t.changes[i] = c
		return
	}
	t.at[c.Key] = len(t.changes)
	t.changes = append(t.changes, c)
}

func (l *Leader) remember(e edit) {
	for _, on := range e.drop {
		l.release(on)
	}
	if e.put != nil {
		l.hold(cluster.On{Machine: e.put.Machine, Unit: e.put.Unit}, *e.put)
	}
	switch {
	case e.why != nil:
		l.unplaced[e.unit] = e.why
	case e.clear:
		delete(l.unplaced, e.unit)
	}
}

func (l *Leader) hold(on cluster.On, p cluster.Placement) {
	if _, held := l.held[on]; !held {
		l.count[on.Unit]++
	}
	l.held[on] = p
}

func (l *Leader) release(on cluster.On) {
	if _, held := l.held[on]; !held {
		return
	}
	delete(l.held, on)
	delete(l.lingers, on)
	if l.count[on.Unit]--; l.count[on.Unit] == 0 {
		delete(l.count, on.Unit)
	}
}
