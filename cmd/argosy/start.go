package main

import (
	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/wire"
)

func (a *app) startCommand() *cobra.Command {
	o := &order{verb: "start", good: "healthy", past: "asked to start", undo: "stop", goal: judge.GoalStart, stand: running, gone: show.Missed}
	c := doc{
		use: "start UNIT... [--no-block] [--timeout=5m] [--replace]", short: "Start units, wait, and say what became of each",
		long: `
Submits what the cluster does not know yet, starts it, and waits until each unit is healthy or has failed for a reason
that waiting does not cure. Healthy means ready (its port or check answers, or READY=1) and stable for its window.
A unit that has failed or finished is started again. With --replace, one whose text has changed is restarted.

On a terminal the progress is redrawn in place; elsewhere it is one line per change. The end names every failure with
its cause, what was measured, its last words, and what can be done. A unit that ended well is shown with what it said on
standard error, if anything: a pipeline ends with the success of its last command.

ctrl-c detaches: the cluster goes on, and argosy says how to follow and how to undo.`,
		example: `
  argosy start web                       # web.service: of the cluster, or the file in this directory
  argosy start web@{1..10}               # ten instances of web@.service
  argosy start ./units/*.service         # files
  argosy start 'web@*' --timeout 30s     # every instance that the cluster knows
  argosy start web --replace             # send the file also where the cluster has another text
  argosy start web -o json               # the verdict as one object`,
		exits: []int{exitOK, exitFailed, exitUsage, exitNoUnitToAct, exitInvalid, exitNoRoom, exitGuard, exitUnreachable, exitNotAllowed, exitTimeout, exitInterrupted},
	}.command()
	c.Args = atLeastOne("a unit or a file")
	o.waitFlags(c)
	o.replaceFlag(c)
	c.ValidArgsFunction = a.completeUnitsAndFiles
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.carryOutArgs(c.Context(), o, args, func(sub submission) []wire.Change { return desire(sub, cluster.Launched, true) })
	}
	return c
}

// desire sets what is wanted of the named units; a template that is sent along stays as it is.
func desire(sub submission, want cluster.Desired, start bool) []wire.Change {
	named := map[string]bool{}
	for _, u := range sub.units {
		named[u] = true
	}
	out := make([]wire.Change, len(sub.changes))
	for i, ch := range sub.changes {
		if named[ch.Name] {
			ch.Desired, ch.Start = want, start
			ch.Restart = start && sub.replaced[ch.Name]
		}
		out[i] = ch
	}
	return out
}
