package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Start asks PID 1 to start a unit, after it was read back and found to be what was loaded. A failure before, its
// count of restarts and its start limit are forgotten first.
func (r *Runtime) Start(ctx context.Context, name string) error {
	return r.begin(ctx, "StartUnit", name)
}

// Restart asks PID 1 to stop and start a unit, with the same care as Start.
func (r *Runtime) Restart(ctx context.Context, name string) error {
	return r.begin(ctx, "RestartUnit", name)
}

func (r *Runtime) begin(ctx context.Context, method, name string) error {
	l, err := r.find(name)
	if err != nil {
		return err
	}
	if unit.Name(name).IsTemplate() {
		return reason.Because(reason.TemplateOnly, reason.Args{"unit": name})
	}
	if err := r.Settle(ctx); err != nil {
		return err
	}
	u, err := r.model(l)
	if err != nil {
		return err
	}
	if err := r.verify(ctx, u); err != nil {
		return err
	}
	if err := r.bus.call(ctx, "ResetFailedUnit", []any{name}); err != nil && !isBusError(err, "NoSuchUnit") {
		return fmt.Errorf("forget the failure of %s: %w", name, err)
	}
	if err := os.WriteFile(startedFile(name), nil, 0o644); err != nil {
		r.log.Warn("the time of the start is not kept: old kills may be counted after a restart of the agent", "unit", name, "error", err)
	}
	if method == "RestartUnit" {
		r.markAsked(ctx, name)
	}
	r.mu.Lock()
	l.job, l.news = "", true
	r.mu.Unlock()
	return r.job(ctx, method, u)
}

// job hands a job to PID 1. A job that is accepted says nothing of what comes of it.
func (r *Runtime) job(ctx context.Context, method string, u *unit.Unit) error {
	err := r.bus.call(ctx, method, []any{string(u.Name), "replace"}, new(dbus.ObjectPath))
	if isBusError(err, "NoSuchUnit", "LoadFailed", "BadUnitSetting", "UnitMasked") {
		if dep := missingDependency(u, err.Error()); dep != "" {
			return reason.Because(reason.DependencyFailed, reason.Args{"dependency": dep, "kind": kindOf(u, dep), "state": "not-found"})
		}
	}
	if e, ok := errors.AsType[dbus.Error](err); ok {
		return reason.Because(reason.CannotStart, reason.Args{"error": e.Error()})
	}
	return err
}

// missingDependency finds the unit that PID 1 names as not found, when it is not the unit itself.
func missingDependency(u *unit.Unit, message string) string {
	for _, dep := range slices.Concat(u.Requires, u.BindsTo, u.Requisite) {
		if dep != string(u.Name) && strings.Contains(message, "Unit "+dep+" ") {
			return dep
		}
	}
	return ""
}

// kindOf names the directive by which a unit needs another.
func kindOf(u *unit.Unit, dep string) string {
	switch {
	case slices.Contains(u.BindsTo, dep):
		return "BindsTo"
	case slices.Contains(u.Requisite, dep):
		return "Requisite"
	}
	return "Requires"
}

// Stop asks PID 1 to stop a unit. One that PID 1 does not know is stopped.
func (r *Runtime) Stop(ctx context.Context, name string) error {
	if _, err := r.find(name); err != nil {
		return err
	}
	r.markAsked(ctx, name)
	err := r.bus.call(ctx, "StopUnit", []any{name, "replace"}, new(dbus.ObjectPath))
	if isBusError(err, "NoSuchUnit") {
		return nil
	}
	return r.asked("stop", name, err)
}

// Reload asks PID 1 to run a unit's ExecReload=.
func (r *Runtime) Reload(ctx context.Context, name string) error {
	l, err := r.find(name)
	if err != nil {
		return err
	}
	if u, err := r.model(l); err == nil && u.Service != nil && len(u.Service.ExecReload) == 0 {
		return reason.Because(reason.Unsupported, reason.Args{"what": name + " has no ExecReload="})
	}
	p, err := r.bus.properties(ctx, name, unitIface)
	if err != nil {
		return err
	}
	if s := p.text("ActiveState"); s != "active" && s != "reloading" {
		return reason.Because(reason.Unsupported, reason.Args{"what": name + " is not running and cannot be reloaded"})
	}
	return r.asked("reload", name, r.bus.call(ctx, "ReloadUnit", []any{name, "replace"}, new(dbus.ObjectPath)))
}

// Kill sends a signal to all processes of a unit. One without processes is no error.
func (r *Runtime) Kill(ctx context.Context, name string, signal int) error {
	if _, err := r.find(name); err != nil {
		return err
	}
	err := r.bus.call(ctx, "KillUnit", []any{name, "all", int32(signal)})
	if isBusError(err, "NoSuchUnit", "NoSuchProcess") {
		return nil
	}
	if e, ok := errors.AsType[dbus.Error](err); ok && e.Name == "org.freedesktop.DBus.Error.NotSupported" {
		return reason.Because(reason.Unsupported, reason.Args{"what": name + " has no processes of its own"})
	}
	return r.asked("kill", name, err)
}

func (r *Runtime) asked(what, name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	return nil
}

// markAsked notes that the end of the present run, if there is one, is what was asked for: the evidence of the end
// may be read before the journal's word about the stop.
func (r *Runtime) markAsked(ctx context.Context, name string) {
	now := time.Now()
	p, err := r.bus.properties(ctx, name, unitIface)
	if err != nil {
		return // The journal will tell.
	}
	id := p.hex("InvocationID")
	if s := p.text("ActiveState"); id == "" || s == "inactive" || s == "failed" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.units[name]; u != nil {
		u.history.markAsked(id, now)
	}
}
