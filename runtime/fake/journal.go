package fake

import (
	"context"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/runtime"
)

// Bounds of what is kept and of what a reader may be behind.
const (
	maxLines    = 1000
	maxBehind   = 1024
	previousRun = "previous"
)

// follower is a reader that waits for more.
type follower struct {
	lines chan cluster.Line
	done  bool
}

func (s *service) say(at time.Time, stream, text string) {
	line := cluster.Line{At: at, Unit: s.name, Stream: stream, PID: s.e.MainPID, Invocation: s.e.Invocation, Text: text}
	s.lines = append(s.lines, line)
	if n := len(s.lines); n > maxLines {
		s.lines = slices.Clone(s.lines[n-maxLines:])
	}
	for _, f := range s.followers {
		select {
		case f.lines <- line:
		default: // The reader is too far behind: it loses lines, the unit loses no time.
		}
	}
}

// Journal gives the kept lines.
func (r *Runtime) Journal(ctx context.Context, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	err := r.enter("journal", name)
	defer r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s := r.units[name]
	if s == nil {
		return nil, noSuchUnit(name)
	}
	invocation := q.Invocation
	if invocation == previousRun {
		invocation = s.previousInvocation()
		if invocation == "" {
			invocation = "none"
		}
	}
	var picked []cluster.Line
	for _, l := range s.lines {
		if (invocation == "" || l.Invocation == invocation) && !l.At.Before(q.Since) {
			picked = append(picked, l)
		}
	}
	if q.Lines > 0 && len(picked) > q.Lines {
		picked = picked[len(picked)-q.Lines:]
	}
	f := &follower{lines: make(chan cluster.Line, len(picked)+maxBehind)}
	for _, l := range picked {
		f.lines <- l
	}
	if !q.Follow {
		close(f.lines)
		return f.lines, nil
	}
	s.followers = append(s.followers, f)
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		f.end()
		s.followers = slices.DeleteFunc(s.followers, func(x *follower) bool { return x == f })
	})
	return f.lines, nil
}

// previousInvocation is the run before the last one that wrote something or ended.
func (s *service) previousInvocation() string {
	last, before := "", ""
	for _, l := range s.lines {
		if l.Invocation != last {
			last, before = l.Invocation, last
		}
	}
	if s.e.Invocation != last {
		return last
	}
	return before
}

func (f *follower) end() {
	if !f.done {
		f.done = true
		close(f.lines)
	}
}

func (s *service) endFollowers() {
	for _, f := range s.followers {
		f.end()
	}
	s.followers = nil
}
