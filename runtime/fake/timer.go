package fake

import (
	"time"

	"argosy.dev/argosy/calendar"
)

// arm sets a timer to its next run.
func (s *service) arm(at time.Time) {
	if s.e.ActiveSince.IsZero() || !s.up() {
		s.e.ActiveSince = at
		s.e.Invocation = s.r.newInvocation()
	}
	next := s.nextElapse(at)
	s.e.NextElapse = next
	delete(s.due, evElapse)
	if next.IsZero() {
		s.state(at, "active", "elapsed")
		return
	}
	s.due[evElapse] = next
	s.state(at, "active", "waiting")
}

// nextElapse is the earliest of the timer's lines that is still to come.
func (s *service) nextElapse(now time.Time) time.Time {
	var next time.Time
	see := func(base time.Time, spans []time.Duration) {
		for _, d := range spans {
			if t := base.Add(d); !base.IsZero() && t.After(now) && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
	}
	t := s.u.Timer
	see(s.e.ActiveSince, t.OnActive)
	see(s.r.boot, t.OnBoot)
	see(s.r.boot, t.OnStartup)
	if target := s.r.units[t.Unit]; target != nil {
		see(target.e.ActiveSince, t.OnUnitActive)
		see(target.e.InactiveSince, t.OnUnitInactive)
	}
	for _, text := range t.OnCalendar {
		expr, err := calendar.Parse(text)
		if err != nil {
			continue // unit.Load has refused such a unit.
		}
		if at, ok := expr.Next(now); ok {
			see(at, []time.Duration{0})
		}
	}
	return next
}

// elapse runs the timer's unit.
func (s *service) elapse(at time.Time) {
	s.e.LastTrigger = at
	if target := s.r.units[s.u.Timer.Unit]; target != nil {
		target.start(at)
	}
	s.arm(at)
}
