package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"argosy.dev/argosy/store"
)

// leaderTTL is after how long without a sign of life another one may lead.
const leaderTTL = 5 * time.Second

// KeepAlive implements store.Store. ttl is rounded up to whole seconds, and etcd keeps nothing below two.
func (s *Store) KeepAlive(ctx context.Context, by store.Writer, key string, value []byte, ttl time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if err := store.Keep(ctx, s, by, key, value, ttl); err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return s.away()
	}
	return nil
}

func (s *Store) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, error) {
	var id clientv3.LeaseID
	// A grant whose answer is lost leaves a lease without keys, which ends by itself: it may be tried again.
	err := s.try(ctx, tries, func(ctx context.Context) error {
		resp, err := s.client.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
		if err == nil {
			id = resp.ID
		}
		return err
	})
	return id, err
}

// revoke lets a lease and its keys go, also when ctx has ended. It fails only where the lease ends by itself soon.
func (s *Store) revoke(ctx context.Context, id clientv3.LeaseID) {
	if s.ctx.Err() != nil || s.LeaderID() == 0 { // Without a leader nothing is written for now.
		return
	}
	err := s.try(context.WithoutCancel(ctx), tries, func(ctx context.Context) error {
		_, err := s.client.Revoke(ctx, id)
		return err
	})
	if err != nil {
		s.log.Debug("a lease was not let go, it ends by itself", "error", err)
	}
}

// Lead implements store.Store. A term that an earlier Lead of the same id left behind, in a process that was
// killed, is ended first: a machine need not wait for its own past.
func (s *Store) Lead(ctx context.Context, id string) (*store.Term, error) {
	if err := s.endTerms(ctx, id); err != nil {
		return nil, err
	}
	lease, err := s.grant(ctx, leaderTTL)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(s.ctx)
	session, err := concurrency.NewSession(s.client, concurrency.WithLease(lease), concurrency.WithContext(life))
	if err != nil {
		end()
		return nil, store.Unavailable(err)
	}
	e := concurrency.NewElection(session, electionPrefix)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(session.Ctx(), stop)()
	if err := e.Campaign(ctx, id); err != nil {
		s.revoke(ctx, lease)
		end()
		return nil, store.Unavailable(fmt.Errorf("waiting to lead: %w", err))
	}
	var once sync.Once
	return &store.Term{
		Writer: store.Writer{Role: store.Leader, ID: id, Fence: e.Key(), FenceRevision: e.Rev()},
		Done:   session.Done(),
		Resign: func() { once.Do(func() { s.revoke(life, lease); end() }) },
	}, nil
}

func (s *Store) endTerms(ctx context.Context, id string) error {
	resp, err := s.candidates(ctx)
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		if string(kv.Value) == id {
			s.revoke(ctx, clientv3.LeaseID(kv.Lease))
		}
	}
	return nil
}

// candidates are the keys of the election, the leader's first.
func (s *Store) candidates(ctx context.Context) (*clientv3.GetResponse, error) {
	var resp *clientv3.GetResponse
	err := s.try(ctx, tries, func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, electionPrefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
		return err
	})
	return resp, err
}

// Depose ends the present term, as when the leader's lease runs out: for tests and for a leader that hangs.
func (s *Store) Depose(ctx context.Context) error {
	resp, err := s.candidates(ctx)
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 {
		return errors.New("nobody leads")
	}
	s.revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
	return nil
}

// Expire ends the lease of a key, as when its keeper was not heard of: for tests.
func (s *Store) Expire(ctx context.Context, key string) error {
	resp, err := s.client.Get(ctx, factsPrefix+key)
	if err != nil {
		return s.explain(err)
	}
	if len(resp.Kvs) == 0 || resp.Kvs[0].Lease == 0 {
		return fmt.Errorf("%s is not bound to a lease", key)
	}
	s.revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
	return nil
}
