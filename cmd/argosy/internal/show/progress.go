package show

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// MaxInstanceLines is up to how many units a terminal gets one line each; above it there is one line per machine and
// one for each unit that is in trouble.
const MaxInstanceLines = 24

// Standing is where a unit stands with what was asked of it.
type Standing int

// The standings.
const (
	Pending Standing = iota
	Met              // What was asked for is so.
	Missed           // It will not become so by itself.
)

// Progress is what is known of units while somebody waits for them.
type Progress struct {
	title string // "start web@{1..10}"
	good  string // What was asked for: "healthy".
	began time.Time
	names []string
	items map[string]*item
	fresh []string // Units whose change was not told yet, in order.
}

type item struct {
	answer   cluster.Answer
	seen     bool
	standing Standing
	at       time.Duration // When the standing was reached.
	changed  time.Duration // When what the last line says came about.
	told     string        // What the last line about it said, so that nothing is said twice.
}

// NewProgress begins to watch units. Title is what was asked ("start web@{1..10}"), good the word for success ("healthy").
func NewProgress(title, good string, units []string, began time.Time) *Progress {
	p := &Progress{title: title, good: good, began: began, names: slices.Clone(units), items: map[string]*item{}}
	slices.SortFunc(p.names, CompareNames)
	for _, n := range p.names {
		p.items[n] = &item{}
	}
	return p
}

// See takes a unit's answer in and where it stands with what was asked.
func (p *Progress) See(a cluster.Answer, st Standing, at time.Time) {
	it := p.items[a.Unit]
	if it == nil {
		return
	}
	if it.standing != st || !it.seen {
		it.at = at.Sub(p.began)
	}
	it.answer, it.standing, it.seen = a, st, true
	if key := changeKey(a, st); key != it.told {
		it.told, it.changed = key, at.Sub(p.began)
		if !slices.Contains(p.fresh, a.Unit) {
			p.fresh = append(p.fresh, a.Unit)
		}
	}
}

// changeKey is what makes a line worth its place: steps of a start are not, tries and reasons are.
func changeKey(a cluster.Answer, st Standing) string {
	key := fmt.Sprintf("%s/%s/%d", a.State, a.Machine, st)
	if a.State == cluster.Starting || a.Reason == nil {
		return key
	}
	tries := 0
	if a.Status != nil && a.State == cluster.BackingOff {
		tries = a.Status.Tries
	}
	return fmt.Sprintf("%s/%s/%d", key, a.Reason.Code, tries)
}

// Counts says how many units are as asked, will not become so, and are still on their way.
func (p *Progress) Counts() (met, missed, pending int) {
	for _, it := range p.items {
		switch it.standing {
		case Met:
			met++
		case Missed:
			missed++
		case Pending:
			pending++
		}
	}
	return met, missed, pending
}

// NewLines gives the append-only lines of everything that changed since the last call: elapsed time first, one line
// for all units that changed in the same way.
func (p *Progress) NewLines(s Style) []string {
	type group struct {
		units []string
		at    time.Duration
		text  string
	}
	var groups []*group
	byText := map[string]*group{}
	for _, u := range p.fresh {
		it := p.items[u]
		text := changeText(s, it, p.good)
		g := byText[text]
		if g == nil {
			g = &group{text: text}
			byText[text] = g
			groups = append(groups, g)
		}
		g.units = append(g.units, u)
		g.at = max(g.at, it.changed)
	}
	p.fresh = nil
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(a.at, b.at) })
	out := make([]string, 0, len(groups))
	for _, g := range groups {
		out = append(out, fmt.Sprintf("%s  %s %s", Elapsed(g.at), Names(g.units), g.text))
	}
	return out
}

// Elapsed is the first column of append-only lines.
func Elapsed(d time.Duration) string { return fmt.Sprintf("+%.1fs", d.Seconds()) }

func changeText(s Style, it *item, good string) string {
	a := it.answer
	on := ""
	if a.Machine != "" {
		on = " " + Clean(a.Machine)
	}
	switch {
	case it.standing == Missed:
		code := string(a.State)
		if a.Reason != nil {
			code = string(a.Reason.Code)
		}
		return s.Paint(Bad, s.Cross()+" "+code) + on + ": " + Clean(a.Message)
	case it.standing == Met && good != string(cluster.Healthy): // Asked to be stopped, loaded, destroyed.
		return s.Paint(Good, good) + on
	case it.standing == Met:
		return s.Paint(Good, string(a.State)) + on
	case a.State == cluster.Starting:
		return "starting" + on
	case a.Message == "":
		return string(a.State) + on
	}
	return s.Paint(Busy, string(a.State)) + on + ": " + Clean(a.Message)
}

// Heartbeat is the line that says that nothing new is known, and what is waited for.
func (p *Progress) Heartbeat(s Style, now time.Time) string {
	met, missed, _ := p.Counts()
	line := fmt.Sprintf("%s  %d/%d %s", Elapsed(now.Sub(p.began)), met, len(p.names), p.good)
	if missed > 0 {
		line += fmt.Sprintf(", %d failed", missed)
	}
	if w := p.waiting(); w != "" {
		line += ", waiting for " + w
	}
	return line
}

// waiting names what is still on its way, bounded.
func (p *Progress) waiting() string {
	var names []string
	for _, n := range p.names {
		if p.items[n].standing == Pending {
			names = append(names, n)
		}
	}
	const most = 12
	if len(names) > most {
		return fmt.Sprintf("%d units", len(names))
	}
	return Names(names)
}

// Lines draws the present for a terminal of a width and a height.
func (p *Progress) Lines(s Style, width, height int, now time.Time) []string {
	met, missed, _ := p.Counts()
	head := s.Paint(Strong, p.title)
	if n := len(p.names); n > 1 {
		head += s.Paint(Faint, fmt.Sprintf("  %s %d units", s.Dot(), n))
		if r := p.refused(); r > 0 {
			head += s.Paint(Faint, fmt.Sprintf(" %s room for %d", s.Dot(), n-r))
		}
	}
	out := []string{head}
	if len(p.names) <= MaxInstanceLines && len(p.names)+3 <= max(height, 4) {
		out = append(out, p.instanceLines(s, now)...)
	} else {
		out = append(out, p.machineLines(s, max(height-4, 4))...)
	}
	foot := fmt.Sprintf("%d of %d %s", met, len(p.names), p.good)
	if missed > 0 {
		foot += ", " + s.Paint(Bad, fmt.Sprintf("%d failed", missed))
	}
	return append(out, foot+s.Paint(Faint, "  "+Took(now.Sub(p.began))))
}

// refused counts the units that no machine has room for or may take.
func (p *Progress) refused() int {
	n := 0
	for _, it := range p.items {
		if it.seen && it.answer.State == cluster.Unplaced {
			n++
		}
	}
	return n
}

func (p *Progress) instanceLines(s Style, now time.Time) []string {
	nameW, machineW, stateW := 0, 1, len("healthy")
	for _, n := range p.names {
		a := p.items[n].answer
		nameW = max(nameW, Width(Name(n)))
		machineW = max(machineW, Width(Clean(a.Machine)))
		stateW = max(stateW, len(stateWord(a)))
	}
	out := make([]string, 0, len(p.names))
	for _, n := range p.names {
		it := p.items[n]
		a := it.answer
		mark, tone := s.Mark(a.State)
		if !it.seen {
			mark, tone = s.sign("◌", "."), Faint
		}
		machine := Clean(a.Machine)
		if machine == "" {
			machine = s.Dash()
		}
		took := now.Sub(p.began)
		if it.standing != Pending {
			took = it.at
		}
		line := "  " + Pad(Name(n), nameW) + "  " + Pad(machine, machineW) + "  " + s.Paint(tone, mark+" "+stateWord(a)) +
			strings.Repeat(" ", stateW-len(stateWord(a))) + "  " + s.Paint(Faint, Pad(Took(took), 5))
		if d := detail(it); d != "" {
			line += "  " + d
		}
		out = append(out, strings.TrimRight(line, " "))
	}
	return out
}

// stateWord is the state, or the reason's words for it where they say more.
func stateWord(a cluster.Answer) string {
	switch {
	case a.State == "":
		return "asked"
	case a.Reason == nil:
		return string(a.State)
	}
	switch a.State { //nolint:exhaustive // The others are their own best word.
	case cluster.Failed, cluster.Failing, cluster.Unplaced, cluster.Unhealthy, cluster.CrashLooping:
		return a.Reason.Short()
	}
	return string(a.State)
}

// detail is what there is to say about a unit that is not as asked.
func detail(it *item) string {
	a := it.answer
	if it.standing == Met || a.Reason == nil {
		return ""
	}
	if a.Reason.Code == reason.NotTaken || a.Reason.Code == reason.Loading {
		return ""
	}
	return present(a)
}

// present is an answer's sentence without the numbers that were only so in the moment in which it was written.
func present(a cluster.Answer) string {
	if a.Reason == nil {
		return Clean(a.Message)
	}
	switch a.Reason.Code { //nolint:exhaustive // Every other sentence stays true.
	case reason.BackingOff:
		tries := ""
		if a.Status != nil && a.Status.Tries > 0 {
			tries = fmt.Sprintf("tried %d×: ", a.Status.Tries)
		}
		return tries + Clean(a.Reason.Str("last"))
	case reason.Settling:
		return "runs; healthy after " + reason.Span(a.Reason.Int("of")) + " without trouble"
	}
	return Clean(a.Message)
}

// machineLines draws one line per machine and one per unit in trouble, at most limit lines.
func (p *Progress) machineLines(s Style, limit int) []string {
	counts := map[string]map[cluster.State]int{}
	var troubled []string
	for _, n := range p.names {
		it := p.items[n]
		m := Clean(it.answer.Machine)
		if counts[m] == nil {
			counts[m] = map[cluster.State]int{}
		}
		counts[m][it.answer.State]++
		if it.standing == Missed || it.answer.State == cluster.BackingOff {
			troubled = append(troubled, n)
		}
	}
	machines := make([]string, 0, len(counts))
	nameW := 1
	for m := range counts {
		machines = append(machines, m)
		nameW = max(nameW, Width(m))
	}
	slices.SortFunc(machines, func(a, b string) int { // Units on no machine last.
		return cmp.Or(boolInt(a == "")-boolInt(b == ""), CompareNames(a, b))
	})
	out := make([]string, 0, limit)
	for _, m := range machines {
		name := m
		if m == "" {
			name = s.Dash()
		}
		out = append(out, "  "+Pad(name, nameW)+"  "+countWords(s, counts[m]))
	}
	if len(out) > limit/2+1 {
		rest := len(out) - limit/2
		out = append(out[:limit/2], s.Paint(Faint, fmt.Sprintf("  and %d more machines", rest)))
	}
	return append(out, p.troubleLines(s, troubled, limit-len(out))...)
}

// troubleLines gives the units in trouble, those alike on one line.
func (p *Progress) troubleLines(s Style, units []string, limit int) []string {
	var out []string
	for _, g := range groupBy(units, func(n string) string {
		a := p.items[n].answer
		if a.Reason == nil {
			return string(a.State)
		}
		return string(a.State) + "/" + string(a.Reason.Code)
	}) {
		if len(out) >= limit {
			break
		}
		it := p.items[g[0]]
		mark, tone := s.Mark(it.answer.State)
		names := Names(g)
		if Width(names) > 30 {
			names = fmt.Sprintf("%s and %d more", Name(g[0]), len(g)-1)
		}
		out = append(out, "  "+s.Paint(tone, mark+" "+stateWord(it.answer))+"  "+names+"  "+Clean(it.answer.Message))
	}
	return out
}

func countWords(s Style, counts map[cluster.State]int) string {
	var parts []string
	states := append(cluster.States(), "")
	for _, st := range states {
		n := counts[st]
		if n == 0 {
			continue
		}
		mark, tone := s.Mark(st)
		word := string(st)
		if st == "" {
			mark, tone, word = s.sign("◌", "."), Faint, "asked"
		}
		parts = append(parts, s.Paint(tone, fmt.Sprintf("%s %d %s", mark, n, word)))
	}
	return strings.Join(parts, "  ")
}

// groupBy puts those with the same key together, in the order of their first.
func groupBy[T any](list []T, key func(T) string) [][]T {
	var out [][]T
	at := map[string]int{}
	for _, v := range list {
		k := key(v)
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], v)
	}
	return out
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
