package service

import (
	"fmt"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Ended takes in the end of a process. Processes that are neither main nor control only count for Emptied.
func (s *Service) Ended(pid int, e Ended) {
	switch {
	case s.Main != nil && s.Main.PID == pid:
		s.mainEnded(e)
	case s.Control != nil && s.Control.PID == pid:
		s.controlEnded(e)
	}
}

// Owns tells whether a process is the main or the control process.
func (s *Service) Owns(pid int) bool {
	return s.Main != nil && s.Main.PID == pid || s.Control != nil && s.Control.PID == pid
}

// record writes an end into the evidence and the journal.
func (s *Service) record(p *Proc, e Ended, r Result) *cluster.Exit {
	now := s.host.Now()
	x := cluster.Exit{
		At: now, Directive: p.Directive, Path: p.Path, Status: e.Status, Signal: e.Signal, CoreDumped: e.Core,
		Uptime: now.Sub(p.At), OOM: e.OOM, Success: r == Success, Asked: s.NoRestart, Invocation: s.Invocation,
	}
	if s.SetupPID == p.PID {
		x.Error = s.Setup
	}
	s.Setup, s.SetupPID = nil, 0
	if e.Unknown {
		x.Status = -1
		x.Error = reason.Because(reason.Unsupported, reason.Args{"what": "it ended while no init process of Argosy ran: its exit status is not known"})
	}
	s.Exits = append(s.Exits, x)
	if n := len(s.Exits) - cluster.MaxExits; n > 0 {
		s.Exits = append([]cluster.Exit(nil), s.Exits[n:]...)
	}
	if e.OOM {
		s.OOMKills = max(s.OOMKills, 1)
	}
	return &s.Exits[len(s.Exits)-1]
}

// sayExit uses systemd's own sentence.
func (s *Service) sayExit(what string, e Ended) {
	switch {
	case e.Unknown:
		s.host.Say(s, what+" exited, its status is not known.")
	case e.Core:
		s.host.Say(s, fmt.Sprintf("%s exited, code=dumped, status=%d/%s", what, e.Signal, signalWord(e.Signal)))
	case e.Signal != 0:
		s.host.Say(s, fmt.Sprintf("%s exited, code=killed, status=%d/%s", what, e.Signal, signalWord(e.Signal)))
	default:
		s.host.Say(s, fmt.Sprintf("%s exited, code=exited, status=%s", what, statusWord(e.Status)))
	}
	if e.OOM {
		s.host.Say(s, "A process of this unit has been killed by the OOM killer.")
	}
}

func (s *Service) mainEnded(e Ended) {
	p := s.Main
	s.Main = nil
	if s.def().OOMPolicy == "continue" {
		e.Starved = false
	}
	r := Classify(e, s.oneshot(), s.def().SuccessExitStatus)
	c, _ := s.command(p)
	if c.IgnoreFailure {
		r = Success
	}
	x := *s.record(p, e, r)
	s.MainExit = &x
	if r != Success || e.Status != 0 || e.Signal != 0 {
		s.sayExit("Main process", e)
	}
	s.fail(r)
	if s.oneshot() && r == Success && s.State == Start && p.Index+1 < len(s.def().ExecStart) {
		if !s.spawnMain(p.Index + 1) {
			s.enterSignal(StopSigterm, Resources)
			return
		}
		s.set(Start)
		return
	}
	s.afterMain(r)
}

// afterMain is what the end of the main process means in each state.
func (s *Service) afterMain(r Result) {
	switch s.State {
	case StartPost, Reload:
		if s.Control == nil {
			s.enterStop(r)
			return
		}
	case Start:
		s.mainEndedInStart(r)
		return
	case Running:
		s.enterRunning(r)
		return
	case StopWatchdog, StopSigterm, StopSigkill:
		if s.Control == nil {
			s.enterStopPost(r)
			return
		}
	case StopPost:
		if s.Control == nil {
			s.enterSignal(FinalSigterm, r)
			return
		}
	case FinalSigterm, FinalSigkill:
		s.endIfEmpty(r)
		return
	case Dead, Condition, StartPre, Exited, Stop, Failed, AutoRestart: // No main process, or ExecStop= goes on.
	}
	s.host.Changed(s, s.State) // A control process goes on; its end decides.
}

func (s *Service) mainEndedInStart(r Result) {
	switch s.def().Type {
	case unit.TypeOneshot:
		if r == Success {
			s.enterStartPost()
		} else {
			s.enterSignal(StopSigterm, r)
		}
	case unit.TypeNotify:
		switch {
		case r != Success:
			s.enterSignal(StopSigterm, r)
		case !s.def().RemainAfterExit || s.notifyAccess() == "main":
			s.protocol("the service ended without READY=1 (Type=notify)")
			s.enterSignal(StopSigterm, Protocol)
		default:
			s.host.Changed(s, s.State)
		}
	default:
		s.enterRunning(r)
	}
}

func (s *Service) controlEnded(e Ended) {
	p := s.Control
	s.Control = nil
	r := Classify(e, true, s.def().SuccessExitStatus)
	c, found := s.command(p)
	if c.IgnoreFailure {
		r = Success
	}
	if p.Directive == ExecCondition && r == ExitCode && !e.Unknown && e.Status < 255 {
		r = SkipCondition
		s.Error = reason.Because(reason.ConditionFailed, reason.Args{"condition": "ExecCondition=" + strings.Join(c.Argv, " ")})
	}
	if p.Directive != ExecStart || r != Success { // A forking service's first process ends as it should.
		s.record(p, e, r)
	}
	if r != Success || e.Status != 0 || e.Signal != 0 {
		s.sayExit("Control process", e)
	}
	if s.State != Reload {
		s.fail(r)
	}
	forking := p.Directive == ExecStart
	if r == Success && found && !forking && p.Index+1 < len(s.commands(p.Directive)) {
		if !s.spawnControl(p.Directive, p.Index+1) {
			s.controlNotStarted(p.Directive)
			return
		}
		s.host.Changed(s, s.State)
		return
	}
	s.afterControl(r)
}

// afterControl is what the end of the last command of a state means.
func (s *Service) afterControl(r Result) {
	switch s.State {
	case Condition, StartPre:
		switch {
		case r != Success:
			s.enterSignal(StopSigterm, r)
		case s.State == Condition:
			s.enterStartPre()
		default:
			s.enterStart()
		}
	case Start:
		s.forked(r)
	case StartPost:
		s.startPostDone(r)
	case Reload:
		if r == Success && s.def().PIDFile != "" {
			s.loadPIDFile()
		}
		s.enterRunning(Success)
	case Stop:
		s.enterSignal(StopSigterm, r)
	case StopWatchdog, StopSigterm, StopSigkill:
		if s.Main == nil {
			s.enterStopPost(r)
		}
	case StopPost:
		s.enterSignal(FinalSigterm, r)
	case FinalSigterm, FinalSigkill:
		s.endIfEmpty(r)
	case Dead, Running, Exited, Failed, AutoRestart: // They have no control process.
	}
}

func (s *Service) endIfEmpty(r Result) {
	s.fail(r)
	if s.Main == nil && s.Control == nil && s.host.Empty(s) {
		s.enterDead(r, true)
		return
	}
	s.host.Changed(s, s.State)
}

// Emptied tells that no process of the service is left.
func (s *Service) Emptied() {
	if s.Main != nil || s.Control != nil {
		return
	}
	switch s.State {
	case Start:
		if s.def().Type == unit.TypeForking && !s.PIDFileAt.IsZero() {
			s.noPIDFile()
		} else if s.def().Type == unit.TypeNotify {
			s.protocol("the service ended without READY=1 (Type=notify)")
			s.enterSignal(StopSigterm, Protocol)
		}
	case StartPost:
		if !s.PIDFileAt.IsZero() {
			s.noPIDFile()
		}
	case Running:
		s.enterRunning(Success)
	case StopWatchdog, StopSigterm, StopSigkill:
		s.enterStopPost(Success)
	case FinalSigterm, FinalSigkill:
		s.enterDead(Success, true)
	default: // The end of a command decides, or nothing of it runs.
	}
}

func (s *Service) protocol(text string) {
	s.Error = reason.Because(reason.Protocol, reason.Args{"error": text})
	s.host.Say(s, text)
}
