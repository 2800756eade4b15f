package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/unit"
)

// Bounds of following.
const (
	maxJournals  = 100 // Units in one call.
	linesAhead   = 1024
	journalLines = 100
)

func (a *app) journalCommand() *cobra.Command {
	var q journalQuery
	var since string
	q.Lines = -1
	c := doc{
		use: "journal UNIT... [-n LINES] [-f] [--previous] [--since=TIME]", short: "What units wrote, from wherever they run",
		long: `
Shows the log lines of units: standard output, standard error, and what the machine says about them. Several units are
merged by time, each line with its unit. --previous shows the run before the present one, which is where a crash is.
Without -n, -f and --since it is the last 100 lines of each unit; -n 0 shows all that is kept.`,
		example: `
  argosy journal web@4
  argosy journal -f 'web@*'
  argosy journal web@4 --previous -n 20
  argosy journal web@4 --since 10min
  argosy journal web@4 -o jsonl | jq -r .text`,
		exits: []int{exitOK, exitUsage, exitNoUnit, exitUnreachable, exitInterrupted},
	}.command()
	c.Aliases = []string{"logs"}
	f := c.Flags()
	f.IntVarP(&q.Lines, "lines", "n", -1, "the last so many lines; 0: all (default 100)")
	f.Lookup("lines").DefValue = "100"
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with new lines until ctrl-c")
	f.BoolVar(&q.Previous, "previous", false, "lines of the run before the present one")
	f.StringVar(&since, "since", "", "only lines since a time: 10min, 2h, 14:02, 2026-11-22 14:02:07")
	c.Args = atLeastOne("a unit")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		if since != "" {
			t, err := parseSince(since, a.now())
			if err != nil {
				return err
			}
			q.Since = t
		}
		if q.Lines < 0 {
			q.Lines = journalLines
			if since != "" {
				q.Lines = 0
			}
			if q.Follow {
				q.Lines = 10
			}
		}
		d, err := a.connect()
		if err != nil {
			return err
		}
		answers, err := a.names(c.Context(), d, args, exitNoUnit)
		if err != nil {
			return err
		}
		if len(answers) > maxJournals {
			return usagef("name fewer units", "%d units are more than the %d that one call shows", len(answers), maxJournals)
		}
		return a.journal(c.Context(), d, answers, q)
	}
	return c
}

// parseSince reads how long ago, or a time.
func parseSince(s string, now time.Time) (time.Time, error) {
	text := strings.TrimPrefix(strings.TrimSuffix(s, " ago"), "-")
	if span, err := unit.ParseSpan(text); err == nil && text != "" {
		return now.Add(-span), nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, usagef("such as 10min, 2h, 14:02, or 2026-11-22 14:02:07", "%q is not a time", s)
}

// journal shows one unit, or merges several.
func (a *app) journal(ctx context.Context, d door, units []cluster.Answer, q journalQuery) error {
	s := a.outStyle()
	prefix := len(units) > 1
	tell := func(l cluster.Line) error {
		if !a.text() {
			return a.emitStream(l)
		}
		return a.print(journalLine(s, l, prefix))
	}
	if len(units) == 1 {
		return d.Journal(ctx, units[0].Unit, q, tell)
	}
	until, err := pastOfAll(ctx, d, units, q, tell)
	if err != nil || !q.Follow {
		return err
	}
	return followAll(ctx, d, units, until, tell)
}

// pastOfAll tells the lines that several units have written, in the order of their times. It gives the time of each
// unit's last one.
func pastOfAll(ctx context.Context, d door, units []cluster.Answer, q journalQuery, tell func(cluster.Line) error) (until map[string]time.Time, err error) {
	q.Follow = false
	until = make(map[string]time.Time, len(units))
	var all []cluster.Line
	for _, u := range units {
		until[u.Unit] = q.Since
		err := d.Journal(ctx, u.Unit, q, func(l cluster.Line) error {
			all, until[u.Unit] = append(all, l), l.At
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("journal of %s: %w", u.Unit, err)
		}
	}
	slices.SortStableFunc(all, func(x, y cluster.Line) int { return x.At.Compare(y.At) })
	for _, l := range all {
		if err := tell(l); err != nil {
			return nil, err
		}
	}
	return until, nil
}

// followAll merges the lines of several units as they come, each unit's from after the time that is told.
func followAll(ctx context.Context, d door, units []cluster.Answer, until map[string]time.Time, tell func(cluster.Line) error) error {
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan cluster.Line, linesAhead)
	errs := make(chan error, len(units))
	var running sync.WaitGroup
	for _, u := range units {
		running.Go(func() {
			q := journalQuery{Follow: true}
			if t := until[u.Unit]; !t.IsZero() {
				q.Since = t.Add(time.Nanosecond)
			}
			errs <- d.Journal(ctx, u.Unit, q, func(l cluster.Line) error {
				select {
				case lines <- l:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	}
	go func() {
		running.Wait()
		close(lines)
	}()
	var failed error
	for l := range lines {
		if failed == nil {
			if failed = tell(l); failed != nil {
				cancel()
			}
		}
	}
	cancel()
	close(errs)
	if failed != nil {
		return failed
	}
	return firstError(errs)
}

func firstError(errs <-chan error) error {
	var all []error
	for err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	if len(all) > 0 {
		return errors.Join(all[0])
	}
	return nil
}

// journalLine writes a line as journalctl does: time, the unit where several are shown, the process, the text.
func journalLine(s show.Style, l cluster.Line, withUnit bool) string {
	who := ""
	if withUnit {
		who = show.Name(l.Unit)
	}
	if l.PID > 0 {
		who += fmt.Sprintf("[%d]", l.PID)
	}
	if who != "" {
		who += ": "
	}
	text := show.Clean(l.Text)
	if l.Stream == "argosy" {
		text = s.Paint(show.Strong, text)
	}
	return s.Paint(show.Faint, l.At.Local().Format("Jan 02 15:04:05.000")+" "+who) + text
}
