package remote

import (
	"context"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// How a server proves that its parts are the present, also when it is the one that was cut off.
const (
	lookEvery  = 2 * time.Second        // Between two linearizable looks at the store.
	lookAfter  = 500 * time.Millisecond // After one that failed.
	lookBound  = 2 * time.Second        // Of one.
	reachBound = 2 * time.Second        // Until the watch has brought what the look saw.
	askEvery   = 50 * time.Millisecond  // Progress, meanwhile.
	staleAfter = 8 * time.Second        // Without a look that succeeded, longer than an election, machines ask another server.
)

// maxAsks bounds how many readers wait for one look.
const maxAsks = 20_000

// Read gives a machine's part with everything in it that was written before the call.
func (p *Parts) Read(ctx context.Context, machine string) (store.Picture, error) {
	if err := p.current(ctx); err != nil {
		return store.Picture{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index == nil {
		return store.Picture{}, errNotFed
	}
	return p.index.read(machine), nil
}

// current waits until the parts hold all that was written before the call. Those who wait share one look at the store.
func (p *Parts) current(ctx context.Context) error {
	done := make(chan error, 1)
	p.mu.Lock()
	switch {
	case p.index == nil:
		p.mu.Unlock()
		return errNotFed
	case len(p.asks) >= maxAsks:
		p.mu.Unlock()
		return awayError{reason.Because(reason.TooMany, reason.Args{"what": "readers that wait", "have": maxAsks})}
	}
	p.asks = append(p.asks, done)
	p.mu.Unlock()
	select {
	case p.asked <- struct{}{}:
	default:
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return awayError{store.Unavailable(ctx.Err())}
	}
}

// answer tells those who wait. The caller holds mu.
func (p *Parts) answer(err error) {
	for _, done := range p.asks {
		done <- err
	}
	p.asks = nil
}

// lookAgain looks at the store whenever somebody asks, and every now and then.
func (p *Parts) lookAgain(ctx context.Context, s store.Store) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.asked:
		case <-timer.C:
		}
		p.mu.Lock()
		asks := p.asks
		p.asks = nil
		p.mu.Unlock()
		begun := time.Now()
		err := p.look(ctx, s)
		p.mu.Lock()
		if err == nil {
			p.fresh = begun
		}
		p.mu.Unlock()
		for _, done := range asks {
			done <- err
		}
		if err != nil {
			timer.Reset(lookAfter)
			continue
		}
		timer.Reset(lookEvery)
	}
}

// look asks the store how far it is, which only a quorum can answer, and waits until the watch has brought all that.
func (p *Parts) look(ctx context.Context, s store.Store) error {
	one, cancel := context.WithTimeout(ctx, lookBound)
	defer cancel()
	pic, err := s.Read(one, cluster.LeaderPrefix)
	if err != nil {
		return awayError{err}
	}
	ctx, stop := context.WithTimeout(ctx, reachBound)
	defer stop()
	follower, _ := s.(store.Follower)
	for {
		p.mu.Lock()
		advanced, there := p.advanced, p.index != nil && p.index.revision >= pic.Revision
		p.mu.Unlock()
		if there {
			return nil
		}
		if follower != nil {
			if err := follower.Progress(ctx); err != nil {
				return awayError{err}
			}
		}
		select {
		case <-advanced:
		case <-time.After(askEvery):
		case <-ctx.Done():
			return cannot("this server is behind the store")
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
