package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"
)

// stream writes to a reader that may be slow or gone: each write has its own deadline.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
}

func newStream(w http.ResponseWriter, contentType string) *stream {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	return &stream{w: w, control: http.NewResponseController(w)}
}

// event adds a server-sent event; id may be empty.
func (s *stream) event(id string, data []byte) {
	if id != "" {
		fmt.Fprintf(&s.buf, "id: %s\n", id)
	}
	s.buf.WriteString("data: ")
	s.buf.Write(data) // One line: it is JSON.
	s.buf.WriteString("\n\n")
}

// comment adds a line that clients skip: it keeps proxies and readers from giving up.
func (s *stream) comment(text string) { fmt.Fprintf(&s.buf, ": %s\n\n", text) }

// line adds a line.
func (s *stream) line(data []byte) {
	s.buf.Write(data)
	s.buf.WriteByte('\n')
}

// flush sends what was added.
func (s *stream) flush() error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // As in serve.
	_, err := s.w.Write(s.buf.Bytes())
	s.buf.Reset()
	if err != nil {
		return fmt.Errorf("the reader has gone: %w", err)
	}
	return s.control.Flush()
}

// ended tells whether a stream has to end.
func ended(ctx context.Context) <-chan struct{} {
	stop := stopping(ctx)
	if stop == nil {
		return ctx.Done()
	}
	out := make(chan struct{})
	go func() {
		defer close(out)
		select {
		case <-ctx.Done(): // Always comes: the request's context ends with the request.
		case <-stop:
		}
	}()
	return out
}
