package remote

import (
	"context"
	"maps"
	"sort"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// watchesEach bounds the watches of one machine: an agent's, and those that a broken link has left for a moment.
const watchesEach = 8

// barredFor is how long a machine that was revoked gets no watch: until all of this server has seen that it was.
const barredFor = 2 * time.Second

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
		if entries := d.of(w.machine); len(entries) > 0 {
			out = append(out, store.Batch{Revision: d.revision, Entries: entries})
		}
	}
	w.since = max(w.since, p.index.revision)
	return out, w.since, nil
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
