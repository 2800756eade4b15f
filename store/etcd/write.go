package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// Everything of Argosy lies under /argosy/: the facts, and the election beside them so that Read never shows it.
const (
	factsPrefix    = "/argosy/facts/"
	electionPrefix = "/argosy/election/"
)

// A proposal that goes to a leader which just died is lost in silence, so a try is short. What may be done twice
// is tried again; the callers' loops do the rest.
const (
	tryTimeout = 2 * time.Second
	tryPerMB   = time.Second // More for a big write, which goes to every member's disk.
	tries      = 3
	page       = 5000 // Entries in one range request.
)

// try calls f up to n times, each with a short deadline, until it gives an answer or a final error.
func (s *Store) try(ctx context.Context, n int, f func(ctx context.Context) error) error {
	return s.tryWithin(ctx, n, tryTimeout, f)
}

func (s *Store) tryWithin(ctx context.Context, n int, timeout time.Duration, f func(ctx context.Context) error) error {
	var err error
	for range n {
		if s.ctx.Err() != nil {
			return s.away()
		}
		one, cancel := context.WithTimeout(ctx, timeout)
		stop := context.AfterFunc(s.ctx, cancel)
		err = f(one)
		stop()
		cancel()
		if err == nil || ctx.Err() != nil || !again(err) {
			break
		}
	}
	return s.explain(err)
}

// again tells the errors after which the same request may be answered.
func again(err error) bool {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, rpctypes.ErrTimeout),
		errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail), errors.Is(err, rpctypes.ErrTimeoutDueToConnectionLost),
		errors.Is(err, rpctypes.ErrNoLeader), errors.Is(err, rpctypes.ErrLeaderChanged), errors.Is(err, rpctypes.ErrNotLeader):
		return true
	}
	return false
}

// explain makes a reason of an error of etcd.
func (s *Store) explain(err error) error {
	switch {
	case err == nil, errors.Is(err, store.ErrStale), errors.Is(err, store.ErrCompacted):
		return err
	case errors.Is(err, rpctypes.ErrNoSpace):
		s.kickSpace()
		return s.fullReason()
	case errors.Is(err, rpctypes.ErrCompacted):
		return store.ErrCompacted
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return reason.Because(reason.TooLarge, reason.Args{"what": "a write to the store", "need": maxRequest + 1, "have": maxRequest})
	}
	return store.Unavailable(err)
}

// Read implements store.Store. A big picture is read in pages of one revision.
func (s *Store) Read(ctx context.Context, prefix string) (store.Picture, error) {
	for range tries {
		pic, err := s.readPages(ctx, prefix)
		if !errors.Is(err, store.ErrCompacted) {
			return pic, err
		}
	}
	return store.Picture{}, store.Unavailable(errors.New("the picture was compacted while it was read"))
}

func (s *Store) readPages(ctx context.Context, prefix string) (store.Picture, error) {
	var pic store.Picture
	from, end := factsPrefix+prefix, clientv3.GetPrefixRangeEnd(factsPrefix+prefix)
	for {
		var resp *clientv3.GetResponse
		err := s.try(ctx, tries, func(ctx context.Context) (err error) {
			resp, err = s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(pic.Revision))
			return err
		})
		if err != nil {
			return store.Picture{}, err
		}
		if pic.Revision == 0 {
			pic.Revision = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			pic.Entries = append(pic.Entries, entry(kv.Key, kv.Value, kv.ModRevision))
		}
		if !resp.More {
			return pic, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// entry of a key that is there: etcd gives an empty value as nil, which would mean a deletion.
func entry(key, value []byte, revision int64) store.Entry {
	if value == nil {
		value = []byte{}
	}
	return store.Entry{Key: strings.TrimPrefix(string(key), factsPrefix), Value: value, Revision: revision}
}

// Write implements store.Store.
func (s *Store) Write(ctx context.Context, by store.Writer, changes ...store.Change) (int64, error) {
	if err := store.Check(by, changes...); err != nil {
		return 0, err
	}
	guards, ops, guarded := s.transaction(changes)
	n := tries
	if guarded || by.Role == store.Person {
		n = 1 // A second try could refuse what the first one did, or undo what another person did between.
	}
	if by.Role == store.Leader {
		if !strings.HasPrefix(by.Fence, electionPrefix) {
			return 0, fmt.Errorf("%w: %q has no proof of leading", store.ErrStale, by.ID)
		}
		guards = append(guards, clientv3.Compare(clientv3.CreateRevision(by.Fence), "=", by.FenceRevision))
	}
	size := 0
	for _, c := range changes {
		size += len(c.Value)
	}
	var revision int64
	err := s.tryWithin(ctx, n, tryTimeout+time.Duration(size>>20)*tryPerMB, func(ctx context.Context) error {
		resp, err := s.client.Txn(ctx).If(guards...).Then(ops...).Commit()
		if err != nil {
			return err
		}
		revision = resp.Header.Revision
		if !resp.Succeeded {
			return fmt.Errorf("%w: %s %q, a guard does not hold", store.ErrStale, by.Role, by.ID)
		}
		return nil
	})
	if why, ok := errors.AsType[*reason.Reason](err); ok && why.Code == reason.StoreFull {
		if at, done := s.crossed(ctx, changes); done {
			return at, nil
		}
	}
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// crossed tells whether a write was done that ended with "no space": etcd carries out the one that crosses the quota, and
// says so of it nevertheless (quotaApplierV3 in server/v3/etcdserver/apply). It gives the revision of the write.
func (s *Store) crossed(ctx context.Context, changes []store.Change) (revision int64, done bool) {
	i := slices.IndexFunc(changes, func(c store.Change) bool { return c.Value != nil })
	if i < 0 {
		return 0, false
	}
	err := s.try(ctx, tries, func(ctx context.Context) error {
		resp, err := s.client.Get(ctx, factsPrefix+changes[i].Key)
		if err == nil && len(resp.Kvs) == 1 {
			revision, done = resp.Kvs[0].ModRevision, bytes.Equal(resp.Kvs[0].Value, changes[i].Value)
		}
		return err
	})
	return revision, err == nil && done
}

func (s *Store) transaction(changes []store.Change) (guards []clientv3.Cmp, ops []clientv3.Op, guarded bool) {
	ops = make([]clientv3.Op, 0, len(changes))
	for _, c := range changes {
		key := factsPrefix + c.Key
		if c.Guard {
			guarded = true
			guards = append(guards, clientv3.Compare(clientv3.ModRevision(key), "=", c.If))
		}
		if c.Value == nil {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, string(c.Value)))
		}
	}
	return guards, ops, guarded
}
