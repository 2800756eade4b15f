package api

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// Bounds of one list of events.
const (
	defaultEvents = 1000
	maxEvents     = 10000
)

// events is GET /v1/events: a list, or with follow a stream that goes on.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	follow, err := boolean(q, "follow")
	if err != nil {
		return err
	}
	since, err := number(q, "since")
	if err != nil {
		return err
	}
	name := q.Get("unit")
	if name != "" {
		full, err := unit.Mangle(name)
		if err != nil {
			return err
		}
		name = string(full)
	}
	if follow {
		return a.followEvents(w, r, since, name)
	}
	limit, err := number(q, "limit")
	if err != nil {
		return err
	}
	if limit == 0 || limit > maxEvents {
		limit = defaultEvents
	}
	events, first, last, err := a.History.Since(since, name, int(limit))
	if err != nil {
		return err
	}
	if len(events) == int(limit) {
		last = events[len(events)-1].Seq // More may be there: ask again from here.
	}
	if wants(r, jsonType, jsonLinesType) == jsonLinesType {
		out := newStream(w, jsonLinesType)
		for _, e := range events {
			out.line(encode(e))
		}
		return out.flush()
	}
	if events == nil {
		events = []wire.Event{}
	}
	return writeJSON(w, http.StatusOK, wire.EventList{Events: events, First: first, Last: last})
}

// followEvents sends what is there after since, and goes on. The id of each event is its number.
func (a *API) followEvents(w http.ResponseWriter, r *http.Request, since int64, name string) error {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || n < 0 {
			return badRequest(fmt.Sprintf("Last-Event-ID %q is not one that was sent", id))
		}
		since = n
	}
	kind := wants(r, eventStreamType, jsonLinesType)
	out := newStream(w, kind)
	end := ended(r.Context())
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		changed := a.History.Changed(since)
		events, _, last, err := a.History.Since(since, name, defaultEvents)
		if err != nil {
			return err
		}
		for _, e := range events {
			if kind == jsonLinesType {
				out.line(encode(e))
			} else {
				out.event(strconv.FormatInt(e.Seq, 10), encode(e))
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
		if len(events) == defaultEvents {
			since = events[len(events)-1].Seq
			continue
		}
		if since = max(since, last); since > last {
			changed = nil // The caller knows of events that are not there yet: a history begun anew.
		}
		select {
		case <-end:
			return nil
		case <-changed:
		case <-beat.C:
			if kind == eventStreamType {
				out.comment("alive")
			}
		}
	}
}
