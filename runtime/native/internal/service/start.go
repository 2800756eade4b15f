package service

import (
	"fmt"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Start begins a run. auto: by Restart=. It refuses with a reason when the service is not down.
func (s *Service) Start(auto bool) *reason.Reason {
	switch {
	case s.State.Up() || s.State.Active() == Activating && s.State != AutoRestart:
		return nil
	case s.State != AutoRestart && !s.State.Down():
		return reason.Because(reason.Stopping, nil)
	}
	if !auto {
		s.NRestarts, s.Starts, s.OOMKills, s.MemoryPeak = 0, nil, 0, 0
	}
	if !s.mayStart() {
		s.Deadline = time.Time{}
		s.host.Say(s, "Start request repeated too quickly.")
		s.Result = StartLimitHit
		s.enterDead(Success, false)
		return nil
	}
	s.begin()
	if why := s.host.Prepare(s); why != nil {
		s.Error = why
		s.host.Say(s, "Failed to run 'start' task: "+why.Message())
		s.enterSignal(FinalSigterm, Resources)
		return nil
	}
	s.control(ExecCondition, Condition, s.def().TimeoutStart, s.enterStartPre)
	return nil
}

// begin forgets the run before.
func (s *Service) begin() {
	s.Result, s.Error, s.Setup, s.MainExit = Success, nil, nil, nil
	s.Main, s.Control, s.MainKnown = nil, nil, false
	s.NoRestart, s.Restarting, s.Notified, s.StatusText = false, false, "", ""
	s.CPUNanos, s.OOMSeen = 0, 0
	s.Watchdog = s.def().Watchdog
	s.Deadline, s.WatchdogAt = time.Time{}, time.Time{}
	s.Invocation, s.Started = s.host.NewInvocation(), s.host.Now()
}

// mayStart counts this start against StartLimitIntervalSec= and StartLimitBurst=.
func (s *Service) mayStart() bool {
	interval, burst := s.Unit.StartLimitInterval, s.Unit.StartLimitBurst
	if interval <= 0 || burst <= 0 {
		return true
	}
	now := s.host.Now()
	recent := make([]time.Time, 0, len(s.Starts)+1)
	for _, t := range s.Starts {
		if now.Sub(t) < interval {
			recent = append(recent, t)
		}
	}
	if len(recent) >= burst {
		s.Starts = recent
		return false
	}
	s.Starts = append(recent, now)
	return true
}

// control enters a state and runs the directive's commands in it; without any it goes on with next.
func (s *Service) control(d string, state State, timeout time.Duration, next func()) {
	if len(s.commands(d)) == 0 {
		next()
		return
	}
	s.arm(timeout)
	if !s.spawnControl(d, 0) {
		s.controlNotStarted(d)
		return
	}
	s.set(state)
}

// controlNotStarted is the way on when a control process could not be made at all.
func (s *Service) controlNotStarted(d string) {
	switch d {
	case ExecReload:
		s.enterRunning(Success)
	case ExecStop, ExecStartPost:
		s.enterSignal(StopSigterm, Resources)
	case ExecStopPost:
		s.enterSignal(FinalSigterm, Resources)
	default:
		s.enterSignal(StopSigterm, Resources)
	}
}

func (s *Service) spawnControl(d string, i int) bool {
	p, why := s.host.Spawn(s, d, s.commands(d)[i])
	if why != nil {
		s.Error = why
		s.host.Say(s, fmt.Sprintf("Failed to start %s=: %s", d, why.Message()))
		return false
	}
	p.Directive, p.Index = d, i
	s.Control = &p
	return true
}

func (s *Service) spawnMain(i int) bool {
	p, why := s.host.Spawn(s, ExecStart, s.def().ExecStart[i])
	if why != nil {
		s.Error = why
		s.host.Say(s, "Failed to start ExecStart=: "+why.Message())
		return false
	}
	p.Directive, p.Index = ExecStart, i
	s.Main, s.MainKnown = &p, true
	return true
}

func (s *Service) enterStartPre() {
	s.control(ExecStartPre, StartPre, s.def().TimeoutStart, s.enterStart)
}

func (s *Service) enterStart() {
	def := s.def()
	if len(def.ExecStart) == 0 { // Only a oneshot may have none.
		s.Deadline = time.Time{}
		s.enterStartPost()
		return
	}
	s.arm(def.TimeoutStart)
	var ok bool
	if def.Type == unit.TypeForking {
		ok = s.spawnControl(ExecStart, 0)
	} else {
		ok = s.spawnMain(0)
	}
	if !ok {
		s.enterSignal(FinalSigterm, Resources)
		return
	}
	switch def.Type {
	case unit.TypeSimple, unit.TypeIdle, unit.TypeDBus: // Nobody watches a bus here: Load has warned.
		s.Deadline = time.Time{}
		s.enterStartPost()
	default:
		s.set(Start)
	}
}

// Executed tells that the program of a process was really started; Type=exec waits for that.
func (s *Service) Executed(pid int) {
	if s.State == Start && s.def().Type == unit.TypeExec && s.MainPID() == pid {
		s.enterStartPost()
	}
}

// SetupFailed tells why the set-up between fork and exec of a process failed; its exit follows.
func (s *Service) SetupFailed(pid int, why *reason.Reason) { s.Setup, s.SetupPID = why, pid }

func (s *Service) enterStartPost() {
	s.Feed()
	s.control(ExecStartPost, StartPost, s.def().TimeoutStart, func() { s.enterRunning(Success) })
}

// enterRunning is where a start, a reload and each unexpected end of a process lead: it decides what is left.
func (s *Service) enterRunning(r Result) {
	s.fail(r)
	switch {
	case s.Result != Success:
		s.enterSignal(StopSigterm, r)
	case s.good():
		switch s.Notified {
		case "reloading":
			s.arm(s.def().TimeoutStart)
			s.set(Reload)
		case "stopping":
			s.stopByNotify()
		default:
			s.Deadline = time.Time{}
			if d := s.def().RuntimeMax; d > 0 && d < maxSpan {
				s.Deadline = s.runtimeMax(d)
			}
			s.set(Running)
			s.Feed()
		}
	case s.def().RemainAfterExit:
		s.Deadline = time.Time{}
		s.set(Exited)
	default:
		s.enterStop(Success)
	}
}

// runtimeMax counts from when the service became active, so that a reload does not prolong it.
func (s *Service) runtimeMax(d time.Duration) time.Time {
	if s.State == Reload && !s.ActiveSince.IsZero() {
		return s.ActiveSince.Add(d)
	}
	return s.after(d)
}

// good tells whether the service still has what makes it running.
func (s *Service) good() bool {
	if s.def().ExitType == "cgroup" {
		return !s.host.Empty(s)
	}
	if s.MainKnown {
		return s.Main != nil
	}
	return !s.host.Empty(s)
}

// Reload runs ExecReload=.
func (s *Service) Reload() *reason.Reason {
	switch {
	case len(s.def().ExecReload) == 0:
		return reason.Because(reason.Unsupported, reason.Args{"what": s.Name + " has no ExecReload="})
	case s.State != Running && s.State != Exited:
		return reason.Because(reason.Unsupported, reason.Args{"what": s.Name + " is not active, it cannot be reloaded"})
	}
	s.Notified = ""
	s.control(ExecReload, Reload, s.def().TimeoutStart, func() { s.enterRunning(Success) })
	return nil
}
