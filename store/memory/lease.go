package memory

import (
	"context"
	"fmt"
	"time"

	"argosy.dev/argosy/store"
)

type lease struct {
	id   int64
	lost chan struct{}
}

// KeepAlive implements store.Store. The lease is lost only by Expire or when somebody else binds the key.
func (s *Store) KeepAlive(ctx context.Context, by store.Writer, key string, value []byte, _ time.Duration) error {
	mine, err := s.bind(ctx, by, key, value)
	if err != nil {
		return err
	}
	select {
	case <-mine.lost:
		return store.Unavailable(fmt.Errorf("the lease of %s was lost", key))
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(key, mine.id)
	return nil
}

func (s *Store) bind(ctx context.Context, by store.Writer, key string, value []byte) (*lease, error) {
	if value == nil {
		value = []byte{}
	}
	if err := store.Check(by, store.Change{Key: key, Value: value}); err != nil {
		return nil, err
	}
	sent := store.SendTime(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.Unavailable(errClosed)
	}
	if epoch, condemned, ok := store.Epoch(key, value); ok && s.entries[condemned].Revision > epoch {
		return nil, store.ErrCondemned
	}
	s.commit([]store.Change{{Key: key, Value: value}})
	s.granted++
	mine := &lease{id: s.granted, lost: make(chan struct{})}
	s.leases[key] = mine
	store.Renewed(ctx, sent)
	return mine, nil
}

func (s *Store) release(key string, id int64) {
	if l := s.leases[key]; l != nil && l.id == id {
		s.commit([]store.Change{{Key: key}})
	}
}

// Grant implements store.Leaser.
func (s *Store) Grant(ctx context.Context, by store.Writer, key string, value []byte, _ time.Duration) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, store.Unavailable(err)
	}
	l, err := s.bind(ctx, by, key, value)
	if err != nil {
		return 0, err
	}
	return l.id, nil
}

// Renew implements store.Leaser.
func (s *Store) Renew(ctx context.Context, by store.Writer, key string, id int64) error {
	if err := store.Check(by, store.Delete(key)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return store.Unavailable(err)
	}
	sent := store.SendTime(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.Unavailable(errClosed)
	}
	if l := s.leases[key]; l == nil || l.id != id {
		return fmt.Errorf("%w: %s is not bound to %x", store.ErrLeaseLost, key, id)
	}
	store.Renewed(ctx, sent)
	return nil
}

// Revoke implements store.Leaser.
func (s *Store) Revoke(_ context.Context, by store.Writer, key string, id int64) error {
	if err := store.Check(by, store.Delete(key)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.Unavailable(errClosed)
	}
	s.release(key, id)
	return nil
}

// Expire loses the lease of a key: the key goes, and its KeepAlive ends with an error.
func (s *Store) Expire(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[key]
	if l == nil {
		return fmt.Errorf("%s is not bound to a lease", key)
	}
	s.commit([]store.Change{{Key: key}})
	close(l.lost)
	return nil
}
