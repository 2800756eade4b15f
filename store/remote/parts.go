package remote

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"argosy.dev/argosy/store"
)

// Bounds of what Parts keeps for watches that resume: enough for many times the seconds that a fail-over takes.
const (
	keptRevisions = 10_000
	keptBytes     = 64 << 20
)

// feedPause is how long Parts waits after the watch of the whole store broke.
const feedPause = 200 * time.Millisecond

// Parts keeps every machine's part of the store (store.PartPrefix), fed by one watch of the whole store, and wakes for
// a change only the watches of the machines that it concerns. Make it with NewParts and feed it with Run.
type Parts struct {
	log *slog.Logger

	mu       sync.Mutex
	index    *index // nil: nothing was read yet, or no longer fed.
	ring     []delta
	bytes    int
	floor    int64         // The ring holds everything after this revision.
	advanced chan struct{} // Closed and made anew when the revision grows.
	fresh    time.Time     // When the last look that succeeded was begun.
	watches  map[string]map[*watch]struct{}
	wakes    map[string]int64 // Of machines with a watch.
	woken    int64
	barred   map[string]time.Time // Machines that were revoked just now: until when they get no watch.
	asks     []chan error         // Readers that wait for a look that begins after they came.
	asked    chan struct{}
}

// NewParts is empty and answers that it cannot until Run has read the store.
func NewParts(log *slog.Logger) *Parts {
	return &Parts{
		log: log, advanced: make(chan struct{}), asked: make(chan struct{}, 1),
		watches: map[string]map[*watch]struct{}{}, wakes: map[string]int64{},
		barred: map[string]time.Time{},
	}
}

// Run feeds the parts from a store until ctx ends; then all watches end. It is called once.
func (p *Parts) Run(ctx context.Context, s store.Store) {
	var own sync.WaitGroup
	own.Go(func() { p.lookAgain(ctx, s) })
	for ctx.Err() == nil {
		if err := p.follow(ctx, s); err != nil && ctx.Err() == nil {
			p.log.Warn("the watch of the whole store broke, going on", "error", err)
			pause(ctx, feedPause)
		}
	}
	own.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset(nil)
	p.answer(errNotFed)
}

var (
	errNotFed = cannot("this server does not know the store yet, or no longer")
	errBarred = cannot("the certificates of this machine were revoked just now")
)

// follow takes in what changes. It goes on where the last watch broke, if the store still knows that.
func (p *Parts) follow(ctx context.Context, s store.Store) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	since := p.Revision()
	if since == 0 {
		pic, err := s.Read(ctx, "")
		if err != nil {
			return err
		}
		x := newIndex(pic)
		p.mu.Lock()
		p.reset(x)
		p.mu.Unlock()
		since = pic.Revision
	}
	feed := s.Watch
	if f, ok := s.(store.Follower); ok {
		feed = f.Follow
	}
	for b := range feed(ctx, "", since) {
		if errors.Is(b.Err, store.ErrCompacted) {
			p.mu.Lock()
			p.reset(nil) // What happened meanwhile is not known: all machines read again.
			p.mu.Unlock()
		}
		if b.Err != nil {
			return b.Err
		}
		p.take(b)
	}
	if ctx.Err() == nil {
		return errors.New("the watch ended")
	}
	return nil
}

// reset begins with another index; watches look again and find that their history is gone. The caller holds mu.
func (p *Parts) reset(x *index) {
	p.index, p.ring, p.bytes, p.floor = x, nil, 0, 0
	if x != nil {
		p.floor = x.revision
	}
	p.advance()
	for _, each := range p.watches {
		for w := range each {
			w.signal()
		}
	}
}

func (p *Parts) advance() {
	close(p.advanced)
	p.advanced = make(chan struct{})
}

// take takes one revision in and wakes whom it concerns.
func (p *Parts) take(b store.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Revision <= p.index.revision {
		return
	}
	d := p.index.ingest(b)
	p.advance()
	p.bar(b)
	if len(d.common) == 0 && len(d.own) == 0 {
		return
	}
	p.ring = append(p.ring, d)
	p.bytes += d.bytes
	p.trim()
	if len(d.common) > 0 {
		for machine := range p.watches {
			p.wake(machine)
		}
		return
	}
	for machine := range d.own {
		p.wake(machine)
	}
}

// trim keeps the ring within its bounds, but for the last revision.
func (p *Parts) trim() {
	drop := 0
	for len(p.ring)-drop > 1 && (len(p.ring)-drop > keptRevisions || p.bytes > keptBytes) {
		p.bytes -= p.ring[drop].bytes
		p.floor = p.ring[drop].revision
		p.ring[drop] = delta{}
		drop++
	}
	p.ring = p.ring[drop:] // append moves what is left when the room behind it is used up.
}

func (p *Parts) wake(machine string) {
	each := p.watches[machine]
	if len(each) == 0 {
		return
	}
	p.wakes[machine]++
	p.woken++
	for w := range each {
		w.signal()
	}
}

// Wakes counts the changes for which a machine with a watch was woken, since its first watch.
func (p *Parts) Wakes(machine string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wakes[machine]
}

// Woken counts the wakes of all machines, for a metric.
func (p *Parts) Woken() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.woken
}

// Watches counts the watches that are open, for a metric.
func (p *Parts) Watches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, each := range p.watches {
		n += len(each)
	}
	return n
}

// Revision is how far the parts are; 0 while nothing is known.
func (p *Parts) Revision() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index == nil {
		return 0
	}
	return p.index.revision
}
