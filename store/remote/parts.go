package remote

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sort"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// Bounds of what Parts keeps for watches that resume: enough for many times the seconds that a fail-over takes.
const (
	keptRevisions = 10_000
	keptBytes     = 64 << 20
)

// How a server proves that its parts are the present, also when it is the one that was cut off.
const (
	lookEvery  = 2 * time.Second        // Between two linearizable looks at the store.
	lookAfter  = 500 * time.Millisecond // After one that failed.
	lookBound  = 2 * time.Second        // Of one.
	reachBound = 2 * time.Second        // Until the watch has brought what the look saw.
	askEvery   = 50 * time.Millisecond  // Progress, meanwhile.
	staleAfter = 8 * time.Second        // Without a look that succeeded, longer than an election, machines ask another server.
	feedPause  = 200 * time.Millisecond // After the watch of the whole store broke.
)

// watchesEach bounds the watches of one machine: an agent's, and those that a broken link has left for a moment.
const watchesEach = 8

// barredFor is how long a machine that was revoked gets no watch: until all of this server has seen that it was.
const barredFor = 2 * time.Second

// maxAsks bounds how many readers wait for one look.
const maxAsks = 20_000

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

// bar ends the watches of machines that were revoked, which no check of certificates would ever meet again. They may
// come back with other certificates a moment later, when every check knows of it.
func (p *Parts) bar(b store.Batch) {
	for _, e := range b.Entries {
		kindAndName, ok := strings.CutPrefix(e.Key, cluster.RevokedPrefix)
		if !ok || e.Value == nil {
			continue
		}
		_, machine := split(kindAndName)
		maps.DeleteFunc(p.barred, func(_ string, until time.Time) bool { return time.Now().After(until) })
		p.barred[machine] = time.Now().Add(barredFor)
		for w := range p.watches[machine] {
			w.barred = true
			w.signal()
		}
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

// watch is one watch of a part. It has no queue: it reads the ring at its own speed.
type watch struct {
	parts   *Parts
	machine string
	since   int64
	barred  bool
	wake    chan struct{}
}

// watch begins one. since may come from another server, so the parts have to be as far as the store first.
func (p *Parts) watch(ctx context.Context, machine string, since int64) (*watch, error) {
	w := &watch{parts: p, machine: machine, since: max(since, 0), wake: make(chan struct{}, 1)}
	if err := p.add(w); err != nil {
		return nil, err
	}
	if err := p.current(ctx); err != nil {
		w.close()
		return nil, err
	}
	if since > p.Revision() {
		w.close()
		return nil, store.ErrCompacted // The store has another history now, as after a restore.
	}
	return w, nil
}

func (p *Parts) add(w *watch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.barred[w.machine]) {
		return errBarred
	}
	each := p.watches[w.machine]
	if len(each) >= watchesEach {
		return awayError{reason.Because(reason.TooMany, reason.Args{"what": "watches of one machine", "have": watchesEach})}
	}
	if each == nil {
		each = map[*watch]struct{}{}
		p.watches[w.machine] = each
	}
	each[w] = struct{}{}
	return nil
}

func (w *watch) close() {
	p := w.parts
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watches[w.machine], w)
	if len(p.watches[w.machine]) == 0 {
		delete(p.watches, w.machine)
		delete(p.wakes, w.machine)
	}
}

func (w *watch) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// batchesAtOnce bounds what a watch gathers for one write to its machine.
const batchesAtOnce = 64

// next gives what is new for the machine. Without batches, all up to the revision was given; an error ends the watch.
func (w *watch) next() ([]store.Batch, int64, error) {
	p := w.parts
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.index == nil:
		return nil, 0, errNotFed
	case w.barred:
		return nil, 0, errBarred
	case w.since < p.floor:
		return nil, 0, store.ErrCompacted
	case time.Since(p.fresh) > staleAfter:
		return nil, 0, cannot("this server has not reached the store's quorum for a while")
	}
	var out []store.Batch
	from := sort.Search(len(p.ring), func(i int) bool { return p.ring[i].revision > w.since })
	for _, d := range p.ring[from:] {
		if len(out) == batchesAtOnce {
			w.signal()
			return out, w.since, nil
		}
		w.since = d.revision
		if d.concerns(w.machine) {
			out = append(out, store.Batch{Revision: d.revision, Entries: d.of(w.machine)})
		}
	}
	w.since = max(w.since, p.index.revision)
	return out, w.since, nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
