package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

func (a *app) settingsCommand() *cobra.Command {
	c := doc{
		use: "settings [servers=N] [config-write=all|servers|none]", short: "Show or change the cluster's settings",
		long: `
Without arguments it shows them. Changing takes an admin.

servers is how many machines are to hold the store: 1, 3 or 5, or 0 for as many as there are, up to 5. config-write says
on which machines programs may write the users' configuration through localhost, with etcd's API; all may read it.`,
		example: `
  argosy settings
  argosy settings servers=5
  argosy settings config-write=servers`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		patch, err := parseSettings(args)
		if err != nil {
			return err
		}
		d, err := a.desk()
		if err != nil {
			return err
		}
		var s *cluster.Settings
		if len(args) == 0 {
			s, err = d.Settings(c.Context())
		} else {
			s, err = d.PatchSettings(c.Context(), patch)
		}
		if err != nil {
			return err
		}
		if !a.text() {
			return a.emit(s)
		}
		fmt.Fprintf(a.stdout, "servers=%d\nconfig-write=%s\n", s.Servers, cmp.Or(s.ConfigWrite, cluster.WriteAll))
		return nil
	}
	return c
}

// parseSettings reads KEY=VALUE arguments.
func parseSettings(args []string) (wire.SettingsPatch, error) {
	var p wire.SettingsPatch
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		switch {
		case ok && k == "servers":
			n, err := strconv.Atoi(v)
			if err != nil {
				return p, usagef("servers=3 is an example", "%q is not a number of servers", v)
			}
			p.Servers = &n
		case ok && k == "config-write":
			w := cluster.ConfigWrite(v)
			p.ConfigWrite = &w
		default:
			return p, usagef("servers=N and config-write=all|servers|none are", "%q is not a setting", arg)
		}
	}
	return p, nil
}
