package agent

import (
	"time"

	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/unit"
)

// Prober asks health checks and declared ports. The agent tells it which runs to ask, and looks at what it found. No
// method blocks.
type Prober interface {
	// Watch begins to ask a run, or changes how; nil ends it.
	Watch(name string, t *Target)
	// Result is what is known of the run that is watched.
	Result(name string) (judge.Health, bool)
	// News tells once that a unit's result has changed since the last News.
	News(name string) bool
	// Kick is signalled when there is news of any unit.
	Kick() <-chan struct{}
}

// Target is one run to ask.
type Target struct {
	Invocation string
	Unit       *unit.Unit
	PID        int       // Of the main process; 0: unknown.
	Since      time.Time // When it came up.
}

// noProber asks nothing.
type noProber struct{}

func (noProber) Watch(string, *Target)              {}
func (noProber) Result(string) (judge.Health, bool) { return judge.Health{}, false }
func (noProber) News(string) bool                   { return false }
func (noProber) Kick() <-chan struct{}              { return nil }
