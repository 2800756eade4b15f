package main

import (
	"context"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/wire"
)

// actExits are what verbs on units of the cluster may end with.
func actExits() []int {
	return []int{exitOK, exitFailed, exitUsage, exitNoUnitToAct, exitGuard, exitUnreachable, exitNotAllowed, exitTimeout, exitInterrupted}
}

// onUnits runs an order on units that the cluster has to know.
func (a *app) onUnits(ctx context.Context, o *order, args []string, change wire.Change) error {
	d, err := a.connect()
	if err != nil {
		return err
	}
	answers, err := a.names(ctx, d, args, exitNoUnitToAct)
	if err != nil {
		return err
	}
	units := make([]string, len(answers))
	for i, an := range answers {
		units[i] = an.Unit
	}
	return a.carryOut(ctx, d, o, changesOf(units, change), units)
}

// actCommand makes a verb that asks one change of units and waits for it.
func (a *app) actCommand(d doc, o *order, change wire.Change) *cobra.Command {
	d.exits = actExits()
	c := d.command()
	c.Args = atLeastOne("a unit")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error { return a.onUnits(c.Context(), o, args, change) }
	return c
}

func (a *app) stopCommand() *cobra.Command {
	o := &order{verb: "stop", good: "stopped", past: "asked to stop", undo: "start", goal: judge.GoalStop, stand: stopped, gone: show.Met}
	c := a.actCommand(doc{
		use: "stop UNIT... [--no-block] [--timeout=5m]", short: "Stop units and wait until they are down",
		long: `
Stops units as their unit files say (ExecStop=, KillSignal=, TimeoutStopSec=) and waits until they are down. A unit that
is stopped keeps its machine, so that it comes back in the same place; argosy unload gives the place up.`,
		example: `
  argosy stop web@{1..10}
  argosy stop 'web@*' --no-block`,
	}, o, wire.Change{Desired: cluster.Loaded})
	o.waitFlags(c)
	return c
}

func (a *app) restartCommand() *cobra.Command {
	o := &order{verb: "restart", good: "healthy", past: "asked to restart", undo: "stop", goal: judge.GoalStart, stand: running, gone: show.Missed}
	c := a.actCommand(doc{
		use: "restart UNIT... [--no-block] [--timeout=5m]", short: "Stop and start units, wait, and say what became of each",
		long: `
Stops and starts units on their machines, and waits for the verdict as argosy start does. A unit that does not run is
started. The processes are new afterwards: restart restarts.`,
		example: `
  argosy restart web@4
  argosy restart 'web@*' -o json`,
	}, o, wire.Change{Desired: cluster.Launched, Restart: true})
	o.waitFlags(c)
	return c
}

func (a *app) reloadCommand() *cobra.Command {
	o := &order{verb: "reload", good: "healthy", past: "asked to reload", goal: judge.GoalStart, stand: reloaded, gone: show.Missed}
	c := a.actCommand(doc{
		use: "reload UNIT...", short: "Let units read their configuration again (ExecReload=)",
		long: `
Runs ExecReload= of running units, and waits until they are healthy afterwards. The processes stay.`,
		example: `
  argosy reload nginx`,
	}, o, wire.Change{Reload: true})
	o.waitFlags(c)
	return c
}

func (a *app) killCommand() *cobra.Command {
	o := &order{verb: "kill", good: "signalled", past: "asked to signal", expect: -1}
	name := "SIGTERM"
	c := doc{
		use: "kill UNIT... [-s SIGNAL]", short: "Send a signal to the processes of units",
		long: `
Sends a signal to every process of the units. What is wanted of the units does not change: with Restart= they come back.
The signal is a name (TERM, SIGUSR1) or a number.`,
		example: `
  argosy kill web@4                # SIGTERM
  argosy kill web@4 -s HUP
  argosy kill 'web@*' --signal 9`,
		exits: []int{exitOK, exitUsage, exitNoUnitToAct, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = atLeastOne("a unit")
	c.Flags().StringVarP(&name, "signal", "s", name, "the signal: a name or a number")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		n, err := signalNumber(name)
		if err != nil {
			return err
		}
		return a.onUnits(c.Context(), o, args, wire.Change{Signal: n})
	}
	return c
}

// signalNumber reads TERM, SIGTERM or 15.
func signalNumber(s string) (int, error) {
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return int(n), nil
	}
	for n := syscall.Signal(1); n < 65; n++ {
		if itoa(int(n)) == s {
			return int(n), nil
		}
	}
	return 0, usagef("such as TERM, HUP, USR1, or a number from 1 to 64", "%q is not a signal", s)
}
