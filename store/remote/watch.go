package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// Watch implements store.Store for store.PartPrefix of this machine. When a link breaks or is silent for 6 s it goes
// on over another server after the last revision that it knows; only ErrCompacted, ErrForbidden and Close end it.
func (s *Store) Watch(ctx context.Context, prefix string, since int64) <-chan store.Batch {
	out := make(chan store.Batch)
	w := &follower{store: s, prefix: prefix, since: max(since, 0), out: out}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		close(out)
		return out
	}
	s.own.Go(func() {
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		if err := w.run(ctx); err != nil && ctx.Err() == nil {
			w.send(ctx, store.Batch{Err: err})
		}
	})
	return out
}

// follower is one watch on its way over the servers.
type follower struct {
	store  *Store
	prefix string
	since  int64 // Everything up to it was sent.
	out    chan<- store.Batch
	part   store.Batch // A revision of which more lines follow.
}

// run follows one server after the other. It returns what ends the watch for good.
func (w *follower) run(ctx context.Context) error {
	wait := firstPause
	for ctx.Err() == nil {
		servers := w.store.board.order(w.store.o.Servers(), time.Now())
		if len(servers) == 0 {
			servers = []string{""}
		}
		var worked bool
		for _, addr := range servers {
			var what outcome
			var err error
			worked, what, err = w.follow(ctx, addr)
			if what == final || ctx.Err() != nil {
				return err
			}
			level := slog.LevelDebug
			if worked {
				level = slog.LevelInfo // Once for each link that broke, not for each server that was tried since.
			}
			w.store.o.Log.Log(ctx, level, "the watch of the store goes to another server", "from", addr, "since", w.since, "error", err)
			if worked {
				wait = firstPause
				break // The order may be another one by now.
			}
		}
		pause(ctx, jitter(wait))
		wait = min(2*wait, lastPause)
	}
	return nil
}

// follow follows one server until the link breaks. worked: it brought something.
func (w *follower) follow(ctx context.Context, addr string) (worked bool, what outcome, err error) {
	if addr == "" {
		return false, elsewhere, errNoServer
	}
	q := url.Values{"prefix": {w.prefix}, "since": {strconv.FormatInt(w.since, 10)}}
	resp, lead, what, err := w.store.open(ctx, addr, call{path: watchPath, query: "?" + q.Encode(), try: readTry}, nil)
	if err != nil {
		return false, what, err
	}
	defer lead.end()
	defer func() { _ = resp.Body.Close() }()
	w.part = store.Batch{}
	in := newScanner(&patient{r: resp.Body, lead: lead, each: silence})
	for {
		l, err := in.next()
		if err != nil {
			w.store.board.failed(addr, time.Now())
			return worked, elsewhere, fmt.Errorf("%s: %w", addr, lead.cause(err))
		}
		if l.Fault != nil {
			what, err := ends(l.Fault)
			if what != final {
				w.store.board.failed(addr, time.Now())
			}
			return worked, what, err
		}
		if !worked {
			w.store.board.answered(addr)
			worked = true
		}
		if !w.take(ctx, l) {
			return worked, final, nil
		}
	}
}

// ends tells what a fault says at the end of a watch: only these two are the same on every server.
func ends(f *fault) (outcome, error) {
	err := f.err()
	if errors.Is(err, store.ErrCompacted) || errors.Is(err, store.ErrForbidden) {
		return final, err
	}
	if r, ok := errors.AsType[*reason.Reason](err); ok && r.Code == reason.BadRequest {
		return final, err
	}
	return elsewhere, err
}

// take hands a revision on when its last line is there. It is false when nobody listens any more.
func (w *follower) take(ctx context.Context, l line) bool {
	if l.Revision <= w.since && len(l.Entries) > 0 {
		return true // Known already.
	}
	w.part.Revision = l.Revision
	for _, e := range l.Entries {
		w.part.Entries = append(w.part.Entries, store.Entry(e))
	}
	if l.More {
		return true
	}
	b := w.part
	w.part = store.Batch{}
	if len(b.Entries) > 0 && !w.send(ctx, b) {
		return false
	}
	w.since = max(w.since, b.Revision)
	return true
}

func (w *follower) send(ctx context.Context, b store.Batch) bool {
	select {
	case <-ctx.Done():
		return false
	default:
	}
	select {
	case w.out <- b:
		return true
	case <-ctx.Done():
		return false
	}
}
