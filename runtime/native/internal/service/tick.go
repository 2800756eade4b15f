package service

import (
	"fmt"
	"time"
)

// Tick does what is due.
func (s *Service) Tick() {
	now := s.host.Now()
	if due(s.PIDFileAt, now) {
		s.PIDFileAt = time.Time{}
		s.lookAgain()
	}
	if due(s.WatchdogAt, now) {
		s.watchdogHit()
	}
	if due(s.Deadline, now) {
		s.Deadline = time.Time{}
		s.timedOut()
	}
}

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// timedOut is what the end of each state's time means.
func (s *Service) timedOut() {
	def := s.def()
	switch s.State {
	case Condition, StartPre, Start, StartPost:
		s.host.Say(s, fmt.Sprintf("%s operation timed out. Terminating.", s.State))
		s.enterSignal(StopSigterm, Timeout)
	case Running:
		s.host.Say(s, "Service reached runtime time limit. Stopping.")
		s.enterStop(Timeout)
	case Reload:
		s.reloadTimedOut()
	case Stop:
		s.host.Say(s, "Stopping timed out. Terminating.")
		s.enterSignal(StopSigterm, Timeout)
	case StopWatchdog, StopSigterm:
		s.host.Say(s, fmt.Sprintf("State '%s' timed out. Killing.", s.State))
		if def.SendSIGKILL {
			s.enterSignal(StopSigkill, Timeout)
		} else {
			s.enterStopPost(Timeout)
		}
	case StopSigkill:
		s.host.Say(s, "Processes still around after SIGKILL. Ignoring.")
		s.enterStopPost(Timeout)
	case StopPost:
		s.host.Say(s, "State 'stop-post' timed out. Terminating.")
		s.enterSignal(FinalSigterm, Timeout)
	case FinalSigterm:
		if def.SendSIGKILL {
			s.host.Say(s, "State 'final-sigterm' timed out. Killing.")
			s.enterSignal(FinalSigkill, Timeout)
		} else {
			s.enterDead(Timeout, false)
		}
	case FinalSigkill:
		s.host.Say(s, "Processes still around after final SIGKILL. Entering failed mode.")
		s.enterDead(Timeout, true)
	case AutoRestart:
		s.NRestarts++
		s.host.Say(s, fmt.Sprintf("Scheduled restart job, restart counter is at %d.", s.NRestarts))
		s.host.Again(s)
	case Dead, Exited, Failed: // They have no deadline.
	}
}

func (s *Service) reloadTimedOut() {
	s.host.Say(s, "Reload operation timed out. Killing reload process.")
	if s.Control != nil {
		s.host.Signal(s, s.Control, 9)
		s.Control = nil // Its end is nobody's business any more.
	}
	s.Notified = ""
	s.enterRunning(Success)
}
