package kv

import (
	"context"
	"errors"
	"sync"
	"time"
)

// What a server sends to a leader that dies is lost in silence, and etcd waits for it for seven seconds. It could still
// be done only while the new leader takes in what the old one had told the others, which is a matter of milliseconds,
// or if the old one was asleep and hands it on. So a call from the time of another leader is told soon that whether it was done is not known.
const eraGrace = 1500 * time.Millisecond

var errNewLeader = errors.New("another member leads since a while")

// eras are the times between changes of the store's leader.
type eras struct {
	mu   sync.Mutex
	ctx  context.Context // Of this era; ends a while after it.
	stop context.CancelFunc
}

// now is the present era: a context that ends a while after another leader is there.
func (e *eras) now() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx == nil {
		e.ctx, e.stop = context.WithCancel(context.Background())
	}
	return e.ctx
}

// next begins another era and gives what ends the calls of the last one.
func (e *eras) next() context.CancelFunc {
	e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	stop := e.stop
	e.ctx, e.stop = context.WithCancel(context.Background())
	return stop
}

// countEras follows the leader until Close.
func (s *Server) countEras() {
	for {
		changed := s.etcd.LeaderChangedNotify()
		select {
		case <-changed:
			time.AfterFunc(eraGrace, s.eras.next())
		case <-s.stop:
			s.eras.next()()
			return
		}
	}
}
