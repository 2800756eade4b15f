package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

func (a *app) caCommand() *cobra.Command {
	return group("ca VERB", "The cluster's own certificate authority", `
Every machine and user has a certificate of the cluster's own authority, and a second one signs for the traffic between
the servers' stores. Certificates and the CAs that sign them are renewed by themselves; the roots, which live ten years,
are replaced by hand: argosy ca rotate.`,
		a.caStatusCommand(), a.caRotateCommand())
}

func (a *app) caStatusCommand() *cobra.Command {
	c := doc{
		use: "status", short: "Until when the authority lives, and who has which certificate", long: `Shows the roots, whether they are being replaced, and the last certificate of every machine and user.`,
		example: `
  argosy ca status`,
		exits: []int{exitOK, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		s, err := d.CA(c.Context())
		if err != nil {
			return err
		}
		return a.showCA(s)
	}
	return c
}

func (a *app) showCA(s *wire.CAStatus) error {
	if !a.text() {
		return a.emit(s)
	}
	day := func(t time.Time) string { return t.Local().Format(time.DateOnly) }
	lines := []string{
		"cluster  " + s.Cluster,
		fmt.Sprintf("root     %.16s  until %s; signs by a CA until %s", s.Root, day(s.RootUntil), day(s.Issuing)),
		fmt.Sprintf("store    until %s; signs by a CA until %s", day(s.PeerUntil), day(s.PeerIssuing)),
	}
	if s.Rotating {
		lines = append(lines, fmt.Sprintf("rotating since %s: the old root %.16s is trusted until argosy ca rotate --retire; %d of %d have no certificate of the new one",
			s.Since.Local().Format(time.DateTime), s.OldRoot, len(s.Pending), len(s.Certificates)))
	}
	if err := a.printAll(append(lines, "")); err != nil {
		return err
	}
	var rows [][]string
	for _, c := range s.Certificates {
		id, root, until := c.ID, fmt.Sprintf("%.8s", c.Root), "-"
		if c.Kind != "user" {
			id = cluster.ShortID(id)
		}
		switch {
		case c.Root == "":
			root = "-"
		case s.Rotating && c.Root != s.Root:
			root += " (old)"
		}
		if !c.Until.IsZero() {
			until = c.Until.Local().Format(time.DateTime)
		}
		rows = append(rows, []string{c.Kind, c.Name, id, root, until})
	}
	return a.columns([]string{"KIND", "NAME", "ID", "ROOT", "UNTIL"}, rows)
}

func (a *app) caRotateCommand() *cobra.Command {
	var retire, force bool
	c := doc{
		use: "rotate [--retire [--force]]", short: "Replace the authority's roots, without a failed call",
		long: `
Makes new roots, which the old ones vouch for, and asks every machine for a renewal: the servers first, then the others.
Both are trusted meanwhile, so nothing stops. argosy ca status shows how far it is. When everybody has a certificate of
the new root, --retire ends the trust in the old one; join tokens that were made before end with it.

--retire is refused while somebody has none, and names them. --force goes on without them: they have to be let in again.
After the theft of a server's disk, rotate and retire with --force, and revoke the server.`,
		example: `
  argosy ca rotate
  argosy ca status
  argosy ca rotate --retire`,
		exits: []int{exitOK, exitFailed, exitUsage, exitGuard, exitUnreachable, exitNotAllowed},
	}.command()
	c.Flags().BoolVar(&retire, "retire", false, "end the trust in the old roots")
	c.Flags().BoolVar(&force, "force", false, "retire although somebody has no certificate of the new root")
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		if force && !retire {
			return usagef("argosy ca rotate --retire --force", "--force belongs to --retire")
		}
		d, err := a.desk()
		if err != nil {
			return err
		}
		if retire {
			s, err := d.RetireCA(c.Context(), force)
			if err != nil {
				return err
			}
			a.note("the old root is trusted no more; join tokens from before are good for nothing")
			return a.showCA(s)
		}
		s, err := d.RotateCA(c.Context())
		if err != nil {
			return err
		}
		a.note("the new root is there, the old one is trusted on; machines renew now: argosy ca status, then argosy ca rotate --retire")
		return a.showCA(s)
	}
	return c
}
