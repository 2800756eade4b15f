package main

import (
	"context"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/node"
)

// defaultListen is where a machine of a cluster answers the others when nothing else is said.
const defaultListen = "0.0.0.0:7443"

func (a *app) joinCommand() *cobra.Command {
	var u upConfig
	c := doc{
		use: "join TOKEN [--data=DIR] [--socket=PATH] [--listen=HOST:PORT] [--name=NAME] [--metadata=k=v,…]", short: "Make this machine a member of a cluster, and run it",
		long: `
Joins the cluster that the token is of, then runs this machine as argosy up does: started again, argosy up --data with
the same directory is enough. The token names the cluster's servers and the hash of its certificate authority: a server
that cannot prove to be of that cluster is not told the token's secret. The private key is made here and never leaves.

--listen is where this machine answers the others (default ` + defaultListen + `).`,
		example: `
  argosy join "$TOKEN"
  argosy join "$TOKEN" --data ./data2 --socket ./m2.sock --listen 127.0.0.2:7443 --name m2 --metadata zone=b`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	w := machineFlags(c, &u)
	c.Args = exactlyOne("a token: argosy token create, on a server, prints one")
	c.RunE = func(c *cobra.Command, args []string) error {
		if u.listen == "" {
			u.listen = defaultListen
		}
		if err := a.prepareUp(&u, w); err != nil {
			return err
		}
		err := a.join(c.Context(), node.JoinConfig{Token: args[0], Data: u.data, Name: u.name, Listen: u.listen, PeerListen: u.peerListen, Version: version})
		if err != nil {
			return err
		}
		a.note("joined the cluster")
		return a.node(c.Context(), u)
	}
	return c
}

// runJoin joins for real; a test gives its own.
func runJoin(ctx context.Context, c node.JoinConfig) error { return node.Join(ctx, c) }

func exactlyOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("argosy help "+c.Name()+" shows examples", "%s needs %s", c.Name(), what)
		}
		return nil
	}
}

// group makes a verb that only holds others.
func group(use, short, long string, sub ...*cobra.Command) *cobra.Command {
	c := doc{use: use, short: short, long: long}.command()
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return unknownVerb(c, args[0])
	}
	c.Args = cobra.ArbitraryArgs
	c.AddCommand(sub...)
	return c
}
