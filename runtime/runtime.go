// Package runtime is the seam between the agent and what runs units on a machine: runtime/systemd (PID 1),
// runtime/native (Argosy's own small init) and runtime/fake (for the simulator). runtime/runtimetest is
// the conformance suite that all pass.
package runtime

import (
	"context"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/unit"
)

// Runtime loads, starts and stops units on this machine and tells what it sees of them. It decides nothing:
// Restart=, timers and dependencies between the machine's units are the units' own, as in systemd.
// All methods are safe for concurrent use. Errors are *reason.Reason where a code exists.
type Runtime interface {
	// Name is systemd, native or fake.
	Name() string
	// Types lists the unit types that it runs: service, timer, …
	Types() []string
	// Load hands over a unit, new or changed; a running unit is not touched. It returns the warnings: each
	// directive that this runtime does not honour, each promised limit that this machine does not enforce.
	// Load refuses a unit that the machine already has from elsewhere (name-taken).
	Load(ctx context.Context, u *unit.Unit) ([]unit.Warning, error)
	// Settle is called after a group of Load and Unload calls: systemd reloads once for all of them.
	Settle(ctx context.Context) error
	// Unload forgets a unit that is not running. A unit that is not there is no error.
	Unload(ctx context.Context, name string) error
	// Start, Stop, Restart and Reload ask for it and return when the job is accepted, not when it is done:
	// what comes of it is seen in List. Start of a failed unit resets its failure and its start limit first.
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
	Restart(ctx context.Context, name string) error
	Reload(ctx context.Context, name string) error
	// Kill sends a signal to all processes of the unit.
	Kill(ctx context.Context, name string, signal int) error
	// List tells what is known of every unit that was loaded through this runtime, also by an agent before us.
	List(ctx context.Context) ([]cluster.Evidence, error)
	// Kick is signalled when List would tell something new. Signals may merge.
	Kick() <-chan struct{}
	// Journal gives log lines of one unit, oldest first. With Follow it goes on until ctx ends.
	Journal(ctx context.Context, name string, q JournalQuery) (<-chan cluster.Line, error)
	// Close lets go of the runtime. Units keep running.
	Close() error
}

// JournalQuery selects lines.
type JournalQuery struct {
	Lines      int // The last so many; 0: all that is kept.
	Follow     bool
	Invocation string // Only of this run; "previous": the run before the last; "": all.
	Since      time.Time
}
