package sim

import (
	"context"
	"errors"
	"time"

	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/fake"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

// wire is an agent's way to the store: what is sent may not arrive, arrives later, is done and not answered. While it is
// under way, the world goes on.
type wire struct {
	*memory.Store
	w *Split
	b *box
	p *proc
}

var errLink = errors.New("no answer")

// send carries one request out.
func (l *wire) send(do func() error) error {
	if l.p.dead || !l.b.up {
		return store.Unavailable(errLink)
	}
	l.under()
	err := do() // What was sent arrives, also from an agent that has died since.
	if !l.b.down {
		return store.Unavailable(errLink)
	}
	l.under()
	if l.p.dead {
		return store.Unavailable(errLink)
	}
	return err
}

// under is the time that a request or an answer is under way, and the agent may be frozen.
func (l *wire) under() {
	w := l.w
	if !w.faults || w.depth >= splitDepth {
		return
	}
	d := time.Duration(0)
	switch {
	case l.b.slow && w.chance(3):
		d = w.upTo(longestDelay)
	case w.chance(300):
		l.p.frozen = w.t + w.upTo(longestFreeze)
		w.tell("the agent of %s is frozen in the middle of a call until %v", l.b.id, l.p.frozen)
	default:
		return
	}
	w.wait(d)
	for l.p.frozen > w.t && !l.p.dead && w.problem == nil {
		w.wait(l.p.frozen - w.t)
	}
}

func (w *Split) wait(d time.Duration) {
	w.depth++
	defer func() { w.depth-- }()
	w.run(w.t + d)
}

func (l *wire) Read(ctx context.Context, prefix string) (pic store.Picture, err error) {
	err = l.send(func() (err error) { pic, err = l.Store.Read(ctx, prefix); return err })
	return pic, err
}

func (l *wire) Write(ctx context.Context, by store.Writer, changes ...store.Change) (rev int64, err error) {
	err = l.send(func() (err error) { rev, err = l.Store.Write(ctx, by, changes...); return err })
	return rev, err
}

func (l *wire) Grant(ctx context.Context, by store.Writer, key string, value []byte, ttl time.Duration) (id int64, err error) {
	err = l.timed(ctx, func() (err error) { id, err = l.Store.Grant(l.w.ctx, by, key, value, ttl); return err })
	return id, err
}

func (l *wire) Renew(ctx context.Context, by store.Writer, key string, lease int64) error {
	return l.timed(ctx, func() error { return l.Store.Renew(l.w.ctx, by, key, lease) })
}

func (l *wire) timed(ctx context.Context, do func() error) error {
	sent := store.SendTime(ctx)
	err := l.send(func() error {
		err := do()
		if err == nil {
			l.b.expires = leaseEnd(l.w)
		}
		return err
	})
	if err == nil {
		store.Renewed(ctx, sent)
	}
	return err
}

// bossWire is the leader's way to the store.
type bossWire struct {
	*memory.Store
	s *boss
}

func (l *bossWire) Write(ctx context.Context, by store.Writer, changes ...store.Change) (int64, error) {
	w := l.s.w
	if w.faults && w.depth < splitDepth && w.chance(20) {
		w.wait(w.upTo(longestDelay))
	}
	rev, err := l.Store.Write(ctx, by, changes...)
	if w.faults && w.depth < splitDepth && w.chance(20) {
		w.wait(w.upTo(longestDelay))
	}
	return rev, err
}

// ended is a runtime that an agent reaches only while it lives.
type ended struct {
	*fake.Runtime
	p *proc
}

var _ runtime.Fencer = (*ended)(nil)

var errDead = errors.New("the agent is dead")

func (e *ended) Start(ctx context.Context, name string) error {
	if e.p.dead {
		return errDead
	}
	e.p.b.w.tell("%s is started on %s", name, e.p.b.id)
	return e.Runtime.Start(ctx, name)
}

func (e *ended) Restart(ctx context.Context, name string) error {
	if e.p.dead {
		return errDead
	}
	return e.Runtime.Restart(ctx, name)
}

func (e *ended) Stop(ctx context.Context, name string) error {
	if e.p.dead {
		return errDead
	}
	return e.Runtime.Stop(ctx, name)
}

func (e *ended) Held(ctx context.Context) (fence.Keeper, error) {
	if e.p.dead {
		return fence.Keeper{}, errDead
	}
	return e.Runtime.Held(ctx)
}

func (e *ended) BeginEpoch(ctx context.Context, epoch int64) error {
	if e.p.dead {
		return errDead
	}
	err := e.Runtime.BeginEpoch(ctx, epoch)
	e.p.b.w.tell("%s begins epoch %d (%v)", e.p.b.id, epoch, err)
	return err
}

func (e *ended) Renewed(ctx context.Context, epoch int64, sent time.Duration) error {
	if e.p.dead {
		return errDead
	}
	return e.Runtime.Renewed(ctx, epoch, sent)
}

func (e *ended) Condemned(ctx context.Context, epoch int64) error {
	if e.p.dead {
		return errDead
	}
	e.p.b.w.tell("%s learns that it was condemned", e.p.b.id)
	return e.Runtime.Condemned(ctx, epoch)
}

func (e *ended) Allow(ctx context.Context, unit string, placement, epoch int64) error {
	if e.p.dead {
		return errDead
	}
	return e.Runtime.Allow(ctx, unit, placement, epoch)
}
