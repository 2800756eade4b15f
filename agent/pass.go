package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/store"
)

// Pass looks at the picture and at the runtime, does what differs, and writes what changed. An error means that something
// is left over for the next pass; everything else was done. Until the view has its first picture it does nothing.
func (a *Agent) Pass(ctx context.Context) error {
	select {
	case <-a.View.Ready():
	default:
		return nil
	}
	a.ownKeeper()
	looked := a.look()
	now := a.Now()
	if !a.takeKicked() && looked == onlyOwnWords && !a.again && !a.isDue(now) {
		return nil // The store echoes our own statuses.
	}
	a.held = nil
	errs := []error{a.list(ctx, now)}
	a.hear(errs[0], now)
	if errs[0] == nil {
		errs = append(errs, a.act(ctx, now))
	}
	errs = append(errs, a.tell(ctx, now, errs[0]), a.keepRecord(ctx))
	a.rest()
	err := errors.Join(errs...)
	a.again = err != nil
	return err
}

// ownKeeper is the design without a keeper outside of the agent: one of the simulator's planted bugs.
func (a *Agent) ownKeeper() {
	if r, ok := a.Runtime.(interface{ Keep() }); ok && !fence.Outside() {
		r.Keep()
	}
}

// looked is what a look at the view found.
type looked int

const (
	nothing looked = iota
	onlyOwnWords
	something
)

// look takes from the picture what was touched and concerns this machine.
func (a *Agent) look() looked {
	found := nothing
	a.View.Look(func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
		if all {
			a.lookAtAll(p)
			found = something
			return
		}
		for t := range touched {
			switch {
			case t.Prefix == cluster.StatusesPrefix && a.isGhost(p, t):
				found = something
			case t.Prefix == cluster.StatusesPrefix || t.Prefix == cluster.AlivePrefix:
				found = max(found, onlyOwnWords)
			case t.Prefix == cluster.UnitsPrefix:
				if s := a.slots[t.Unit]; s != nil && p.Units[t.Unit] == nil {
					s.destroyed = true
				}
				found = max(found, a.refresh(p, t.Unit))
			case t.Prefix == cluster.SettingsPrefix:
				a.restore(p)
				found = something
			case t.Prefix == cluster.PlacementsPrefix:
				found = max(found, a.refresh(p, t.Unit))
			case t.Prefix == cluster.MachinesPrefix && t.Machine == a.Machine:
				a.compareRecord(p)
			default:
				found = max(found, onlyOwnWords)
			}
		}
	})
	return found
}

// isGhost finds our machine's word about a unit that we know nothing of, and takes it up to take it back: what an agent
// before us sent arrived when we had taken it back already. For an exclusive unit it is a claim.
func (a *Agent) isGhost(p *cluster.Picture, t cluster.Touched) bool {
	st := p.Statuses[cluster.On{Machine: t.Machine, Unit: t.Unit}]
	if t.Machine != a.Machine || st == nil || a.slots[t.Unit] != nil {
		return false
	}
	a.slot(t.Unit).adopt(*st)
	a.refresh(p, t.Unit)
	return true
}

// lookAtAll compares everything: at the start, and after the view was read anew.
func (a *Agent) lookAtAll(p *cluster.Picture) {
	a.restore(p)
	for on := range p.Placements {
		if on.Machine == a.Machine {
			a.refresh(p, on.Unit)
		}
	}
	for on, st := range p.Statuses {
		if on.Machine != a.Machine {
			continue
		}
		s := a.slot(on.Unit)
		if !s.known {
			s.adopt(*st)
		}
		// A picture from before our last write: nothing tells the two apart but writing again.
		s.unsure = s.unsure || s.stored && (major(s.status, *st) || !same(s.status, *st))
		s.status, s.stored = *st, true
		// Our word about a unit that nobody wants any more: the wish was deleted while nobody here looked.
		s.destroyed = s.destroyed || p.Units[on.Unit] == nil && a.restored == 0
	}
	for name, s := range a.slots {
		a.refresh(p, name)
		s.stored = p.Statuses[cluster.On{Machine: a.Machine, Unit: name}] != nil
		s.dirty = true
	}
	a.compareRecord(p)
}

func (a *Agent) slot(name string) *slot {
	s := a.slots[name]
	if s == nil {
		s = &slot{name: name, dirty: true}
		a.slots[name] = s
	}
	return s
}

// refresh takes the wish for one unit from the picture.
func (a *Agent) refresh(p *cluster.Picture, name string) looked {
	pl, w := p.Placements[cluster.On{Machine: a.Machine, Unit: name}], p.Units[name]
	s := a.slots[name]
	if s == nil && pl == nil {
		return onlyOwnWords
	}
	if s == nil {
		s = a.slot(name)
	}
	if st := p.Statuses[cluster.On{Machine: a.Machine, Unit: name}]; st != nil && !s.known {
		s.adopt(*st)
	}
	epoch := int64(0)
	if pl != nil {
		epoch = pl.Epoch
	}
	if s.placed != (pl != nil) || s.epoch != epoch || (s.wanted == nil) != (w == nil) || w != nil && w.Revision != s.wanted.Revision {
		s.dirty = true
	}
	s.placed, s.epoch, s.wanted = pl != nil, epoch, nil
	s.removing = s.removing && !s.placed
	if w != nil {
		c := *w // The picture keeps its own.
		s.wanted, s.destroyed = &c, false
	}
	s.elsewhere = false
	for _, id := range p.PlacedOn(name) {
		if other := p.Placements[cluster.On{Machine: id, Unit: name}]; id != a.Machine && !other.Global && other.Epoch > s.status.Epoch {
			s.elsewhere = true
		}
	}
	return something
}

// isDue tells whether a unit has to be looked at by now.
func (a *Agent) isDue(now time.Time) bool {
	for _, s := range a.slots {
		if s.dirty || !s.due.IsZero() && !s.due.After(now) {
			return true
		}
	}
	return false
}

// list takes the runtime's evidence.
func (a *Agent) list(ctx context.Context, now time.Time) error {
	list, err := a.Runtime.List(ctx)
	if err != nil {
		return fmt.Errorf("list the units of the %s runtime: %w", a.Runtime.Name(), err)
	}
	seen := make(map[string]bool, len(list))
	a.running = 0
	for i := range list {
		e := &list[i]
		seen[e.Name] = true
		s := a.slot(e.Name)
		if s.see(e, now) {
			s.dirty = true
		}
		if s.isUp() {
			a.running++
		}
	}
	for name, s := range a.slots {
		if !seen[name] && s.see(nil, now) {
			s.dirty = true
		}
	}
	return nil
}

// names lists the slots that pass a test, sorted, so that two equal machines do the same.
func (a *Agent) names(ok func(*slot) bool) []string {
	out := make([]string, 0, len(a.slots))
	for name, s := range a.slots {
		if ok(s) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// rest sets when to look again and forgets what is gone.
func (a *Agent) rest() {
	now, next := a.Now(), time.Duration(0)
	maps.DeleteFunc(a.slots, func(_ string, s *slot) bool {
		return !s.placed && !s.stored && s.evidence == nil && !s.dirty
	})
	for _, s := range a.slots {
		if s.due.IsZero() {
			continue
		}
		if d := max(time.Millisecond, s.due.Sub(now)); next == 0 || d < next {
			next = d
		}
	}
	a.setNext(next)
}

// keepRecord writes the machine's own record when it differs from what the store has.
func (a *Agent) keepRecord(ctx context.Context) error {
	sensed := a.takeSensed()
	if a.Record == nil || !a.recordOut {
		return nil
	}
	rec := *a.Record
	rec.Conditions = slices.Concat(rec.Conditions, a.Conditions(), sensed)
	rec.At = a.Now()
	if _, err := a.Store.Write(ctx, a.writer(), store.Put(cluster.MachineKey(a.Machine), rec)); err != nil {
		return fmt.Errorf("write the machine's record: %w", err)
	}
	a.recordOut = false
	return nil
}

func (a *Agent) writer() store.Writer { return store.Writer{Role: store.Machine, ID: a.Machine} }

// compareRecord marks the record for writing when the store lacks it or has an older one.
func (a *Agent) compareRecord(p *cluster.Picture) {
	if a.Record != nil && p.Machines[a.Machine] == nil {
		a.recordOut = true
	}
}

// Conditions are what the agent has to say about its machine.
func (a *Agent) Conditions() (list []cluster.Condition) {
	list = append(list, a.brakeConditions()...)
	if a.deaf != nil {
		list = append(list, cluster.Condition{Kind: cluster.ConditionRuntime, NoNew: true, Reason: a.deaf})
	}
	return list
}
