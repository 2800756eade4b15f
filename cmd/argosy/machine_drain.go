package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// The rhythm of a drain.
const (
	drainTimeout = 10 * time.Minute
	drainLook    = 500 * time.Millisecond
	drainStill   = 10 * time.Second // So long is a unit that could leave waited for before it counts as one that stays.
)

func (a *app) machineDrainCommand() *cobra.Command {
	noWait, timeout := false, drainTimeout
	c := doc{
		use: "drain MACHINE [--timeout=10m] [--no-wait]", short: "Move a machine's units elsewhere, and wait until they have left",
		long: `
The machine takes nothing new, and each unit that can run elsewhere moves, a few at a time. A running service is started
at its new place first and ends here when it is healthy there; exclusive units, jobs and timers end here first. What
finds no other place runs on here, and is named with the reason: no room, MachineID=, a unit that it follows. Global
units stay, and are no hindrance.

Ends with 0 when all that can move has left and only global units are here, and with 11 when something had to stay. When
it is interrupted the machine goes on being drained; argosy machine uncordon MACHINE ends that. Ask first what would
happen: argosy plan --drain MACHINE.`,
		example: `
  argosy machine drain m3
  argosy machine drain m3 --timeout 2m
  argosy machine drain m3 --no-wait`,
		exits: []int{exitOK, exitFailed, exitUsage, exitNoRoom, exitUnreachable, exitNotAllowed, exitTimeout, exitInterrupted},
	}.command()
	c.Flags().DurationVar(&timeout, "timeout", drainTimeout, "how long to wait; 0 waits for ever")
	c.Flags().BoolVar(&noWait, "no-wait", false, "only ask for it")
	c.Args = exactlyOne(oneMachine)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		yes := true
		m, err := d.PatchMachine(c.Context(), args[0], wire.MachinePatch{Draining: &yes})
		if err != nil {
			return err
		}
		w := &drainWait{app: a, desk: d, id: m.ID, name: machineName(*m), began: a.now(), said: map[string]string{}, left: map[string]string{}}
		a.progress("draining %s: %s", w.name, plural(m.Units, "unit"))
		if noWait {
			a.progress("argosy machine show %s tells how far it is; argosy machine uncordon %s ends it", w.name, w.name)
			if !a.text() {
				return a.emit(m)
			}
			return nil
		}
		return w.run(c.Context(), timeout)
	}
	return c
}

// progress is a note that --quiet leaves out.
func (a *app) progress(format string, args ...any) {
	if !a.quiet {
		a.note(format, args...)
	}
}

// drainWait waits until a machine has nothing left that can leave.
type drainWait struct {
	app   *app
	desk  *client.Client
	id    string
	name  string
	began time.Time
	said  map[string]string // The last line about each unit.
	left  map[string]string // Units that were here -> where they went, if that was seen.
	still time.Time         // Since when nothing has changed.
	moved int
}

// drained is the outcome for programs.
type drained struct {
	Schema  string           `json:"schema"`
	Machine string           `json:"machine"`
	Exit    int              `json:"exit"`
	Moved   int              `json:"moved"`
	Stays   []wire.OnMachine `json:"stays"`
	Seconds float64          `json:"seconds"`
}

func (w *drainWait) run(ctx context.Context, limit time.Duration) error {
	w.still = w.began
	for {
		m, err := w.desk.Machine(ctx, w.id)
		if err != nil {
			return w.ended(ctx, err)
		}
		w.tell(m.On)
		if stays, done := w.isDone(m.On); done {
			return w.close(m.On, stays, w.verdict(stays))
		}
		if limit > 0 && w.app.now().Sub(w.began) >= limit {
			return w.close(m.On, m.On, exitTimeout)
		}
		t := time.NewTimer(drainLook)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return w.ended(ctx, ctx.Err())
		}
	}
}

// ended says how to go on when somebody interrupts.
func (w *drainWait) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if i, ok := errors.AsType[interrupted](cause); ok {
			w.app.note("%s goes on being drained: argosy machine show %s; argosy machine uncordon %s ends it", w.name, w.name, w.name)
			return i
		}
	}
	return err
}

// tell writes a line for each unit about which there is news.
func (w *drainWait) tell(list []wire.OnMachine) {
	s, now := w.app.errStyle(), w.app.now()
	elapsed := show.Elapsed(now.Sub(w.began))
	here := map[string]bool{}
	for _, on := range list {
		here[on.Unit] = true
		line := onWords(s, on)
		if on.To != "" {
			w.left[on.Unit] = on.To
		} else if _, known := w.left[on.Unit]; !known {
			w.left[on.Unit] = ""
		}
		if line != w.said[on.Unit] {
			w.said[on.Unit], w.still = line, now
			if line != "" {
				w.app.progress("  %s %s%s", elapsed, show.Name(on.Unit), line)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.left)) {
		if here[name] {
			continue
		}
		text := "has left"
		if to := w.left[name]; to != "" {
			text = "is healthy on " + show.Clean(to) + " and has left"
		}
		w.app.progress("  %s %s %s", elapsed, show.Name(name), text)
		delete(w.left, name)
		w.moved, w.still = w.moved+1, now
	}
}

// isDone tells whether nothing more will happen by itself, and what stays then.
func (w *drainWait) isDone(list []wire.OnMachine) (stays []wire.OnMachine, done bool) {
	waited := w.app.now().Sub(w.still)
	for _, on := range list {
		switch {
		case on.Stopping:
			return nil, false
		case on.To != "" && !isLost(on.Is):
			return nil, false
		case on.To == "" && on.Stays == nil && waited < drainStill:
			return nil, false
		case on.Stays == nil || on.Stays.Reason.Code != reason.StaysGlobal:
			stays = append(stays, on)
			if on.Stays != nil && on.Stays.Reason.Code == reason.NoMachinePeer && waited < drainStill {
				return nil, false // It goes with the one that it follows.
			}
		}
	}
	return stays, true
}

// isLost: at its new place it will not become healthy by itself.
func isLost(s cluster.State) bool {
	switch s { //nolint:exhaustive // The others are on their way.
	case cluster.Failed, cluster.CrashLooping, cluster.Failing, cluster.Unhealthy, cluster.Lost:
		return true
	}
	return false
}

func (w *drainWait) verdict(stays []wire.OnMachine) int {
	code := exitOK
	for _, on := range stays {
		if on.To != "" {
			return exitFailed
		}
		code = exitNoRoom
	}
	return code
}

// close is the last word.
func (w *drainWait) close(list, stays []wire.OnMachine, code int) error {
	a, took := w.app, w.app.now().Sub(w.began)
	if !a.text() {
		if stays == nil {
			stays = []wire.OnMachine{}
		}
		if err := a.emit(drained{Schema: "argosy/drain/v1", Machine: w.name, Exit: code, Moved: w.moved, Stays: stays, Seconds: took.Seconds()}); err != nil {
			return err
		}
		return exitWith(code)
	}
	s := a.outStyle()
	var lines []string
	for _, on := range stays {
		line := s.Paint(show.Bad, s.Cross()) + " " + show.Name(on.Unit) + onWords(s, on)
		if on.To != "" {
			line += "; it runs on here"
		}
		lines = append(lines, line)
		if on.Stays != nil && on.Stays.Hint != "" {
			lines = append(lines, "    "+s.Arrow()+" "+show.Clean(on.Stays.Hint))
		}
	}
	end := plural(w.moved, "unit") + " moved in " + show.Elapsed(took)[1:]
	switch {
	case code == exitTimeout:
		end += ", " + plural(len(list), "unit") + " still here when the time was over; the drain goes on"
	case len(stays) > 0:
		end += ", " + itoa(len(stays)) + " could not: argosy machine uncordon " + w.name + " takes the drain back"
	case len(list) > 0:
		end += "; only global units are on " + w.name
	default:
		end += "; " + w.name + " is empty"
	}
	if err := a.printAll(append(lines, end)); err != nil {
		return err
	}
	return exitWith(code)
}
