package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/wire"
)

// script answers each connection with the next part of it, and then cuts the connection.
type script struct {
	mu    sync.Mutex
	parts []string
	ids   []string // Last-Event-ID of each connection.
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // Before that, a server does not notice that its caller has gone.
	s.mu.Lock()
	s.ids = append(s.ids, r.Header.Get("Last-Event-ID"))
	if len(s.parts) == 0 {
		s.mu.Unlock()
		<-r.Context().Done()
		return
	}
	part := s.parts[0]
	s.parts = s.parts[1:]
	s.mu.Unlock()
	if strings.HasPrefix(part, "problem ") {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusBadRequest)
		part = strings.TrimPrefix(part, "problem ")
	}
	_, _ = fmt.Fprint(w, part)
}

func serve(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := client.New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestWatchAcrossServers: a server that lost its memory sends all anew; what it does not name any more is told as gone.
func TestWatchAcrossServers(t *testing.T) {
	s := &script{parts: []string{
		"data: {\"revision\":5,\"answer\":{\"unit\":\"a.service\"}}\n\ndata: {\"revision\":5,\"answer\":{\"unit\":\"b.service\"}}\n\nid: 5\ndata: {\"revision\":5,\"synced\":true,\"complete\":true}\n\n",
		": alive\n\ndata: {\"revision\":6,\"answer\":{\"unit\":\"c.ser", // Torn.
		"data: {\"revision\":9,\"answer\":{\"unit\":\"b.service\"}}\r\n\r\nid: 9\ndata: {\"revision\":9,\"synced\":true,\"complete\":true}\n\n",
		"problem {\"code\":\"bad-request\",\"detail\":\"no\",\"args\":{\"error\":\"no\"}}",
	}}
	updates, err := serve(t, s).Watch(deadline(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for u := range updates {
		switch {
		case u.Err != nil:
			got = append(got, fmt.Sprintf("broke %v", u.Retrying))
			if r, ok := errors.AsType[*reason.Reason](u.Err); !u.Retrying && (!ok || r.Code != reason.BadRequest) {
				t.Errorf("the last error is %v", u.Err)
			}
		case u.Synced:
			got = append(got, "synced")
		case u.Gone != "":
			got = append(got, "gone "+u.Gone)
		default:
			got = append(got, u.Answer.Unit)
		}
	}
	want := "a.service, b.service, synced, broke true, broke true, b.service, gone a.service, synced, broke true, broke false"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if ids := strings.Join(s.ids, ","); ids != ",5,5,9" {
		t.Errorf("resumed from %s", ids)
	}
}

// TestErrorsCarryReasons: the server's reason comes out with its numbers, further faults included, also one of a newer server.
func TestErrorsCarryReasons(t *testing.T) {
	s := &script{parts: []string{
		`problem {"code":"no-room.memory","detail":"needs more","args":{"need":5,"have":3,"where":"m1","capacity":9},"also":[{"code":"no-such-unit","args":{"unit":"x"}}]}`,
		`problem {"code":"from-the-future","detail":"a sentence that only the server knows"}`,
		"<html>",
	}}
	c := serve(t, s)
	_, err := c.Version(deadline(t))
	told, ok := errors.AsType[*client.Error](err)
	if r, found := errors.AsType[*reason.Reason](err); !ok || !found || r.Int("need") != 5 || len(told.Reasons()) != 2 || told.Error() != "needs more" {
		t.Errorf("%v", err)
	}
	if _, err = c.Version(deadline(t)); err == nil || err.Error() != "a sentence that only the server knows" {
		t.Errorf("%v", err)
	}
	_, err = c.Version(deadline(t))
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.NotReachable {
		t.Errorf("an answer that is none: %v", err)
	}
}

// TestCancel: every call ends with its context.
func TestCancel(t *testing.T) {
	c := serve(t, &script{})
	for name, call := range map[string]func(ctx context.Context) error{
		"call":   func(ctx context.Context) error { _, err := c.Version(ctx); return err },
		"apply":  func(ctx context.Context) error { _, err := c.Apply(ctx, wire.ApplyRequest{}); return err },
		"watch":  func(ctx context.Context) error { _, err := c.Watch(ctx, 0); return err },
		"events": func(ctx context.Context) error { return c.FollowEvents(ctx, 0, "", nil) },
		"journal": func(ctx context.Context) error {
			return c.Journal(ctx, "a", runtime.JournalQuery{Follow: true}, func(cluster.Line) error { return nil })
		},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s ends with %v", name, err)
		}
		cancel()
	}
}

// TestFollowEventsResumes from the last number after a broken connection.
func TestFollowEventsResumes(t *testing.T) {
	var since []string
	var mu sync.Mutex
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		since = append(since, r.URL.Query().Get("since"))
		_, _ = fmt.Fprintf(w, "id: %d\ndata: {\"seq\":%d}\n\n", len(since), len(since))
	}))
	enough := errors.New("enough")
	err := c.FollowEvents(deadline(t), 0, "", func(e wire.Event) error {
		if e.Seq == 3 {
			return enough
		}
		return nil
	})
	if mu.Lock(); !errors.Is(err, enough) || strings.Join(since, ",") != ",1,2" {
		t.Errorf("asked since %q, %v", since, err)
	}
	mu.Unlock()
}
