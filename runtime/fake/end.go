package fake

import (
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/unit"
)

// end takes note of a process's end and decides what follows, as systemd.service(5) says.
func (s *service) end(at time.Time, how ending) {
	ok := s.success(how)
	x := cluster.Exit{
		At: at, Directive: "ExecStart", Path: s.path(), Status: how.status, Signal: how.signal, Uptime: at.Sub(s.began),
		OOM: how.oom, Success: ok, Asked: s.asked, Invocation: s.e.Invocation, Error: how.why,
	}
	if how.signal != 0 {
		x.Status = 0
	}
	s.e.Exits = append(s.e.Exits, x)
	if n := len(s.e.Exits); n > cluster.MaxExits {
		s.e.Exits = slices.Clone(s.e.Exits[n-cluster.MaxExits:])
	}
	if how.oom {
		s.e.OOMKills++
		s.e.MemoryPeak = s.u.Service.Resources.MemoryMax.Value
	}
	s.e.Result = s.resultOf(how, ok)
	s.e.MainPID = 0
	clear(s.due)
	s.after(at)
}

// success: a clean exit, as systemd.service(5) defines it under SuccessExitStatus=.
func (s *service) success(how ending) bool {
	set := s.u.Service.SuccessExitStatus
	if how.signal == 0 {
		return how.status == 0 || slices.Contains(set.Status, how.status)
	}
	clean := s.u.Service.Type != unit.TypeOneshot && slices.Contains([]int{sigHUP, sigINT, sigTERM, sigPIPE}, how.signal)
	return clean || slices.Contains(set.Signals, how.signal)
}

func (s *service) resultOf(how ending, ok bool) string {
	starting := s.e.Active == "activating" && s.u.Service.Type != unit.TypeOneshot
	switch {
	case s.result != "":
		return s.result
	case how.oom:
		return "oom-kill"
	case ok && starting && !s.asked:
		return "protocol"
	case ok:
		return "success"
	case how.signal != 0:
		return "signal"
	}
	return "exit-code"
}

// after is what follows a run: down, up as "exited", or the pause before Restart=.
func (s *service) after(at time.Time) {
	svc := s.u.Service
	switch {
	case s.asked:
		s.down(at, "inactive", "dead")
		if s.e.Result == "timeout" {
			s.state(at, "failed", "failed")
		}
		s.beginAgain(at)
	case s.e.Result == "success" && svc.RemainAfterExit:
		if s.e.ActiveSince.Before(s.began) {
			s.e.ActiveSince = at
		}
		s.state(at, "active", "exited")
	case s.restarts():
		s.e.InactiveSince = at
		s.state(at, "activating", "auto-restart")
		s.e.NextTry = at.Add(svc.RestartSec)
		s.due[evRestart] = s.e.NextTry
	case s.e.Result == "success":
		s.down(at, "inactive", "dead")
	default:
		s.down(at, "failed", "failed")
	}
}

// beginAgain is the second half of a restart, if that is what it was.
func (s *service) beginAgain(at time.Time) {
	if !s.again {
		return
	}
	s.again = false
	s.starts, s.e.NRestarts, s.e.OOMKills = nil, 0, 0
	s.begin(at)
}

func (s *service) down(at time.Time, active, sub string) {
	s.e.MainPID, s.e.NextTry, s.e.InactiveSince = 0, time.Time{}, at
	s.state(at, active, sub)
}

// restarts applies the table of Restart= in systemd.service(5).
func (s *service) restarts() bool {
	svc, last := s.u.Service, s.lastExit()
	if slices.Contains(svc.RestartPreventExit.Status, last.Status) && last.Signal == 0 && last.Status != 0 {
		return false
	}
	result := s.e.Result
	switch svc.Restart {
	case "always":
		return svc.Type != unit.TypeOneshot || result != "success"
	case "on-success":
		return result == "success"
	case "on-failure":
		return result != "success"
	case "on-abnormal":
		return result != "success" && result != "exit-code"
	case "on-abort":
		return result == "signal" || result == "core-dump"
	case "on-watchdog":
		return result == "watchdog"
	}
	return false
}

func (s *service) lastExit() cluster.Exit {
	if n := len(s.e.Exits); n > 0 && s.e.Exits[n-1].Invocation == s.e.Invocation {
		return s.e.Exits[n-1]
	}
	return cluster.Exit{}
}

// limited counts a start and tells whether it is one too many.
func (s *service) limited(at time.Time) bool {
	interval, burst := s.u.StartLimitInterval, s.u.StartLimitBurst
	if interval <= 0 || burst <= 0 {
		return false
	}
	s.starts = slices.DeleteFunc(s.starts, func(t time.Time) bool { return at.Sub(t) >= interval })
	if len(s.starts) >= burst {
		return true
	}
	s.starts = append(s.starts, at)
	return false
}
