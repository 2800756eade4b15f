package service

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/unit"
)

// State is systemd's sub-state of a service.
type State string

// The states, with systemd's words.
const (
	Dead         State = "dead"
	Condition    State = "condition"
	StartPre     State = "start-pre"
	Start        State = "start"
	StartPost    State = "start-post"
	Running      State = "running"
	Exited       State = "exited"
	Reload       State = "reload"
	Stop         State = "stop"
	StopWatchdog State = "stop-watchdog"
	StopSigterm  State = "stop-sigterm"
	StopSigkill  State = "stop-sigkill"
	StopPost     State = "stop-post"
	FinalSigterm State = "final-sigterm"
	FinalSigkill State = "final-sigkill"
	Failed       State = "failed"
	AutoRestart  State = "auto-restart"
)

// The words of systemd's ActiveState.
const (
	Active       = "active"
	Reloading    = "reloading"
	Inactive     = "inactive"
	FailedActive = "failed"
	Activating   = "activating"
	Deactivating = "deactivating"
)

// Active is systemd's ActiveState of a sub-state.
func (s State) Active() string {
	switch s {
	case Condition, StartPre, Start, StartPost, AutoRestart:
		return Activating
	case Running, Exited:
		return Active
	case Reload:
		return Reloading
	case Stop, StopWatchdog, StopSigterm, StopSigkill, StopPost, FinalSigterm, FinalSigkill:
		return Deactivating
	case Failed:
		return FailedActive
	case Dead:
	}
	return Inactive
}

// Up tells whether the service counts as started for those that wait for it.
func (s State) Up() bool { return s.Active() == Active || s.Active() == Reloading }

// Down tells whether nothing of the service runs or will run by itself.
func (s State) Down() bool { return s == Dead || s == Failed }

// watched: WatchdogSec= counts only here.
func (s State) watched() bool { return s == StartPost || s == Running || s == Reload }

// Result is systemd's Result of a service.
type Result string

// The results, with systemd's words.
const (
	Success       Result = "success"
	Resources     Result = "resources"
	Protocol      Result = "protocol"
	Timeout       Result = "timeout"
	ExitCode      Result = "exit-code"
	SignalResult  Result = "signal"
	CoreDump      Result = "core-dump"
	Watchdog      Result = "watchdog"
	StartLimitHit Result = "start-limit-hit"
	OOMKill       Result = "oom-kill"
	SkipCondition Result = "exec-condition"
)

// ShallRestart is the table of Restart= in systemd.service(5): whether a run that ended with this result,
// and whose main process ended so, is started again.
func ShallRestart(restart string, r Result, prevent, force bool) bool {
	switch {
	case prevent:
		return false
	case force:
		return true
	}
	switch restart {
	case "always":
		return r != SkipCondition
	case "on-success":
		return r == Success
	case "on-failure":
		return r != Success && r != SkipCondition
	case "on-abnormal":
		return r != Success && r != ExitCode && r != SkipCondition
	case "on-watchdog":
		return r == Watchdog
	case "on-abort":
		return r == SignalResult || r == CoreDump
	}
	return false
}

// Ended is how a process ended, as wait(2) tells it.
type Ended struct {
	Status  int
	Signal  int
	Core    bool
	OOM     bool // The kernel's OOM killer did it.
	Starved bool // The kernel's OOM killer ended some process of the unit since the last look.
	Unknown bool // Nobody could see the exit status.
}

// Classify is systemd's table of clean and unclean ends (systemd.service(5), SuccessExitStatus=):
// a daemon may also end by SIGHUP, SIGINT, SIGTERM or SIGPIPE, a command may not.
func Classify(e Ended, command bool, ok unit.ExitSet) Result {
	switch {
	case e.OOM:
		return OOMKill
	case e.Starved && (e.Signal != 0 || e.Status != 0):
		return OOMKill // As OOMPolicy=stop does: it fails because one of its processes was killed.
	case e.Unknown:
		return ExitCode
	case e.Signal == 0:
		if e.Status == 0 || slices.Contains(ok.Status, e.Status) {
			return Success
		}
		return ExitCode
	case slices.Contains(ok.Signals, e.Signal):
		return Success
	case !command && cleanSignal(e.Signal):
		return Success
	case e.Core:
		return CoreDump
	}
	return SignalResult
}

func cleanSignal(sig int) bool {
	switch unix.Signal(sig) {
	case unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGPIPE:
		return true
	default:
		return false
	}
}

// in tells whether an end is in a set of statuses and signals.
func in(e Ended, set unit.ExitSet) bool {
	if e.Unknown {
		return false
	}
	if e.Signal != 0 {
		return slices.Contains(set.Signals, e.Signal)
	}
	return slices.Contains(set.Status, e.Status)
}

// signalWord is a signal's name without SIG, as systemd writes it.
func signalWord(sig int) string { return strings.TrimPrefix(unix.SignalName(unix.Signal(sig)), "SIG") }
