package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// listing is what all list verbs share.
type listing struct {
	fields   string
	full     bool
	noLegend bool
}

func (l *listing) flags(c *cobra.Command, fields string, valid []string) {
	f := c.Flags()
	f.StringVar(&l.fields, "fields", fields, "columns: "+strings.Join(valid, ","))
	f.BoolVarP(&l.full, "full", "l", false, "do not shorten anything")
	f.BoolVar(&l.noLegend, "no-legend", false, "no header")
	_ = c.RegisterFlagCompletionFunc("fields", cobra.FixedCompletions(valid, cobra.ShellCompDirectiveNoFileComp))
}

// columns checks --fields.
func (l *listing) columns(valid []string) ([]string, error) {
	cols := strings.Split(l.fields, ",")
	for i, c := range cols {
		c = strings.ToLower(strings.TrimSpace(c))
		cols[i] = c
		known := false
		for _, v := range valid {
			known = known || v == c
		}
		if !known {
			hint := "columns are " + strings.Join(valid, ",")
			if n := nearest(c, append([]string{}, valid...)); n != "" {
				hint = "did you mean " + n + "?"
			}
			return nil, usagef(hint, "%q is not a column", c)
		}
	}
	return cols, nil
}

// open checks --fields and connects: what every list verb begins with.
func (l *listing) open(a *app, valid []string) (cols []string, d door, err error) {
	if cols, err = l.columns(valid); err != nil {
		return nil, nil, err
	}
	d, err = a.connect()
	return cols, d, err
}

// table draws a row for each item under the columns' names.
func table[T any](a *app, l *listing, cols []string, items []T, cell func(item T, col string) show.Cell) error {
	t := show.Table{}
	for _, item := range items {
		row := make([]show.Cell, len(cols))
		for i, c := range cols {
			row[i] = cell(item, c)
		}
		t.Rows = append(t.Rows, row)
	}
	for _, c := range cols {
		t.Header = append(t.Header, strings.ToUpper(c))
	}
	width := a.width(a.stdout)
	if l.full {
		width = 0
	}
	return a.printAll(t.Lines(a.outStyle(), width, !l.noLegend))
}

// columns prints rows of words below a header.
func (a *app) columns(header []string, rows [][]string) error {
	t := show.Table{Header: header}
	for _, r := range rows {
		row := make([]show.Cell, len(r))
		for i, text := range r {
			row[i] = show.Cell{Text: text}
		}
		t.Rows = append(t.Rows, row)
	}
	return a.printAll(t.Lines(a.outStyle(), a.width(a.stdout), true))
}

func unitFields() []string {
	return []string{"unit", "machine", "state", "since", "reason", "why", "load", "active", "sub", "pid", "restarts", "tries", "desired", "hash"}
}

func (a *app) listUnitsCommand() *cobra.Command {
	l := &listing{}
	var states []string
	c := doc{
		use: "list-units [UNIT...] [--state=STATE] [--fields=…] [--full] [--no-legend] [--local]", short: "List units, where they run, and what is so of each",
		long: `
Lists the units that somebody asked to run, with their state and the reason where it is not healthy. UNIT may be a glob.
argosy list-unit-files lists everything that the cluster knows. --local lists what this machine knows itself, with every
server away.`,
		example: `
  argosy list-units
  argosy list-units 'web@*' --state no-room,failed
  argosy list-units --fields unit,machine,pid,restarts --no-legend
  argosy list-units -o json`,
		exits: []int{exitOK, exitUsage, exitNoUnit, exitUnreachable},
	}.command()
	l.flags(c, "unit,machine,state,since,why", unitFields())
	a.localFlag(c)
	c.Flags().StringSliceVar(&states, "state", nil, "only units in these states (argosy help states)")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := knownStates(states); err != nil {
			return err
		}
		cols, d, err := l.open(a, unitFields())
		if err != nil {
			return err
		}
		list, err := a.listed(c.Context(), d, args)
		if err != nil {
			return err
		}
		shown := list.Units[:0]
		for _, u := range list.Units {
			if wantedHere(u, len(args) > 0) && inStates(u, states) {
				shown = append(shown, u)
			}
		}
		list.Units = shown
		if !a.text() {
			return emitList(a, list, list.Units)
		}
		return table(a, l, cols, list.Units, func(u cluster.Answer, col string) show.Cell { return a.unitCell(u, col, l.full) })
	}
	return c
}

// listed asks for units: all, or those that the arguments name.
func (a *app) listed(ctx context.Context, d door, args []string) (wire.UnitList, error) {
	if len(args) == 0 {
		list, err := d.Units(ctx)
		slices.SortStableFunc(list.Units, func(x, y cluster.Answer) int { return show.CompareNames(x.Unit, y.Unit) })
		return list, err
	}
	answers, err := a.names(ctx, d, args, exitNoUnit)
	return wire.UnitList{Units: answers}, err
}

// wantedHere leaves out what nobody asked to run, unless it was named.
func wantedHere(u cluster.Answer, named bool) bool {
	return named || !u.Template && (u.Desired != cluster.Inactive || u.MachineID != "")
}

func knownStates(states []string) error {
	for _, s := range states {
		var all []string
		known := false
		for _, k := range cluster.States() {
			all = append(all, string(k))
			known = known || string(k) == s
		}
		if !known {
			return usagef("states are "+strings.Join(all, ", "), "%q is not a state", s)
		}
	}
	return nil
}

func inStates(u cluster.Answer, states []string) bool {
	if len(states) == 0 {
		return true
	}
	return slices.Contains(states, string(u.State))
}

func (a *app) unitCell(u cluster.Answer, col string, full bool) show.Cell {
	st := cluster.Status{}
	if u.Status != nil {
		st = *u.Status
	}
	switch col {
	case "unit":
		return show.Cell{Text: u.Unit}
	case "machine":
		return show.Cell{Text: u.Machine}
	case "state":
		_, tone := show.Style{}.Mark(u.State)
		return show.Cell{Text: string(u.State), Tone: tone}
	case "since":
		return show.Cell{Text: ago(a.now(), u.Since), Tone: show.Faint}
	case "reason":
		return show.Cell{Text: reasonCode(u)}
	case "why":
		if u.State == cluster.Healthy && !full {
			return show.Cell{Tone: show.Faint}
		}
		return show.Cell{Text: u.Message}
	case "desired":
		return show.Cell{Text: string(u.Desired)}
	case "pid":
		return show.Cell{Text: positive(st.MainPID)}
	case "restarts":
		return show.Cell{Text: strconv.Itoa(st.Restarts)}
	case "tries":
		return show.Cell{Text: strconv.Itoa(st.Tries)}
	case "load":
		return show.Cell{Text: st.Load}
	case "active":
		return show.Cell{Text: st.Active}
	case "sub":
		return show.Cell{Text: st.Sub}
	case "hash":
		return show.Cell{Text: shortHash(st.Hash, full)}
	}
	return show.Cell{}
}

func reasonCode(u cluster.Answer) string {
	if u.Reason == nil {
		return ""
	}
	return string(u.Reason.Code)
}

func shortHash(h string, full bool) string {
	if !full && len(h) > 7 {
		return h[:7]
	}
	return h
}

func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func itoa(n int) string { return strconv.Itoa(n) }

func ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return show.Ago(now.Sub(then))
}

func unitFileFields() []string {
	return []string{"unit", "desired", "state", "machine", "hash", "description", "by", "submitted", "revision"}
}

func (a *app) listUnitFilesCommand() *cobra.Command {
	l := &listing{}
	c := doc{
		use: "list-unit-files [UNIT...] [--fields=…] [--full] [--no-legend]", short: "List every unit file that the cluster has",
		long: `
Lists all unit files, templates too: what is wanted of each, and what is so.`,
		example: `
  argosy list-unit-files
  argosy list-unit-files --fields unit,description
  argosy list-unit-files '*.timer' -o jsonl`,
		exits: []int{exitOK, exitUsage, exitNoUnit, exitUnreachable},
	}.command()
	l.flags(c, "unit,desired,state,machine", unitFileFields())
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		cols, d, err := l.open(a, unitFileFields())
		if err != nil {
			return err
		}
		list, err := a.listed(c.Context(), d, args)
		if err != nil {
			return err
		}
		if !a.text() {
			return emitList(a, list, list.Units)
		}
		details, err := a.details(c.Context(), d, list.Units, cols)
		if err != nil {
			return err
		}
		return table(a, l, cols, list.Units, func(u cluster.Answer, col string) show.Cell {
			return a.unitFileCell(u, details[u.Unit], col, l.full)
		})
	}
	return c
}

// details reads the units' texts, when a column needs them.
func (a *app) details(ctx context.Context, d door, units []cluster.Answer, cols []string) (map[string]wire.UnitDetail, error) {
	need := false
	for _, c := range cols {
		switch c {
		case "hash", "description", "desc", "by", "submitted":
			need = true
		}
	}
	out := map[string]wire.UnitDetail{}
	if !need {
		return out, nil
	}
	for _, u := range units {
		detail, err := d.Unit(ctx, u.Unit)
		if err != nil {
			if len(reasonsOf(err)) > 0 && exitCode(err) == exitNoUnitToAct {
				continue // Destroyed meanwhile.
			}
			return nil, err
		}
		out[u.Unit] = detail
	}
	return out, nil
}

func (a *app) unitFileCell(u cluster.Answer, d wire.UnitDetail, col string, full bool) show.Cell {
	switch col {
	case "hash":
		return show.Cell{Text: shortHash(d.Hash, full)}
	case "description":
		return show.Cell{Text: description(u.Unit, d.Text)}
	case "by":
		return show.Cell{Text: d.By}
	case "submitted":
		return show.Cell{Text: ago(a.now(), d.At)}
	case "revision":
		return show.Cell{Text: strconv.FormatInt(u.Revision, 10)}
	case "state":
		if u.Template {
			return show.Cell{Text: "template", Tone: show.Faint}
		}
	}
	return a.unitCell(u, col, full)
}

// description is Description= of a unit, with its specifiers.
func description(name, text string) string {
	if u, err := unit.Load(unit.Name(name), []byte(text), nil, unit.Host{}); err == nil {
		return u.Description
	}
	return ""
}
