package memory

import (
	"context"
	"fmt"
	"slices"

	"argosy.dev/argosy/store"
)

// election is who leads and who waits for it, first come first served.
type election struct {
	term    int64 // Grows with every leader; the fence.
	leader  *reign
	waiting []*candidate
	closed  bool
}

type reign struct {
	id   string
	term int64
	done chan struct{}
}

type candidate struct {
	id      string
	elected chan *reign // Buffered; closed without a value when the store is closed.
}

func (e *election) leads(by store.Writer) bool {
	return e.leader != nil && by.FenceRevision == e.leader.term && by.ID == e.leader.id
}

// crown ends the present reign, if any, and begins the next one.
func (e *election) crown(id string) *reign {
	e.depose()
	e.term++
	e.leader = &reign{id: id, term: e.term, done: make(chan struct{})}
	return e.leader
}

func (e *election) depose() {
	if e.leader != nil {
		close(e.leader.done)
		e.leader = nil
	}
}

// next crowns the one that waits longest when nobody leads.
func (e *election) next() {
	if e.leader == nil && len(e.waiting) > 0 {
		c := e.waiting[0]
		e.waiting = e.waiting[1:]
		c.elected <- e.crown(c.id)
	}
}

// forget ends the term that an id holds.
func (e *election) forget(id string) {
	if e.leader != nil && e.leader.id == id {
		e.depose()
	}
}

func (e *election) close() {
	e.closed = true
	e.depose()
	for _, c := range e.waiting {
		close(c.elected)
	}
	e.waiting = nil
}

// Lead implements store.Store.
func (s *Store) Lead(ctx context.Context, id string) (*store.Term, error) {
	c := &candidate{id: id, elected: make(chan *reign, 1)}
	s.mu.Lock()
	if s.election.closed {
		s.mu.Unlock()
		return nil, store.Unavailable(errClosed)
	}
	s.election.forget(id)
	s.election.waiting = append(s.election.waiting, c)
	s.election.next()
	s.mu.Unlock()
	select {
	case r, ok := <-c.elected:
		if !ok {
			return nil, store.Unavailable(errClosed)
		}
		return s.term(r), nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.election.waiting = slices.DeleteFunc(s.election.waiting, func(w *candidate) bool { return w == c })
	select {
	case r := <-c.elected: // Elected at the same moment: give it up again.
		s.resign(r)
	default:
	}
	return nil, fmt.Errorf("waiting to lead: %w", ctx.Err())
}

// Elect makes id leader now, whoever led before: for the simulator, and for tests of a deposed leader.
func (s *Store) Elect(id string) *store.Term {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term(s.election.crown(id))
}

// Depose ends the present term, as when the leader's lease is lost; the next one in the queue leads.
func (s *Store) Depose(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.election.depose()
	s.election.next()
	return nil
}

func (s *Store) term(r *reign) *store.Term {
	return &store.Term{
		Writer: store.Writer{Role: store.Leader, ID: r.id, Fence: "term", FenceRevision: r.term},
		Done:   r.done,
		Resign: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.resign(r)
		},
	}
}

func (s *Store) resign(r *reign) {
	if r != nil && s.election.leader == r {
		s.election.depose()
		s.election.next()
	}
}
