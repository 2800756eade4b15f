package main

import (
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/wire"
)

func (a *app) catCommand() *cobra.Command {
	canonical := false
	c := doc{
		use: "cat UNIT... [--canonical]", short: "Print unit files as they were submitted",
		long: `
Prints the unit files and their drop-ins as they were submitted, comments and all, each under a line with its name, as
systemctl cat does. --canonical prints what Argosy made of it: the one file that the machine's runtime is given.`,
		example: `
  argosy cat web@1
  argosy cat web@1 --canonical
  argosy cat web -o json | jq -r .text > web.service`,
		exits: []int{exitOK, exitUsage, exitNoUnit, exitUnreachable},
	}.command()
	c.Flags().BoolVar(&canonical, "canonical", false, "the file as it is run: drop-ins merged, nothing unread")
	c.Args = atLeastOne("a unit")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		return showEach(c.Context(), a, args, door.Unit, func(d wire.UnitDetail, more bool) error { return a.catOne(d, canonical, more) })
	}
	return c
}

// catOne prints one unit. Its bytes are the user's own: they are printed as they are, so that they can be kept.
func (a *app) catOne(d wire.UnitDetail, canonical, more bool) error {
	var b strings.Builder
	part := func(name, text string) {
		if b.Len() > 0 || more {
			b.WriteString("\n")
		}
		b.WriteString("# " + name + "\n" + strings.TrimRight(text, "\n") + "\n")
	}
	name := d.Answer.Unit
	if canonical {
		part(name+" (canonical, "+d.Hash+")", d.Canonical)
	} else {
		part(name, d.Text)
		for _, drop := range d.DropIns {
			part(name+".d/"+drop.Name, drop.Text)
		}
	}
	_, err := a.stdout.Write([]byte(b.String()))
	return written(0, err)
}
