// Package service holds one service as a state machine with systemd's states, results and rules
// (systemd.service(5), systemd.kill(5)). Events come in as method calls; what is to be done goes out
// through Host, so that every rule can be tested without a process. It reads no clock and no disk itself,
// and leaves dependencies between units to package engine.
package service

import (
	"strconv"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// The directives that hold commands; they name a process's purpose in Exit.Directive.
const (
	ExecCondition = "ExecCondition"
	ExecStartPre  = "ExecStartPre"
	ExecStart     = "ExecStart"
	ExecStartPost = "ExecStartPost"
	ExecReload    = "ExecReload"
	ExecStop      = "ExecStop"
	ExecStopPost  = "ExecStopPost"
)

// Host does what a service decides. It is called from the one goroutine that owns the service.
type Host interface {
	// Now is the time, with its monotonic reading.
	Now() time.Time
	// NewInvocation makes the id of a new run.
	NewInvocation() string
	// Prepare makes what a run needs before its first process: directories, credentials, the cgroup.
	Prepare(s *Service) *reason.Reason
	// Spawn starts a command as a process of the service. A reason means that nothing was started.
	Spawn(s *Service, d string, c unit.Command) (Proc, *reason.Reason)
	// Signal sends a signal to one process; false when it is not there any more.
	Signal(s *Service, p *Proc, sig int) bool
	// SignalRest sends a signal to all other processes of the service and tells how many it reached.
	SignalRest(s *Service, sig int, but ...*Proc) int
	// Empty tells whether no process of the service is left.
	Empty(s *Service) bool
	// Identify looks up a process by its number; false when it is not there or may not be a service's main process.
	Identify(s *Service, pid int) (Proc, bool)
	// PIDFile reads PIDFile=.
	PIDFile(s *Service) (int, error)
	// Guess finds the main process of a forking service without a PID file: its only process.
	Guess(s *Service) (int, bool)
	// Changed is called after each change of state.
	Changed(s *Service, from State)
	// Say writes a line about the service into its journal.
	Say(s *Service, text string)
	// Down is called when a run is over: what it left is removed. again: Restart= will start it anew.
	Down(s *Service, again bool)
	// Again is called when RestartSec= is over: it starts the service through the job engine.
	Again(s *Service)
}

// Proc is a process of a service. PID and Ticks together name it for all time on this boot.
type Proc struct {
	PID       int       `json:"pid"`
	Ticks     uint64    `json:"ticks,omitempty"` // Start time of /proc/PID/stat.
	Directive string    `json:"directive,omitempty"`
	Index     int       `json:"index,omitempty"` // Which of the directive's commands.
	Path      string    `json:"path,omitempty"`
	At        time.Time `json:"at"`
	Alien     bool      `json:"alien,omitempty"` // Not our child: its exit status may stay unknown.
}

// Record is all that is known of a service and outlives the process that knows it.
type Record struct {
	State      State  `json:"state"`
	Result     Result `json:"result"`
	Main       *Proc  `json:"main,omitempty"`
	MainKnown  bool   `json:"main_known,omitempty"` // The main process is or was known in this run.
	Control    *Proc  `json:"control,omitempty"`
	Invocation string `json:"invocation,omitempty"`
	NRestarts  int    `json:"n_restarts,omitempty"`

	Since         time.Time     `json:"since,omitzero"`
	Started       time.Time     `json:"started,omitzero"` // When the last run began.
	ActiveSince   time.Time     `json:"active_since,omitzero"`
	InactiveSince time.Time     `json:"inactive_since,omitzero"`
	Deadline      time.Time     `json:"deadline,omitzero"` // When the state times out, RuntimeMaxSec= is reached or RestartSec= is over.
	WatchdogAt    time.Time     `json:"watchdog_at,omitzero"`
	PIDFileAt     time.Time     `json:"pid_file_at,omitzero"` // Forking: when to look for the PID file again.
	PIDFilePause  time.Duration `json:"pid_file_pause,omitempty"`

	Exits      []cluster.Exit `json:"exits,omitempty"`
	MainExit   *cluster.Exit  `json:"main_exit,omitempty"` // How the main process of this run ended.
	StatusText string         `json:"status_text,omitempty"`
	Notified   string         `json:"notified,omitempty"` // ready, reloading, stopping.
	Watchdog   time.Duration  `json:"watchdog,omitempty"` // WatchdogSec=, or WATCHDOG_USEC= of the service.
	Starts     []time.Time    `json:"starts,omitempty"`   // Within the start limit's window.
	NoRestart  bool           `json:"no_restart,omitempty"`
	Restarting bool           `json:"restarting,omitempty"` // Being stopped to be started again.
	Error      *reason.Reason `json:"error,omitempty"`
	Setup      *reason.Reason `json:"setup,omitempty"` // Why the set-up of the last process failed; goes into its Exit.
	SetupPID   int            `json:"setup_pid,omitempty"`
	OOMKills   int            `json:"oom_kills,omitempty"`
	OOMSeen    int            `json:"oom_seen,omitempty"` // The cgroup's counter when it was last read.
	MemoryPeak int64          `json:"memory_peak,omitempty"`

	MemoryCurrent int64 `json:"-"`
	CPUNanos      int64 `json:"cpu_nanos,omitempty"`
}

// Service is one service unit.
type Service struct {
	Record
	Name string
	Unit *unit.Unit
	host Host
}

// New makes a service that has never run.
func New(name string, u *unit.Unit, h Host) *Service {
	return &Service{Name: name, Unit: u, host: h, Record: Record{State: Dead, Result: Success}}
}

func (s *Service) def() *unit.Service { return s.Unit.Service }

// commands are the lines of one directive.
func (s *Service) commands(d string) []unit.Command {
	def := s.def()
	switch d {
	case ExecCondition:
		return def.ExecCondition
	case ExecStartPre:
		return def.ExecStartPre
	case ExecStart:
		return def.ExecStart
	case ExecStartPost:
		return def.ExecStartPost
	case ExecReload:
		return def.ExecReload
	case ExecStop:
		return def.ExecStop
	case ExecStopPost:
		return def.ExecStopPost
	}
	return nil
}

// command finds the line of a process; the unit may have been loaded anew since.
func (s *Service) command(p *Proc) (unit.Command, bool) {
	if c := s.commands(p.Directive); p.Index < len(c) {
		return c[p.Index], true
	}
	return unit.Command{}, false
}

// set enters a state.
func (s *Service) set(to State) {
	from := s.State
	now := s.host.Now()
	if from.Active() != to.Active() {
		switch to.Active() {
		case Active:
			if from.Active() != Reloading {
				s.ActiveSince = now
			}
		case Inactive, FailedActive:
			s.InactiveSince = now
		}
	}
	if to == AutoRestart {
		s.InactiveSince = now
	}
	if from != to {
		s.Since = now
	}
	s.State = to
	if !to.watched() {
		s.WatchdogAt = time.Time{}
	}
	if to != Start && to != StartPost {
		s.PIDFileAt = time.Time{}
	}
	s.host.Changed(s, from)
}

// arm sets the deadline of the state to come; Infinity and 0 mean none.
func (s *Service) arm(d time.Duration) { s.Deadline = s.after(d) }

func (s *Service) after(d time.Duration) time.Time {
	if d <= 0 || d >= maxSpan {
		return time.Time{}
	}
	return s.host.Now().Add(d)
}

// maxSpan is beyond every real time-out; more would overflow the clock.
const maxSpan = 100 * 365 * 24 * time.Hour

// Wake is when Tick wants to be called next; zero: not before another event.
func (s *Service) Wake() time.Time {
	w := s.Deadline
	for _, t := range []time.Time{s.WatchdogAt, s.PIDFileAt} {
		if !t.IsZero() && (w.IsZero() || t.Before(w)) {
			w = t
		}
	}
	return w
}

// fail remembers the first thing that went wrong in this run.
func (s *Service) fail(r Result) {
	if s.Result == Success {
		s.Result = r
	}
}

// ExitEnv is what ExecStop= and ExecStopPost= learn of the run (systemd.exec(5), $SERVICE_RESULT).
func (s *Service) ExitEnv() []string {
	env := []string{"SERVICE_RESULT=" + string(s.Result)}
	e := s.MainExit
	if e == nil {
		return env
	}
	switch {
	case e.Signal != 0 && e.CoreDumped:
		return append(env, "EXIT_CODE=dumped", "EXIT_STATUS="+signalWord(e.Signal))
	case e.Signal != 0:
		return append(env, "EXIT_CODE=killed", "EXIT_STATUS="+signalWord(e.Signal))
	}
	return append(env, "EXIT_CODE=exited", "EXIT_STATUS="+strconv.Itoa(e.Status))
}

// MainPID is the number of the main process, 0 when there is none.
func (s *Service) MainPID() int {
	if s.Main == nil {
		return 0
	}
	return s.Main.PID
}

// Rebooted forgets what a reboot ended.
func (s *Service) Rebooted() {
	s.Main, s.Control, s.MainKnown = nil, nil, false
	s.Deadline, s.WatchdogAt, s.PIDFileAt = time.Time{}, time.Time{}, time.Time{}
	if !s.State.Down() {
		s.State, s.Result = Dead, Success
	}
}

// TakeOver makes a service running whose main process was found.
func (s *Service) TakeOver(p Proc, invocation string) {
	s.Main, s.MainKnown, s.Invocation, s.State, s.Result = &p, true, invocation, Running, Success
	s.ActiveSince, s.Since = s.host.Now(), s.host.Now()
	s.host.Changed(s, Running)
}
