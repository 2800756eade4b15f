package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Bounds of streams.
const (
	maxEvent   = 16 << 20         // Bytes of one event or line.
	silence    = 45 * time.Second // Three missed heartbeats: the connection is dead.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	watchQueue = 256 // Events between the reader and the caller.
)

// Update is one message of a watch.
type Update struct {
	wire.WatchEvent
	// Err, when set, is all there is in this update: the connection broke. With Retrying the watch goes on by itself,
	// from where it was; else it has ended.
	Err      error
	Retrying bool
}

// Watch sends the present answers of the units that names (also globs) select, none: of all, then one event with Synced,
// then every answer that changes, until ctx ends; then the channel is closed. What was seen of a revision since is
// not missed. A broken connection is made again, and nothing is lost but states between.
// The error is that of the first connection.
func (c *Client) Watch(ctx context.Context, since int64, names ...string) (<-chan Update, error) {
	q := url.Values{"name": names}
	if since > 0 {
		q.Set("since", strconv.FormatInt(since, 10))
	}
	w := &watch{client: c, query: q, known: map[string]bool{}, out: make(chan Update, watchQueue)}
	resp, err := w.connect(ctx) //nolint:bodyclose // readEvents closes it, in run.
	if err != nil {
		return nil, err
	}
	go w.run(ctx, resp) // Ends with ctx; the channel tells.
	return w.out, nil
}

type watch struct {
	client *Client
	query  url.Values
	last   string          // The id to resume from.
	known  map[string]bool // Units that the caller knows of; true: sent since the last connection was made.
	out    chan Update
}

func (w *watch) connect(ctx context.Context) (*http.Response, error) {
	header := map[string]string{"Accept": "text/event-stream"}
	if w.last != "" {
		header["Last-Event-ID"] = w.last
	}
	return w.client.send(ctx, request{method: http.MethodGet, path: "/v1/watch", query: w.query, header: header})
}

func (w *watch) run(ctx context.Context, resp *http.Response) {
	defer close(w.out)
	pause := firstPause
	for {
		if resp != nil {
			err := readEvents(ctx, resp, func(id string, data []byte) error { pause = firstPause; return w.take(ctx, id, data) })
			if ctx.Err() != nil || !w.send(ctx, Update{Err: w.client.unreachable(ctx, err), Retrying: true}) {
				return
			}
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, lastPause)
		var err error
		if resp, err = w.connect(ctx); err != nil && !w.goOn(ctx, err) { //nolint:bodyclose // readEvents closes it.
			return
		}
	}
}

// goOn tells whether to try again after an error of a new connection; else the caller was told that it is over.
func (w *watch) goOn(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	r, ok := errors.AsType[*reason.Reason](err)
	if ok && (r.Cure() == reason.Transient) {
		return true
	}
	w.send(ctx, Update{Err: err})
	return false
}

// take hands one event on. After a resume that the server could not do, what it does not know any more is gone.
func (w *watch) take(ctx context.Context, id string, data []byte) error {
	var e wire.WatchEvent
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("an event cannot be read: %w", err)
	}
	switch {
	case e.Gone != "":
		delete(w.known, e.Gone)
	case e.Answer != nil:
		w.known[e.Answer.Unit] = true
	case e.Synced && e.Complete:
		for name, sent := range w.known {
			if sent {
				continue
			}
			delete(w.known, name)
			if !w.send(ctx, Update{WatchEvent: wire.WatchEvent{Revision: e.Revision, Gone: name}}) {
				return ctx.Err()
			}
		}
	}
	if e.Synced {
		for name := range w.known {
			w.known[name] = false
		}
	}
	if !w.send(ctx, Update{WatchEvent: e}) {
		return ctx.Err()
	}
	if id != "" {
		w.last = id
	}
	return nil
}

func (w *watch) send(ctx context.Context, u Update) bool {
	select {
	case w.out <- u:
		return true
	case <-ctx.Done():
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// FollowEvents calls f for each event after the one with number since, and goes on until ctx ends or f returns an
// error. A broken connection is made again.
func (c *Client) FollowEvents(ctx context.Context, since int64, unit string, f func(wire.Event) error) error {
	var stop error
	pause := firstPause
	for first := true; ; first = false {
		q := eventQuery(since, unit, 0)
		q.Set("follow", "true")
		resp, err := c.send(ctx, request{method: http.MethodGet, path: "/v1/events", query: q, header: map[string]string{"Accept": "text/event-stream"}}) //nolint:bodyclose // readEvents closes it.
		if err == nil {
			_ = readEvents(ctx, resp, func(_ string, data []byte) error {
				var e wire.Event
				if stop = json.Unmarshal(data, &e); stop == nil {
					since, pause = max(since, e.Seq), firstPause
					stop = f(e)
				}
				return stop
			})
			if stop != nil {
				return stop
			}
		} else if r, ok := errors.AsType[*reason.Reason](err); first || (ok && r.Cure() != reason.Transient) {
			return err
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

// readEvents reads server-sent events until the stream breaks, falls silent, or f returns an error. It closes the body.
func readEvents(ctx context.Context, resp *http.Response, f func(id string, data []byte) error) error {
	defer func() { _ = resp.Body.Close() }()
	dead := time.AfterFunc(silence, func() { _ = resp.Body.Close() })
	defer dead.Stop()
	r := bufio.NewReader(resp.Body)
	var id string
	var data []byte
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		dead.Reset(silence)
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0 && data != nil:
			if err := f(id, data); err != nil || ctx.Err() != nil {
				return err
			}
			id, data = "", nil
		case string(field) == "id":
			id = string(value)
		case string(field) == "data":
			data = append(data, value...)
		}
	}
}

// readLine reads one line of bounded length, without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var out []byte
	for {
		part, err := r.ReadSlice('\n')
		out = append(out, part...)
		if err == nil {
			return bytes.TrimRight(out, "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(out) > maxEvent {
			return nil, errors.New("a line is too long")
		}
	}
}
