package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/unit"
)

// Bounds of following.
const (
	maxJournals    = 100 // Units in one call.
	journalsAtOnce = 8   // Asked at the same time for what there is.
	linesAhead     = 1024
	journalLines   = 100
)

func (a *app) journalCommand() *cobra.Command {
	var q journalQuery
	var since string
	q.Lines = -1
	c := doc{
		use: "journal UNIT... [-n LINES] [-f] [--previous] [--since=TIME] [--machine=MACHINE]", short: "What units wrote, from wherever they run",
		long: `
Shows the log lines of units: standard output, standard error, and what the machine says about them. Several units, and
a global unit's machines, are merged by time; each line has its unit and its machine where there are several.
--previous shows the run before the present one, which is where a crash is. Without -n, -f and --since it is the last
100 lines of each unit; -n 0 shows all that is kept.

A machine that does not answer is named on stderr with the units whose lines are missing, and the call ends with 1; the
rest is shown. -f goes where a unit goes: to another machine, over a restart of a machine's daemon, to another server
when the one that was asked dies; each is said on stderr. -o json and jsonl have these words as lines of the stream
"journal".

Every machine keeps what units wrote there, also when they have moved or were destroyed: --machine asks it, or several,
or all. --local reads this machine's, with every server away.`,
		example: `
  argosy journal web@4
  argosy journal -f 'web@*'
  argosy journal web@4 --previous -n 20
  argosy journal web@4 --since 10min
  argosy journal --machine m2 web@4      # what m2 still keeps of it
  argosy journal --machine all old.service
  argosy journal web@4 -o jsonl | jq -r .text`,
		exits: []int{exitOK, exitFailed, exitUsage, exitNoUnit, exitUnreachable, exitInterrupted},
	}.command()
	c.Aliases = []string{"logs"}
	f := c.Flags()
	f.IntVarP(&q.Lines, "lines", "n", -1, "the last so many lines; 0: all (default 100)")
	f.Lookup("lines").DefValue = "100"
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with new lines until ctrl-c")
	f.BoolVar(&q.Previous, "previous", false, "lines of the run before the present one")
	f.StringVar(&since, "since", "", "only lines since a time: 10min, 2h, 14:02, 2026-11-22 14:02:07")
	f.StringSliceVar(&q.Machines, "machine", nil, "what these machines keep, by name or id; all: every machine")
	a.localFlag(c)
	c.Args = atLeastOne("a unit")
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		if since != "" {
			t, err := parseSince(since, a.now())
			if err != nil {
				return err
			}
			q.Since = t
		}
		if q.Lines < 0 {
			q.Lines = journalLines
			if since != "" {
				q.Lines = 0
			}
			if q.Follow {
				q.Lines = 10
			}
		}
		d, err := a.connect()
		if err != nil {
			return err
		}
		answers, err := a.journalUnits(c.Context(), d, args, q)
		if err != nil {
			return err
		}
		if len(answers) > maxJournals {
			return usagef("name fewer units", "%d units are more than the %d that one call shows", len(answers), maxJournals)
		}
		return a.journal(c.Context(), d, answers, q)
	}
	return c
}

// journalUnits are the units that are named. Of a machine's journal a unit may be gone from the cluster.
func (a *app) journalUnits(ctx context.Context, d door, args []string, q journalQuery) ([]cluster.Answer, error) {
	if len(q.Machines) == 0 {
		return a.names(ctx, d, args, exitNoUnit)
	}
	words, err := expand(args)
	if err != nil {
		return nil, err
	}
	var out []cluster.Answer
	for _, w := range words {
		if !w.glob {
			out = append(out, cluster.Answer{Unit: w.name})
			continue
		}
		found, err := a.names(ctx, d, []string{w.arg}, exitNoUnit)
		if err != nil {
			return nil, err
		}
		for _, u := range found {
			out = append(out, cluster.Answer{Unit: u.Unit})
		}
	}
	return out, nil
}

// parseSince reads how long ago, or a time.
func parseSince(s string, now time.Time) (time.Time, error) {
	text := strings.TrimPrefix(strings.TrimSuffix(s, " ago"), "-")
	if span, err := unit.ParseSpan(text); err == nil && text != "" {
		return now.Add(-span), nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, usagef("such as 10min, 2h, 14:02, or 2026-11-22 14:02:07", "%q is not a time", s)
}

// journal merges the lines of units by time, from all machines; with -f it goes on.
func (a *app) journal(ctx context.Context, d door, units []cluster.Answer, q journalQuery) error {
	p := &journalPrinter{app: a, style: a.outStyle(), units: len(units) > 1, machines: onSeveral(units, q)}
	until, err := pastOfAll(ctx, d, units, q, p.line)
	if err != nil {
		return err
	}
	if err := p.missing(); err != nil && !q.Follow {
		return err
	}
	if !q.Follow {
		return nil
	}
	p.live = true
	return followAll(ctx, d, units, until, q, p)
}

// onSeveral tells whether lines of several machines are to be expected.
func onSeveral(units []cluster.Answer, q journalQuery) bool {
	on := map[string]bool{}
	for _, u := range units {
		if u.MachineID != "" {
			on[u.MachineID] = true
		}
		for _, st := range u.On {
			on[st.Machine] = true
		}
	}
	return len(on) > 1 || len(q.Machines) > 1 || slices.Contains(q.Machines, "all")
}

// journalPrinter writes lines as they come. What the cluster says about the journal itself goes to stderr as text, and
// into the stream for programs.
type journalPrinter struct {
	*app
	style    show.Style
	units    bool // Several: each line has its unit.
	machines bool // Several: each line has its machine.
	machine  string
	live     bool           // Words about the journal are said as they come.
	words    []cluster.Line // Else kept, to be said together.
}

func (p *journalPrinter) line(l cluster.Line) error {
	if !p.text() {
		if l.Stream == cluster.StreamJournal {
			p.words = append(p.words, l)
		}
		return p.emitStream(l)
	}
	if l.Stream == cluster.StreamJournal {
		if p.live {
			p.aside(l.Machine, l.Text, []string{l.Unit})
		} else {
			p.words = append(p.words, l)
		}
		return nil
	}
	if p.machine == "" {
		p.machine = l.Machine
	}
	p.machines = p.machines || l.Machine != p.machine && l.Machine != ""
	return p.print(journalLine(p.style, l, p.units, p.machines))
}

func (p *journalPrinter) aside(machine, text string, units []string) {
	s := p.errStyle()
	who := show.Clean(machine)
	if who != "" {
		who += " "
	}
	for i, u := range units {
		units[i] = show.Name(u)
	}
	p.note("%s", s.Paint(show.Busy, "! "+who)+show.Clean(text)+s.Paint(show.Faint, " ("+strings.Join(units, " ")+")"))
}

// missing says which machines' lines are missing, each once with its units. Its error ends a call that wanted all.
func (p *journalPrinter) missing() error {
	type word struct{ machine, text string }
	units := map[word][]string{}
	var order []word
	for _, l := range p.words {
		w := word{l.Machine, l.Text}
		if units[w] == nil {
			order = append(order, w)
		}
		units[w] = append(units[w], l.Unit)
	}
	p.words = nil
	if p.text() {
		for _, w := range order {
			p.aside(w.machine, w.text, units[w])
		}
	}
	if len(order) > 0 {
		return exitWith(exitFailed)
	}
	return nil
}

// mark is how far a unit's lines were told: the last time on each machine.
type mark map[string]time.Time

// overlap is how far back a follow asks again after a break when several machines' clocks are in play.
const overlap = time.Minute

// since is from when on lines have to be asked for again; those that were told already are left out by has.
func (m mark) since() time.Time {
	var first, last time.Time
	for _, t := range m {
		if first.IsZero() || t.Before(first) {
			first = t
		}
		if t.After(last) {
			last = t
		}
	}
	if last.Sub(first) > overlap {
		first = last.Add(-overlap)
	}
	if first.IsZero() {
		return first
	}
	return first.Add(time.Nanosecond)
}

// has tells whether a line was told before.
func (m mark) has(l cluster.Line) bool {
	t, ok := m[l.Machine]
	return ok && l.Stream != cluster.StreamJournal && !l.At.After(t)
}

// take notes a line that is told.
func (m mark) take(l cluster.Line) {
	if l.Stream != cluster.StreamJournal && l.At.After(m[l.Machine]) {
		m[l.Machine] = l.At
	}
}

// pastOfAll tells the lines that several units have written, in the order of their times, and gives how far each one's
// were told. A unit whose lines nobody can give costs those lines, unless it is the only one.
func pastOfAll(ctx context.Context, d door, units []cluster.Answer, q journalQuery, tell func(cluster.Line) error) (until map[string]mark, err error) {
	follow := q.Follow
	q.Follow = false
	until = make(map[string]mark, len(units))
	each, errs := make([][]cluster.Line, len(units)), make([]error, len(units))
	var wg sync.WaitGroup
	turn := make(chan struct{}, journalsAtOnce)
	for i, u := range units {
		until[u.Unit] = mark{}
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			errs[i] = d.Journal(ctx, u.Unit, q, func(l cluster.Line) error {
				each[i] = append(each[i], l)
				return nil
			})
		})
	}
	wg.Wait()
	var all []cluster.Line
	for i, u := range units {
		if err := errs[i]; err != nil {
			if transient(err) && ctx.Err() == nil && (len(units) > 1 || follow) {
				all = append(all, cluster.Line{At: time.Now(), Unit: u.Unit, Stream: cluster.StreamJournal, Text: "its lines are missing: " + err.Error()})
			} else {
				return nil, fmt.Errorf("journal of %s: %w", u.Unit, err)
			}
		}
		for _, l := range each[i] {
			until[u.Unit].take(l)
		}
		all = append(all, each[i]...)
	}
	slices.SortStableFunc(all, func(x, y cluster.Line) int { return x.At.Compare(y.At) })
	for _, l := range all {
		if err := tell(l); err != nil {
			return nil, err
		}
	}
	return until, nil
}

// journalLine writes a line as journalctl does: time, the machine and the unit where several are shown, the process, the
// text.
func journalLine(s show.Style, l cluster.Line, withUnit, withMachine bool) string {
	who := ""
	if withUnit {
		who = show.Name(l.Unit)
	}
	if withMachine && l.Machine != "" {
		who = strings.TrimSuffix(show.Clean(l.Machine)+" "+who, " ")
	}
	if l.PID > 0 {
		who += fmt.Sprintf("[%d]", l.PID)
	}
	if who != "" {
		who += ": "
	}
	text := show.Clean(l.Text)
	if l.Stream == "argosy" {
		text = s.Paint(show.Strong, text)
	}
	return s.Paint(show.Faint, l.At.Local().Format("Jan 02 15:04:05.000")+" "+who) + text
}
