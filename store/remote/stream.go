package remote

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"argosy.dev/argosy/store"
)

// Times of a stream. A link that brings nothing for silence is dead for its reader.
const (
	heartbeat    = 2 * time.Second
	silence      = 6 * time.Second
	writeTimeout = 6 * time.Second // Of one line to a reader that is slow or gone.
)

// stream writes lines, each with its own deadline.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	return &stream{w: w, control: http.NewResponseController(w)}
}

func (s *stream) send(l line) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // Where there are no deadlines, the server has its own.
	if _, err := s.w.Write(encode(l)); err != nil {
		return fmt.Errorf("the reader has gone: %w", err)
	}
	return nil
}

func (s *stream) batch(b store.Batch) error {
	for _, l := range lines(b.Revision, b.Entries) {
		if err := s.send(l); err != nil {
			return err
		}
	}
	return nil
}

// follow sends what a watch has until one of both ends, and beats in between.
func (s *stream) follow(ctx context.Context, w *watch) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	first := true
	for {
		batches, reached, err := w.next()
		if err != nil {
			_, f := faultOf(err)
			_ = s.send(line{Fault: f})
			return err
		}
		for _, b := range batches {
			if err := s.batch(b); err != nil {
				return err
			}
		}
		if first || len(batches) == 0 {
			if err := s.send(line{Revision: reached}); err != nil {
				return err
			}
		}
		first = false
		if err := s.control.Flush(); err != nil {
			return err
		}
		select {
		case <-w.wake:
		case <-beat.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
