package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/wire"
)

func (a *app) whyCommand() *cobra.Command {
	c := doc{
		use: "why UNIT...", short: "Why a unit is as it is: cause, comparison, changes, placement, last words",
		long: `
Explains a unit's state. For each unit: the cause with its numbers and how it is known; how other instances and other
units on the machine fare; what people changed before it; why it was placed there and what speaks against every other
machine; the last events; what it wrote last; and what can be done. It works later, too, and on healthy units.`,
		example: `
  argosy why web@4
  argosy why 'web@*'
  argosy why web@4 -o json`,
		exits: []int{exitOK, exitUsage, exitNoUnit, exitUnreachable},
	}.command()
	c.Args = atLeast(1, "a unit")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.connect()
		if err != nil {
			return err
		}
		answers, err := a.names(c.Context(), d, args, exitNoUnit)
		if err != nil {
			return err
		}
		for i, an := range answers {
			w, err := d.Why(c.Context(), an.Unit)
			if err != nil {
				return err
			}
			switch {
			case !a.text() && len(answers) == 1:
				err = a.emit(w)
			case !a.text():
				err = a.emitStream(w)
			default:
				if i > 0 {
					if err = a.print(""); err != nil {
						return err
					}
				}
				err = a.printAll(a.whyLines(w))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func (a *app) whyLines(w wire.Why) []string {
	s := a.outStyle()
	width := a.width(a.stdout)
	mark, tone := s.Mark(w.Answer.State)
	out := show.Wrap(s.Paint(tone, mark)+" "+s.Paint(show.Strong, show.Clean(w.Headline)), width, "    ")
	// The label is painted after wrapping, so that its colour takes no room.
	row := func(label, text string) {
		if text == "" {
			return
		}
		lines := show.Wrap(fmt.Sprintf("%-10s %s", label, text), width, strings.Repeat(" ", 11))
		lines[0] = s.Paint(show.Faint, fmt.Sprintf("%-10s", label)) + strings.TrimPrefix(lines[0], fmt.Sprintf("%-10s", label))
		out = append(out, lines...)
	}
	rows := func(label string, texts []string) {
		for i, t := range texts {
			if i > 0 {
				label = ""
			}
			row(label, show.Clean(t))
		}
	}
	cause := show.Clean(w.Cause)
	if w.Sure != "" {
		cause += "  " + s.Paint(show.Faint, "("+show.Clean(w.Sure)+")")
	}
	row("cause", cause)
	rows("compare", w.Compare)
	rows("changed", w.Changed)
	rows("placed", w.Placed)
	for i, e := range w.Timeline {
		label := "timeline"
		if i > 0 {
			label = ""
		}
		row(label, e.At.Local().Format("15:04:05")+" "+eventText(s, e))
	}
	for i, l := range w.Log {
		label := "last log"
		if i > 0 {
			label = ""
		}
		out = append(out, s.Cut(s.Paint(show.Faint, fmt.Sprintf("%-10s ", label))+show.Clean(l), width))
	}
	if len(w.Log) == 0 && w.Answer.State != cluster.Healthy {
		row("last log", "none")
	}
	if try := strings.Join(w.Try, " "+s.Dot()+" "); try != "" {
		row("try", show.Clean(try))
	}
	return out
}

// eventText is what an event says, with its state where the words leave it out.
func eventText(s show.Style, e wire.Event) string {
	text := show.Clean(e.Message)
	if e.State != "" {
		_, tone := s.Mark(e.State)
		word := s.Paint(tone, string(e.State))
		switch {
		case text == "":
			text = word
		case !strings.HasPrefix(text, string(e.State)):
			text = word + ": " + text
		}
	}
	if e.Skipped > 0 {
		text += s.Paint(show.Faint, fmt.Sprintf(" (%d changes before it were not kept)", e.Skipped))
	}
	return text
}
