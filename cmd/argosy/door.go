package main

import (
	"context"
	"math"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/wire"
)

// door is the little that the verbs need of a cluster.
type door interface {
	Apply(ctx context.Context, req wire.ApplyRequest) (wire.ApplyResponse, error)
	Units(ctx context.Context, names ...string) (wire.UnitList, error)
	Unit(ctx context.Context, name string) (wire.UnitDetail, error)
	Watch(ctx context.Context, since int64, names ...string) (<-chan client.Update, error)
	Journal(ctx context.Context, name string, q journalQuery, each func(cluster.Line) error) error
	Why(ctx context.Context, name string) (wire.Why, error)
	Machines(ctx context.Context) (wire.MachineList, error)
	Events(ctx context.Context, q eventQuery, each func(wire.Event) error) error
	Verify(ctx context.Context, req wire.VerifyRequest) (wire.VerifyResponse, error)
	Version(ctx context.Context) (wire.VersionInfo, error)
}

// journalQuery says which lines of a unit's journal are wanted.
type journalQuery struct {
	Lines    int  // The last so many; 0: all that are kept.
	Follow   bool // Go on with new ones.
	Previous bool // Of the run before the present one.
	// Invocation: only of that run; empty: of all that are kept.
	Invocation string
	Since      time.Time
	Machines   []string // Only what these keep, also of units that are gone; "all": every one; none: where the unit is.
	Opened     func()   // Called when the cluster has begun to answer; may be nil.
}

// eventQuery says which events are wanted.
type eventQuery struct {
	Last   int // The last so many that match; 0: all that are kept.
	Follow bool
	match  func(wire.Event) bool // nil: all.
}

// eventPage is how many events one call asks for.
const eventPage = 1000

// remote is the door that is a cluster's API.
type remote struct{ c *client.Client }

func dialClient(host string) (door, error) {
	c, err := client.New(host)
	if err != nil {
		return nil, err
	}
	return remote{c}, nil
}

// value takes the pointer off an answer.
func value[T any](p *T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return *p, nil
}

func (r remote) Apply(ctx context.Context, req wire.ApplyRequest) (wire.ApplyResponse, error) {
	return value(r.c.Apply(ctx, req))
}

func (r remote) Units(ctx context.Context, names ...string) (wire.UnitList, error) {
	return value(r.c.Units(ctx, names...))
}

func (r remote) Unit(ctx context.Context, name string) (wire.UnitDetail, error) {
	return value(r.c.Unit(ctx, name))
}

func (r remote) Watch(ctx context.Context, since int64, names ...string) (<-chan client.Update, error) {
	return r.c.Watch(ctx, since, names...)
}

func (r remote) Why(ctx context.Context, name string) (wire.Why, error) {
	return value(r.c.Why(ctx, name))
}

func (r remote) Machines(ctx context.Context) (wire.MachineList, error) {
	return value(r.c.Machines(ctx))
}

func (r remote) Verify(ctx context.Context, req wire.VerifyRequest) (wire.VerifyResponse, error) {
	return value(r.c.Verify(ctx, req))
}

func (r remote) Version(ctx context.Context) (wire.VersionInfo, error) {
	return value(r.c.Version(ctx))
}

func (r remote) Journal(ctx context.Context, name string, q journalQuery, each func(cluster.Line) error) error {
	rq := runtime.JournalQuery{Lines: q.Lines, Follow: q.Follow, Since: q.Since, Invocation: q.Invocation}
	if q.Previous {
		rq.Invocation = "previous"
	}
	return r.c.Lines(ctx, name, client.LinesQuery{JournalQuery: rq, Machines: q.Machines, Opened: q.Opened}, each)
}

// Events gives the last events that match, then, if asked to, each new one.
func (r remote) Events(ctx context.Context, q eventQuery, each func(wire.Event) error) error {
	head, err := r.c.Events(ctx, math.MaxInt64, "", 1) // Nothing comes after it: only the bounds are told.
	if err != nil {
		return err
	}
	since := max(0, head.First-1)
	if q.Last > 0 && q.match == nil {
		since = max(since, head.Last-int64(q.Last))
	}
	var kept []wire.Event
	for since < head.Last {
		page, err := r.c.Events(ctx, since, "", eventPage)
		if err != nil {
			return err
		}
		if len(page.Events) == 0 {
			break
		}
		for _, e := range page.Events {
			since = max(since, e.Seq)
			if q.match == nil || q.match(e) {
				kept = append(kept, e)
			}
		}
		if q.Last > 0 && len(kept) > q.Last {
			kept = kept[len(kept)-q.Last:]
		}
	}
	for _, e := range kept {
		if err := each(e); err != nil {
			return err
		}
	}
	if !q.Follow {
		return nil
	}
	return r.c.FollowEvents(ctx, since, "", func(e wire.Event) error {
		if q.match == nil || q.match(e) {
			return each(e)
		}
		return nil
	})
}
