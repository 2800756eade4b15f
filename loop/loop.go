// Package loop is the one control loop. Whatever keeps something right is a Loop value: production runs it,
// the simulator calls its Pass in an order drawn from a seed.
package loop

import (
	"context"
	"log/slog"
	"time"
)

// Loop repeats a pass: at the start, after each kick, and at least every period. Passes never overlap.
type Loop struct {
	Name  string
	Every time.Duration                   // At least this often; has to be positive.
	Kick  <-chan struct{}                 // Look again now. Signals may merge. May be nil.
	Pass  func(ctx context.Context) error // Look, and put right.
	Log   *slog.Logger
	// Next, when set, tells after a pass how soon to look again at the latest; 0: Every.
	Next func() time.Duration
}

// The pauses after a failed pass: doubling, never above Every. This is the only retry in the program.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
)

// Run repeats the pass until ctx ends.
func (l Loop) Run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		wait, kick := l.Every, l.Kick
		if err := l.Pass(ctx); err != nil && ctx.Err() == nil {
			l.Log.Warn("a pass failed, looking again", "loop", l.Name, "in", pause, "error", err)
			wait, kick = min(pause, l.Every), nil // A kick must not defeat the pause.
			pause = min(2*pause, lastPause)
		} else {
			pause = firstPause
			if l.Next != nil {
				if n := l.Next(); n > 0 {
					wait = min(n, l.Every)
				}
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}
