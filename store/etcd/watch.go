package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"argosy.dev/argosy/store"
)

// Watch implements store.Store: one watch of etcd for each call.
func (s *Store) Watch(ctx context.Context, prefix string, since int64) <-chan store.Batch {
	out := make(chan store.Batch)
	go func() {
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		err := s.follow(ctx, prefix, max(since, 0), out)
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

// lastWord hands over the error that ends a watch, if anybody still listens.
func (s *Store) lastWord(ctx context.Context, out chan<- store.Batch, err error) {
	if s.ctx.Err() != nil {
		select {
		case out <- store.Batch{Err: err}:
		default: // Nobody waits right now; the closed channel says enough.
		}
		return
	}
	select {
	case out <- store.Batch{Err: err}:
	case <-ctx.Done():
	}
}

func (s *Store) follow(ctx context.Context, prefix string, since int64, out chan<- store.Batch) error {
	for resp := range s.client.Watch(ctx, factsPrefix+prefix, clientv3.WithPrefix(), clientv3.WithRev(since+1)) {
		if err := resp.Err(); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // Who ended ctx asks for no last word.
			}
			return s.explain(err)
		}
		for _, b := range batches(resp.Events) {
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

// batches splits events, which etcd never reorders and never splits within a revision, by revision.
func batches(events []*clientv3.Event) []store.Batch {
	var out []store.Batch
	for _, ev := range events {
		if len(out) == 0 || out[len(out)-1].Revision != ev.Kv.ModRevision {
			out = append(out, store.Batch{Revision: ev.Kv.ModRevision})
		}
		e := entry(ev.Kv.Key, ev.Kv.Value, ev.Kv.ModRevision)
		if ev.Type == clientv3.EventTypeDelete {
			e.Value = nil
		}
		b := &out[len(out)-1]
		b.Entries = append(b.Entries, e)
	}
	for _, b := range out {
		slices.SortFunc(b.Entries, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) })
	}
	return out
}
