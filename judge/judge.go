// Package judge turns evidence into a verdict. From what a runtime saw of a unit, what a person wants of it and
// what its health check said, State makes the one word that people see, with the reason and with how soon to look
// again. Deploy does the same for the many units of one command: verdict and exit code.
//
// It is pure: time comes in as an argument. It starts nothing, reads no log and no socket; the agent brings that.
package judge

import (
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// The rules' numbers.
const (
	MonitorChecked   = 5 * time.Second  // Stability window of a unit with a check or a declared port.
	MonitorUnchecked = 10 * time.Second // Stability window of a unit that nothing can ask.
	CrashEnds        = 3                // So many ends…
	CrashWindow      = 60 * time.Second // …within so long are a crash loop.
	SameTwiceWindow  = 10 * time.Minute // The same lasting reason twice within so long is final.
	setupUptime      = 2 * time.Second  // An exit status of 200-243 after longer is the program's own.
)

// Input is all that a judgement needs.
type Input struct {
	Now     time.Time
	Unit    *unit.Unit // nil: its text cannot be read (Refused says why).
	Desired cluster.Desired
	Orders  cluster.Orders
	By      string // Who made the present wish.
	Memory  int64  // Bytes that the machine has, for limits in percent; 0: unknown.

	Evidence *cluster.Evidence // nil: the runtime does not know the unit.
	// Up is when the present run came up, on the judge's clock; zero: Evidence.ActiveSince counts.
	Up time.Time
	// Pending: an order was handed to the runtime and the evidence is still from before it.
	Pending bool
	// StoppedAt is when it was last stopped as asked. What the evidence tells of before does not count for a unit
	// that is only loaded: nobody wants to hear of old failures of a stopped unit.
	StoppedAt time.Time
	// Refused is why the agent did not hand it to the runtime, or the runtime did not take it.
	Refused *reason.Reason
	Health  *Health // nil: not asked yet, or nothing to ask.
	// Log are the last lines of the last failed run, and Holders who has the host ports that they name.
	Log     []string
	Holders map[uint16]Holder
	// Port is the port that "address already in use" in Log means, when the line does not name it; 0: unknown.
	Port uint16
	// Known are earlier judgements of ended runs (Output.Why) by invocation: Result and log lines tell only of the last one.
	Known map[string]*reason.Reason
}

// Health is what the health check, or the declared port, said of one run.
type Health struct {
	Invocation string    // The run that was asked.
	Ready      bool      // It has answered well, and has not failed Retries times in a row since.
	Since      time.Time // Since when it is Ready.
	Fails      int       // Failures in a row that count (not those within StartPeriod).
	Error      string    // Of the last failure.
}

// Holder is a process that has a host port.
type Holder struct {
	PID  int
	Name string // The unit that it belongs to, or its command.
}

// Output is the judgement.
type Output struct {
	State  cluster.State
	Reason *reason.Reason
	// Final: a person who waits has the answer.
	Final bool
	// LookAgain is after how long the judgement changes by time alone; 0: only when something happens.
	LookAgain time.Duration
	Tries     int // Runs that ended unasked since the last start or restart order.
	// Why the last of them ended, and its invocation: to be handed back in Input.Known. nil: none did, or not all of it
	// is known yet.
	Why   *reason.Reason
	WhyOf string
}

// Window is how long a unit has to be up and ready without trouble before it is called healthy (Monitor=).
func Window(u *unit.Unit) time.Duration {
	switch {
	case u.Argosy.Monitor > 0:
		return u.Argosy.Monitor
	case Checked(u):
		return MonitorChecked
	default:
		return MonitorUnchecked
	}
}

// Checked tells whether the unit has a health check, or a declared port that stands for one.
func Checked(u *unit.Unit) bool { return u.Argosy.HealthCheck != nil || len(u.Argosy.Ports) > 0 }

// State judges one unit on one machine.
func State(in Input) Output {
	if in.Unit == nil { // An agent that has just started and is only to take the unit away has not read its text.
		in.Unit = &unit.Unit{}
	}
	if in.Evidence != nil {
		in.Evidence = in.sinceOrder()
	}
	switch {
	case in.Desired != cluster.Launched && in.idle():
		return in.stopped()
	case in.Refused != nil:
		return refused(in.Refused)
	case in.Evidence == nil:
		return say(cluster.Starting, reason.Loading, nil)
	case in.Pending:
		return in.pending()
	case in.Unit != nil && in.Unit.Service != nil:
		return in.service()
	case in.Unit != nil && in.Unit.Timer != nil:
		return in.timer()
	default:
		return in.other()
	}
}

// sinceOrder leaves out what is known of a unit's runs before the last start or restart order: see runs.
func (in Input) sinceOrder() *cluster.Evidence {
	if in.Desired != cluster.Loaded || in.StoppedAt.IsZero() {
		return in.Evidence
	}
	e := *in.Evidence
	e.Exits = nil
	for _, x := range in.Evidence.Exits {
		// A run from before the stop that ended during it (a signal and a stop in one breath) is no run since.
		if x.At.Add(-x.Uptime).After(in.StoppedAt) {
			e.Exits = append(e.Exits, x)
		}
	}
	return &e
}

// idle tells whether a unit that nobody wants to run does not run, and has not run by itself (a timer, another
// unit's Wants=) since it was stopped.
func (in Input) idle() bool {
	e := in.Evidence
	if in.Desired == cluster.Inactive {
		return true // On its way out, whatever it does.
	}
	if e == nil || in.Pending {
		return in.Refused == nil
	}
	switch e.Active {
	case "inactive", "failed", "":
		if in.Refused != nil || e.Error != nil && e.StateSince.After(in.StoppedAt) {
			return false
		}
		return len(e.Exits) == 0 || e.Exits[len(e.Exits)-1].Asked
	case "deactivating":
		return true
	}
	return false
}

// stopped is the judgement of a unit that is to be down.
func (in Input) stopped() Output {
	if e := in.Evidence; e != nil {
		switch e.Active {
		case "inactive", "failed", "":
		default:
			return say(cluster.Draining, reason.Stopping, nil)
		}
	}
	if in.Desired == cluster.Inactive && in.Refused == nil && in.Pending {
		return say(cluster.Draining, reason.Stopping, nil)
	}
	if in.Orders.Start == 0 && in.Orders.Restart == 0 {
		return final(cluster.Stopped, reason.NotStarted, nil)
	}
	args := reason.Args{}
	if in.By != "" {
		args["who"] = in.By
	}
	return final(cluster.Stopped, reason.StoppedByUser, args)
}

func refused(r *reason.Reason) Output {
	switch {
	case r.Code == reason.WaitingFor || r.Code == reason.PortTaken && r.Has("leaving"):
		return Output{State: cluster.Waiting, Reason: r}
	case r.Cure() == reason.Transient:
		return Output{State: cluster.Starting, Reason: r}
	}
	return Output{State: cluster.Failed, Reason: r, Final: true}
}

func (in Input) pending() Output {
	e := in.Evidence
	switch {
	case len(e.WaitingFor) > 0:
		return in.waiting()
	case e.Active == "active" || e.Active == "deactivating" || e.Active == "reloading":
		return say(cluster.Starting, reason.Starting, reason.Args{"step": "being restarted"})
	}
	return say(cluster.Starting, reason.Starting, nil)
}

func (in Input) waiting() Output {
	return say(cluster.Waiting, reason.WaitingFor, reason.Args{"for": in.Evidence.WaitingFor})
}

// timer judges a .timer: armed is all that it can be.
func (in Input) timer() Output {
	e := in.Evidence
	switch e.Active {
	case "active":
		next := "when its unit has ended"
		switch {
		case !e.NextElapse.IsZero():
			next = e.NextElapse.UTC().Format(time.RFC3339)
		case e.Sub == "elapsed":
			return final(cluster.FinishedOK, reason.Finished, nil)
		}
		return final(cluster.Healthy, reason.TimerWaiting, reason.Args{"next": next})
	case "activating":
		return say(cluster.Starting, reason.Starting, nil)
	}
	return in.other()
}

// other judges what is neither service nor timer: up is all that is asked.
func (in Input) other() Output {
	e := in.Evidence
	switch e.Active {
	case "active", "reloading":
		return final(cluster.Healthy, reason.Healthy, nil)
	case "activating":
		return say(cluster.Starting, reason.Starting, reason.Args{"step": e.Sub})
	case "deactivating":
		return say(cluster.Draining, reason.Stopping, nil)
	case "failed":
		return Output{State: cluster.Failed, Reason: in.noProcess(), Final: true}
	}
	if len(e.WaitingFor) > 0 {
		return in.waiting()
	}
	if e.Error != nil {
		return ended(e.Error)
	}
	return in.stoppedByOthers()
}

// stoppedByOthers is said of a unit that is wanted and was stopped, not by us: systemctl on the machine,
// Conflicts=, PartOf= and the like. It is left as it is: on the machine, too, a person has the last word.
func (in Input) stoppedByOthers() Output {
	return final(cluster.Stopped, reason.StoppedByUser, reason.Args{"who": "another unit or a person on the machine"})
}

// ended is the judgement of a unit that is down for a reason of the runtime: a condition that does not hold is no failure.
func ended(r *reason.Reason) Output {
	if r.Code == reason.ConditionFailed {
		return Output{State: cluster.Stopped, Reason: r, Final: true}
	}
	return Output{State: cluster.Failed, Reason: r, Final: true}
}

func say(s cluster.State, code reason.Code, args reason.Args) Output {
	return Output{State: s, Reason: reason.Because(code, args)}
}

func final(s cluster.State, code reason.Code, args reason.Args) Output {
	o := say(s, code, args)
	o.Final = true
	return o
}

// volatile arguments change with every look and are no news by themselves.
var volatile = map[string]bool{"for": true, "next": true, "uptime": true}

// Same tells whether two reasons say the same, but for numbers that change with every look.
func Same(a, b *reason.Reason) bool {
	if a == nil || b == nil || a.Code != b.Code || a.Code == reason.TimerWaiting || a.Code == reason.WaitingFor {
		return reason.Equal(a, b)
	}
	return reason.Equal(steady(a), steady(b))
}

func steady(r *reason.Reason) *reason.Reason {
	args := make(reason.Args, len(r.Args))
	for k, v := range r.Args {
		if !volatile[k] {
			args[k] = v
		}
	}
	return &reason.Reason{Code: r.Code, Args: args}
}
