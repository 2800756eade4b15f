package main

import (
	"fmt"
	"slices"
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
	c.Args = atLeastOne("a unit")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		return showEach(c.Context(), a, args, door.Why, func(w wire.Why, more bool) error {
			lines := a.whyLines(w)
			if more {
				lines = append([]string{""}, lines...)
			}
			return a.printAll(lines)
		})
	}
	return c
}

func (a *app) whyLines(w wire.Why) []string {
	s := a.outStyle()
	width := a.width(a.stdout)
	mark, tone := s.Mark(w.Answer.State)
	out := show.Wrap(s.Paint(tone, mark)+" "+s.Paint(show.Strong, show.Clean(w.Headline)), width, "    ")
	const gutter = 11
	row := func(label, text string) {
		if text == "" {
			return
		}
		for _, l := range show.Wrap(text, max(width-gutter, 0), "") {
			out = append(out, s.Paint(show.Faint, show.Pad(label, gutter))+l)
			label = ""
		}
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
	rows("changed", together(w.Changed))
	rows("placed", unsaid(w.Placed, "placed "))
	for i, e := range w.Timeline {
		label := "timeline"
		if i > 0 {
			label = ""
		}
		row(label, e.At.UTC().Format("15:04:05")+" "+eventText(s, e)) // As all other times of an explanation.
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
	rows("try", w.Try)
	return out
}

// unsaid leaves a word out that the label has said.
func unsaid(texts []string, word string) []string {
	out := slices.Clone(texts)
	for i := range out {
		out[i] = strings.TrimPrefix(out[i], word)
	}
	return out
}

// together folds changes that one call made to several units into one line: "14:01:58 web@{1..10}: start by anna".
func together(changes []string) []string {
	type group struct {
		at, text string
		units    []string
	}
	var groups []*group
	for _, c := range changes {
		at, rest, ok := strings.Cut(c, " ")
		name, text, isUnit := strings.Cut(rest, ": ")
		if !ok || !isUnit || !knownSuffix(name) {
			groups = append(groups, &group{text: c})
			continue
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return g.at == at && g.text == text })
		if i < 0 {
			groups = append(groups, &group{at: at, text: text})
			i = len(groups) - 1
		}
		groups[i].units = append(groups[i].units, name)
	}
	out := make([]string, len(groups))
	for i, g := range groups {
		out[i] = g.text
		if len(g.units) > 0 {
			out[i] = g.at + " " + show.Names(g.units) + ": " + g.text
		}
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
