package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// maxNames bounds how many names or globs one request may select by.
const maxNames = 1000

// matcherOf reads ?name=…&name=…; names without a suffix are services, as on the command line.
func matcherOf(q url.Values) (*matcher, error) {
	names := q["name"]
	if len(names) > maxNames {
		return nil, reason.Because(reason.TooLarge, reason.Args{"what": "names in one request", "need": len(names), "have": maxNames})
	}
	m := &matcher{names: map[string]struct{}{}}
	for _, n := range names {
		if unit.IsGlob(n) {
			m.globs = append(m.globs, n)
			continue
		}
		full, err := unit.Mangle(n)
		if err != nil {
			return nil, err
		}
		m.names[string(full)] = struct{}{}
	}
	return m, nil
}

// number reads an optional query parameter that is a count or a revision.
func number(q url.Values, key string) (int64, error) {
	s := q.Get(key)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, badRequest(fmt.Sprintf("%s=%q is not a number from 0", key, s))
	}
	return n, nil
}

// watch is GET /v1/watch.
func (a *API) watch(w http.ResponseWriter, r *http.Request) error {
	m, err := matcherOf(r.URL.Query())
	if err != nil {
		return err
	}
	since, err := number(r.URL.Query(), "since")
	if err != nil {
		return err
	}
	var resume int64
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if resume, err = strconv.ParseInt(id, 10, 64); err != nil || resume < 0 {
			return badRequest(fmt.Sprintf("Last-Event-ID %q is not one that was sent", id))
		}
	}
	if err := a.catchUp(r.Context(), since, resume); err != nil {
		return err
	}
	sub := a.hub.subscribe(m, resume)
	defer sub.close()
	return sub.pump(r.Context(), newStream(w, eventStreamType))
}

// catchUp waits until the hub is not older than what the caller has seen. A store that was set up anew
// never gets there on a resume: the watch then begins from the start.
func (a *API) catchUp(ctx context.Context, since, resume int64) error {
	if err := a.read(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if since > 0 {
		if err := a.seen(ctx, since); err != nil {
			return err
		}
	}
	if resume > 0 {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := a.hub.wait(short, resume); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// pump writes until the reader goes.
func (s *subscriber) pump(ctx context.Context, out *stream) error {
	end := ended(ctx)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		b := s.next()
		for i, e := range b.events {
			id := ""
			if b.id > 0 && i == len(b.events)-1 { // Only after the last one nothing older is missing.
				id = strconv.FormatInt(b.id, 10)
			}
			out.event(id, e)
		}
		if len(b.events) > 0 {
			if err := out.flush(); err != nil {
				return err
			}
			continue
		}
		select {
		case <-end:
			return nil
		case <-s.wake:
		case <-beat.C:
			out.comment("alive")
			if err := out.flush(); err != nil {
				return err
			}
		}
	}
}
