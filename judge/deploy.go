package judge

import (
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// Schema names the verdict's JSON.
const Schema = "argosy/deploy/v1"

// The exit codes of a command that waits (argosy(1)).
const (
	ExitGood        = 0   // Everything asked for is so.
	ExitFailed      = 1   // At least one unit failed.
	ExitRolledBack  = 10  // An update failed and was rolled back.
	ExitNoRoom      = 11  // No room, or no matching machine.
	ExitTimeout     = 124 // No verdict within --timeout.
	ExitInterrupted = 130 // ctrl-c.
)

// Goal is what a command waits for.
type Goal string

// The goals.
const (
	GoalStart Goal = "start" // Healthy, or finished with success.
	GoalStop  Goal = "stop"  // Stopped, or gone.
	GoalLoad  Goal = "load"  // On a machine, whether it runs or not.
)

// Deploy follows the units of one command until all have their answer.
type Deploy struct {
	goal        Goal
	units       []string
	known       map[string]bool
	answers     map[string]cluster.Answer
	gone        map[string]bool
	revisions   map[string]int64
	began       time.Time
	interrupted bool
}

// NewDeploy follows units that were asked to start.
func NewDeploy(units []string) *Deploy { return NewGoal(GoalStart, units) }

// NewStop follows units that were asked to stop or to go.
func NewStop(units []string) *Deploy { return NewGoal(GoalStop, units) }

// NewGoal follows units towards a goal.
func NewGoal(goal Goal, units []string) *Deploy {
	d := &Deploy{goal: goal, known: map[string]bool{}, answers: map[string]cluster.Answer{}, gone: map[string]bool{}, revisions: map[string]int64{}}
	for _, u := range units {
		if !d.known[u] {
			d.known[u] = true
			d.units = append(d.units, u)
		}
	}
	return d
}

// Begin sets the time from which the duration counts; without it the first See does.
func (d *Deploy) Begin(at time.Time) { d.began = at }

// Expect says from which revision of its wish on an answer about the unit counts: older ones are not about this command.
func (d *Deploy) Expect(unit string, revision int64) { d.revisions[unit] = revision }

// See takes one answer. It tells whether the unit's state, reason or finality changed: what a screen shows.
func (d *Deploy) See(a cluster.Answer, at time.Time) bool {
	d.start(at)
	if !d.known[a.Unit] || a.Revision < d.revisions[a.Unit] {
		return false
	}
	was, had := d.answers[a.Unit]
	d.answers[a.Unit] = a
	delete(d.gone, a.Unit)
	return !had || was.State != a.State || was.Final != a.Final || was.Machine != a.Machine || !Same(was.Reason, a.Reason)
}

// Gone takes the news that a unit was destroyed.
func (d *Deploy) Gone(unit string, at time.Time) bool {
	d.start(at)
	if !d.known[unit] || d.gone[unit] {
		return false
	}
	d.gone[unit] = true
	return true
}

// Interrupt marks that the person does not wait any longer.
func (d *Deploy) Interrupt() { d.interrupted = true }

func (d *Deploy) start(at time.Time) {
	if d.began.IsZero() {
		d.began = at
	}
}

// outcome is what became of one unit.
type outcome int

const (
	open outcome = iota
	good
	failed
	noRoom
)

func (d *Deploy) outcome(unit string) outcome {
	if d.gone[unit] {
		if d.goal == GoalStop {
			return good
		}
		return failed
	}
	a, ok := d.answers[unit]
	if !ok || !a.Final {
		return open
	}
	switch d.goal {
	case GoalStop:
		return d.stopOutcome(a)
	case GoalLoad:
		return loadOutcome(a)
	default:
		return startOutcome(a)
	}
}

func startOutcome(a cluster.Answer) outcome {
	switch a.State {
	case cluster.Healthy, cluster.FinishedOK:
		return good
	case cluster.Unplaced:
		return noRoom
	default:
		return failed
	}
}

// stopOutcome: what is stopped has reached the goal; an answer from before the stop (healthy, failed) is still open.
func (d *Deploy) stopOutcome(a cluster.Answer) outcome {
	if a.State == cluster.Stopped || a.State == cluster.Unplaced && a.Desired == cluster.Inactive {
		return good
	}
	return open
}

func loadOutcome(a cluster.Answer) outcome {
	switch {
	case a.State == cluster.Unplaced:
		return noRoom
	case a.State == cluster.Failed && a.Reason != nil && setup(a.Reason.Code):
		return failed
	}
	return good
}

// Done tells whether every unit has its answer.
func (d *Deploy) Done() bool {
	return !slices.ContainsFunc(d.units, func(u string) bool { return d.outcome(u) == open })
}

// Progress counts the units that have reached the goal, and all.
func (d *Deploy) Progress() (reached, wanted int) {
	for _, u := range d.units {
		if d.outcome(u) == good {
			reached++
		}
	}
	return reached, len(d.units)
}

// Verdict is the closing word of a command, and the object of -o json.
type Verdict struct {
	Schema     string     `json:"schema"`
	Verdict    string     `json:"verdict"` // healthy, stopped, loaded, failed, no-room, timeout, interrupted.
	Exit       int        `json:"exit"`
	DurationMS int64      `json:"duration_ms"`
	Wanted     int        `json:"wanted"`
	Healthy    int        `json:"healthy"` // Units that reached the goal: for a start healthy or finished ones.
	Instances  []Instance `json:"instances"`
}

// Instance is one unit of a verdict.
type Instance struct {
	Unit       string              `json:"unit"`
	Machine    *string             `json:"machine"` // Name; null: on none.
	State      cluster.State       `json:"state"`
	Reason     reason.Code         `json:"reason,omitempty"`
	Scope      reason.Scope        `json:"scope,omitempty"`
	Permanent  bool                `json:"permanent"` // Waiting does not cure it.
	Final      bool                `json:"final"`
	Tries      int                 `json:"tries,omitempty"`
	Message    string              `json:"message,omitempty"`
	Hint       string              `json:"hint,omitempty"`
	Evidence   reason.Args         `json:"evidence,omitempty"` // The reason's numbers.
	LogTail    []string            `json:"log_tail,omitempty"`
	Candidates []RejectedCandidate `json:"candidates,omitempty"`
	Needed     map[string]int64    `json:"needed,omitempty"`
	Suggest    []string            `json:"suggest,omitempty"` // Commands.
}

// RejectedCandidate is a machine that could not take the unit.
type RejectedCandidate struct {
	Machine  string           `json:"machine"`
	Free     map[string]int64 `json:"free,omitempty"` // What it has of what is lacking: memory and disk in bytes, cpu in thousandths.
	Rejected []string         `json:"rejected"`       // memory, cpu, disk, port, or a reason's code.
}

// Verdict gives the present verdict. Before Done it is that of a command whose time is up.
func (d *Deploy) Verdict(at time.Time) Verdict {
	d.start(at)
	v := Verdict{Schema: Schema, DurationMS: max(0, at.Sub(d.began).Milliseconds()), Wanted: len(d.units), Instances: make([]Instance, 0, len(d.units))}
	count := map[outcome]int{}
	for _, u := range d.units {
		o := d.outcome(u)
		count[o]++
		v.Instances = append(v.Instances, d.instance(u, o))
	}
	v.Healthy = count[good]
	v.Verdict, v.Exit = d.word(count)
	return v
}

// word applies the precedence 1 > 11 > 124; an interruption is never anything else.
func (d *Deploy) word(count map[outcome]int) (string, int) {
	switch {
	case d.interrupted:
		return "interrupted", ExitInterrupted
	case count[failed] > 0:
		return "failed", ExitFailed
	case count[noRoom] > 0:
		return "no-room", ExitNoRoom
	case count[open] > 0:
		return "timeout", ExitTimeout
	}
	switch d.goal {
	case GoalStop:
		return "stopped", ExitGood
	case GoalLoad:
		return "loaded", ExitGood
	default:
		return "healthy", ExitGood
	}
}

func (d *Deploy) instance(name string, o outcome) Instance {
	i := Instance{Unit: name}
	if d.gone[name] {
		i.State, i.Final, i.Reason = cluster.Stopped, true, reason.NoSuchUnit
		r := reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
		i.Message, i.Scope = "destroyed", r.Scope()
		return i
	}
	a, ok := d.answers[name]
	if !ok {
		i.State = cluster.Starting
		i.Message = "no answer yet"
		return i
	}
	i.State, i.Final = a.State, a.Final
	if a.Machine != "" {
		m := a.Machine
		i.Machine = &m
	}
	if s := a.Status; s != nil && o != good {
		i.Tries, i.LogTail = s.Tries, s.LogTail
	}
	if r := a.Reason; r != nil {
		i.Reason, i.Scope, i.Message, i.Hint = r.Code, r.Scope(), r.Message(), r.Hint()
		i.Permanent = r.Cure() == reason.Permanent
		i.Evidence = r.Args
		i.Candidates, i.Needed = candidates(r), needed(r)
	}
	if o != good {
		i.Suggest = suggest(name, a)
	}
	return i
}

// needed are the amounts that a no-room reason asks for.
func needed(r *reason.Reason) map[string]int64 {
	out := map[string]int64{}
	collect := func(r *reason.Reason) {
		if what, ok := strings.CutPrefix(string(r.Code), "no-room."); ok {
			if r.Has("need") {
				out[what] = r.Int("need")
			} else if r.Has("port") {
				out[what] = r.Int("port")
			}
		}
	}
	collect(r)
	for _, c := range r.Candidates {
		for _, b := range c.Because {
			collect(b)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func candidates(r *reason.Reason) []RejectedCandidate {
	out := make([]RejectedCandidate, 0, len(r.Candidates))
	for _, c := range r.Candidates {
		rc := RejectedCandidate{Machine: c.Machine}
		for _, b := range c.Because {
			what, room := strings.CutPrefix(string(b.Code), "no-room.")
			rc.Rejected = append(rc.Rejected, what)
			if room && b.Has("have") {
				if rc.Free == nil {
					rc.Free = map[string]int64{}
				}
				rc.Free[what] = b.Int("have")
			}
		}
		out = append(out, rc)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// suggest are the commands that help next.
func suggest(name string, a cluster.Answer) []string {
	out := []string{"argosy why " + name}
	if a.Reason == nil {
		return out
	}
	switch a.Reason.Code {
	case reason.Exit, reason.Signal, reason.CoreDump, reason.CrashLoop, reason.Unhealthy, reason.NotReady, reason.StartTimeout, reason.Protocol, reason.Watchdog, reason.OOMKilled:
		out = append(out, "argosy journal "+name)
	case reason.DependencyFailed:
		out = append(out, "argosy why "+a.Reason.Str("dependency"))
	default: // argosy why says it all.
	}
	return out
}
