package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// maxPlanLines bounds the units of one kind that are named on the screen; -o json has all.
const maxPlanLines = 50

func (a *app) planCommand() *cobra.Command {
	var q wire.PlanRequest
	var add []string
	c := doc{
		use: "plan [--lose MACHINES]... [--drain MACHINE]... [--add cpu=4,memory=8G]...", short: "What would happen if machines were lost, drained or added",
		long: `
Asks the planner that places units, and changes nothing: which units would move where, which would find no machine, and
why. Machines are named by name, id, or metadata: --lose zone=a is every machine of zone a. --add takes cpu, memory and
disk, n for several alike, and any other KEY=VALUE as metadata. Several questions are one: all at once.

Ends with 0 when every unit has a machine afterwards and drained machines are empty but for global units, else with 11.`,
		example: `
  argosy plan --lose zone=a
  argosy plan --drain m3
  argosy plan --lose m1 --add cpu=4,memory=8G,n=2,zone=b`,
		exits: []int{exitOK, exitFailed, exitUsage, exitNoRoom, exitUnreachable, exitNotAllowed},
	}.command()
	f := c.Flags()
	f.StringSliceVar(&q.Lose, "lose", nil, "machines that die: a name, an id, or KEY=VALUE")
	f.StringSliceVar(&q.Drain, "drain", nil, "machines that are drained, named in the same way")
	f.StringArrayVar(&add, "add", nil, "a machine that comes: cpu=4,memory=8G,disk=100G,n=2,zone=b")
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		for _, text := range add {
			m, err := addedMachine(text)
			if err != nil {
				return err
			}
			q.Add = append(q.Add, m)
		}
		if len(q.Lose)+len(q.Drain)+len(q.Add) == 0 {
			return usagef("argosy help plan shows examples", "plan needs --lose, --drain or --add")
		}
		d, err := a.desk()
		if err != nil {
			return err
		}
		p, err := d.Plan(c.Context(), q)
		if err != nil {
			return err
		}
		if a.text() {
			err = a.printAll(planLines(a.outStyle(), p))
		} else {
			err = a.emit(p)
		}
		if err == nil && !p.Fits {
			err = exitWith(exitNoRoom)
		}
		return err
	}
	return c
}

// addedMachine reads --add.
func addedMachine(text string) (wire.AddMachine, error) {
	m := wire.AddMachine{Metadata: map[string]string{}}
	bad := func(word string) error {
		return usagef("as in --add cpu=4,memory=8G,n=2,zone=b", "--add %s: %q cannot be read", text, word)
	}
	for word := range strings.SplitSeq(text, ",") {
		k, v, pair := strings.Cut(strings.TrimSpace(word), "=")
		if !pair || k == "" {
			return m, bad(word)
		}
		var err error
		switch k {
		case "cpu":
			m.Resources.CPU, err = amount(k, v)
		case "memory":
			m.Resources.Memory, err = amount(k, v)
		case "disk":
			m.Resources.Disk, err = amount(k, v)
		case "n":
			m.Count, err = strconv.Atoi(v)
			if m.Count < 1 {
				return m, bad(word)
			}
		default:
			m.Metadata[k] = v
		}
		if err != nil {
			return m, bad(word)
		}
	}
	if m.Resources.Disk == 0 {
		m.Resources.Disk = 1 << 50 // Not what the question is about.
	}
	return m, nil
}

func planLines(s show.Style, p *wire.PlanAnswer) []string {
	var lines []string
	for _, m := range p.Machines {
		line := show.Clean(m.Machine) + " " + m.What + ": " + plural(m.Units, "unit")
		if m.What == "added" {
			line += ", " + reason.CPU(m.Room.CPU) + " cpu and " + reason.Bytes(m.Room.Memory) + " left"
		}
		lines = append(lines, line)
	}
	lines = append(lines, moveLines(s, p.Moves)...)
	lines = append(lines, whyLines(s, p.Homeless, "no machine")...)
	lines = append(lines, whyLines(s, p.Stays, "stays")...)
	homeless := 0
	for _, m := range p.Homeless {
		if m.From != "" {
			homeless++
		}
	}
	end := plural(len(p.Moves), "unit") + " would come to another machine, " + itoa(homeless) + " would lose theirs"
	if waiting := len(p.Homeless) - homeless; waiting > 0 {
		end += " (" + itoa(waiting) + " have none today and would get none)"
	}
	return append(lines, end+", "+itoa(p.Settled)+" would stay where they are")
}

// moveLines groups moves by where from and where to.
func moveLines(s show.Style, moves []wire.PlanMove) []string {
	type way struct{ from, to string }
	units := map[way][]string{}
	for _, m := range moves {
		units[way{m.From, m.To}] = append(units[way{m.From, m.To}], m.Unit)
	}
	ways := slices.SortedFunc(maps.Keys(units), func(a, b way) int {
		return strings.Compare(a.from+"\x00"+a.to, b.from+"\x00"+b.to)
	})
	var lines []string
	for _, w := range ways {
		from := w.from
		if from == "" {
			from = "nowhere"
		}
		lines = append(lines, "  "+show.Clean(from)+" "+s.Arrow()+" "+show.Clean(w.to)+"  "+show.Names(units[w]))
	}
	return lines
}

// whyLines names units with the reason, once for those that have the same one.
func whyLines(s show.Style, moves []wire.PlanMove, word string) []string {
	var order []string
	units, first := map[string][]string{}, map[string]wire.PlanMove{}
	for _, m := range moves {
		why := "nothing is in its way, it only was not moved yet"
		if m.Why != nil {
			why = m.Why.Message
		}
		if units[why] == nil {
			order, first[why] = append(order, why), m
		}
		units[why] = append(units[why], m.Unit)
	}
	var lines []string
	for n, why := range order {
		if n == maxPlanLines {
			lines = append(lines, "  and "+itoa(len(order)-n)+" more reasons: -o json has them all")
			break
		}
		mark, m := s.Paint(show.Bad, s.Cross()), first[why]
		if m.Why != nil && m.Why.Reason.Cure() == reason.Fine {
			mark = s.Dot()
		}
		lines = append(lines, mark+" "+show.Names(units[why])+"  "+word+": "+show.Clean(why))
		if m.Why != nil && m.Why.Hint != "" && mark != s.Dot() {
			lines = append(lines, "    "+s.Arrow()+" "+show.Clean(m.Why.Hint))
		}
	}
	return lines
}
