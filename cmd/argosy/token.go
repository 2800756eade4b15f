package main

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/wire"
)

func (a *app) tokenCommand() *cobra.Command {
	return group("token VERB", "Tokens with which machines join", `
A join token names the cluster's servers, pins its certificate authority, and holds a secret that admits a machine. It
is used once and lives an hour, unless something else is said. It is good for nothing but joining.`,
		a.tokenCreateCommand(), a.tokenLsCommand(), a.tokenRevokeCommand())
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var q wire.TokenRequest
	var ttl time.Duration
	c := doc{
		use: "create [--role=agent|server] [--ttl=1h] [--uses=1]", short: "Make a join token and print it",
		long: `
Prints the token alone on standard output. It is not kept: who loses it makes another one. A machine that joins with
--role server may hold a part of the store; the store takes as many of them as it needs.`,
		example: `
  TOKEN=$(argosy token create)
  argosy token create --role server --uses 2 --ttl 24h`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	f := c.Flags()
	f.StringVar(&q.Role, "role", "agent", "what the machine may be: agent, or server (may hold the store)")
	f.DurationVar(&ttl, "ttl", time.Hour, "how long it can be used")
	f.IntVar(&q.Uses, "uses", 1, "how often it can be used; -1: as often as wanted")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"agent", "server"}, cobra.ShellCompDirectiveNoFileComp))
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		q.TTL = int64(ttl / time.Second)
		t, err := d.CreateToken(c.Context(), q)
		if err != nil {
			return err
		}
		if !a.text() {
			return a.emit(t)
		}
		a.note("good for %s until %s, as %s; on the other machine: argosy join TOKEN", times(t.Uses), t.Expires.Local().Format(time.DateTime), t.Role)
		return a.print(t.Token)
	}
	return c
}

func times(uses int) string {
	switch uses {
	case -1:
		return "any number of machines"
	case 1:
		return "one machine"
	}
	return strconv.Itoa(uses) + " machines"
}

func (a *app) tokenLsCommand() *cobra.Command {
	c := doc{
		use: "ls", short: "List join tokens, without their secrets", long: `Lists the tokens that the cluster knows: what they are good for, until when, and who made them.`,
		example: `
  argosy token ls`,
		exits: []int{exitOK, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		list, err := d.Tokens(c.Context())
		if err != nil {
			return err
		}
		if !a.text() {
			return emitList(a, list, list.Tokens)
		}
		var rows [][]string
		for _, t := range list.Tokens {
			rows = append(rows, []string{t.ID, t.Role, uses(t, a.now()), t.Expires.Local().Format(time.DateTime), t.By})
		}
		return a.columns([]string{"ID", "ROLE", "USES", "EXPIRES", "BY"}, rows)
	}
	return c
}

func uses(t wire.TokenInfo, now time.Time) string {
	switch {
	case t.Uses == 0:
		return "used up"
	case now.After(t.Expires):
		return "expired"
	case t.Uses < 0:
		return "any"
	}
	return strconv.Itoa(t.Uses)
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	c := doc{
		use: "revoke ID...", short: "Take join tokens away", long: `A machine that comes with one of these tokens is refused from now on. Machines that have joined with it stay.`,
		example: `
  argosy token revoke 4c7f2a`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = atLeastOne("a token's id: argosy token ls shows them")
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		for _, id := range args {
			if err := d.RevokeToken(c.Context(), id); err != nil {
				return err
			}
			a.note("token %s is worth nothing any more", id)
		}
		return nil
	}
	return c
}
