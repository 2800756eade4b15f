package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// attendance is how a follow stands with one machine.
type attendance struct {
	name   string
	cancel context.CancelFunc
	open   bool      // Being read, or asked.
	alive  bool      // It was heard of since it was asked.
	told   bool      // That it is away was said.
	again  time.Time // When to ask it again.
	pause  time.Duration
}

// lineEvent is what a follow hears of a machine: a line, that it answers, or how its lines ended.
type lineEvent struct {
	id     string
	line   *cluster.Line
	opened bool
	err    error
}

var (
	errEnded = errors.New("it ended the stream")
	errLease = errors.New("it is not heard of")
)

// follow goes on with new lines until ctx ends: where the unit goes, and when a machine that was away is back.
func (r *reading) follow(ctx context.Context, ids []string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, id := range ids {
		r.follower(ctx, id)
	}
	where := r.here()
	r.look(ctx, where)
	tick := time.NewTicker(whereEvery)
	defer tick.Stop()
	for {
		var ok bool
		select {
		case <-ctx.Done():
			return
		case e := <-r.events:
			ok = r.hear(ctx, e)
		case <-tick.C:
			now := r.here()
			ok = r.moved(ctx, where, now) && r.look(ctx, now)
			where = now
		}
		if !ok {
			return
		}
	}
}

// here lists the machines that are to be followed.
func (r *reading) here() []string {
	if r.fixed != nil {
		return r.fixed
	}
	return r.where(r.name)
}

// moved says that the unit is elsewhere now.
func (r *reading) moved(ctx context.Context, before, now []string) bool {
	if slices.Equal(before, now) {
		return true
	}
	if len(now) == 0 {
		return r.say(ctx, "", "the unit is on no machine now; goes on when it is on one")
	}
	var left, came []string
	for _, id := range before {
		if !slices.Contains(now, id) {
			left = append(left, r.nameOf(id))
		}
	}
	for _, id := range now {
		if !slices.Contains(before, id) {
			came = append(came, r.nameOf(id))
		}
	}
	switch {
	case len(came) == 0:
		return r.say(ctx, left[0], "the unit is not on "+strings.Join(left, ", ")+" any more")
	case len(left) == 0:
		return r.say(ctx, came[0], "the unit is on "+strings.Join(came, ", ")+" now")
	}
	return r.say(ctx, came[0], "the unit has moved from "+strings.Join(left, ", ")+" to "+strings.Join(came, ", ")+"; goes on there")
}

func (r *reading) nameOf(id string) string {
	m, _ := r.machine(id)
	return m.Name
}

// look asks machines that are not read yet, lets go of those that are not heard of, and asks again those that went away.
func (r *reading) look(ctx context.Context, ids []string) bool {
	for _, id := range ids {
		if r.at[id] == nil {
			r.follower(ctx, id)
		}
	}
	now := time.Now()
	for id, a := range r.at {
		_, alive := r.machine(id)
		switch {
		case a.open && alive:
			a.alive = true
		case a.open && a.alive && id != r.id:
			a.alive = false
			a.cancel() // A machine without power says nothing: its lease tells.
			if !r.away(ctx, a, errLease) {
				return false
			}
		case a.open || now.Before(a.again):
		case !slices.Contains(ids, id):
			delete(r.at, id)
		default:
			r.follower(ctx, id)
		}
	}
	return true
}

// follower begins to read a machine's new lines, from behind the last one that was told.
func (r *reading) follower(ctx context.Context, id string) {
	a := r.at[id]
	if a == nil {
		a = &attendance{name: r.nameOf(id), pause: firstReattend}
		r.at[id] = a
	}
	q := r.q
	q.Follow, q.Lines, q.Since = true, 0, r.begun
	if t, ok := r.last[id]; ok {
		if q.Since = t; !t.IsZero() {
			q.Since = t.Add(time.Nanosecond)
		}
	}
	own, cancel := context.WithCancel(ctx)
	a.open, a.alive, a.cancel = true, false, cancel
	go func() {
		defer cancel()
		r.pump(own, id, func(e lineEvent) bool {
			e.id = id
			select {
			case r.events <- e:
				return true
			case <-ctx.Done(): // Not own: that it ended has to be heard.
				return false
			}
		}, func() (*source, error) { return r.attend(own, id, r.name, q) })
	}()
}

// pump sends on what one machine says.
func (r *reading) pump(ctx context.Context, id string, send func(lineEvent) bool, open func() (*source, error)) {
	s, err := open()
	if err != nil {
		send(lineEvent{err: err})
		return
	}
	if !send(lineEvent{opened: true}) {
		return
	}
	for l := range s.lines {
		l.Machine = s.name
		if !send(lineEvent{line: &l}) {
			return
		}
	}
	err = s.err
	if err == nil || ctx.Err() != nil {
		err = errEnded
	}
	if id != r.id {
		r.note(id, nil) // It answered; it is asked again at once.
	}
	send(lineEvent{err: err})
}

// hear takes in what a machine says; false: nobody reads any more.
func (r *reading) hear(ctx context.Context, e lineEvent) bool {
	a := r.at[e.id]
	switch {
	case a == nil:
		return true
	case e.line != nil:
		r.last[e.id] = e.line.At
		a.pause = firstReattend
		return r.tell(ctx, *e.line)
	case e.opened:
		if a.told {
			a.told = false
			return r.say(ctx, a.name, "answers again")
		}
		return true
	}
	a.open = false
	a.again = time.Now().Add(a.pause)
	a.pause = min(2*a.pause, lastReattend)
	if why, ok := errors.AsType[*reason.Reason](e.err); ok && why.Cure() == reason.Permanent {
		a.pause = lastReattend
	}
	return r.away(ctx, a, e.err)
}

// away says once that a machine does not answer.
func (r *reading) away(ctx context.Context, a *attendance, why error) bool {
	if a.told {
		return true
	}
	a.told = true
	return r.say(ctx, a.name, missing(why))
}
