package agent

import (
	"context"
	"slices"
	"time"

	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/runtime"
)

// Bounds of the log lines that go into a status.
const (
	tailLines   = 10
	tailBytes   = 400                    // Of one line.
	tailAsk     = 40                     // Lines asked for: the runtime's own words are left out.
	tailWithin  = time.Second            // For one unit's journal.
	tailBudget  = 2 * time.Second        // For one pass.
	tailEvery   = 5 * time.Second        // For a unit that loops.
	tailSettles = 200 * time.Millisecond // Lines may come later than the end that they explain.
	tailPause   = 50 * time.Millisecond
)

// budget bounds the time that a pass spends on journals.
type budget struct {
	until time.Time
	now   func() time.Time
}

func newBudget(now time.Time, clock func() time.Time) *budget {
	return &budget{until: now.Add(tailBudget), now: clock}
}

// readTail makes sure that the last lines of a failed run are at hand before it is judged. It tells false when they are
// to be waited for.
func (a *Agent) readTail(ctx context.Context, s *slot, now time.Time, b *budget) bool {
	run, at, ok := s.failedRun()
	switch {
	case !ok || run == s.tail.of:
		return true
	case s.tail.of != "" && now.Sub(s.tail.at) < tailEvery && len(s.tail.lines) > 0 && s.evidence.Active != "failed":
		return true // It loops: the last lines but one say the same.
	case b.now().After(b.until):
		return false
	}
	lines := a.lastLines(ctx, s.name, run)
	if len(lines) == 0 && !s.mute() && now.Sub(at) >= 0 && now.Sub(at) < tailSettles {
		if s.tail.awaited.IsZero() {
			s.tail.awaited = now
		}
		if now.Sub(s.tail.awaited) < tailSettles { // A loop without words must not put off its judgement for ever.
			return false
		}
	}
	s.tail = tail{of: run, at: now, lines: lines}
	if port, ok := judge.PortInLog(lines); ok {
		s.tail.port, s.tail.holders = a.takenPort(s.unit, port)
	}
	return true
}

// mute tells whether the last run had no time to say anything: its set-up failed before the program began.
func (s *slot) mute() bool {
	n := len(s.evidence.Exits)
	if n == 0 {
		return false
	}
	x := s.evidence.Exits[n-1]
	return x.Error != nil || x.Status >= setupStatus
}

// setupStatus is the first exit status of a failed set-up (systemd.exec(5), "Process Exit Codes").
const setupStatus = 200

// failedRun names the run whose lines explain the present trouble: the last one that ended unasked and without success.
func (s *slot) failedRun() (run string, at time.Time, ok bool) {
	e := s.evidence
	if e == nil || len(e.Exits) == 0 {
		return "", time.Time{}, false
	}
	x := e.Exits[len(e.Exits)-1]
	for _, y := range slices.Backward(e.Exits) { // ExecStopPost= may have ended well since.
		if y.Invocation != x.Invocation {
			break
		}
		if !y.Success && !y.Asked {
			x = y
		}
	}
	if x.Success || x.Asked || x.Invocation == "" || x.Invocation == e.Invocation && s.runs() {
		return "", time.Time{}, false
	}
	return x.Invocation, x.At, true
}

// readUnhealthy reads the last lines of a run that goes on while its check fails.
func (a *Agent) readUnhealthy(ctx context.Context, s *slot, now time.Time) {
	if of := s.evidence.Invocation + "!"; s.tail.of != of && s.evidence.Invocation != "" {
		s.tail = tail{of: of, at: now, lines: a.lastLines(ctx, s.name, s.evidence.Invocation)}
	}
}

// lastLines reads the end of one run's log. A journal that cannot be read costs the lines and nothing else.
func (a *Agent) lastLines(ctx context.Context, name, run string) []string {
	ctx, cancel := context.WithTimeout(ctx, tailWithin)
	defer cancel()
	ch, err := a.Runtime.Journal(ctx, name, runtime.JournalQuery{Lines: tailAsk, Invocation: run})
	if err != nil {
		a.Log.Debug("the last lines of a failed run cannot be read", "unit", name, "error", err)
		return nil
	}
	var lines []string
	for l := range ch {
		if l.Stream == "argosy" {
			continue
		}
		text := l.Text
		if len(text) > tailBytes {
			text = text[:tailBytes] + "…"
		}
		lines = append(lines, text)
	}
	return lines[max(0, len(lines)-tailLines):]
}
