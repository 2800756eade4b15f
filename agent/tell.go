package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// tell judges what has news and writes the statuses that changed, in bounded transactions. away is why the runtime does
// not answer, if it does not.
func (a *Agent) tell(ctx context.Context, now time.Time, away error) error {
	var (
		changes []store.Change
		about   []*slot
		said    []cluster.Status
	)
	budget := newBudget(now, a.Now)
	for _, name := range a.names(func(s *slot) bool { return s.dirty || s.probed(a) || !s.due.IsZero() && !s.due.After(now) }) {
		s := a.slots[name]
		s.retry = s.retry || away != nil
		if s.gone() {
			if s.stored || s.unsure {
				changes, about, said = append(changes, store.Delete(cluster.StatusKey(a.Machine, name))), append(about, s), append(said, cluster.Status{})
			} else {
				s.dirty = s.retry
			}
			continue
		}
		st, due, write := a.word(ctx, s, now, away, budget)
		s.due = due
		if !write {
			s.dirty = s.retry
			continue
		}
		changes, about, said = append(changes, store.Put(cluster.StatusKey(a.Machine, name), st)), append(about, s), append(said, st)
	}
	return a.write(ctx, now, changes, about, said)
}

// gone tells whether nothing is left of a unit that is not placed here.
func (s *slot) gone() bool { return !s.placed && s.evidence == nil }

// write puts the changes into the store, maxChunk at a time. What fails stays dirty and comes again in the next pass.
func (a *Agent) write(ctx context.Context, now time.Time, changes []store.Change, about []*slot, said []cluster.Status) error {
	var errs []error
	for len(changes) > 0 {
		n := min(maxChunk, len(changes))
		_, err := a.Store.Write(ctx, a.writer(), changes[:n]...)
		if err != nil {
			errs = append(errs, fmt.Errorf("write %d statuses: %w", n, err))
			for _, s := range about[:n] {
				s.dirty, s.unsure = true, true
			}
		} else {
			for i, s := range about[:n] {
				errs = append(errs, a.wrote(ctx, s, said[i], changes[i].Value == nil, now))
			}
		}
		changes, about, said = changes[n:], about[n:], said[n:]
	}
	return errors.Join(errs...)
}

// wrote notes a status that is in the store, and does the orders that are done after they are written.
func (a *Agent) wrote(ctx context.Context, s *slot, st cluster.Status, deleted bool, now time.Time) error {
	s.dirty, s.written, s.unsure = s.retry, now, false
	if deleted {
		a.forget(s.name)
		s.stored, s.known, s.status, s.done, s.desired = false, false, cluster.Status{}, cluster.Orders{}, ""
		s.stopped, s.tail, s.refused, s.unit = time.Time{}, tail{}, nil, nil
		return nil
	}
	// A signal for a unit that has left is for its next machine, or came too late.
	kill, trigger := s.placed && st.Done.Kill > s.done.Kill, s.placed && st.Done.Trigger > s.done.Trigger
	s.status, s.stored, s.done, s.known = st, true, st.Done, true
	var errs []error
	if kill {
		if err := a.Runtime.Kill(ctx, s.name, st.Done.Signal); err != nil {
			errs = append(errs, a.refuseOrder(s, "kill", err))
		}
	}
	if trigger {
		errs = append(errs, a.trigger(ctx, s))
	}
	return errors.Join(errs...)
}

// trigger runs a timer's unit now.
func (a *Agent) trigger(ctx context.Context, s *slot) error {
	target := s.name
	if s.unit != nil && s.unit.Timer != nil {
		target = s.unit.Timer.Unit
	}
	if err := a.Runtime.Start(ctx, target); err != nil {
		return a.refuseOrder(s, "trigger", err)
	}
	return nil
}

// word makes the status of one unit. It tells when to look again, and whether the status is worth writing now.
func (a *Agent) word(ctx context.Context, s *slot, now time.Time, away error, b *budget) (st cluster.Status, due time.Time, write bool) {
	if !a.readTail(ctx, s, now, b) {
		return st, now.Add(tailPause), false
	}
	in := a.input(s, now)
	if away != nil && (s.stored && s.status.For >= s.revision()) {
		return st, time.Time{}, false // What was said stays until the runtime answers again.
	} else if away != nil {
		in.Refused = reason.Because(reason.RuntimeDown, reason.Args{"runtime": a.Runtime.Name(), "error": away.Error()})
	}
	out := judge.State(in)
	if out.State == cluster.Unhealthy {
		a.readUnhealthy(ctx, s, now)
	}
	a.watch(s, in)
	if out.Why != nil && !in.Pending {
		s.learn(out.WhyOf, out.Why)
	}
	if out.LookAgain > 0 {
		due = now.Add(out.LookAgain)
	}
	if s.pending != nil {
		due = earlier(due, s.pending.at.Add(pendingGrace))
	}
	if !s.admitAt.IsZero() {
		due = earlier(due, s.admitAt)
	}
	if out.State == cluster.Stopped && !s.dirtyStop() {
		s.stopped = now
	}
	st = a.status(s, out, now)
	switch {
	case !s.stored || s.unsure || major(s.status, st):
		return st, due, true
	case same(s.status, st):
		return st, due, false
	case now.Sub(s.written) >= minorEvery:
		return st, due, true
	}
	return st, earlier(due, s.written.Add(minorEvery)), false
}

// dirtyStop: the time of the stop is already noted.
func (s *slot) dirtyStop() bool { return s.status.State == cluster.Stopped && !s.stopped.IsZero() }

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// input collects what the judge needs.
func (a *Agent) input(s *slot, now time.Time) judge.Input {
	in := judge.Input{
		Now: now, Unit: s.unit, Desired: s.want(), Orders: s.orders(), Memory: a.memory(), Evidence: s.evidence, Up: s.up,
		Pending: s.isPending(now), StoppedAt: s.stopped, Refused: s.refused, Log: s.tail.lines, Holders: s.tail.holders, Port: s.tail.port, Known: s.whys,
	}
	if s.held && s.desired != "" {
		in.Desired = s.desired // The brake: it goes on as before, and so does what is said of it.
	}
	if s.wanted != nil {
		in.By = s.wanted.By
	}
	if h, ok := a.Prober.Result(s.name); ok {
		in.Health = &h
	}
	return in
}

func (a *Agent) memory() int64 {
	if a.Record == nil {
		return 0
	}
	return a.Record.Capacity.Memory
}

// status is the record of a judgement.
func (a *Agent) status(s *slot, out judge.Output, now time.Time) cluster.Status {
	st := cluster.Status{
		Unit: s.name, Machine: a.Machine, Epoch: s.epoch, State: out.State, Reason: out.Reason, Since: now, Final: out.Final,
		For: s.revision(), Done: s.done, Desired: s.desired, Tries: out.Tries, Load: "not-found", Active: "inactive", Sub: "dead",
		Warnings: s.warnings,
	}
	if s.exclusive() {
		st.Lease = a.lease
	}
	if !s.placed {
		st.Epoch, st.Lease = s.status.Epoch, s.status.Lease
	}
	if s.wanted != nil { // These are written before they are done: see wrote.
		o := s.wanted.Orders
		st.Done.Kill, st.Done.Signal, st.Done.Trigger = o.Kill, o.Signal, o.Trigger
		if !s.stored {
			s.done.Kill, s.done.Trigger = o.Kill, o.Trigger // Orders from before it came here are not for us.
		}
	}
	if s.stored && s.status.State == out.State {
		st.Since = s.status.Since
	}
	if s.warnings == nil {
		st.Warnings = s.status.Warnings
	}
	evidenceWords(&st, s.evidence)
	switch out.State {
	case cluster.Healthy, cluster.FinishedOK, cluster.Stopped, cluster.Draining:
	default:
		st.LogTail = s.tail.lines
	}
	return st
}

func evidenceWords(st *cluster.Status, e *cluster.Evidence) {
	if e == nil {
		return
	}
	st.Load, st.Active, st.Sub, st.Result = e.Load, e.Active, e.Sub, e.Result
	st.MainPID, st.Restarts, st.StartedAt, st.StatusText, st.Hash = e.MainPID, e.NRestarts, e.ActiveSince, e.StatusText, e.Hash
	st.Next, st.Last, st.Invocation, st.OOMKills = e.NextElapse, e.LastTrigger, e.Invocation, e.OOMKills
	if n := len(e.Exits); n > 0 {
		st.ExitCode, st.ExitSignal = e.Exits[n-1].Status, e.Exits[n-1].Signal
	}
}

// major is a transition: people wait for it, so it is written at once.
func major(a, b cluster.Status) bool {
	return a.State != b.State || a.Final != b.Final || a.For != b.For || a.Done != b.Done || a.Desired != b.Desired || a.Epoch != b.Epoch || a.Lease != b.Lease ||
		code(a.Reason) != code(b.Reason) || len(a.LogTail) == 0 && len(b.LogTail) > 0 || a.Hash != b.Hash || !a.Next.Equal(b.Next)
}

func code(r *reason.Reason) reason.Code {
	if r == nil {
		return ""
	}
	return r.Code
}

// same tells whether two statuses say the same, but for numbers that change with every look. Times are compared as
// times: a status that came from the store has lost its monotonic reading and its zone.
func same(a, b cluster.Status) bool {
	if !judge.Same(a.Reason, b.Reason) || !a.Since.Equal(b.Since) || !a.StartedAt.Equal(b.StartedAt) || !a.Next.Equal(b.Next) || !a.Last.Equal(b.Last) {
		return false
	}
	if len(a.Warnings) == 0 && len(b.Warnings) == 0 {
		a.Warnings, b.Warnings = nil, nil
	}
	for _, s := range []*cluster.Status{&a, &b} {
		s.Reason, s.Since, s.StartedAt, s.Next, s.Last = nil, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	return reflect.DeepEqual(a, b)
}

// watch tells the prober which run to ask, or to stop asking.
func (a *Agent) watch(s *slot, in judge.Input) {
	e := s.evidence
	if s.unit == nil || e == nil || in.Desired == cluster.Inactive || !judge.Checked(s.unit) || e.Active != "active" && e.Active != "reloading" || e.Sub == "exited" || in.Pending {
		a.Prober.Watch(s.name, nil)
		return
	}
	a.Prober.Watch(s.name, &Target{Invocation: e.Invocation, Unit: s.unit, PID: e.MainPID, Since: s.up})
}

// probed tells whether its check has news: only units that have one are asked.
func (s *slot) probed(a *Agent) bool {
	if s.unit == nil || !judge.Checked(s.unit) || s.evidence == nil {
		return false
	}
	return a.Prober.News(s.name)
}
