package main

import (
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

// oneMachine is what a machine is named by.
const oneMachine = "a machine: its name, its id, or the first eight characters of that"

func (a *app) machineCommand() *cobra.Command {
	return group("machine VERB", "Machines: look at one, take it out of use, take it out of the cluster", `
argosy list-machines shows them with what is promised on them.`,
		a.machineShowCommand(), a.machineCordonCommand(true), a.machineCordonCommand(false), a.machineDrainCommand(), a.machineSetCommand(),
		a.machineRmCommand(), a.machineRevokeCommand())
}

func (a *app) machineCordonCommand(on bool) *cobra.Command {
	d := doc{
		use: "cordon MACHINE...", short: "A machine keeps what it has and takes nothing new",
		long: `
Nothing that runs is touched. argosy machine drain moves its units away, too.`,
		example: `
  argosy machine cordon m3`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}
	if !on {
		d.use, d.short = "uncordon MACHINE...", "A machine takes new units again; a drain ends"
		d.long, d.example = "Units that have left do not come back by themselves: nobody asked for that restart.", "  argosy machine uncordon m3"
	}
	c := d.command()
	c.Args = atLeastOne(oneMachine)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		for _, name := range args {
			m, err := d.PatchMachine(c.Context(), name, wire.MachinePatch{Cordoned: &on})
			if err != nil {
				return err
			}
			switch {
			case !a.text():
				err = a.emit(m)
			case on:
				a.note("%s takes nothing new", machineName(*m))
			default:
				a.note("%s takes new units", machineName(*m))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func (a *app) machineSetCommand() *cobra.Command {
	var role, metadata string
	c := doc{
		use: "set MACHINE [KEY=VALUE|KEY-]... [--local-role=ROLE]", short: "A machine's metadata, and what people at its socket may do",
		long: `
KEY=VALUE sets metadata over that which the machine was started with, for MachineMetadata= and Spread=; KEY= hides the
machine's own, and KEY- takes that back.

--local-role is what everybody who may use the unix socket of a machine that is not a server may do in the cluster:
viewer, deployer, operator, admin, or none (states only, as at first). A server's socket always is an admin's. It takes
an admin.`,
		example: `
  argosy machine set m3 zone=b disk=ssd
  argosy machine set m3 zone-
  argosy machine set m3 --local-role deployer`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Flags().StringVar(&role, "local-role", "", "viewer, deployer, operator, admin or none")
	c.Flags().StringVar(&metadata, "metadata", "", "the same as KEY=VALUE, by commas: zone=b,disk=")
	_ = c.RegisterFlagCompletionFunc("local-role", cobra.FixedCompletions([]string{"viewer", "deployer", "operator", "admin", "none"}, cobra.ShellCompDirectiveNoFileComp))
	c.Args = atLeastOne(oneMachine)
	c.RunE = func(c *cobra.Command, args []string) error {
		patch, err := machinePatch(args[1:], metadata, role)
		if err != nil {
			return err
		}
		d, err := a.desk()
		if err != nil {
			return err
		}
		m, err := d.PatchMachine(c.Context(), args[0], patch)
		if err != nil {
			return err
		}
		if !a.text() {
			return a.emit(m)
		}
		return nil
	}
	return c
}

// machinePatch reads what is to be set of a machine.
func machinePatch(words []string, metadata, role string) (wire.MachinePatch, error) {
	patch := wire.MachinePatch{}
	if role != "" {
		r := cluster.Role(strings.TrimPrefix(role, "none"))
		patch.LocalRole = &r
	}
	set := func(key string, value *string) {
		if patch.Metadata == nil {
			patch.Metadata = map[string]*string{}
		}
		patch.Metadata[key] = value
	}
	for _, word := range words {
		k, v, pair := strings.Cut(word, "=")
		switch {
		case pair:
			set(k, &v)
		case strings.HasSuffix(word, "-"):
			set(strings.TrimSuffix(word, "-"), nil)
		default:
			return patch, usagef("KEY=VALUE sets, KEY= hides, KEY- takes back", "%q is neither KEY=VALUE nor KEY-", word)
		}
	}
	for pair := range strings.SplitSeq(metadata, ",") {
		if k, v, is := strings.Cut(strings.TrimSpace(pair), "="); is {
			set(k, &v)
		} else if k != "" {
			set(k, nil)
		}
	}
	if patch.LocalRole == nil && patch.Metadata == nil {
		return patch, usagef("KEY=VALUE, KEY- and --local-role are", "machine set needs something to set")
	}
	return patch, nil
}

func (a *app) machineRmCommand() *cobra.Command {
	force := false
	c := doc{
		use: "rm MACHINE [--force]", short: "Forget a machine: its units move, its records go",
		long: `
For a machine that is gone for good: its units move at once, and a part of the store that it held is replaced. A machine
that is alive is not removed: drain it and stop argosy there first. --force removes it all the same, and refuses its
certificates from then on; that takes an admin.

A machine that was removed while it was away joins again by itself when it is started; argosy machine revoke keeps
it out.`,
		example: `
  argosy machine rm m3`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Flags().BoolVar(&force, "force", false, "also a machine that is alive; what runs there goes on, and nobody knows of it")
	c.Args = exactlyOne(oneMachine)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		m, err := d.RemoveMachine(c.Context(), args[0], force)
		if err != nil {
			return err
		}
		if !a.text() {
			return a.emit(m)
		}
		a.note("%s is forgotten; %s look for another place", machineName(*m), plural(m.Units, "unit"))
		return nil
	}
	return c
}

func (a *app) machineRevokeCommand() *cobra.Command {
	why := ""
	c := doc{
		use: "revoke MACHINE [--why=TEXT]", short: "A machine's certificates count no more, from now on",
		long: `
For a machine that was stolen or broken into: every server refuses it within a second, and its open streams end. It can
come back only with a new identity: an empty --data and a new token.`,
		example: `
  argosy machine revoke m3 --why "stolen"`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Flags().StringVar(&why, "why", "", "kept with the revocation, for the next person who wonders")
	c.Args = exactlyOne(oneMachine)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		if err := d.RevokeMachine(c.Context(), args[0], why); err != nil {
			return err
		}
		a.note("machine %s is refused from now on", args[0])
		return nil
	}
	return c
}
