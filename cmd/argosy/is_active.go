package main

import (
	"slices"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/unit"
)

// activeWord is systemd's word for a state, told honestly: what crash-loops or has no room is failed, though systemd
// would say "active" or "inactive" of it.
func activeWord(a cluster.Answer) string {
	switch a.State {
	case cluster.Healthy:
		return "active"
	case cluster.Starting, cluster.Waiting, cluster.BackingOff:
		return "activating"
	case cluster.Draining:
		return "deactivating"
	case cluster.Failed, cluster.Failing, cluster.CrashLooping, cluster.Unhealthy, cluster.Unplaced:
		return "failed"
	case cluster.FinishedOK:
		if a.Status != nil && a.Status.Active == "active" { // RemainAfterExit=
			return "active"
		}
	case cluster.Lost:
		return "unknown"
	case cluster.Stopped:
	}
	return "inactive"
}

// activity is one unit for programs.
type activity struct {
	Unit   string        `json:"unit"`
	Active string        `json:"active"`
	State  cluster.State `json:"state,omitempty"`
	Reason string        `json:"reason,omitempty"`
}

// activityCommand makes is-active and is-failed: a word per unit, and a code for scripts.
func (a *app) activityCommand(d doc, verdict func(words []string) int) *cobra.Command {
	c := d.command()
	c.Args = atLeastOne("a unit")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := a.connect()
		if err != nil {
			return err
		}
		words, err := expand(args)
		if err != nil {
			return err
		}
		have, err := a.present(c.Context(), cl, words)
		if err != nil {
			return err
		}
		var all []activity
		for _, w := range words {
			all = append(all, activities(w, have)...)
		}
		said := make([]string, len(all))
		for i, one := range all {
			said[i] = one.Active
			if a.text() && !a.quiet {
				if err := a.print(one.Active); err != nil {
					return err
				}
			}
		}
		if !a.text() {
			if err := emitList(a, all, all); err != nil {
				return err
			}
		}
		return exitWith(verdict(said))
	}
	return c
}

// activities are the units that one argument names; a name that nothing has is inactive, as with systemctl.
func activities(w word, have map[string]cluster.Answer) []activity {
	var out []activity
	for _, n := range sortedNames(have) {
		u := have[n]
		if (w.glob && globMatches(w.name, u)) || (!w.glob && n == w.name) {
			out = append(out, activity{Unit: n, Active: activeWord(u), State: u.State, Reason: reasonCode(u)})
		}
	}
	if len(out) == 0 {
		out = append(out, activity{Unit: w.name, Active: "inactive"})
	}
	return out
}

func (a *app) isActiveCommand() *cobra.Command {
	return a.activityCommand(doc{
		use: "is-active UNIT... [-q]", short: "Tell whether units are active, for scripts",
		long: `
Prints systemd's word for each unit, and ends with 0 when at least one is active, else with 3, as systemctl does.
The words are honest: active means healthy. A unit that crash-loops, fails its check or has no room is failed; one that
starts, waits or backs off is activating; a finished one is inactive unless RemainAfterExit=.`,
		example: `
  argosy is-active web && echo serving
  argosy is-active -q 'web@*'`,
		exits: []int{exitOK, exitUsage, exitNotActive, exitUnreachable},
	}, func(words []string) int {
		if slices.Contains(words, "active") {
			return exitOK
		}
		return exitNotActive
	})
}

func (a *app) isFailedCommand() *cobra.Command {
	return a.activityCommand(doc{
		use: "is-failed UNIT... [-q]", short: "Tell whether units have failed, for scripts",
		long: `
Prints systemd's word for each unit, and ends with 0 when at least one has failed, else with 1, as systemctl does.
A unit that crash-loops, fails its check or has no room has failed, too.`,
		example: `
  argosy is-failed 'web@*' && argosy why 'web@*'`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable},
	}, func(words []string) int {
		if slices.Contains(words, "failed") {
			return exitOK
		}
		return exitFailed
	})
}

// globMatches tells whether a glob means a unit; templates are meant only where they are named.
func globMatches(glob string, u cluster.Answer) bool {
	return !u.Template && unit.MatchGlob(glob, u.Unit)
}
