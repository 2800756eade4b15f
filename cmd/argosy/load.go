package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/wire"
)

func (a *app) submitCommand() *cobra.Command {
	o := &order{verb: "submit", past: "submitted"}
	c := doc{
		use: "submit FILE... [--replace]", short: "Give unit files to the cluster without starting anything",
		long: `
Reads unit files and their drop-ins (NAME.d/*.conf beside them), checks them, and gives them to the cluster. Every fault
of every file is named with its line; when one is invalid, nothing is changed. What Argosy does not honour in a file is
told as a warning. A unit that the cluster has with another text keeps it, unless --replace.`,
		example: `
  argosy submit *.service *.timer
  argosy submit web@.service --replace`,
		exits: []int{exitOK, exitUsage, exitNoUnitToAct, exitInvalid, exitGuard, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = atLeastOne("a file")
	o.replaceFlag(c)
	o.expectFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.carryOutArgs(c.Context(), o, args, func(sub submission) []wire.Change { return sub.changes })
	}
	return c
}

func (a *app) loadCommand() *cobra.Command {
	o := &order{verb: "load", good: "loaded", past: "asked to load", undo: "unload", goal: judge.GoalLoad, stand: loaded, gone: show.Missed}
	c := doc{
		use: "load UNIT... [--no-block] [--timeout=5m] [--replace]", short: "Give units a machine without starting them",
		long: `
Submits what the cluster does not know yet and places it: the machine is chosen and its room is promised, but nothing
is started.`,
		example: `
  argosy load web@{1..3}`,
		exits: []int{exitOK, exitFailed, exitUsage, exitNoUnitToAct, exitInvalid, exitNoRoom, exitGuard, exitUnreachable, exitNotAllowed, exitTimeout, exitInterrupted},
	}.command()
	c.Args = atLeastOne("a unit or a file")
	o.waitFlags(c)
	o.replaceFlag(c)
	c.ValidArgsFunction = a.completeUnitsAndFiles
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.carryOutArgs(c.Context(), o, args, func(sub submission) []wire.Change { return desire(sub, cluster.Loaded, false) })
	}
	return c
}

func (a *app) unloadCommand() *cobra.Command {
	o := &order{verb: "unload", good: "unloaded", past: "asked to unload", undo: "start", goal: judge.GoalStop, stand: unloaded, gone: show.Met}
	c := a.actCommand(doc{
		use: "unload UNIT... [--no-block] [--timeout=5m]", short: "Stop units and give their place up",
		long: `
Stops units and takes them off their machines: their room is free for others. The cluster keeps the unit files.`,
		example: `
  argosy unload web@{4..10}`,
	}, o, wire.Change{Desired: cluster.Inactive})
	o.waitFlags(c)
	return c
}

func (a *app) destroyCommand() *cobra.Command {
	o := &order{verb: "destroy", good: "destroyed", past: "asked to destroy", goal: judge.GoalStop, stand: pending, gone: show.Met}
	c := doc{
		use: "destroy UNIT... [--no-block] [--timeout=5m]", short: "Stop units and remove them from the cluster",
		long: `
Stops units, takes them off their machines, waits until nothing of them runs any more, and then lets the cluster forget
their unit files. Files on disk are not touched. With --no-block the cluster forgets them at once, and their machines
stop them afterwards.`,
		example: `
  argosy destroy web@10
  argosy destroy 'web@*' web@.service`, exits: actExits(),
	}.command()
	c.Args = atLeastOne("a unit")
	o.waitFlags(c)
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.connect()
		if err != nil {
			return err
		}
		answers, err := a.names(c.Context(), d, args, exitNoUnitToAct)
		if err != nil {
			return err
		}
		return a.destroy(c.Context(), d, o, answers)
	}
	return c
}

// pending is the standing of a unit that is still there.
func pending(cluster.Answer) show.Standing { return show.Pending }

// destroy unloads first and waits for it, so that "destroyed" means that nothing runs any more.
func (a *app) destroy(ctx context.Context, d door, o *order, answers []cluster.Answer) error {
	o.began = a.now()
	var all, placed []string
	for _, an := range answers {
		all = append(all, an.Unit)
		if an.MachineID != "" && !an.Template {
			placed = append(placed, an.Unit)
		}
	}
	if len(placed) > 0 && !o.noBlock && o.expect < 0 {
		stop := &order{verb: "destroy", good: "unloaded", goal: judge.GoalStop, stand: unloaded, gone: show.Met, timeout: o.timeout, expect: -1}
		w, err := a.ask(ctx, d, stop, changesOf(placed, wire.Change{Desired: cluster.Inactive}), placed)
		if err != nil {
			return err
		}
		out, err := a.follow(ctx, d, w)
		if err != nil {
			return err
		}
		if len(out.met) < out.wanted {
			return a.close(stop, w, out)
		}
		if o.timeout > 0 {
			o.timeout = max(time.Second, o.timeout-a.now().Sub(o.began))
		}
	}
	return a.carryOut(ctx, d, o, changesOf(all, wire.Change{Destroy: true}), all)
}

// changesOf asks the same of several units.
func changesOf(units []string, change wire.Change) []wire.Change {
	out := make([]wire.Change, len(units))
	for i, u := range units {
		change.Name = u
		out[i] = change
	}
	return out
}
