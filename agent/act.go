package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// act makes the runtime do what differs from the wish. The fault of one unit is that unit's: it is told in its status
// and stops nobody else. Only a runtime that does not answer ends the pass.
func (a *Agent) act(ctx context.Context, now time.Time) error {
	var errs []error
	a.brake()
	names := a.names(func(s *slot) bool {
		return s.dirty || !s.due.IsZero() && !s.due.After(now) || !s.placed && s.evidence != nil && !s.held
	})
	for _, name := range names {
		a.slots[name].retry = false
		changed, err := a.load(ctx, a.slots[name])
		a.unsettled = a.unsettled || changed
		errs = append(errs, err)
	}
	if a.unsettled {
		if err := a.Runtime.Settle(ctx); err != nil {
			for _, name := range names {
				a.slots[name].retry = true
			}
			return errors.Join(append(errs, fmt.Errorf("settle the %s runtime: %w", a.Runtime.Name(), err))...)
		}
		a.unsettled = false
	}
	for _, name := range names {
		s := a.slots[name]
		if s.placed {
			errs = append(errs, a.carryOut(ctx, s, now))
		} else if !s.held {
			errs = append(errs, a.remove(ctx, s, now))
		}
	}
	return errors.Join(errs...)
}

// load reads the text of the wish and hands it over when the runtime has another one. It tells whether it did.
func (a *Agent) load(ctx context.Context, s *slot) (changed bool, err error) {
	if !s.placed || s.wanted == nil {
		return false, nil
	}
	if s.unit == nil || s.textOf != s.wanted.Revision {
		if !a.read(s) {
			return false, nil
		}
	}
	if s.evidence != nil && s.evidence.Hash == s.unit.Hash() {
		if s.unloaded {
			s.refused, s.unloaded = nil, false
		}
		return false, nil
	}
	if s.unloaded && s.refused.Cure() == reason.Permanent && s.refusedFor == s.wanted.Revision {
		return false, nil // Refused once and nobody has changed the wish since.
	}
	if s.exclusive() && a.fencer() == nil {
		s.unloaded, s.refusedFor = true, s.wanted.Revision
		return false, a.refuse(s, "load", noKeeper(a.Runtime.Name()))
	}
	warnings, err := a.Runtime.Load(ctx, s.unit)
	if err != nil {
		s.unloaded, s.refusedFor = true, s.wanted.Revision
		return false, a.refuse(s, "load", err)
	}
	s.refused, s.unloaded = nil, false
	s.warnings = append(append([]unit.Warning{}, s.unit.Warnings...), warnings...)
	return true, nil
}

// read makes the unit of the wish's text.
func (a *Agent) read(s *slot) bool {
	dropins := make([]unit.Source, len(s.wanted.DropIns))
	for i, d := range s.wanted.DropIns {
		dropins[i] = unit.Source{Name: d.Name, Text: []byte(d.Text)}
	}
	u, err := unit.Load(unit.Name(s.name), []byte(s.wanted.Text), dropins, a.Host)
	s.textOf = s.wanted.Revision
	if err != nil {
		s.refused, s.unloaded, s.unit = reason.From(err), true, nil
		return false
	}
	s.unit = fence.Bound(u)
	if s.warnings == nil && len(u.Warnings) > 0 && !s.stored {
		s.warnings = u.Warnings
	}
	return true
}

// refuse keeps the reason of a refusal. Only a runtime that is away is an error of the pass: that is tried again.
func (a *Agent) refuse(s *slot, what string, err error) error {
	s.refused = reason.From(err)
	if s.refused.Code == reason.RuntimeDown {
		s.retry = true
		return fmt.Errorf("%s %s: %w", what, s.name, err)
	}
	a.Log.Warn("the runtime refuses a unit", "unit", s.name, "what", what, "reason", s.refused.Code, "error", err)
	return nil
}

// carryOut brings one placed unit to its wish and carries out its orders.
func (a *Agent) carryOut(ctx context.Context, s *slot, now time.Time) error {
	if s.wanted == nil {
		return nil
	}
	if s.unloaded {
		if !s.retry {
			s.drop()
		}
		return nil
	}
	if s.refused != nil && !s.ordersOpen() && !s.waits() {
		return nil
	}
	a.recognize(s)
	fresh := s.evidence == nil // The runtime did not have it before this pass.
	defer func() { s.known = true }()
	if s.exclusive() {
		if ok, err := a.admit(ctx, s, now); err != nil || !ok && s.want() == cluster.Launched {
			return err
		}
	}
	if s.want() != cluster.Launched && s.held {
		return nil
	}
	if s.want() != cluster.Launched {
		return a.toRest(ctx, s, now)
	}
	o, d := s.wanted.Orders, s.done
	restart := o.Restart > d.Restart && s.known
	start := fresh || s.refused != nil || o.Start > d.Start || s.desired != cluster.Launched && s.known || !s.known && s.evidence.Invocation == ""
	if restart && !s.isUp() && (s.status.Epoch != s.epoch || a.intents[s.name].Restart >= o.Restart) {
		restart, start = false, true // It was ordered where the unit was meanwhile, or before this machine started: it only begins.
	}
	var err error
	switch {
	case restart:
		err = a.begin(ctx, s, now, true)
	case start:
		err = a.begin(ctx, s, now, false)
	}
	if err != nil {
		return err
	}
	if s.refused == nil && o.Reload > d.Reload && s.known && !restart {
		if err := a.Runtime.Reload(ctx, s.name); err != nil {
			if err := a.refuseOrder(s, "reload", err); err != nil {
				return err
			}
		}
	}
	if planted != "forgetorders" {
		s.ack(o)
	}
	return nil
}

// ordersOpen tells whether somebody asked for something since the last refusal.
func (s *slot) ordersOpen() bool {
	o := s.orders()
	return o.Start > s.done.Start || o.Restart > s.done.Restart || s.evidence == nil
}

// drop notes that the orders of a unit that could not be loaded will not be carried out: the status says why.
func (s *slot) drop() {
	kill, signal, trigger := s.done.Kill, s.done.Signal, s.done.Trigger
	s.done = s.wanted.Orders
	s.done.Kill, s.done.Signal, s.done.Trigger = kill, signal, trigger
	s.known = true
}

// waits tells whether what speaks against a start may pass by itself.
func (s *slot) waits() bool { return s.refused.Cure() == reason.Transient || s.refused.Has("leaving") }

// ack notes that the present wish was carried out, but for the orders that are written before they are done (see tell).
func (s *slot) ack(o cluster.Orders) {
	kill, signal, trigger := s.done.Kill, s.done.Signal, s.done.Trigger
	known := s.known
	s.done, s.desired = o, cluster.Launched
	if s.wanted != nil {
		s.desired = s.wanted.Desired
	}
	if known {
		s.done.Kill, s.done.Signal, s.done.Trigger = kill, signal, trigger
	}
}

// recognize finds orders that an agent before us carried out and did not live to write: the run is another one than it
// last wrote, and Restart= did not make it.
func (a *Agent) recognize(s *slot) {
	e := s.evidence
	if !s.stored || e == nil || e.Invocation == "" || s.pending != nil || s.upKnown() {
		return
	}
	if a.Ledger != nil {
		if done, yes := a.intents[s.name].carried(s, s.orders()); yes {
			s.done.Start, s.done.Restart = done.Start, done.Restart
			if s.want() == cluster.Launched {
				s.desired = cluster.Launched
			}
		}
		return
	}
	if e.Invocation == s.status.Invocation {
		return
	}
	if e.NRestarts == 0 || e.NRestarts < s.status.Restarts {
		s.done.Start, s.done.Restart = s.orders().Start, s.orders().Restart
		if s.want() == cluster.Launched {
			s.desired = cluster.Launched
		}
	}
}

// upKnown: this agent has already written about, or ordered, a run; nothing is left to recognize.
func (s *slot) upKnown() bool { return !s.written.IsZero() }

// begin starts or restarts, unless a host port that it needs is taken.
func (a *Agent) begin(ctx context.Context, s *slot, now time.Time, restart bool) error {
	if !restart && s.runs() {
		return nil
	}
	if !s.isUp() {
		if r := a.portsTaken(s); r != nil {
			s.refused = r
			return nil //nolint:nilerr // It is the unit's state, which is told, and no failure of this pass.
		}
	}
	s.refused = nil
	a.intend(s)
	call, what := a.Runtime.Start, "start"
	if restart {
		call, what = a.Runtime.Restart, "restart"
	}
	if err := call(ctx, s.name); err != nil {
		return a.refuse(s, what, err)
	}
	s.ordered(now)
	return nil
}

// refuseOrder logs an order that was refused without harm to the unit.
func (a *Agent) refuseOrder(s *slot, what string, err error) error {
	r := reason.From(err)
	if r.Code == reason.RuntimeDown {
		s.retry = true
		return fmt.Errorf("%s %s: %w", what, s.name, err)
	}
	a.Log.Warn("an order was refused", "unit", s.name, "order", what, "reason", r.Code, "error", err)
	return nil
}

// toRest stops a unit that is to be loaded and not started. What runs by itself there (a timer's service) goes on:
// only the step from launched to loaded stops it.
func (a *Agent) toRest(ctx context.Context, s *slot, now time.Time) error {
	stop := s.desired == cluster.Launched || s.want() == cluster.Inactive
	// What goes down already may be going down to come up again: a restart. Only our own stop need not be said twice.
	under := s.isUp() && s.evidence.Active == "deactivating" && s.desired != cluster.Launched
	if stop && s.isUp() && !under {
		if err := a.Runtime.Stop(ctx, s.name); err != nil {
			return a.refuse(s, "stop", err)
		}
		s.ordered(now)
	}
	if stop {
		s.stopped = now
	}
	s.ack(s.wanted.Orders)
	return nil
}

// remove ends and forgets a unit that is not placed here any more.
func (a *Agent) remove(ctx context.Context, s *slot, now time.Time) error {
	if s.evidence == nil {
		return nil
	}
	first := !s.removing // Before that its going down may have been half of a restart.
	s.desired, s.removing = cluster.Inactive, true
	if s.isUp() {
		if first || s.evidence.Active != "deactivating" && !s.isPending(now) {
			if err := a.Runtime.Stop(ctx, s.name); err != nil {
				return a.refuseOrder(s, "stop", err)
			}
			s.ordered(now)
			s.due = now.Add(pendingGrace)
		}
		return nil
	}
	if s.isPending(now) && s.evidence.Active != "inactive" {
		return nil
	}
	if err := a.Runtime.Unload(ctx, s.name); err != nil {
		return a.refuseOrder(s, "unload", err)
	}
	s.evidence = nil
	return nil
}
