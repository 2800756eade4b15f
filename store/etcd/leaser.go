package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"argosy.dev/argosy/store"
)

// Grant implements store.Leaser. ttl is rounded up to whole seconds.
func (s *Store) Grant(ctx context.Context, by store.Writer, key string, value []byte, ttl time.Duration) (int64, error) {
	if value == nil {
		value = []byte{}
	}
	if err := store.Check(by, store.Change{Key: key, Value: value}); err != nil {
		return 0, err
	}
	sent := store.SendTime(ctx)
	lease, err := s.grant(ctx, ttl)
	if err != nil {
		return 0, err
	}
	var former clientv3.LeaseID
	ended := false
	err = s.try(ctx, tries, func(ctx context.Context) error {
		var ifs []clientv3.Cmp
		if epoch, condemned, ok := store.Epoch(key, value); ok {
			ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(factsPrefix+condemned), "<", epoch+1)) // Of a missing key: 0.
		}
		put := clientv3.OpPut(factsPrefix+key, string(value), clientv3.WithLease(lease), clientv3.WithPrevKV())
		resp, err := s.client.Txn(ctx).If(ifs...).Then(put).Commit()
		switch {
		case err != nil:
			return err
		case !resp.Succeeded:
			ended = true
			return nil
		}
		if prev := resp.Responses[0].GetResponsePut().PrevKv; prev != nil {
			former = clientv3.LeaseID(prev.Lease)
		}
		return nil
	})
	if err == nil && ended {
		err = store.ErrCondemned
	}
	if err != nil {
		s.revoke(ctx, lease)
		return 0, err
	}
	store.Renewed(ctx, sent)
	if former != 0 && former != lease {
		s.revoke(ctx, former) // It holds nothing any more: a keeper that starts again and again leaves no heap of leases.
	}
	return int64(lease), nil
}

// Renew implements store.Leaser. The look at the key is linearizable, and etcd renews a lease only where a quorum says
// that its leader still leads.
func (s *Store) Renew(ctx context.Context, by store.Writer, key string, lease int64) error {
	if err := store.Check(by, store.Delete(key)); err != nil {
		return err
	}
	lost := false
	sent := store.SendTime(ctx)
	err := s.try(ctx, tries, func(ctx context.Context) error {
		bound, err := s.bound(ctx, key, lease)
		if err != nil || !bound {
			lost = err == nil
			return err
		}
		_, err = s.client.KeepAliveOnce(ctx, clientv3.LeaseID(lease))
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			lost, err = true, nil
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case lost:
		return fmt.Errorf("%w: %s is not bound to %x", store.ErrLeaseLost, key, lease)
	}
	store.Renewed(ctx, sent)
	return nil
}

// Revoke implements store.Leaser.
func (s *Store) Revoke(ctx context.Context, by store.Writer, key string, lease int64) error {
	if err := store.Check(by, store.Delete(key)); err != nil {
		return err
	}
	return s.try(ctx, tries, func(ctx context.Context) error {
		bound, err := s.bound(ctx, key, lease)
		if err != nil || !bound {
			return err
		}
		_, err = s.client.Revoke(ctx, clientv3.LeaseID(lease))
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
}

// bound tells whether a key is bound to a lease: the proof that the lease is the writer's, who alone may bind the key.
func (s *Store) bound(ctx context.Context, key string, lease int64) (bool, error) {
	resp, err := s.client.Get(ctx, factsPrefix+key)
	if err != nil {
		return false, err
	}
	return lease != 0 && len(resp.Kvs) == 1 && resp.Kvs[0].Lease == lease, nil
}

// Follow implements store.Follower. Between two revisions etcd answers Progress with a response without events.
func (s *Store) Follow(ctx context.Context, prefix string, since int64) <-chan store.Batch {
	out := make(chan store.Batch)
	go func() {
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		err := s.followProgress(ctx, prefix, max(since, 0), out)
		if s.ctx.Err() != nil {
			err = s.away()
			ctx = context.WithoutCancel(ctx)
		}
		if err != nil {
			s.lastWord(ctx, out, err)
		}
	}()
	return out
}

func (s *Store) followProgress(ctx context.Context, prefix string, since int64, out chan<- store.Batch) error {
	for resp := range s.client.Watch(ctx, factsPrefix+prefix, clientv3.WithPrefix(), clientv3.WithRev(since+1)) {
		if err := resp.Err(); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // Who ended ctx asks for no last word.
			}
			return s.explain(err)
		}
		sent := batches(resp.Events)
		if resp.IsProgressNotify() {
			sent = []store.Batch{{Revision: resp.Header.Revision}}
		}
		for _, b := range sent {
			select {
			case out <- b:
			case <-ctx.Done():
				return nil
			}
		}
	}
	if ctx.Err() == nil {
		return store.Unavailable(errors.New("etcd ended the watch"))
	}
	return nil
}

// Progress implements store.Follower.
func (s *Store) Progress(ctx context.Context) error {
	if err := s.client.RequestProgress(ctx); err != nil {
		return s.explain(err)
	}
	return nil
}
