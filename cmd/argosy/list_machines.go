package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

func machineFields() []string {
	return []string{"machine", "id", "role", "zone", "address", "state", "conditions", "units", "cpu", "memory", "disk", "runtime", "metadata", "os", "kernel", "arch", "version"}
}

func (a *app) listMachinesCommand() *cobra.Command {
	l := &listing{}
	c := doc{
		use: "list-machines [--fields=…] [--full] [--no-legend]", short: "List machines, what they have, and what is promised on them",
		long: `
Lists the machines of the cluster. ROLE is server for those that hold a part of the store; CPU, MEMORY and DISK are what
is promised to units, of what may be promised.`,
		example: `
  argosy list-machines
  argosy list-machines --fields machine,memory,metadata --full
  argosy list-machines -o json`,
		exits: []int{exitOK, exitUsage, exitUnreachable},
	}.command()
	l.flags(c, "machine,id,role,zone,state,units,cpu,memory,disk,address,conditions", machineFields())
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		cols, d, err := l.open(a, machineFields())
		if err != nil {
			return err
		}
		list, err := d.Machines(c.Context())
		if err != nil {
			return err
		}
		if !a.text() {
			return emitList(a, list, list.Machines)
		}
		return table(a, l, cols, list.Machines, func(m wire.MachineDetail, col string) show.Cell { return machineCell(m, col, l.full) })
	}
	return c
}

func machineName(m wire.MachineDetail) string {
	if m.Name != "" {
		return m.Name
	}
	return cluster.ShortID(m.ID)
}

func machineState(m wire.MachineDetail) show.Cell {
	switch {
	case !m.Alive:
		return show.Cell{Text: "lost", Tone: show.Bad}
	case m.Draining:
		return show.Cell{Text: "draining", Tone: show.Busy}
	case m.Cordoned:
		return show.Cell{Text: "cordoned", Tone: show.Busy}
	}
	for _, c := range m.Conditions {
		if c.NoNew {
			return show.Cell{Text: "closed", Tone: show.Busy}
		}
	}
	return show.Cell{Text: "alive", Tone: show.Good}
}

func machineRole(m wire.MachineDetail) string {
	if m.Server {
		return "server"
	}
	return "agent"
}

func machineConditions(m wire.MachineDetail) show.Cell {
	cell := show.Cell{Text: "-"}
	for i, c := range m.Conditions {
		if i == 0 {
			cell.Text = c.Kind
		} else {
			cell.Text += "," + c.Kind
		}
		if c.NoNew {
			cell.Tone = show.Busy
		}
	}
	return cell
}

func machineCell(m wire.MachineDetail, col string, full bool) show.Cell {
	of := func(amount func(int64) string, used, all int64) show.Cell {
		return show.Cell{Text: amount(used) + "/" + amount(all)}
	}
	switch col {
	case "machine":
		return show.Cell{Text: machineName(m)}
	case "id":
		if full {
			return show.Cell{Text: m.ID}
		}
		return show.Cell{Text: cluster.ShortID(m.ID)}
	case "role":
		return show.Cell{Text: machineRole(m)}
	case "zone":
		return show.Cell{Text: m.Metadata["zone"]}
	case "conditions":
		return machineConditions(m)
	case "address":
		return show.Cell{Text: m.Address}
	case "state":
		return machineState(m)
	case "units":
		return show.Cell{Text: itoa(m.Units)}
	case "cpu":
		return of(reason.CPU, m.Promised.CPU, m.Allocatable.CPU)
	case "memory":
		return of(reason.Bytes, m.Promised.Memory, m.Allocatable.Memory)
	case "disk":
		return of(reason.Bytes, m.Promised.Disk, m.Allocatable.Disk)
	case "runtime":
		return show.Cell{Text: m.Runtime}
	case "metadata":
		return show.Cell{Text: metadataWords(m.Metadata, ",")}
	case "os":
		return show.Cell{Text: m.OS}
	case "kernel":
		return show.Cell{Text: m.Kernel}
	case "arch":
		return show.Cell{Text: m.Arch}
	case "version":
		return show.Cell{Text: m.Version}
	}
	return show.Cell{}
}

func metadataWords(m map[string]string, sep string) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, sep)
}

func timerFields() []string {
	return []string{"next", "left", "last", "passed", "unit", "activates", "machine", "state"}
}

// timerRow is one timer for programs.
type timerRow struct {
	Unit      string        `json:"unit"`
	Activates string        `json:"activates"`
	Machine   string        `json:"machine,omitempty"`
	State     cluster.State `json:"state"`
	Next      time.Time     `json:"next,omitzero"`
	Last      time.Time     `json:"last,omitzero"`
}

func (a *app) listTimersCommand() *cobra.Command {
	l := &listing{}
	all := false
	c := doc{
		use: "list-timers [UNIT...] [--all] [--full] [--no-legend]", short: "List timers with their next and last runs",
		long: `
Lists the timers that are armed, the next run first.`,
		example: `
  argosy list-timers
  argosy list-timers --all -o json`,
		exits: []int{exitOK, exitUsage, exitNoUnit, exitUnreachable},
	}.command()
	l.flags(c, "next,left,last,passed,unit,activates", timerFields())
	c.Flags().BoolVarP(&all, "all", "a", false, "also timers that are not armed")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		cols, d, err := l.open(a, timerFields())
		if err != nil {
			return err
		}
		timers, err := a.timers(c.Context(), d, args, all)
		if err != nil {
			return err
		}
		if !a.text() {
			return emitList(a, timers, timers)
		}
		if err := table(a, l, cols, timers, a.timerCell); err != nil || l.noLegend || a.quiet {
			return err
		}
		return a.print("\n" + plural(len(timers), "timer") + " listed.")
	}
	return c
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return itoa(n) + " " + word + "s"
}

func (a *app) timers(ctx context.Context, d door, args []string, all bool) ([]timerRow, error) {
	for i, arg := range args {
		if !knownSuffix(arg) {
			args[i] = arg + ".timer"
		}
	}
	if len(args) == 0 {
		args = nil
	}
	list, err := a.listed(ctx, d, args)
	if err != nil {
		return nil, err
	}
	timers := []timerRow{}
	for _, u := range list.Units {
		if !strings.HasSuffix(u.Unit, ".timer") || u.Template {
			continue
		}
		if u.Desired != cluster.Launched && !all && len(args) == 0 {
			continue
		}
		t := timerRow{Unit: u.Unit, Machine: u.Machine, State: u.State, Activates: strings.TrimSuffix(u.Unit, ".timer") + ".service"}
		if u.Status != nil {
			t.Next, t.Last = u.Status.Next, u.Status.Last
		}
		if detail, err := d.Unit(ctx, u.Unit); err == nil {
			t.Activates = activates(u.Unit, detail.Text, t.Activates)
		}
		timers = append(timers, t)
	}
	slices.SortStableFunc(timers, func(x, y timerRow) int {
		switch {
		case x.Next.IsZero() != y.Next.IsZero():
			if x.Next.IsZero() {
				return 1
			}
			return -1
		case !x.Next.Equal(y.Next):
			return x.Next.Compare(y.Next)
		}
		return show.CompareNames(x.Unit, y.Unit)
	})
	return timers, nil
}

// activates is Unit= of a timer.
func activates(name, text, otherwise string) string {
	u, err := unit.Load(unit.Name(name), []byte(text), nil, unit.Host{})
	if err != nil || u.Timer == nil || u.Timer.Unit == "" {
		return otherwise
	}
	return u.Timer.Unit
}

func (a *app) timerCell(t timerRow, col string) show.Cell {
	switch col {
	case "next":
		return show.Cell{Text: stamp(t.Next)}
	case "left":
		if t.Next.IsZero() {
			return show.Cell{}
		}
		return show.Cell{Text: show.Ago(t.Next.Sub(a.now())) + " left"}
	case "last":
		return show.Cell{Text: stamp(t.Last)}
	case "passed":
		if t.Last.IsZero() {
			return show.Cell{}
		}
		return show.Cell{Text: ago(a.now(), t.Last) + " ago"}
	case "unit":
		return show.Cell{Text: t.Unit}
	case "activates":
		return show.Cell{Text: t.Activates}
	case "machine":
		return show.Cell{Text: t.Machine}
	case "state":
		_, tone := show.Style{}.Mark(t.State)
		return show.Cell{Text: string(t.State), Tone: tone}
	}
	return show.Cell{}
}

// stamp writes a time as systemctl does: Sun 2026-11-22 14:02:07 UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("Mon 2006-01-02 15:04:05 MST")
}
