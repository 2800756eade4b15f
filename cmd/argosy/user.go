package main

import (
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
)

func (a *app) userCommand() *cobra.Command {
	return group("user VERB", "People who use the cluster from elsewhere, and what they may", `
A user has a name, a role and a certificate. Roles: viewer sees everything but secrets, deployer changes units, operator
changes machines, admin lets machines and people in. Who uses a server's unix socket is admin.`,
		a.userAddCommand(), a.userLsCommand(), a.userRmCommand(), a.userKeyCommand())
}

func (a *app) userLsCommand() *cobra.Command {
	c := doc{
		use: "ls", short: "List users and their roles", long: `Lists the users that the cluster knows.`,
		example: `
  argosy user ls`,
		exits: []int{exitOK, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		list, err := d.Users(c.Context())
		if err != nil {
			return err
		}
		if !a.text() {
			return emitList(a, list, list.Users)
		}
		var rows [][]string
		for _, u := range list.Users {
			rows = append(rows, userRow(u))
		}
		return a.columns([]string{"USER", "ROLE", "SINCE", "BY"}, rows)
	}
	return c
}

func userRow(u cluster.User) []string {
	return []string{u.Name, string(u.Role), u.At.Local().Format(time.DateTime), u.By}
}

func (a *app) userRmCommand() *cobra.Command {
	c := doc{
		use: "rm NAME...", short: "Take users' rights away", long: `The users' certificates are good for nothing from then on; open streams end within seconds.`,
		example: `
  argosy user rm ada`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = atLeastOne("a user: argosy user ls shows them")
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		for _, name := range args {
			if err := d.RemoveUser(c.Context(), name); err != nil {
				return err
			}
			a.note("user %s may do nothing any more", name)
		}
		return nil
	}
	return c
}
