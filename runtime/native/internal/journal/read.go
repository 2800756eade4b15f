package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
)

// Query selects lines; see runtime.JournalQuery.
type Query struct {
	Lines      int
	Invocation string
	Since      time.Time
}

// Reader reads the journal of one unit from its folder.
type Reader struct {
	dir, unit string
	seq       int
	off       int64
}

// NewReader makes a reader; the folder may not be there yet.
func NewReader(dir, unit string) *Reader { return &Reader{dir: dir, unit: unit} }

// Last gives the lines that the query selects, oldest first, and puts the reader behind them.
func (r *Reader) Last(ctx context.Context, q Query) ([]cluster.Line, error) {
	seqs, err := numbers(r.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sel := selector{Query: q}
	var out []cluster.Line // Newest first.
	for i, seq := range slices.Backward(seqs) {
		raw, err := os.ReadFile(fileName(r.dir, seq))
		if errors.Is(err, os.ErrNotExist) {
			continue // Rotated away while we read.
		}
		if err != nil {
			return nil, err
		}
		whole := bytes.LastIndexByte(raw, '\n') + 1
		if i == len(seqs)-1 {
			r.seq, r.off = seq, int64(whole)
		}
		out = sel.backward(raw[:whole], r.unit, out)
		if sel.done || ctx.Err() != nil {
			break
		}
	}
	slices.Reverse(out)
	return out, ctx.Err()
}

// selector walks lines from the newest to the oldest.
type selector struct {
	Query
	done bool
	runs []string // Invocations seen, newest first.
}

func (s *selector) backward(raw []byte, unit string, out []cluster.Line) []cluster.Line {
	for len(raw) > 0 && !s.done {
		start := bytes.LastIndexByte(raw[:len(raw)-1], '\n') + 1
		line := raw[start:]
		raw = raw[:start]
		var e entry
		if json.Unmarshal(line, &e) != nil {
			continue // A torn line of a killed writer.
		}
		if s.take(&e) {
			out = append(out, e.line(unit))
			s.done = s.Lines > 0 && len(out) >= s.Lines
		}
	}
	return out
}

func (s *selector) take(e *entry) bool {
	if !s.Since.IsZero() && e.At < s.Since.UnixNano() {
		s.done = true
		return false
	}
	if e.Invocation != "" && !slices.Contains(s.runs, e.Invocation) && len(s.runs) < 3 {
		s.runs = append(s.runs, e.Invocation)
	}
	switch s.Invocation {
	case "":
		return true
	case "previous":
		s.done = len(s.runs) > 2
		return len(s.runs) == 2 && e.Invocation == s.runs[1]
	}
	return e.Invocation == s.Invocation
}

// Next gives what was written since the last call, oldest first.
func (r *Reader) Next(q Query) ([]cluster.Line, error) {
	seqs, err := numbers(r.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []cluster.Line
	for _, seq := range seqs {
		if seq < r.seq {
			continue
		}
		if seq > r.seq {
			r.seq, r.off = seq, 0
		}
		if out, err = r.forward(seq, q, out); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (r *Reader) forward(seq int, q Query, out []cluster.Line) ([]cluster.Line, error) {
	f, err := os.Open(fileName(r.dir, seq))
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() <= r.off {
		return out, err
	}
	raw := make([]byte, min(info.Size()-r.off, maxFile+maxLine))
	n, err := f.ReadAt(raw, r.off)
	if n == 0 && err != nil {
		return out, nil
	}
	raw = raw[:bytes.LastIndexByte(raw[:n], '\n')+1]
	r.off += int64(len(raw))
	for line := range bytes.Lines(raw) {
		var e entry
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		if q.Invocation == "" || q.Invocation == e.Invocation {
			out = append(out, e.line(r.unit))
		}
	}
	return out, nil
}
