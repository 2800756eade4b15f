package main

import "github.com/spf13/cobra"

func (a *app) machineCommand() *cobra.Command {
	return group("machine VERB", "Machines: take them out of use, take them out of the cluster", `
argosy list-machines shows them with what is promised on them.`,
		a.machineRevokeCommand())
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
