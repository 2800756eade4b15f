package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/runtime"
)

// LinesQuery says which lines of a unit are wanted, and from where.
type LinesQuery struct {
	runtime.JournalQuery
	// Machines are asked for what they keep, by id or name, also of a unit that is not there any more; "all": every
	// machine; none: those where the unit is.
	Machines []string
	Opened   func() // Called when the server has begun to answer; may be nil.
}

// Journal calls f for each line of a unit, oldest first; with Follow it goes on until ctx ends, f returns an error, or
// the server goes, which is an error then.
func (c *Client) Journal(ctx context.Context, name string, q runtime.JournalQuery, f func(cluster.Line) error) error {
	return c.Lines(ctx, name, LinesQuery{JournalQuery: q}, f)
}

// Lines is Journal with more to choose from.
func (c *Client) Lines(ctx context.Context, name string, q LinesQuery, f func(cluster.Line) error) error {
	resp, err := c.send(ctx, request{ //nolint:bodyclose // readEvents closes it.
		method: http.MethodGet, path: unitPath(name) + "/journal", query: q.values(), header: map[string]string{"Accept": "text/event-stream"},
	})
	if err != nil {
		return err
	}
	if q.Opened != nil {
		q.Opened()
	}
	var stop error
	err = readEvents(ctx, resp, func(_ string, data []byte) error {
		var l cluster.Line
		if bad := json.Unmarshal(data, &l); bad != nil {
			stop = fmt.Errorf("a line cannot be read: %w", bad)
		} else {
			stop = f(l)
		}
		return stop
	})
	switch {
	case stop != nil:
		return stop
	case errors.Is(err, io.EOF) && !q.Follow:
		return nil
	case errors.Is(err, io.EOF):
		err = errors.New("it ended the stream")
	}
	return c.unreachable(ctx, err)
}

func (q LinesQuery) values() url.Values {
	v := url.Values{"machine": q.Machines}
	if q.Lines > 0 {
		v.Set("lines", strconv.Itoa(q.Lines))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	if q.Invocation != "" {
		v.Set("invocation", q.Invocation)
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	return v
}
