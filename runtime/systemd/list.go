package systemd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// row is one unit in PID 1's list, (ssssssouso).
type row struct {
	Name, Description, Load, Active, Sub, Following string
	Path                                            dbus.ObjectPath
	JobID                                           uint32
	JobType                                         string
	JobPath                                         dbus.ObjectPath
}

// refreshEach is how many units without news are read anew in one List, the longest unread first: memory and CPU
// time change without a signal, and a signal that was lost must not stay lost.
const refreshEach = 16

// List tells what is known of every unit that was loaded through this runtime. It asks PID 1 for one short list, and
// for the properties only of units with news.
func (r *Runtime) List(ctx context.Context) ([]cluster.Evidence, error) {
	r.mu.Lock()
	names := slices.Sorted(maps.Keys(r.units))
	if r.allNews {
		for _, u := range r.units {
			u.news = true
		}
		r.allNews = false
	}
	r.lists++
	r.mu.Unlock()
	if len(names) == 0 {
		return nil, nil
	}
	var rows []row
	if err := r.bus.call(ctx, "ListUnitsByNames", []any{names}, &rows); err != nil {
		return nil, fmt.Errorf("list units: %w", err)
	}
	seen := make(map[string]row, len(rows))
	for _, w := range rows {
		seen[w.Name] = w
	}
	for _, u := range r.toRead(names, seen) {
		if err := r.read(ctx, u, seen[u.name]); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]cluster.Evidence, 0, len(names))
	for _, n := range names {
		if u := r.units[n]; u != nil {
			out = append(out, r.compose(u))
		}
	}
	return out, nil
}

// toRead picks the units whose properties are to be read.
func (r *Runtime) toRead(names []string, seen map[string]row) []*loaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out, quiet []*loaded
	for _, n := range names {
		u := r.units[n]
		switch {
		case u == nil: // Unloaded meanwhile.
		case u.news || u.seen != seen[n]:
			u.news = false
			out = append(out, u)
		default:
			quiet = append(quiet, u)
		}
	}
	slices.SortStableFunc(quiet, func(a, b *loaded) int { return int(a.seenAt - b.seenAt) })
	for _, u := range quiet[:min(refreshEach, len(quiet))] {
		if u.evidence.Active != "inactive" && u.evidence.Active != "failed" {
			out = append(out, u)
		}
	}
	return out
}

// details is what the properties of a unit say.
type details struct {
	cluster.Evidence
	paths map[string]string // Directive -> program.
	kills int               // OOM kills of the present run so far.
	// targetMissing: the unit that a timer is for is not there, so that it cannot be armed.
	targetMissing bool
}

// read takes the properties of one unit.
func (r *Runtime) read(ctx context.Context, u *loaded, w row) error {
	p, err := r.bus.properties(ctx, u.name, unitIface)
	if err != nil {
		return r.unread(u, err)
	}
	sp, err := r.bus.properties(ctx, u.name, ifaceOf(u.name))
	if err != nil {
		return r.unread(u, err)
	}
	d := details{Evidence: evidenceOf(u.name, p, sp), paths: paths(sp)}
	if d.Active != "inactive" && d.Active != "failed" {
		use := r.cg.usageOf(sp.text("ControlGroup"))
		d.MemoryPeak, d.kills = max(d.MemoryPeak, use.peak), use.kills
	}
	if w.JobID != 0 && w.JobType == "start" && (d.Active == "inactive" || d.Active == "failed") {
		d.WaitingFor = r.waitingFor(ctx, w.JobPath)
	}
	kills, err := r.cg.memoryKills(u.name)
	if err != nil {
		r.log.Warn("the notes about memory kills cannot be read", "unit", u.name, "error", err)
	}
	if _, err := r.model(u); err != nil && d.Load == "loaded" {
		r.log.Debug("the unit's file cannot be read back", "unit", u.name, "error", err)
	}
	d.Error = r.startError(u, p, sp)
	d.targetMissing = d.Active == "inactive" && r.targetMissing(ctx, u)

	r.mu.Lock()
	defer r.mu.Unlock()
	u.seen, u.seenAt, u.evidence = w, r.lists, d
	if d.Invocation != "" {
		u.history.find(d.Invocation, startOf(p, sp))
	}
	for _, x := range exitsOf(d, sp) {
		u.history.addExit(x)
	}
	for _, k := range kills {
		run := u.history.find(k.invocation, time.Time{})
		run.oomKills, run.peak = k.kills, k.peak
		u.history.markOOM(k.invocation)
	}
	return nil
}

// unread keeps what was known of a unit when PID 1 does not answer for it.
func (r *Runtime) unread(u *loaded, err error) error {
	r.mu.Lock()
	u.news = true
	r.mu.Unlock()
	return err
}

// ifaceOf is the D-Bus interface of a unit's own type: Service, Timer, Socket and so on.
func ifaceOf(name string) string {
	kind := unit.Name(name).Type()
	return busName + "." + strings.ToUpper(kind[:1]) + kind[1:]
}

func evidenceOf(name string, p, sp props) cluster.Evidence {
	e := cluster.Evidence{
		Name: name, Load: p.text("LoadState"), Active: p.text("ActiveState"), Sub: p.text("SubState"), Result: sp.text("Result"),
		MainPID: int(sp.number("MainPID")), StatusText: sp.text("StatusText"), Invocation: p.hex("InvocationID"), NRestarts: int(sp.number("NRestarts")),
		ActiveSince: p.time("ActiveEnterTimestamp"), InactiveSince: p.time("InactiveEnterTimestamp"), StateSince: p.time("StateChangeTimestamp"),
		MemoryPeak: sp.number("MemoryPeak"), MemoryCurrent: sp.number("MemoryCurrent"), CPUNanos: sp.number("CPUUsageNSec"),
	}
	if e.Result == "" {
		e.Result = "success"
	}
	if e.Sub == "auto-restart" {
		e.NextTry = e.StateSince.Add(sp.span("RestartUSec"))
	}
	if unit.Name(name).Type() == "timer" {
		e.LastTrigger = sp.time("LastTriggerUSec")
		e.NextElapse = nextElapse(sp)
	}
	return e
}

// nextElapse is the earlier of a timer's two clocks.
func nextElapse(p props) time.Time {
	next := p.time("NextElapseUSecRealtime")
	mono := p.number("NextElapseUSecMonotonic")
	if mono <= 0 {
		return next
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return next
	}
	at := time.Now().Add(time.Duration(mono)*time.Microsecond - time.Duration(now.Nano())).Truncate(time.Millisecond)
	if next.IsZero() || at.Before(next) {
		return at
	}
	return next
}

// startOf is when the present run began.
func startOf(p, sp props) time.Time {
	if t := p.time("InactiveExitTimestamp"); !t.IsZero() {
		return t
	}
	return sp.time("ExecMainStartTimestamp")
}

func paths(sp props) map[string]string {
	out := map[string]string{}
	for _, d := range execDirectives() {
		if c := commands(sp.value(d + "Ex")); len(c) > 0 {
			out[d] = c[0].path
		}
	}
	return out
}

func execDirectives() []string {
	return []string{"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost"}
}

// waitingFor names the units whose start has to end before a queued one begins (After=).
func (r *Runtime) waitingFor(ctx context.Context, job dbus.ObjectPath) []string {
	var jobs []struct {
		ID                uint32
		Unit, Type, State string
		Path, UnitPath    dbus.ObjectPath
	}
	if err := r.bus.callOn(ctx, job, busName+".Job.GetBefore", nil, &jobs); err != nil {
		return nil // The job is done meanwhile, and a signal tells.
	}
	var names []string
	for _, j := range jobs {
		names = append(names, j.Unit)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// compose makes a unit's evidence of its properties and its history. The caller holds the lock.
func (r *Runtime) compose(u *loaded) cluster.Evidence {
	e := u.evidence.Evidence
	e.Hash = u.hash
	since := timeOf(startedFile(u.name))
	kills, peak := u.history.oomSince(since)
	e.OOMKills = kills + max(0, u.evidence.kills-u.history.oomOf(e.Invocation)) // What was noted already is in both.
	e.MemoryPeak = max(e.MemoryPeak, peak)
	e.Exits = slices.Clone(u.history.exits)
	for i := range e.Exits {
		x := &e.Exits[i]
		if x.Path == "" {
			x.Path = u.evidence.paths[x.Directive]
		}
		x.Error = setupError(u.unit, *x)
	}
	last := u.history.mainExit(e.Invocation)
	if e.Result == "signal" && last != nil && last.OOM {
		e.Result = "oom-kill" // PID 1 does not say it on cgroup v1.
	}
	if n := len(u.history.runs); n > 0 && e.Active == "failed" && u.history.runs[n-1].refused {
		e.Result = "start-limit-hit"
	}
	if e.Error == nil && e.Active == "inactive" {
		e.Error = r.jobRefused(u)
	}
	return e
}

// jobRefused tells why the last start came to nothing when the unit itself does not show it: PID 1 ended the job.
func (r *Runtime) jobRefused(u *loaded) *reason.Reason {
	switch u.job {
	case "dependency":
		return r.dependencyFailed(u)
	case "failed", "invalid", "unsupported", "timeout", "once", "assert": // Results of JobRemoved, org.freedesktop.systemd1(5).
	default:
		return nil
	}
	if t := u.triggers(); t != "" && u.evidence.targetMissing {
		return reason.Because(reason.DependencyFailed, reason.Args{"dependency": t, "kind": "Unit", "state": "not-found"})
	}
	return reason.Because(reason.CannotStart, reason.Args{"error": "systemd ended the start with \"" + u.job + "\"; its words are in the unit's journal"})
}

// triggers is the unit that a timer starts; "" for all others.
func (u *loaded) triggers() string {
	if u.unit == nil || u.unit.Timer == nil {
		return ""
	}
	return u.unit.Timer.Unit
}

// targetMissing tells whether the unit that a timer starts is unknown to PID 1.
func (r *Runtime) targetMissing(ctx context.Context, u *loaded) bool {
	t := u.triggers()
	if t == "" {
		return false
	}
	var rows []row
	err := r.bus.call(ctx, "ListUnitsByNames", []any{[]string{t}}, &rows)
	return err == nil && len(rows) == 1 && rows[0].Load == "not-found"
}

// dependencyFailed names the unit for whose sake PID 1 has refused a start: of ours the one that is not up, else the
// first that the unit needs. It is nil while that one is on its way; more is known when it has arrived.
func (r *Runtime) dependencyFailed(u *loaded) *reason.Reason {
	if u.unit == nil {
		return nil
	}
	first, state := "", "failed"
	for _, dep := range slices.Concat(u.unit.Requires, u.unit.BindsTo, u.unit.Requisite) {
		if first == "" {
			first = dep
		}
		d := r.units[dep]
		if d == nil {
			continue
		}
		switch a := d.evidence.Active; a {
		case "activating", "deactivating", "reloading", "":
			return nil
		case "inactive", "failed":
			first, state = dep, a
		}
	}
	if first == "" {
		return nil
	}
	return reason.Because(reason.DependencyFailed, reason.Args{"dependency": first, "kind": kindOf(u.unit, first), "state": state})
}
