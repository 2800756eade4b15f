package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Bounds of the overview.
const (
	maxTroubles   = 20
	maxChanges    = 3
	recentEvents  = 2 * eventPage // What is looked through for them: one call may start hundreds of units.
	statusLogTail = 10
)

func (a *app) statusCommand() *cobra.Command {
	lines := statusLogTail
	c := doc{
		use: "status [UNIT...] [-n LINES] [--local]", short: "What needs you; with UNIT: what is so of it, as systemctl status",
		long: `
Without a unit: one line about the cluster, then every unit that needs somebody, with its reason, and the last changes
that people made. Ends with 0 when all is well and with 1 when something needs you.

With units: for each where it runs, its state with the reason, since when, its process, what the machine does not honour
of its unit file, and its last log lines. Ends with 3 when one of them is not active.

Any machine's socket, and any server, shows the whole cluster. --local shows what the machine at the socket knows
itself, with every server away: on an agent its own units as they are now; on a server the cluster as it last read it.`,
		example: `
  argosy status
  argosy status web@4
  argosy status 'web@*' -n 0
  argosy status --local                  # this machine, also when no server answers
  argosy status -o json`,
		exits: []int{exitOK, exitFailed, exitUsage, exitNotActive, exitNoUnit, exitUnreachable},
	}.command()
	c.Flags().IntVarP(&lines, "lines", "n", lines, "how many log lines to show")
	a.localFlag(c)
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.connect()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return a.overview(c.Context(), d)
		}
		return a.unitStatus(c.Context(), d, args, lines)
	}
	return c
}

// overviewOut is the overview for programs.
type overviewOut struct {
	Schema   string               `json:"schema"`
	Verdict  string               `json:"verdict"` // good or degraded.
	Units    int                  `json:"units"`
	Wanted   int                  `json:"wanted"`
	Healthy  int                  `json:"healthy"`
	Troubles []cluster.Answer     `json:"troubles"`
	Machines []wire.MachineDetail `json:"machines"`
}

// look gathers the overview.
func (a *app) look(ctx context.Context, d door) (overviewOut, error) {
	units, err := d.Units(ctx)
	if err != nil {
		return overviewOut{}, err
	}
	machines, err := d.Machines(ctx)
	if err != nil {
		return overviewOut{}, err
	}
	o := overviewOut{Schema: "argosy/status/v1", Verdict: "good", Troubles: []cluster.Answer{}, Machines: machines.Machines}
	for _, u := range units.Units {
		if u.Template {
			continue
		}
		o.Units++
		if u.Desired == cluster.Launched {
			o.Wanted++
			if u.State == cluster.Healthy || u.State == cluster.FinishedOK {
				o.Healthy++
			}
		}
		if inTrouble(u) {
			o.Troubles = append(o.Troubles, u)
		}
	}
	slices.SortStableFunc(o.Troubles, func(x, y cluster.Answer) int { return show.CompareNames(x.Unit, y.Unit) })
	if len(o.Troubles) > 0 || machinesInTrouble(o.Machines) {
		o.Verdict = "degraded"
	}
	return o, nil
}

// inTrouble tells whether a unit needs somebody.
func inTrouble(u cluster.Answer) bool {
	switch u.State { //nolint:exhaustive // The others need nobody.
	case cluster.Failed, cluster.Failing, cluster.CrashLooping, cluster.Unhealthy, cluster.Unplaced, cluster.Lost, cluster.BackingOff:
		return u.Desired != cluster.Inactive || u.State == cluster.Lost
	}
	return false
}

func machinesInTrouble(machines []wire.MachineDetail) bool {
	for _, m := range machines {
		if !m.Alive || slices.ContainsFunc(m.Conditions, func(c cluster.Condition) bool { return c.NoNew }) {
			return true
		}
	}
	return false
}

func (a *app) overview(ctx context.Context, d door) error {
	o, err := a.look(ctx, d)
	if err != nil {
		return err
	}
	if !a.text() {
		err = a.emit(o)
	} else {
		err = a.printAll(a.overviewLines(ctx, d, o))
	}
	if err != nil {
		return err
	}
	if o.Verdict != "good" {
		return exitWith(exitFailed)
	}
	return nil
}

func (a *app) overviewLines(ctx context.Context, d door, o overviewOut) []string {
	s := a.outStyle()
	width := a.width(a.stdout)
	facts := []string{plural(len(o.Machines), "machine"), fmt.Sprintf("%s, %d of %d wanted healthy", plural(o.Units, "unit"), o.Healthy, o.Wanted)}
	if r := roomLeft(o.Machines); r != "" {
		facts = append(facts, r)
	}
	head := s.Paint(show.Good, s.Dot()+" good")
	if mark, _ := s.Mark(cluster.Healthy); mark != "" {
		head = s.Paint(show.Good, mark+" good")
	}
	if n := len(o.Troubles); n > 0 {
		head = s.Paint(show.Bad, s.Cross()+" degraded: "+plural(n, "unit")+map[bool]string{true: " needs you", false: " need you"}[n == 1])
	} else if o.Verdict != "good" {
		head = s.Paint(show.Bad, s.Cross()+" degraded")
	}
	out := show.Wrap(head+"  "+strings.Join(facts, " "+s.Dot()+" "), width, "    ")
	out = append(out, a.troubleTable(s, o, width)...)
	for _, m := range o.Machines {
		out = append(out, machineTroubles(s, m)...)
	}
	if changes := a.lastChanges(ctx, d); len(changes) > 0 {
		out = append(out, s.Paint(show.Faint, "last changes"))
		for _, l := range changes {
			out = append(out, s.Cut("  "+l, width))
		}
	}
	if o.Units == 0 {
		out = append(out, s.Paint(show.Faint, "hint:")+" argosy start FILE.service starts the first unit")
	}
	return out
}

func (a *app) troubleTable(s show.Style, o overviewOut, width int) []string {
	if len(o.Troubles) == 0 {
		return nil
	}
	t := show.Table{Header: make([]string, 6)}
	for i, u := range o.Troubles {
		if i == maxTroubles {
			break
		}
		mark, tone := s.Mark(u.State)
		short := string(u.State)
		if u.Reason != nil {
			short = u.Reason.Short()
		}
		machine := u.Machine
		if machine == "" {
			machine = s.Dash()
		}
		t.Rows = append(t.Rows, []show.Cell{
			{Text: mark, Tone: tone},
			{Text: show.Name(u.Unit)},
			{Text: machine},
			{Text: short, Tone: tone},
			{Text: ago(a.now(), u.Since), Tone: show.Faint},
			{Text: u.Message},
		})
	}
	lines := t.Lines(s, max(width-2, 0), false)
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	if n := len(o.Troubles) - maxTroubles; n > 0 {
		lines = append(lines, s.Paint(show.Faint, fmt.Sprintf("  and %d more: argosy list-units", n)))
	}
	return append(lines, "  "+s.Paint(show.Faint, s.Arrow()+" argosy why "+show.Name(o.Troubles[0].Unit)))
}

func machineTroubles(s show.Style, m wire.MachineDetail) []string {
	var out []string
	name := show.Clean(machineName(m))
	if !m.Alive {
		out = append(out, "  "+s.Paint(show.Bad, s.Cross()+" "+name)+"  machine does not answer")
	}
	if m.Cordoned {
		out = append(out, "  "+s.Paint(show.Busy, "! "+name)+"  cordoned: takes no new units")
	}
	for _, c := range m.Conditions {
		text := c.Kind
		if c.Reason != nil {
			text = c.Reason.Message()
		}
		out = append(out, "  "+s.Paint(show.Busy, "! "+name)+"  "+show.Clean(text))
	}
	return out
}

// roomLeft adds up what may still be promised, and names the largest hole: a unit has to fit into one machine.
func roomLeft(machines []wire.MachineDetail) string {
	var memory, cpu, hole int64
	where := ""
	for _, m := range machines {
		if !m.Alive || m.Cordoned {
			continue
		}
		free := max(0, m.Allocatable.Memory-m.Promised.Memory)
		memory += free
		cpu += max(0, m.Allocatable.CPU-m.Promised.CPU)
		if free > hole || where == "" {
			hole, where = free, machineName(m)
		}
	}
	if where == "" {
		return ""
	}
	text := fmt.Sprintf("room left %s memory, %s cpu", reason.Bytes(memory), reason.CPU(cpu))
	if len(machines) > 1 {
		text += fmt.Sprintf(" (largest hole %s on %s)", reason.Bytes(hole), show.Clean(where))
	}
	return text
}

// lastChanges are the last things that people asked for; history that does not answer is no trouble here.
func (a *app) lastChanges(ctx context.Context, d door) []string {
	var wishes []wire.Event
	err := d.Events(ctx, eventQuery{Last: recentEvents}, func(e wire.Event) error {
		if e.Kind == wire.EventWish {
			wishes = append(wishes, e)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	changes := foldWishes(wishes)
	out := make([]string, 0, maxChanges)
	for _, c := range changes[:min(len(changes), maxChanges)] {
		line := show.Names(c.units) + "  " + show.Clean(c.Message)
		if c.Who != "" && !strings.Contains(c.Message, c.Who) {
			line += "  by " + show.Clean(c.Who)
		}
		out = append(out, line+"  "+ago(a.now(), c.At)+" ago")
	}
	return out
}

// change is what one call asked of several units.
type change struct {
	wire.Event // Of the last of them.
	units      []string
}

// foldWishes makes one change of what one call asked for, which comes as one event per unit: those of one second, one
// person and one sentence. The newest is first.
func foldWishes(wishes []wire.Event) []*change {
	var out []*change
	for _, e := range slices.Backward(wishes) {
		i := slices.IndexFunc(out, func(c *change) bool {
			return c.Who == e.Who && c.Message == e.Message && c.At.Sub(e.At) < time.Second
		})
		if i < 0 {
			out, i = append(out, &change{Event: e}), len(out)
		}
		out[i].units = append(out[i].units, e.Unit)
	}
	return out
}
