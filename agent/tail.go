package agent

import (
	"context"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
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
	of, run, at, ok := s.failedRun()
	switch {
	case !ok || of == s.tail.of:
		return true
	case s.tail.of != "" && now.Sub(s.tail.at) < tailEvery && len(s.tail.lines) > 0 && s.evidence.Active != "failed":
		return true // It loops: the last lines but one say the same.
	case b.now().After(b.until):
		return false
	}
	lines := a.lastLines(ctx, s.name, run)
	if len(lines) == 0 && now.Sub(at) >= 0 && now.Sub(at) < tailSettles {
		return false
	}
	s.tail = tail{of: of, at: now, lines: lines}
	if port, ok := judge.PortInLog(lines); ok {
		s.tail.holders = a.holders(port)
	}
	return true
}

// failedRun names the run whose lines explain the present trouble: the last one that ended unasked and without success,
// or the present one when its check fails.
func (s *slot) failedRun() (of, run string, at time.Time, ok bool) {
	e := s.evidence
	if e == nil || len(e.Exits) == 0 {
		return s.unhealthyRun()
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
		return s.unhealthyRun()
	}
	return x.Invocation, x.Invocation, x.At, true
}

func (s *slot) unhealthyRun() (of, run string, at time.Time, ok bool) {
	if s.evidence == nil || s.status.State != cluster.Unhealthy || s.evidence.Invocation == "" {
		return "", "", time.Time{}, false
	}
	return s.evidence.Invocation + "!", s.evidence.Invocation, time.Time{}, true
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
