package service

import "time"

// How long to wait before PIDFile= is looked for again while a forking service starts: doubling.
const (
	firstPIDFilePause = 5 * time.Millisecond
	lastPIDFilePause  = 500 * time.Millisecond
)

// forked: the first process of a forking service has ended; the daemon is what it left.
func (s *Service) forked(r Result) {
	if r != Success {
		s.enterSignal(StopSigterm, r)
		return
	}
	if s.def().PIDFile == "" {
		s.guess()
		s.enterStartPost()
		return
	}
	hasPost := len(s.def().ExecStartPost) > 0
	if s.loadPIDFile() || hasPost {
		s.enterStartPost()
		return
	}
	s.demandPIDFile()
}

// demandPIDFile waits for the file for as long as a process of the service lives and the start may take.
func (s *Service) demandPIDFile() {
	if s.host.Empty(s) {
		s.noPIDFile()
		return
	}
	s.PIDFilePause = firstPIDFilePause
	s.PIDFileAt = s.after(s.PIDFilePause)
	s.host.Changed(s, s.State)
}

func (s *Service) noPIDFile() {
	s.protocol("no process left, and none named by PIDFile=" + s.def().PIDFile)
	s.enterSignal(StopSigterm, Protocol)
}

// lookAgain is the tick of demandPIDFile.
func (s *Service) lookAgain() {
	if s.loadPIDFile() {
		s.PIDFileAt = time.Time{}
		if s.State == Start {
			s.enterStartPost()
		} else {
			s.enterRunning(Success)
		}
		return
	}
	if s.host.Empty(s) {
		s.noPIDFile()
		return
	}
	s.PIDFilePause = min(2*s.PIDFilePause, lastPIDFilePause)
	s.PIDFileAt = s.after(s.PIDFilePause)
}

// loadPIDFile takes the main process from PIDFile=.
func (s *Service) loadPIDFile() bool {
	pid, err := s.host.PIDFile(s)
	if err != nil {
		return false
	}
	return s.takeMain(pid)
}

func (s *Service) takeMain(pid int) bool {
	if s.MainPID() == pid {
		return true
	}
	p, ok := s.host.Identify(s, pid)
	if !ok {
		return false
	}
	p.Directive, p.Index = ExecStart, 0
	s.Main, s.MainKnown = &p, true
	return true
}

// guess finds the main process of a forking service that writes no PID file (GuessMainPID=).
func (s *Service) guess() {
	if !s.def().GuessMainPID || s.Main != nil {
		return
	}
	if pid, ok := s.host.Guess(s); ok {
		s.takeMain(pid)
	}
}

func (s *Service) startPostDone(r Result) {
	switch {
	case r != Success:
		s.enterSignal(StopSigterm, r)
	case s.def().PIDFile != "" && s.def().Type == "forking" && s.Main == nil && !s.loadPIDFile():
		s.demandPIDFile()
	default:
		s.enterRunning(Success)
	}
}
