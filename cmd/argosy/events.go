package main

import (
	"github.com/spf13/cobra"

	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

const eventLines = 50

func (a *app) eventsCommand() *cobra.Command {
	q := eventQuery{Last: eventLines}
	c := doc{
		use: "events [UNIT...] [-n LINES] [-f]", short: "What happened: wishes, placements, changes of state",
		long: `
Shows the history of the cluster: what people asked for, where the leader placed units or why nowhere, and every change
of a unit's state with its reason.`,
		example: `
  argosy events -n 20
  argosy events -f 'web@*'
  argosy events -f -o jsonl`,
		exits: []int{exitOK, exitUsage, exitUnreachable, exitInterrupted},
	}.command()
	f := c.Flags()
	f.IntVarP(&q.Last, "lines", "n", eventLines, "the last so many events; 0: all that are kept")
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with new events until ctrl-c")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		words, err := expand(args)
		if err != nil {
			return err
		}
		d, err := a.connect()
		if err != nil {
			return err
		}
		s := a.outStyle()
		q.match = func(e wire.Event) bool {
			for _, w := range words {
				if e.Unit == w.name || (w.glob && unit.MatchGlob(w.name, e.Unit)) {
					return true
				}
			}
			return len(words) == 0
		}
		return d.Events(c.Context(), q, func(e wire.Event) error {
			if !a.text() {
				return a.emitStream(e)
			}
			return a.printAll(drawEvent(s, e, a.width(a.stdout)))
		})
	}
	return c
}

// drawEvent is an event with its text wrapped, so that the columns before it stay as they are.
func drawEvent(s show.Style, e wire.Event, width int) []string {
	head := e.At.Local().Format("2006-01-02 15:04:05") + "  "
	room := width
	line := s.Paint(show.Faint, head)
	for _, word := range []string{show.Name(e.Unit), show.Clean(e.Machine)} {
		if word != "" {
			head, line = head+word+"  ", line+word+"  "
		}
	}
	text := eventText(s, e)
	if e.Who != "" {
		text += s.Paint(show.Faint, "  by "+show.Clean(e.Who))
	}
	if width > 0 {
		room = max(width-show.Width(head), width/2)
	}
	out := show.Wrap(text, room, "")
	for i := range out {
		if i == 0 {
			out[i] = line + out[i]
		} else {
			out[i] = "    " + out[i]
		}
	}
	return out
}
