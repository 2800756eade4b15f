package service

import (
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/unit"
)

// Stop ends the service because somebody asked; Restart= does not count then.
// restart: it is going to be started again, so RestartKillSignal= counts.
func (s *Service) Stop(restart bool) {
	s.NoRestart, s.Restarting = true, restart
	switch s.State {
	case AutoRestart:
		s.Deadline = time.Time{}
		if s.Result == Success {
			s.set(Dead)
		} else {
			s.set(Failed)
		}
	case Condition, StartPre, Start, StartPost, Reload:
		s.enterSignal(StopSigterm, Success)
	case Running, Exited:
		s.enterStop(Success)
	default: // It is down, or on its way there.
	}
}

func (s *Service) enterStop(r Result) {
	s.fail(r)
	s.control(ExecStop, Stop, s.def().TimeoutStop, func() { s.enterSignal(StopSigterm, Success) })
}

func (s *Service) enterStopPost(r Result) {
	s.fail(r)
	s.control(ExecStopPost, StopPost, s.def().TimeoutStop, func() { s.enterSignal(FinalSigterm, Success) })
}

// stopByNotify: the service said STOPPING=1, which is as if we had sent KillSignal=.
func (s *Service) stopByNotify() {
	s.arm(s.def().TimeoutStop)
	s.set(StopSigterm)
}

// enterSignal sends the signals of one step of the stop sequence; when nobody is left to wait for, it goes on.
func (s *Service) enterSignal(to State, r Result) {
	s.fail(r)
	wait := s.def().TimeoutStop
	if to == StopWatchdog && (s.def().TimeoutAbort > 0 || s.def().TimeoutAbortSet) {
		wait = s.def().TimeoutAbort
	}
	if s.killAll(to) {
		s.arm(wait)
		s.set(to)
		return
	}
	switch {
	case (to == StopWatchdog || to == StopSigterm) && s.def().SendSIGKILL:
		s.enterSignal(StopSigkill, Success)
	case to == StopWatchdog || to == StopSigterm || to == StopSigkill:
		s.enterStopPost(Success)
	case to == FinalSigterm && s.def().SendSIGKILL:
		s.enterSignal(FinalSigkill, Success)
	default:
		s.enterDead(Success, true)
	}
}

// killAll is systemd.kill(5): who gets which signal. It tells whether there is somebody to wait for.
func (s *Service) killAll(to State) bool {
	def := s.def()
	if def.KillMode == "none" {
		return false
	}
	sig, hard := s.signalOf(to)
	wait := false
	for _, p := range []*Proc{s.Main, s.Control} {
		if p != nil && s.signalOne(p, sig, hard) {
			wait = true
		}
	}
	if def.KillMode == "control-group" || def.KillMode == "" || def.KillMode == "mixed" && hard {
		n := s.host.SignalRest(s, sig, s.Main, s.Control)
		if n > 0 && !hard {
			s.host.SignalRest(s, int(unix.SIGCONT), s.Main, s.Control)
			if def.SendSIGHUP {
				s.host.SignalRest(s, int(unix.SIGHUP), s.Main, s.Control)
			}
		}
		wait = wait || n > 0
	}
	return wait
}

func (s *Service) signalOne(p *Proc, sig int, hard bool) bool {
	if !s.host.Signal(s, p, sig) {
		return false
	}
	if !hard {
		s.host.Signal(s, p, int(unix.SIGCONT)) // A stopped process could not act on the signal.
		if s.def().SendSIGHUP {
			s.host.Signal(s, p, int(unix.SIGHUP))
		}
	}
	return true
}

// signalOf is the signal of a step; hard for the one that cannot be ignored.
func (s *Service) signalOf(to State) (sig int, hard bool) {
	def := s.def()
	switch {
	case to == StopSigkill || to == FinalSigkill:
		return or(def.FinalKillSignal, int(unix.SIGKILL)), true
	case to == StopWatchdog:
		return or(def.WatchdogSignal, int(unix.SIGABRT)), false
	case s.Restarting && def.RestartKillSignal != 0:
		return def.RestartKillSignal, false
	}
	return or(def.KillSignal, int(unix.SIGTERM)), false
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// enterDead ends a run and decides whether another one follows.
func (s *Service) enterDead(r Result, mayRestart bool) {
	s.fail(r)
	s.Main, s.Control, s.MainKnown = nil, nil, false
	s.Deadline = time.Time{}
	again := mayRestart && !s.NoRestart && s.shallRestart()
	s.host.Down(s, again)
	s.sayEnd()
	s.Restarting = false
	if again {
		s.Deadline = s.host.Now().Add(min(s.def().RestartSec, maxSpan))
		s.set(AutoRestart)
		return
	}
	if s.Result == Success || s.Result == SkipCondition {
		s.set(Dead)
		return
	}
	s.set(Failed)
}

func (s *Service) sayEnd() {
	switch s.Result {
	case Success:
		s.host.Say(s, "Deactivated successfully.")
	case SkipCondition:
		s.host.Say(s, "Skipped due to 'exec-condition'.")
	default:
		s.host.Say(s, "Failed with result '"+string(s.Result)+"'.")
	}
}

func (s *Service) shallRestart() bool {
	prevent, force := false, false
	if e := s.MainExit; e != nil {
		end := Ended{Status: e.Status, Signal: e.Signal, Unknown: e.Status < 0}
		prevent, force = in(end, s.def().RestartPreventExit), in(end, s.def().RestartForceExit)
	}
	return ShallRestart(s.def().Restart, s.Result, prevent, force)
}

// OOMKilled tells that the kernel's OOM killer ended a process of the service that is not the main one: OOMPolicy=.
func (s *Service) OOMKilled() {
	s.host.Say(s, "A process of this unit has been killed by the OOM killer.")
	switch s.def().OOMPolicy {
	case "continue":
		return
	case "kill":
		if s.State.Active() != Deactivating {
			s.enterSignal(StopSigkill, OOMKill)
		}
		return
	}
	switch s.State {
	case Condition, StartPre, Start, StartPost, Reload:
		s.enterSignal(StopSigterm, OOMKill)
	case Running, Exited:
		s.enterStop(OOMKill)
	default: // It is down, or on its way there.
	}
}

// ResetFailed forgets a failure, as systemctl reset-failed does.
func (s *Service) ResetFailed() {
	s.Starts = nil
	if s.State == Failed {
		s.Result = Success
		s.set(Dead)
	}
}

// oneshot tells whether the main process is a command that is to end.
func (s *Service) oneshot() bool { return s.def().Type == unit.TypeOneshot }
