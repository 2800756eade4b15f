package agent

import (
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// The brake (reliability.md, "never mass-stop on an odd state"): a pass that would stop more than a fifth of the running
// units, and at least three, without anybody having asked for it, stops none of them.
const (
	brakeUnits = 3
	brakeShare = 5 // One in so many.
)

// brake marks the units that are to stay although they are no longer placed here, or no longer wanted.
func (a *Agent) brake() {
	held := a.names(func(s *slot) bool { return !s.placed && s.isUp() && !s.removing && !a.caused(s) })
	if a.restored == 0 && (len(held) < brakeUnits || len(held)*brakeShare <= a.running) {
		held = nil
	}
	if a.restored != 0 { // What the snapshot knows as stopped may have been started since.
		held = append(held, a.names(func(s *slot) bool {
			return s.placed && s.isUp() && s.want() != cluster.Launched && s.desired != s.want() && !a.caused(s)
		})...)
	}
	for _, s := range a.slots {
		s.held = false
	}
	for _, name := range held {
		a.slots[name].held = true
	}
	if !slices.Equal(held, a.spared) {
		a.recordOut = a.Record != nil
		if len(held) > 0 {
			a.Log.Error("refused to stop units that nobody asked to stop", "units", len(held), "running", a.running, "restored", a.restored != 0, "first", held[:min(len(held), brakeUnits)])
		} else {
			a.Log.Info("the mass-stop brake is off")
		}
	}
	a.spared = held
}

// restore notes whether the store was made anew from a snapshot that is not settled yet. So long nothing is stopped that
// it does not know (reliability.md, P12); when a person settles it, what was held back goes.
func (a *Agent) restore(p *cluster.Picture) {
	before := a.restored
	a.restored = 0
	if r := p.Settings.Restored; r != nil {
		a.restored = r.Revision
	}
	if before == 0 || a.restored != 0 {
		return
	}
	for _, name := range a.spared {
		if s := a.slots[name]; s != nil {
			s.destroyed, s.dirty = s.wanted == nil, true
		}
	}
}

// caused tells whether somebody asked that a unit should not run here, after a restore if there was one.
func (a *Agent) caused(s *slot) bool {
	if a.restored != 0 && s.wanted != nil && s.wanted.Revision <= a.restored {
		return s.elsewhere
	}
	return s.caused()
}

// namesShown bounds the names in a condition.
const namesShown = 20

// brakeConditions are what there is to say about units that are held back.
func (a *Agent) brakeConditions() []cluster.Condition {
	switch {
	case len(a.spared) == 0:
		return nil
	case a.restored != 0:
		names := strings.Join(a.spared[:min(len(a.spared), namesShown)], " ")
		return []cluster.Condition{{Kind: string(reason.UnknownUnits), Reason: reason.Because(reason.UnknownUnits, reason.Args{"units": len(a.spared), "names": names})}}
	}
	return []cluster.Condition{{Kind: "mass-stop-refused", Reason: reason.Because(reason.MassStop, reason.Args{"units": len(a.spared), "running": a.running})}}
}

// caused tells whether somebody asked that a unit should not run here: a person stopped or destroyed it, or the leader
// has committed it to another machine. That the leader merely places it nowhere is no cause.
func (s *slot) caused() bool {
	switch {
	case s.exclusive(): // It may be about to run elsewhere, where it waits until it is stopped here.
		return true
	case s.wanted != nil:
		return s.wanted.Desired == "inactive" || s.elsewhere
	default:
		return s.destroyed
	}
}
