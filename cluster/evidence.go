package cluster

import (
	"time"

	"argosy.dev/argosy/reason"
)

// Evidence is what a runtime saw of one unit. Load, Active, Sub and Result are systemd's words.
type Evidence struct {
	Name   string `json:"name"`
	Hash   string `json:"hash"`   // unit.Unit.Hash() of what is loaded.
	Load   string `json:"load"`   // loaded, not-found, bad-setting, error.
	Active string `json:"active"` // active, reloading, inactive, failed, activating, deactivating.
	Sub    string `json:"sub"`    // running, exited, dead, failed, auto-restart, start-pre, start, start-post, stop, stop-sigterm, waiting, elapsed, …
	Result string `json:"result"` // success, exit-code, signal, core-dump, timeout, watchdog, oom-kill, start-limit-hit, resources, protocol, exec-condition, …

	MainPID       int       `json:"main_pid,omitempty"`
	StatusText    string    `json:"status_text,omitempty"`   // STATUS= of sd_notify.
	Invocation    string    `json:"invocation,omitempty"`    // Changes with every start, also by Restart=.
	NRestarts     int       `json:"n_restarts,omitempty"`    // By Restart=, since the last Start or Restart call.
	ActiveSince   time.Time `json:"active_since,omitzero"`   // When the main process was last up (active).
	InactiveSince time.Time `json:"inactive_since,omitzero"` // When it last went down.
	StateSince    time.Time `json:"state_since,omitzero"`    // When Sub last changed.
	NextTry       time.Time `json:"next_try,omitzero"`       // auto-restart: when.
	WaitingFor    []string  `json:"waiting_for,omitempty"`   // A queued start that waits for these units (After=).

	// Exits are the last ends of processes of the unit, oldest first, at most MaxExits: also those that happened while no agent ran.
	Exits []Exit `json:"exits,omitempty"`
	// OOMKills counts the cgroup's oom_kill events since the last Start or Restart call.
	OOMKills      int   `json:"oom_kills,omitempty"`
	MemoryPeak    int64 `json:"memory_peak,omitempty"`    // Bytes; 0: unknown.
	MemoryCurrent int64 `json:"memory_current,omitempty"` // Bytes; 0: unknown.
	CPUNanos      int64 `json:"cpu_nanos,omitempty"`

	NextElapse  time.Time `json:"next_elapse,omitzero"`  // Timers.
	LastTrigger time.Time `json:"last_trigger,omitzero"` // Timers.

	// Error is the runtime's own refusal of the last start, when there was no process to blame, such as
	// config-missing with the path.
	Error *reason.Reason `json:"error,omitempty"`
}

// MaxExits bounds Evidence.Exits.
const MaxExits = 20

// Exit is one end of a process of a unit.
type Exit struct {
	At         time.Time     `json:"at"`
	Directive  string        `json:"directive"` // ExecStart, ExecStartPre, ExecStop, …
	Path       string        `json:"path"`      // The program that ended.
	Status     int           `json:"status"`    // Exit status, when Signal is 0. 200-243: systemd's set-up failures.
	Signal     int           `json:"signal,omitempty"`
	CoreDumped bool          `json:"core_dumped,omitempty"`
	Uptime     time.Duration `json:"uptime"`            // Since this process started.
	OOM        bool          `json:"oom,omitempty"`     // The cgroup's oom_kill counter grew while it ran and it ended by SIGKILL.
	Success    bool          `json:"success,omitempty"` // By SuccessExitStatus= and the "-" prefix.
	Asked      bool          `json:"asked,omitempty"`   // We were stopping it.
	Invocation string        `json:"invocation,omitempty"`
	// Error is set-up detail (which file, which user), when Status is 200-243.
	Error *reason.Reason `json:"error,omitempty"`
}

// Line is one line of a unit's output, control characters as they came.
type Line struct {
	At         time.Time `json:"at"`
	Unit       string    `json:"unit"`
	Machine    string    `json:"machine,omitempty"` // Its name; set by what reads several machines.
	Stream     string    `json:"stream"`            // stdout, stderr, argosy (words of the runtime about the unit), or StreamJournal.
	PID        int       `json:"pid,omitempty"`
	Invocation string    `json:"invocation,omitempty"`
	Text       string    `json:"text"`
}

// StreamJournal is the stream of what is said about a journal itself: a machine whose lines are missing, a unit that goes
// on elsewhere.
const StreamJournal = "journal"
