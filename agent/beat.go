package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/store"
)

// How Beat tries again.
const (
	beatAgain    = 200 * time.Millisecond // After a renewal without an answer,
	beatAgainMax = 1600 * time.Millisecond
	beatBusy     = 500 * time.Millisecond // While exclusive units of an epoch that is over still stop.
)

// BeatStore is what a Beat needs of the store.
type BeatStore interface {
	store.Leaser
	Read(ctx context.Context, prefix string) (store.Picture, error)
}

// Beat says that this machine is there, and keeps the keeper of its exclusive units up to date. It takes no leave at its
// end: its lease runs out, so that a daemon that starts again in time is not missed (Leave says goodbye).
type Beat struct {
	Machine string
	Store   BeatStore
	// Part is the prefix under which the machine reads its own placements.
	Part string
	// Fencer holds the machine's exclusive units; nil: it runs none.
	Fencer runtime.Fencer
	// BootClock is CLOCK_BOOTTIME.
	BootClock func() time.Duration
	Log       *slog.Logger

	epoch int64 // The machine's epoch; 0: not known yet.
	over  bool  // It was condemned.
	lease int64 // 0: none.
	again time.Duration
}

// Run beats until ctx ends.
func (b *Beat) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(b.Step(ctx))
	}
}

// Step does what is to be done next, and tells how soon to do the next step. While the keeper has no epoch to show, as
// units of one that is over still stop or the keeper does not answer, the machine says that it is there and no more.
func (b *Beat) Step(ctx context.Context) (wait time.Duration) {
	wait = fence.RenewEvery
	if b.Fencer != nil && (b.epoch == 0 || b.over) {
		if err := b.begin(ctx); err != nil {
			wait = beatBusy
			if !errors.Is(err, fence.ErrBusy) {
				b.Log.Warn("the machine runs no exclusive units yet", "error", err)
			}
		}
	}
	var err error
	if b.lease == 0 {
		b.lease, err = b.grant(ctx)
	} else {
		err = b.Store.Renew(b.timed(ctx), b.writer(), b.key(), b.lease)
	}
	switch {
	case err == nil:
		b.again = beatAgain
		return wait
	case ctx.Err() != nil:
		return 0
	case errors.Is(err, store.ErrLeaseLost):
		b.Log.Warn("the machine's lease was lost, taking a new one")
		b.lease = 0
		return 0
	case errors.Is(err, store.ErrStale) && b.shown() != 0:
		b.condemned(ctx)
		return 0
	}
	b.Log.Debug("the machine's lease was not renewed", "error", err)
	wait = max(b.again, beatAgain)
	b.again = min(2*wait, beatAgainMax)
	return wait
}

// shown is the epoch that the machine may show; 0: none.
func (b *Beat) shown() int64 {
	if b.over {
		return 0
	}
	return b.epoch
}

func (b *Beat) key() string          { return cluster.AliveKey(b.Machine) }
func (b *Beat) writer() store.Writer { return store.Writer{Role: store.Machine, ID: b.Machine} }

func (b *Beat) grant(ctx context.Context) (int64, error) {
	return b.Store.Grant(b.timed(ctx), b.writer(), b.key(), cluster.Encode(cluster.Sign{Epoch: b.shown()}), fence.TTL)
}

// begin goes on with the epoch that the keeper holds, or takes a new one when nothing of the last one runs any more: the
// revision of a look at the store.
func (b *Beat) begin(ctx context.Context) error {
	held, err := b.Fencer.Held(ctx)
	if err != nil {
		return err
	}
	if held.Epoch != 0 && held.Epoch != b.epoch {
		b.epoch, b.over, b.lease = held.Epoch, false, 0
		return nil
	}
	pic, err := b.Store.Read(ctx, b.Part)
	if err != nil {
		return err
	}
	if err := b.Fencer.BeginEpoch(ctx, pic.Revision); err != nil {
		return err
	}
	b.epoch, b.over, b.lease = pic.Revision, false, 0
	return nil
}

// condemned stops all exclusive units: their machine was given up, and they are about to be started elsewhere.
func (b *Beat) condemned(ctx context.Context) {
	b.Log.Error("this machine was given up by the cluster: its exclusive units stop", "epoch", b.epoch)
	b.over, b.lease = true, 0
	if err := b.Fencer.Condemned(ctx, b.epoch); err != nil {
		b.Log.Error("the keeper of exclusive units does not answer; it stops them by itself", "error", err)
	}
}

// timed tells the keeper of each acknowledged renewal, when its request was sent by the boot clock.
func (b *Beat) timed(ctx context.Context) context.Context {
	epoch := b.shown()
	if b.Fencer == nil || epoch == 0 {
		return ctx
	}
	told := store.WithRenewed(ctx, func(sent time.Time) {
		if err := b.Fencer.Renewed(ctx, epoch, fence.From(time.Duration(sent.UnixNano()), b.BootClock())); err != nil {
			b.Log.Error("the keeper of exclusive units does not take a renewal: it will stop them", "error", err)
		}
	})
	return store.WithSendClock(told, func() time.Time { return time.Unix(0, int64(b.BootClock())) })
}

// Leave says goodbye: the machine goes, and is not waited for. Call it when Run has ended.
func (b *Beat) Leave(ctx context.Context, write func(ctx context.Context, by store.Writer, changes ...store.Change) (int64, error)) error {
	_, err := write(ctx, b.writer(), store.Put(b.key(), cluster.Sign{Left: true}))
	return err
}
