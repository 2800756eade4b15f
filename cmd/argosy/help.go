package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// exitMeanings are the exit codes, in order.
func exitMeanings() []struct {
	code int
	text string
} {
	return []struct {
		code int
		text string
	}{
		{exitOK, "everything asked for is so: running and healthy, stopped, shown"},
		{exitFailed, "at least one unit failed; the reason was given (status without a unit: degraded)"},
		{exitUsage, "argosy was called wrongly: unknown verb or flag, a name that is none"},
		{exitNotActive, "status, is-active: the unit is not active"},
		{exitNoUnit, "status, cat, why, journal: there is no such unit"},
		{exitNoUnitToAct, "start, stop, restart and the like: there is no such unit"},
		{exitInvalid, "a unit file is invalid; nothing was changed"},
		{exitNoRoom, "no machine has room for it, or may take it"},
		{exitGuard, "refused by a guard: it was changed meanwhile (--expect-revision)"},
		{exitUnreachable, "the cluster cannot be reached"},
		{exitNotAllowed, "not allowed"},
		{exitTimeout, "--timeout was reached without a verdict; the work goes on"},
		{exitInterrupted, "interrupted; the work goes on in the cluster"},
	}
}

func exitLines(codes []int) string {
	var b strings.Builder
	for _, m := range exitMeanings() {
		for _, c := range codes {
			if c == m.code {
				fmt.Fprintf(&b, "  %3d  %s\n", m.code, m.text)
			}
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// topics are pages of help that are no verbs.
func topics() []*cobra.Command {
	all := make([]int, 0, 16)
	for _, m := range exitMeanings() {
		all = append(all, m.code)
	}
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What each exit code means", Long: "Exit codes are the same for every verb:\n\n" + exitLines(all) + `

When several apply, 1 comes before 11, and 11 before 124. -o json carries the code and every reason in one object.`},
		{Use: "units", Short: "How units are named, found and submitted", Long: `A unit is a systemd unit file with a name: web.service, web@1.service (an instance of the template web@.service),
backup.timer. Where a verb takes UNIT it may be

  web                 web.service: .service is added when there is no suffix
  web@{1..10}         ten instances; web@{a,b} two. Also where the shell does not expand braces
  'web@*'             every unit of the cluster that matches; quote it from the shell
  ./units/web.service a file: its last part is the unit's name

start and load find a unit in this order: the cluster, a file in the named or the working directory, the template in the
cluster, the template's file. Drop-ins beside a file (web.service.d/*.conf, for instances web@.service.d/*.conf too) go with it.
A unit that the cluster knows keeps its text: a file that differs is only told, until --replace sends it.`},
		{Use: "states", Short: "The words for what a unit does", Long: `  healthy        running, ready, and stable for its window (Monitor=, default 5s with a check or port, else 10s)
  starting       on its way up
  waiting        for another unit (After=), or for a machine
  finished       did its work and ended with success
  stopped        as asked, or never asked to run
  backing-off    ended, and waits for its next try
  unhealthy      runs, but its check fails
  failing        the same permanent fault again; it may still be tried
  crash-looping  ended 3 times and more within 60s
  failed         ended for good; nothing more happens by itself
  no-room        no machine has room for it, or may take it
  draining       on its way down
  lost           its machine does not answer

argosy why UNIT says why a unit is in its state. docs/states.md has the whole table.`},
		{Use: "contexts", Short: "Which cluster a verb talks to, and how to reach one from elsewhere", Long: `A verb talks to the first of these that is there:

  --host URL          unix:///PATH or http://HOST:PORT
  --context NAME      a context of yours: the cluster's servers, its authority, your certificate
  ARGOSY_HOST         as --host
  ARGOSY_CONTEXT      as --context
  the machine's own   ` + defaultHost + `, if this machine has one
  the current context argosy context use NAME

A context is one file. An admin makes it where there is a server's socket or a context with the role admin:

  server$ argosy user add ada --role deployer --out ada.context
  laptop$ argosy context add ada.context --name prod
  laptop$ argosy --context prod start web@{1..3}

or, when the private key is not to leave the laptop:

  laptop$ argosy user key --out ada.key > ada.pub
  server$ argosy user add ada --role deployer --key ada.pub --out ada.context
  laptop$ argosy context add ada.context --name prod --key ada.key

Contexts are kept in $XDG_CONFIG_HOME/argosy/contexts (default ~/.config), readable by you alone. Any of the cluster's
servers will do; when one is away the next is asked. The certificate lives 30 days and is renewed while it is used.`},
		{Use: "environment", Short: "Environment variables", Long: `  ARGOSY_HOST          the cluster to talk to: unix:///PATH or http://HOST:PORT (--host)
  ARGOSY_CONTEXT       the cluster to talk to, by the name of a context (--context); argosy help contexts
  ARGOSY_OUTPUT        text, json, jsonl or yaml (-o)
  NO_COLOR             no colours, when set to anything
  CLICOLOR_FORCE       colours also without a terminal, when set to anything but 0
  GITHUB_ACTIONS       true: failures also as ::error lines, and a table in $GITHUB_STEP_SUMMARY
  FLEETCTL_ENDPOINT …  every flag of fleetctl, when the program is called as fleetctl`},
	}
}

// helpCommand is help as a verb; a word that is neither verb nor topic is a mistake, with the nearest one named.
func helpCommand(group string) *cobra.Command {
	d := doc{
		use: "help [VERB or TOPIC]", short: "Help about a verb or a topic", long: `
Shows what a verb does, its flags, examples and exit codes. Topics are exit-codes, units, states, contexts and environment.`,
		example: "  argosy help start\n  argosy help exit-codes", exits: []int{exitOK, exitUsage},
	}
	c := d.command()
	c.GroupID = group
	c.RunE = func(c *cobra.Command, args []string) error {
		found, rest, err := c.Root().Find(args)
		if err != nil || len(rest) > 0 {
			word := strings.Join(args, " ")
			if len(rest) > 0 {
				word = rest[0]
			}
			return unknownVerb(c.Root(), word)
		}
		found.InitDefaultHelpFlag()
		return found.Help()
	}
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		if len(args) == 0 {
			for _, sub := range c.Root().Commands() {
				out = append(out, cobra.CompletionWithDesc(sub.Name(), sub.Short))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}
