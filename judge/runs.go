package judge

import (
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// run is one run of a service that ended unasked, with the process whose end explains it.
type run struct {
	invocation string
	at         time.Time // When it ended.
	end        cluster.Exit
}

// runs are the runs that ended by themselves since the last start or restart order, oldest first. The runtime counts
// restarts since that order (NRestarts), so the count tells how many of the kept exits belong to it; no clock does.
func (in Input) runs() []run {
	all := group(in.Evidence.Exits)
	n := in.Evidence.NRestarts
	if !isUp(in.Evidence) && in.Evidence.Result != "start-limit-hit" {
		n++ // The last run has ended and was not restarted yet. The start limit refuses a restart that is counted already.
	}
	if in.Evidence.Sub == "auto-restart-queued" {
		n = max(n-1, 1)
	}
	if len(all) > n {
		all = all[len(all)-n:]
	}
	out := all[:0:0]
	for _, r := range all {
		if !r.end.Asked {
			out = append(out, r)
		}
	}
	return out
}

func isUp(e *cluster.Evidence) bool {
	switch e.Active {
	case "active", "reloading", "refreshing", "maintenance":
		return true
	case "activating":
		return e.Sub != "auto-restart" && e.Sub != "auto-restart-queued"
	}
	return false
}

// group puts the exits of one invocation together and picks the one that explains the end: the first that failed,
// else the last of ExecStart=. A failed reload is no end.
func group(exits []cluster.Exit) []run {
	var out []run
	for _, x := range exits {
		if x.Directive == "ExecReload" {
			continue
		}
		last := len(out) - 1
		if last < 0 || x.Invocation == "" || out[last].invocation != x.Invocation {
			if x.Directive == "ExecStop" || x.Directive == "ExecStopPost" {
				if x.Success || x.Asked {
					continue // The end of a run whose main process is not kept any more.
				}
			}
			out = append(out, run{x.Invocation, x.At, x})
			continue
		}
		r := &out[last]
		r.at = x.At
		explained := !r.end.Success && !r.end.Asked
		if !explained && (!x.Success || x.Directive == "ExecStart") {
			asked := r.end.Asked || x.Asked
			r.end = x
			r.end.Asked = asked
		}
	}
	return out
}

// trouble is what the ended runs of this order say while the present one is not yet known to be better.
// ok is false when there were too few of them.
func (in Input) trouble(runs []run) (o Output, ok bool) {
	if e := in.Evidence; e.Error != nil && setup(e.Error.Code) && !isUp(e) {
		return Output{State: cluster.Failing, Reason: e.Error, Final: true}, true
	}
	if len(runs) == 0 {
		return Output{}, false
	}
	last := len(runs) - 1
	why := in.why(runs, last)
	if setup(why.Code) {
		return Output{State: cluster.Failing, Reason: why, Final: true}, true
	}
	if last > 0 && lasting(why.Code) && in.why(runs, last-1).Code == why.Code && runs[last].at.Sub(runs[last-1].at) <= SameTwiceWindow {
		return Output{State: cluster.Failing, Reason: why, Final: true}, true
	}
	if o, ok := in.looping(runs, runs[last].at); ok {
		return o, true
	}
	if in.neverStable(runs) {
		return Output{State: cluster.CrashLooping, Reason: in.crashLoop(runs[len(runs)-CrashEnds:], why, ""), Final: true}, true
	}
	return Output{}, false
}

// looping: CrashEnds ends within the CrashWindow before at.
func (in Input) looping(runs []run, at time.Time) (Output, bool) {
	first := len(runs)
	for first > 0 && at.Sub(runs[first-1].at) <= CrashWindow {
		first--
	}
	recent := runs[first:]
	if len(recent) < CrashEnds {
		return Output{}, false
	}
	why := in.why(runs, len(runs)-1)
	o := Output{State: cluster.CrashLooping, Reason: in.crashLoop(recent, why, ""), Final: true}
	if setup(why.Code) || lasting(why.Code) {
		o = Output{State: cluster.Failing, Reason: why, Final: true}
	}
	// The loop is over when the third last end is older than the window.
	o.LookAgain = max(time.Millisecond, CrashWindow-in.Now.Sub(recent[len(recent)-CrashEnds].at)+time.Millisecond)
	if !isUp(in.Evidence) {
		o.LookAgain = 0
	}
	return o, true
}

// neverStable: so many runs in a row none of which lived as long as its stability window, however long the pauses
// between them (RestartSec=) were.
func (in Input) neverStable(runs []run) bool {
	if len(runs) < CrashEnds {
		return false
	}
	for _, r := range runs[len(runs)-CrashEnds:] {
		if r.end.Uptime >= Window(in.Unit) {
			return false
		}
	}
	return true
}

func (in Input) crashLoop(runs []run, why *reason.Reason, limit string) *reason.Reason {
	first, last := runs[0], runs[len(runs)-1]
	args := reason.Args{
		"count": len(runs), "window": max(0, last.at.Sub(first.at)+first.end.Uptime).Milliseconds(),
		"last": why.Message(), "last_code": string(why.Code),
	}
	switch {
	case last.end.Signal != 0:
		args["signal"] = unit.SignalName(last.end.Signal)
	default:
		args["status"] = last.end.Status
	}
	if limit != "" {
		args["limit"] = limit
	}
	return reason.Because(reason.CrashLoop, args)
}

// setup are reasons that no further try cures: the first one is final, even when Restart= keeps trying.
func setup(c reason.Code) bool {
	switch c {
	case reason.ExecNotFound, reason.Permission, reason.ConfigMissing, reason.SecretMissing, reason.UserMissing, reason.GroupMissing,
		reason.DirectoryMissing, reason.SetupFailed, reason.CannotStart, reason.Unsupported, reason.PropertyDiffers, reason.NameTaken,
		reason.DependencyFailed, reason.DiskFull:
		return true
	default:
		return false
	}
}

// lasting are reasons that say more than "it ended": twice the same one is final, and it is not hidden behind "crash loop".
func lasting(c reason.Code) bool {
	switch c {
	case reason.OOMKilled, reason.PortTaken, reason.StartTimeout, reason.Protocol, reason.Watchdog:
		return true
	default:
		return setup(c)
	}
}

// why is the reason of the end of one run.
func (in Input) why(runs []run, i int) *reason.Reason {
	r, last := runs[i], i == len(runs)-1
	x := r.end
	if known := in.Known[r.invocation]; known != nil {
		return known
	}
	switch {
	case x.Error != nil:
		return x.Error
	case x.OOM, in.oomBelow(x, len(runs)):
		return in.oom()
	}
	if last && !isUp(in.Evidence) {
		if res := in.byResult(r); res != nil {
			return res
		}
	}
	if x.Signal == 0 && x.Status >= 200 && x.Status <= 245 && x.Uptime <= setupUptime && !x.Success {
		if res := in.setupReason(x); res != nil {
			return res
		}
	}
	if !x.Success && last {
		if port := in.portTaken(); port != nil {
			return port
		}
	}
	uptime := x.Uptime.Milliseconds()
	switch {
	case x.Signal != 0 && x.CoreDumped:
		return reason.Because(reason.CoreDump, reason.Args{"signal": unit.SignalName(x.Signal), "uptime": uptime})
	case x.Signal != 0:
		return reason.Because(reason.Signal, reason.Args{"signal": unit.SignalName(x.Signal), "uptime": uptime, "directive": x.Directive})
	}
	return reason.Because(reason.Exit, reason.Args{"status": x.Status, "uptime": uptime, "directive": x.Directive})
}

// byResult reads systemd's Result of the last end, where it says more than the exit does.
func (in Input) byResult(r run) *reason.Reason {
	s := in.Unit.Service
	if s == nil {
		return nil
	}
	switch in.Evidence.Result {
	case "oom-kill":
		return in.oom()
	case "watchdog":
		return reason.Because(reason.Watchdog, reason.Args{"after": s.Watchdog.Milliseconds()})
	case "protocol":
		return reason.Because(reason.Protocol, reason.Args{"error": protocol(s)})
	case "exec-condition":
		return reason.Because(reason.ConditionFailed, reason.Args{"condition": "ExecCondition="})
	case "timeout":
		return in.timeout(r)
	}
	return nil
}

// timeout tells apart the three spans that systemd calls "timeout".
func (in Input) timeout(r run) *reason.Reason {
	s, e := in.Unit.Service, in.Evidence
	began := r.at.Add(-r.end.Uptime)
	cameUp := !e.ActiveSince.IsZero() && (r.at.IsZero() || !e.ActiveSince.Before(began.Add(-time.Second)))
	if s.Type == unit.TypeOneshot {
		cameUp = false
	}
	switch {
	case cameUp && s.RuntimeMax > 0 && s.RuntimeMax < unit.Infinity && r.end.Uptime >= s.RuntimeMax:
		return reason.Because(reason.RuntimeMax, reason.Args{"after": s.RuntimeMax.Milliseconds()})
	case cameUp:
		return reason.Because(reason.StopTimeout, reason.Args{"after": s.TimeoutStop.Milliseconds()})
	}
	return reason.Because(reason.StartTimeout, reason.Args{"after": s.TimeoutStart.Milliseconds()})
}

func protocol(s *unit.Service) string {
	switch s.Type {
	case unit.TypeNotify:
		return "it ended without READY=1 (Type=notify)"
	case unit.TypeForking:
		if s.PIDFile != "" {
			return "PID file " + s.PIDFile + " was not written (Type=forking)"
		}
		return "no main process was left (Type=forking)"
	case unit.TypeDBus:
		return "bus name " + s.BusName + " was not taken (Type=dbus)"
	default:
		return "it did not keep to Type=" + string(s.Type)
	}
}

// oomBelow: a shell that tells that its child was killed (128+9), and the control group has counted an OOM kill for each
// run since the order.
func (in Input) oomBelow(x cluster.Exit, runs int) bool {
	const shellKilled = 128 + 9
	return !x.Success && x.Signal == 0 && x.Status == shellKilled && in.Evidence.OOMKills >= runs
}

// oom names the limit and the count: both come from the cgroup.
func (in Input) oom() *reason.Reason {
	e, kills := in.Evidence, 0
	for _, r := range in.runs() { // Those before the last order are not of this start.
		if r.end.OOM {
			kills++
		}
	}
	args := reason.Args{"limit": in.memoryMax(), "kills": max(1, kills, e.OOMKills)}
	if e.MemoryPeak > 0 {
		args["peak"] = e.MemoryPeak
	}
	return reason.Because(reason.OOMKilled, args)
}

func (in Input) memoryMax() int64 {
	if in.Unit.Service == nil {
		return 0
	}
	m := in.Unit.Service.Resources.MemoryMax
	switch {
	case !m.Set || m.Percent == 0 && m.Value == unit.Infinity:
		return 0
	case m.Percent > 0:
		whole, rest := in.Memory/10000, in.Memory%10000 // Apart, so that nothing is lost and nothing overflows.
		return whole*int64(m.Percent) + rest*int64(m.Percent)/10000
	}
	return m.Value
}
