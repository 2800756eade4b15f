package main

import (
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

func (a *app) machineCommand() *cobra.Command {
	return group("machine VERB", "Machines: take them out of use, take them out of the cluster", `
argosy list-machines shows them with what is promised on them.`,
		a.machineSetCommand(), a.machineRevokeCommand())
}

func (a *app) machineSetCommand() *cobra.Command {
	var role, metadata string
	c := doc{
		use: "set MACHINE [--local-role=ROLE] [--metadata=k=v,…]", short: "What people at a machine's socket may do; what units may ask for",
		long: `
--local-role is what everybody who may use the unix socket of a machine that is not a server may do in the cluster:
viewer, deployer, operator, admin, or none (states only, as at first). A server's socket always is an admin's. It takes
an admin.

--metadata sets keys over those that the machine was started with; k= hides the machine's own, k takes that back.`,
		example: `
  argosy machine set m3 --local-role deployer
  argosy machine set m3 --metadata zone=b,disk=`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Flags().StringVar(&role, "local-role", "", "viewer, deployer, operator, admin or none")
	c.Flags().StringVar(&metadata, "metadata", "", "keys to set: zone=b,disk=")
	_ = c.RegisterFlagCompletionFunc("local-role", cobra.FixedCompletions([]string{"viewer", "deployer", "operator", "admin", "none"}, cobra.ShellCompDirectiveNoFileComp))
	c.Args = exactlyOne("a machine: its name, its id, or the first eight characters of that")
	c.RunE = func(c *cobra.Command, args []string) error {
		var patch wire.MachinePatch
		if role != "" {
			r := cluster.Role(strings.TrimPrefix(role, "none"))
			patch.LocalRole = &r
		}
		for pair := range strings.SplitSeq(metadata, ",") {
			k, v, set := strings.Cut(strings.TrimSpace(pair), "=")
			if k == "" {
				continue
			}
			if patch.Metadata == nil {
				patch.Metadata = map[string]*string{}
			}
			if patch.Metadata[k] = nil; set {
				patch.Metadata[k] = &v
			}
		}
		if patch.LocalRole == nil && patch.Metadata == nil {
			return usagef("--local-role and --metadata are", "machine set needs something to set")
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
	c.Args = exactlyOne("a machine: its name, its id, or the first eight characters of that")
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
