package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/wire"
)

func (a *app) auditCommand() *cobra.Command {
	var q client.AuditQuery
	since := ""
	c := doc{
		use: "audit [--since=TIME] [--who=NAME] [--refused] [-n N]", short: "Who changed what, and who was refused",
		long: `
Shows every call that changed something or was refused: when, who, from where, what became of it. Each server keeps
what it was asked, up to 1G and 90 days; the records of all servers are put in the order of time, and a server that is
away is named. Secrets and the texts of units are never in it.

argosy audit verify checks that no record was changed, taken out or put between.`,
		example: `
  argosy audit --since 2h
  argosy audit --refused --who ada
  argosy audit -o jsonl --since 2026-11-01 > audit.jsonl
  argosy audit verify`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	f := c.Flags()
	f.StringVar(&since, "since", "", "only from this time on: 10min, 2h, 14:02, 2026-11-01")
	f.StringVar(&q.Who, "who", "", "only of callers with this in their name")
	f.BoolVar(&q.Refused, "refused", false, "only refusals")
	f.IntVarP(&q.Limit, "lines", "n", 0, "at most so many, the newest (default 1000, at most 10000)")
	c.AddCommand(a.auditVerifyCommand())
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownVerb(c, args[0])
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if since != "" {
			var err error
			if q.Since, err = parseSince(since, a.now()); err != nil {
				return err
			}
		}
		d, err := a.desk()
		if err != nil {
			return err
		}
		got, err := d.Audit(c.Context(), q)
		if err != nil {
			return err
		}
		a.sayAway(got.Away)
		if !a.text() {
			return emitList(a, got, got.Records)
		}
		for _, r := range got.Records {
			if err := a.print(auditLine(a.outStyle(), r)); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func (a *app) sayAway(away []wire.AuditAway) {
	for _, w := range away {
		a.note("warning: server %s is away, its records are missing: %s", w.Name, show.Clean(w.Error))
	}
}

// auditLine is one record as people read it.
func auditLine(s show.Style, r wire.AuditRecord) string {
	who := r.Who
	if r.Kind == "machine" || r.Kind == "server" {
		who = r.Kind + " " + cluster.ShortID(r.Who)
	}
	if r.For != "" {
		who = r.For + " on " + who
	}
	if r.Role != "" && r.Kind == "user" {
		who += " (" + r.Role + ")"
	}
	result, tone := string(r.Result), show.Good
	switch r.Result {
	case wire.AuditRefused:
		tone = show.Bad
	case wire.AuditFailed:
		tone = show.Busy
	case wire.AuditDone:
	}
	line := fmt.Sprintf("%s  %s  %s from %s: %s %s", r.At.Local().Format(time.DateTime), s.Paint(tone, fmt.Sprintf("%-7s", result)),
		show.Clean(who), show.Clean(r.From), show.Clean(r.Verb), show.Clean(r.Object))
	line = strings.TrimRight(line, " ")
	if r.Code != "" {
		line += ": " + show.Clean(cmp.Or(r.Why, string(r.Code)))
	}
	if r.More > 0 {
		line += fmt.Sprintf(" (and %d refusals before it that came too fast to be written down)", r.More)
	}
	return line
}

func (a *app) auditVerifyCommand() *cobra.Command {
	c := doc{
		use: "verify", short: "Check that the audit log is whole, on every server",
		long: `
Every record holds the hash of the one before it. This checks all of them, on each server, and shows the hash of the
last one: kept elsewhere, it later proves that the end was not cut off either. Ends with 1 when a log is not whole, or
a server is away.`,
		example: `
  argosy audit verify`,
		exits: []int{exitOK, exitFailed, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		got, err := d.VerifyAudit(c.Context())
		if err != nil {
			return err
		}
		a.sayAway(got.Away)
		code := exitOK
		if len(got.Away) > 0 {
			code = exitFailed
		}
		var rows [][]string
		for _, s := range got.Servers {
			state := "whole"
			if s.Fault != "" {
				state, code = "BROKEN: "+s.Fault, exitFailed
			}
			since := "-"
			if !s.Since.IsZero() {
				since = s.Since.Local().Format(time.DateTime)
			}
			rows = append(rows, []string{s.Name, fmt.Sprintf("%d-%d", s.First, s.Last), since, s.Head[:min(16, len(s.Head))], state})
		}
		if !a.text() {
			err = a.emit(got)
		} else {
			err = a.columns([]string{"SERVER", "RECORDS", "SINCE", "HEAD", "LOG"}, rows)
		}
		if err != nil {
			return err
		}
		return exitWith(code)
	}
	return c
}
