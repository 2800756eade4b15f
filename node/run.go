package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"argosy.dev/argosy/api"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
)

// run starts every loop, waits for ctx or for a part that fails, and ends them all again.
func (n *node) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	start := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	start("view", func(ctx context.Context) error { n.view.Run(ctx, n.store, ""); return nil })
	start("machine", n.beat)
	start("leader", func(ctx context.Context) error { n.leader.Run(ctx, n.id); return nil })
	start("agent", n.work)
	start("follow", func(ctx context.Context) error { n.api.Loop().Run(ctx); return nil })
	start("api", func(ctx context.Context) error { return api.Serve(ctx, n.listener, n.api, n.Log) })
	if n.seen(ctx, n.view.Fork()) && n.Ready != nil {
		n.Ready()
	}
	<-ctx.Done()
	wg.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, n.end()) //nolint:contextcheck // ctx has ended; what is left to do has its own deadline.
}

// beat says that this machine is there, for as long as it lives.
func (n *node) beat(ctx context.Context) error {
	by := store.Writer{Role: store.Machine, ID: n.id}
	for ctx.Err() == nil {
		if err := n.store.KeepAlive(ctx, by, cluster.AliveKey(n.id), []byte("{}"), aliveTTL); err != nil && ctx.Err() == nil {
			n.Log.Warn("the machine's lease was lost, taking a new one", "error", err)
			pause(ctx, leasePause)
		}
	}
	return nil
}

// work runs the agent once the picture is there: an empty picture is not a wish to stop everything.
func (n *node) work(ctx context.Context) error {
	if n.viewReady(ctx) {
		n.agent.Run(ctx)
	}
	return nil
}

func (n *node) viewReady(ctx context.Context) bool {
	select {
	case <-n.view.Ready():
		return true
	case <-ctx.Done():
		return false
	}
}

// seen waits until the store shows this machine: from then on units can be placed here.
func (n *node) seen(ctx context.Context, view *store.View) bool {
	for {
		there := false
		view.Look(func(p *cluster.Picture, _ map[cluster.Touched]struct{}, _ bool) {
			there = p.Alive[n.id] && p.Machines[n.id] != nil
		})
		if there {
			return true
		}
		select {
		case <-view.Kick():
		case <-ctx.Done():
			return false
		}
	}
}

// pause waits unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
