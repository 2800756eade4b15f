package judge

import (
	"fmt"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// service judges a .service.
func (in Input) service() Output {
	runs := in.runs()
	o := in.byActive(runs)
	o.Tries = len(runs)
	// A run that is on its way down is not over: what its last commands count (memory kills) is not known yet.
	if last := len(runs) - 1; last >= 0 && in.Evidence.Active != "deactivating" {
		o.Why, o.WhyOf = in.why(runs, last), runs[last].invocation
	}
	return o
}

func (in Input) byActive(runs []run) Output {
	e := in.Evidence
	switch e.Active {
	case "active", "reloading", "refreshing", "maintenance":
		if e.Sub == "exited" {
			return in.finished()
		}
		return in.running(runs)
	case "activating":
		if e.Sub == "auto-restart" || e.Sub == "auto-restart-queued" {
			return in.backingOff(runs)
		}
		return in.starting(runs)
	case "deactivating":
		if t, ok := in.trouble(runs); ok {
			return t
		}
		return say(cluster.Draining, reason.Stopping, nil)
	case "failed":
		return in.failed(runs)
	}
	return in.inactive(runs)
}

// running judges a main process that is up: it has to be ready and then stable.
func (in Input) running(runs []run) Output {
	e := in.Evidence
	if t, ok := in.looping(runs, in.Now); ok {
		return t
	}
	since := in.up()
	evidence := ""
	if check := CheckName(in.Unit); check != "" {
		h := in.health()
		if h.Fails >= retries(in.Unit) {
			return final(cluster.Unhealthy, reason.Unhealthy, reason.Args{"check": check, "error": h.Error, "times": h.Fails})
		}
		if !h.Ready {
			if t, ok := in.trouble(runs); ok {
				return t
			}
			return say(cluster.Starting, reason.NotReady, reason.Args{"check": check, "error": h.Error})
		}
		if h.Since.After(since) {
			since = h.Since
		}
		evidence = check + " answers"
	}
	window, age := Window(in.Unit), max(0, in.Now.Sub(since))
	if age >= window {
		args := reason.Args{}
		if evidence != "" {
			args["evidence"] = evidence
		}
		return final(cluster.Healthy, reason.Healthy, args)
	}
	o, ok := in.trouble(runs)
	if !ok {
		o = say(cluster.Starting, reason.Settling, reason.Args{"for": age.Milliseconds(), "of": window.Milliseconds()})
	}
	o.LookAgain = window - age
	if e.Sub != "running" && e.Sub != "" && e.Active == "reloading" {
		o.LookAgain = max(o.LookAgain, time.Second)
	}
	return o
}

// up is when the present run came up.
func (in Input) up() time.Time {
	if !in.Up.IsZero() {
		return in.Up
	}
	return in.Evidence.ActiveSince
}

// health is what is known of the present run.
func (in Input) health() Health {
	if in.Health == nil || in.Health.Invocation != in.Evidence.Invocation {
		return Health{Error: "not asked yet"}
	}
	h := *in.Health
	if h.Error == "" && !h.Ready {
		h.Error = "not asked yet"
	}
	return h
}

func retries(u *unit.Unit) int {
	if c := u.Argosy.HealthCheck; c != nil && c.Retries > 0 {
		return c.Retries
	}
	return DefaultRetries
}

// DefaultRetries is HealthRetries= where it is not set.
const DefaultRetries = 3

// CheckName is how people read a unit's check: "GET http://…", "tcp 127.0.0.1:80", "exec /bin/check", "port 80/tcp";
// empty for a unit without one.
func CheckName(u *unit.Unit) string {
	if c := u.Argosy.HealthCheck; c != nil {
		switch c.Kind {
		case "http", "https":
			return "GET " + c.Target
		case "exec":
			if len(c.Command) > 0 {
				return "exec " + c.Command[0]
			}
			return "exec"
		}
		return c.Kind + " " + c.Target
	}
	names := make([]string, len(u.Argosy.Ports))
	for i, p := range u.Argosy.Ports {
		names[i] = fmt.Sprintf("port %d/%s", p.Number, p.Proto)
	}
	return strings.Join(names, ", ")
}

func (in Input) starting(runs []run) Output {
	e := in.Evidence
	if t, ok := in.trouble(runs); ok && t.Final {
		return t
	}
	if len(e.WaitingFor) > 0 {
		return in.waiting()
	}
	step := ""
	switch e.Sub {
	case "condition":
		step = "ExecCondition="
	case "start-pre":
		step = "ExecStartPre="
	case "start-post":
		step = "ExecStartPost="
	case "start":
		switch in.Unit.Service.Type {
		case unit.TypeNotify:
			step = "waits for READY=1"
		case unit.TypeForking:
			step = "waits for the daemon to fork"
		case unit.TypeOneshot:
			step = "ExecStart= runs"
		case unit.TypeDBus:
			step = "waits for its bus name"
		default: // Up with its process.
		}
		if e.StatusText != "" {
			step += " (" + e.StatusText + ")"
		}
	}
	args := reason.Args{}
	if step != "" {
		args["step"] = step
	}
	return say(cluster.Starting, reason.Starting, args)
}

// backingOff judges the pause before the next try of Restart=.
func (in Input) backingOff(runs []run) Output {
	t, ok := in.trouble(runs)
	if ok && t.Final {
		return t
	}
	last := in.noProcess()
	if len(runs) > 0 {
		last = in.why(runs, len(runs)-1)
	}
	next := int64(0)
	if !in.Evidence.NextTry.IsZero() {
		next = max(0, in.Evidence.NextTry.Sub(in.Now).Milliseconds())
	}
	return say(cluster.BackingOff, reason.BackingOff, reason.Args{"next": next, "last": last.Message()})
}

// failed judges what the runtime has given up.
func (in Input) failed(runs []run) Output {
	o := Output{State: cluster.Failed, Final: true}
	switch {
	case in.Evidence.Error != nil:
		o.Reason = in.Evidence.Error
	case len(runs) == 0:
		o.Reason = in.noProcess()
	default:
		o.Reason = in.why(runs, len(runs)-1)
	}
	switch limit := in.limit(); {
	case in.Evidence.Result != "start-limit-hit":
	case len(runs) > 0 && !lasting(o.Reason.Code):
		o.Reason = in.crashLoop(runs, o.Reason, limit)
	case len(runs) == 0 && in.Evidence.Error == nil:
		o.Reason = reason.Because(reason.CrashLoop, reason.Args{
			"count": in.Unit.StartLimitBurst, "window": in.Unit.StartLimitInterval.Milliseconds(), "last": "not known", "limit": limit,
		})
	}
	return o
}

func (in Input) limit() string {
	u := in.Unit
	return fmt.Sprintf("StartLimitBurst=%d in %s", u.StartLimitBurst, reason.Span(u.StartLimitInterval.Milliseconds()))
}

// inactive judges what is down without failure: finished, never started, or stopped by somebody else.
func (in Input) inactive(runs []run) Output {
	e := in.Evidence
	switch {
	case len(e.WaitingFor) > 0:
		return in.waiting()
	case e.Error != nil:
		return ended(e.Error)
	case e.Result == "exec-condition":
		return ended(reason.Because(reason.ConditionFailed, reason.Args{"condition": "ExecCondition="}))
	case len(runs) > 0 && runs[len(runs)-1].end.Success:
		return in.finished()
	case len(runs) > 0:
		return Output{State: cluster.Failed, Reason: in.why(runs, len(runs)-1), Final: true}
	case len(e.Exits) > 0 && e.Exits[len(e.Exits)-1].Asked:
		return in.stoppedByOthers()
	case !e.ActiveSince.IsZero() || !e.InactiveSince.IsZero() && e.Invocation != "":
		return in.finished()
	}
	return say(cluster.Starting, reason.Loading, nil)
}

func (in Input) finished() Output {
	args := reason.Args{}
	if x := in.Evidence.Exits; len(x) > 0 {
		args["took"] = x[len(x)-1].Uptime.Milliseconds()
	}
	return final(cluster.FinishedOK, reason.Finished, args)
}

// noProcess is the reason of a failure that left no process to blame.
func (in Input) noProcess() *reason.Reason {
	e := in.Evidence
	if e.Error != nil {
		return e.Error
	}
	if r := in.byResult(run{}); r != nil {
		return r
	}
	return reason.Because(reason.CannotStart, reason.Args{"error": "the runtime says " + e.Active + "/" + e.Sub + ", result " + e.Result})
}
