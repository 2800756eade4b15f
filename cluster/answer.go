package cluster

import (
	"slices"
	"strings"

	"argosy.dev/argosy/reason"
)

// Answer tells what is so of a unit; ok is false when the picture has no such unit.
// Every unit has one, and every answer that is not healthy has a reason.
func (p *Picture) Answer(name string) (Answer, bool) {
	w := p.Units[name]
	if w == nil {
		return Answer{}, false
	}
	a := Answer{Unit: name, Desired: w.Desired, Revision: w.Revision, Since: w.At}
	if strings.Contains(name, "@.") {
		a.Template = true
		return a.with(Stopped, reason.Because(reason.TemplateOnly, reason.Args{"unit": name}), true), true
	}
	if pl := p.Unplaced[name]; pl != nil {
		a.Global = pl.Global
	}
	on := p.PlacedOn(name)
	for _, id := range on {
		if p.Placements[On{id, name}].Global {
			a.Global = true
		}
	}
	switch {
	case len(on) == 0:
		return p.answerUnplaced(a, w), true
	case a.Global:
		return p.answerGlobal(a, w, on), true
	}
	return p.answerOn(a, w, p.answers(name, on)), true
}

// answers is the machine that speaks for a unit: of several, on its way from a drained machine to another one, the one it
// came to last, unless it is healthy at an earlier one only.
func (p *Picture) answers(name string, on []string) string {
	best, bestHealthy, bestEpoch := on[0], false, int64(-1)
	for _, id := range on {
		s, epoch := p.Statuses[On{id, name}], p.Placements[On{id, name}].Epoch
		healthy := s != nil && s.State == Healthy && p.Alive[id]
		if bestEpoch < 0 || healthy && !bestHealthy || healthy == bestHealthy && epoch > bestEpoch {
			best, bestHealthy, bestEpoch = id, healthy, epoch
		}
	}
	return best
}

func (a Answer) with(s State, r *reason.Reason, final bool) Answer {
	a.State, a.Reason, a.Final = s, r, final
	if r != nil {
		a.Message, a.Hint, a.Scope = r.Message(), r.Hint(), r.Scope()
	}
	return a
}

func (p *Picture) answerUnplaced(a Answer, w *Wanted) Answer {
	pl := p.Unplaced[a.Unit]
	if w.Desired == Inactive {
		if s := p.leftover(a.Unit); s != nil {
			a.Status, a.MachineID, a.Machine, a.Since = s, s.Machine, p.MachineName(s.Machine), s.Since
			if !p.Alive[s.Machine] { // Its last word may be "healthy", and nobody knows.
				return a.with(Lost, reason.Because(reason.MachineLost, reason.Args{"machine": a.Machine}), false)
			}
			return a.with(s.State, s.Reason, false)
		}
		return a.with(Stopped, stoppedWhy(w), true)
	}
	if w.Desired == Loaded && w.Orders.Start > 0 { // It was stopped: that it has no machine now troubles nobody.
		return a.with(Stopped, stoppedWhy(w), true)
	}
	if pl == nil || pl.Reason == nil {
		return a.with(Starting, reason.Because(reason.NotScheduled, reason.Args{"unit": a.Unit}), false)
	}
	a.Since = pl.At
	state := Unplaced
	if pl.Reason.Cure() == reason.Transient {
		state = Waiting
	}
	return a.with(state, pl.Reason, pl.Reason.Cure() == reason.Permanent)
}

// leftover is a machine's word about a unit that is no longer placed there: it is on its way down.
func (p *Picture) leftover(name string) *Status {
	for id := range p.Machines {
		if s := p.Statuses[On{id, name}]; s != nil && s.State != Stopped {
			return s
		}
	}
	return nil
}

func stoppedWhy(w *Wanted) *reason.Reason {
	if w.Orders.Start == 0 {
		return reason.Because(reason.NotStarted, nil)
	}
	return reason.Because(reason.StoppedByUser, reason.Args{"who": w.By})
}

func (p *Picture) answerOn(a Answer, w *Wanted, id string) Answer {
	a.MachineID, a.Machine = id, p.MachineName(id)
	pl, s := p.Placements[On{id, a.Unit}], p.Statuses[On{id, a.Unit}]
	if !p.Alive[id] {
		a.Status = s
		return a.with(Lost, reason.Because(reason.MachineLost, reason.Args{"machine": a.Machine}), false)
	}
	if s == nil || s.For < w.Revision || s.Epoch < pl.Epoch {
		a.Since = pl.At
		a.Status = s
		return a.with(Starting, reason.Because(reason.NotTaken, reason.Args{"machine": a.Machine}), false)
	}
	a.Status, a.Since = s, s.Since
	return a.with(s.State, s.Reason, s.Final)
}

// answerGlobal gives the worst machine's answer: a global unit is healthy when it is so everywhere.
func (p *Picture) answerGlobal(a Answer, w *Wanted, on []string) Answer {
	worst := Answer{}
	all := make([]Status, 0, len(on))
	for i, id := range on {
		one := p.answerOn(a, w, id)
		if one.Status != nil {
			all = append(all, *one.Status)
		}
		if i == 0 || severity(one.State) > severity(worst.State) {
			worst = one
		}
	}
	worst.On = all
	return worst
}

// severity orders states from good to bad, for the one word about many.
func severity(s State) int {
	return slices.Index([]State{FinishedOK, Healthy, Stopped, Draining, Waiting, Starting, BackingOff, Lost, Unplaced, Unhealthy, Failing, CrashLooping, Failed}, s)
}
