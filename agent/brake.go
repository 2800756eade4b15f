package agent

// The brake (reliability.md, "never mass-stop on an odd state"): a pass that would stop more than a fifth of the running
// units, and at least three, without anybody having asked for it, stops none of them.
const (
	brakeUnits = 3
	brakeShare = 5 // One in so many.
)

// brake marks the units that are to stay although they are no longer placed here.
func (a *Agent) brake() {
	uncaused := a.names(func(s *slot) bool { return !s.placed && s.isUp() && !s.removing && !s.caused() })
	refuse := len(uncaused) >= brakeUnits && len(uncaused)*brakeShare > a.running
	for _, s := range a.slots {
		s.held = false
	}
	held := 0
	if refuse {
		held = len(uncaused)
		for _, name := range uncaused {
			a.slots[name].held = true
		}
	}
	if held != a.braked {
		a.recordOut = a.Record != nil
		if held > 0 {
			a.Log.Error("refused to stop units that nobody asked to stop", "units", held, "running", a.running, "first", uncaused[:brakeUnits])
		} else {
			a.Log.Info("the mass-stop brake is off")
		}
	}
	a.braked = held
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
