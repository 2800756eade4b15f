// Package memory is a store.Store in this process's memory: for tests, for the simulator, and as the plainest
// statement of what a store does. It keeps nothing over a restart, and it leaves leases to their holders: a key
// of KeepAlive stays until its holder lets go or Expire says that it was lost.
package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// History bounds how many revisions a watch can go back; before it, a watch ends with store.ErrCompacted.
const History = 10_000

// Store is a linearizable map with revisions. Make it with New.
type Store struct {
	mu        sync.Mutex
	revision  int64
	entries   map[string]store.Entry
	history   []store.Batch // One for each revision after compacted, oldest first.
	compacted int64
	leases    map[string]*lease // By key.
	granted   int64             // The last lease's number.
	changed   chan struct{}     // Closed and replaced at every revision.
	closed    bool
	faults    func(by store.Writer, changes []store.Change) Fault
	election  election
}

var errClosed = errors.New("the store is closed")

// New is an empty store at revision 1, as etcd begins.
func New() *Store {
	return &Store{
		revision: 1, compacted: 1, entries: map[string]store.Entry{}, leases: map[string]*lease{},
		changed: make(chan struct{}),
	}
}

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, prefix string) (store.Picture, error) {
	if err := ctx.Err(); err != nil {
		return store.Picture{}, store.Unavailable(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.Picture{}, store.Unavailable(errClosed)
	}
	pic := store.Picture{Revision: s.revision}
	for key, e := range s.entries {
		if strings.HasPrefix(key, prefix) {
			e.Value = slices.Clone(e.Value)
			pic.Entries = append(pic.Entries, e)
		}
	}
	slices.SortFunc(pic.Entries, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) })
	return pic, nil
}

// Write implements store.Store.
func (s *Store) Write(ctx context.Context, by store.Writer, changes ...store.Change) (int64, error) {
	if err := store.Check(by, changes...); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, store.Unavailable(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, store.Unavailable(errClosed)
	}
	fault := None
	if s.faults != nil {
		fault = s.faults(by, changes)
	}
	switch fault {
	case Stale:
		return 0, fmt.Errorf("%w (as the simulator asked)", store.ErrStale)
	case LostRequest:
		return 0, store.Unavailable(errors.New("the request was lost"))
	case Full:
		return 0, full()
	case None, LostAnswer: // The write is done.
	}
	if err := s.guard(by, changes); err != nil {
		return 0, err
	}
	s.commit(changes)
	if fault == LostAnswer {
		return 0, store.Unavailable(errors.New("the answer was lost"))
	}
	return s.revision, nil
}

// guard tells whether the write may be done as things are: the writer's leadership and the changes' revisions.
func (s *Store) guard(by store.Writer, changes []store.Change) error {
	if by.Role == store.Leader && !s.election.leads(by) {
		return fmt.Errorf("%w: %q leads no more", store.ErrStale, by.ID)
	}
	for _, c := range changes {
		if c.Guard && s.entries[c.Key].Revision != c.If {
			return fmt.Errorf("%w: %s is at revision %d, not %d", store.ErrStale, c.Key, s.entries[c.Key].Revision, c.If)
		}
	}
	return nil
}

// commit makes one revision of the changes; deleting what is not there changes nothing.
func (s *Store) commit(changes []store.Change) {
	batch := store.Batch{Revision: s.revision + 1}
	for _, c := range changes {
		delete(s.leases, c.Key) // A plain write takes the key off its lease, as in etcd.
		if c.Value == nil {
			if _, there := s.entries[c.Key]; !there {
				continue
			}
			delete(s.entries, c.Key)
			batch.Entries = append(batch.Entries, store.Entry{Key: c.Key, Revision: batch.Revision})
			continue
		}
		e := store.Entry{Key: c.Key, Value: slices.Clone(c.Value), Revision: batch.Revision}
		s.entries[c.Key] = e
		batch.Entries = append(batch.Entries, e)
	}
	if len(batch.Entries) == 0 {
		return
	}
	slices.SortFunc(batch.Entries, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) })
	s.revision = batch.Revision
	s.history = append(s.history, batch)
	if len(s.history) >= 2*History {
		s.compact(s.revision - History)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Compact forgets the history up to and including a revision.
func (s *Store) Compact(_ context.Context, revision int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compact(revision)
	return nil
}

func (s *Store) compact(revision int64) {
	revision = min(revision, s.revision)
	if revision <= s.compacted {
		return
	}
	s.history = slices.Clone(s.history[revision-s.compacted:])
	s.compacted = revision
}

// Since gives all batches after a revision at once: what Watch would send, for a caller without goroutines.
func (s *Store) Since(prefix string, since int64) ([]store.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since(prefix, since)
}

func (s *Store) since(prefix string, since int64) ([]store.Batch, error) {
	since = max(since, 1) // Before revision 2 there is nothing.
	if since < s.compacted {
		return nil, store.ErrCompacted
	}
	var out []store.Batch
	for _, b := range s.history[min(since-s.compacted, int64(len(s.history))):] {
		if part := under(b, prefix); len(part.Entries) > 0 {
			out = append(out, part)
		}
	}
	return out, nil
}

func under(b store.Batch, prefix string) store.Batch {
	part := store.Batch{Revision: b.Revision}
	for _, e := range b.Entries {
		if strings.HasPrefix(e.Key, prefix) {
			e.Value = slices.Clone(e.Value)
			part.Entries = append(part.Entries, e)
		}
	}
	return part
}

// Watch implements store.Store. A watcher has no queue: it reads the history at its own speed, and one that is
// too slow for it gets store.ErrCompacted.
func (s *Store) Watch(ctx context.Context, prefix string, since int64) <-chan store.Batch {
	out := make(chan store.Batch)
	go func() {
		defer close(out)
		for {
			s.mu.Lock()
			batches, err := s.since(prefix, since)
			reached, changed, closed := s.revision, s.changed, s.closed
			s.mu.Unlock()
			if closed {
				err = store.Unavailable(errClosed)
			}
			if err != nil {
				send(ctx, out, store.Batch{Err: err})
				return
			}
			for _, b := range batches {
				if !send(ctx, out, b) {
					return
				}
			}
			since = max(since, reached)
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return out
}

func send(ctx context.Context, out chan<- store.Batch, b store.Batch) bool {
	select {
	case <-ctx.Done():
		return false
	default:
	}
	select {
	case out <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// Health implements store.Store.
func (s *Store) Health(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.Unavailable(errClosed)
	}
	if s.faults != nil && s.faults(store.Writer{}, nil) == Full {
		return full()
	}
	return nil
}

func full() error { return reason.Because(reason.StoreFull, reason.Args{"size": 1, "quota": 1}) }

// Close ends watches, leases and terms.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.changed)
	for _, l := range s.leases {
		close(l.lost)
	}
	s.leases = map[string]*lease{}
	s.election.close()
	return nil
}
