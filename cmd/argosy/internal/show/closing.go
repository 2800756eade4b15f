package show

import (
	"fmt"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// Bounds of the closing block.
const (
	maxFailures   = 12 // Blocks of failures; units that fail alike share one.
	maxLogLines   = 5
	maxCandidates = 3 // Nearest misses of a placement.
	maxWhyNames   = 4
	maxWarnings   = 5
)

// Close is what a command has to say at its end.
type Close struct {
	Good    string // The word for success: "healthy".
	Wanted  int
	Met     int
	Took    time.Duration
	Failed  []cluster.Answer // In the order of their names.
	Pending []cluster.Answer // Neither, when the wait ended.
	OK      []cluster.Answer // For what has to be said about units that are well: limits that are not enforced.
	Words   []Words          // What finished units wrote to standard error.
	End     string           // Why the wait ended early: "no verdict within 5min"; empty when it did not.
}

// Words are the last lines that a finished unit wrote to its standard error.
type Words struct {
	Unit  string
	Lines []string
	More  int // Lines before them.
}

// Lines draws the closing block: each failure with its cause, evidence, last words and what can be done; then the count.
func (c Close) Lines(s Style, width int) []string {
	var out []string
	groups := groupBy(c.Failed, failureKey)
	for i, g := range groups {
		if i == maxFailures {
			rest := 0
			for _, r := range groups[i:] {
				rest += len(r)
			}
			out = append(out, s.Paint(Bad, fmt.Sprintf("%s %d more failed otherwise", s.Cross(), rest)), "")
			break
		}
		out = append(out, Failure(s, width, g)...)
		out = append(out, "")
	}
	for _, g := range groupBy(c.Pending, failureKey) {
		out = append(out, pendingLine(s, width, g)...)
	}
	if len(c.Pending) > 0 {
		out = append(out, "")
	}
	out = append(out, c.warnings(s, width)...)
	out = append(out, c.words(s, width)...)
	return append(out, c.last(s)...)
}

func failureKey(a cluster.Answer) string {
	if a.Reason == nil {
		return string(a.State) + a.Message
	}
	// Units that fail alike share a block: the same code, and the same sentence but for its times and the unit's own name.
	return string(a.Reason.Code) + "/" + blur(strings.ReplaceAll(a.Message, Name(a.Unit), "@"))
}

// blur leaves digits out, so that "after 20ms" and "after 21ms" are the same failure.
func blur(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '.' {
			return -1
		}
		return r
	}, s)
}

// Failure draws one block about units that fail alike.
func Failure(s Style, width int, group []cluster.Answer) []string {
	a := group[0]
	units := make([]string, len(group))
	machines := []string{}
	seen := map[string]bool{}
	for i, g := range group {
		units[i] = g.Unit
		if g.Machine != "" && !seen[g.Machine] {
			seen[g.Machine] = true
			machines = append(machines, Clean(g.Machine))
		}
	}
	head := s.Paint(Bad, s.Cross()+" "+Names(units))
	if len(machines) > 0 {
		head += " on " + strings.Join(machines[:min(len(machines), 3)], ", ")
		if n := len(machines) - 3; n > 0 {
			head += fmt.Sprintf(" and %d more", n)
		}
	}
	if a.Reason != nil {
		head += ": " + s.Paint(Strong, a.Reason.Short())
		if code := string(a.Reason.Code); code != strings.ReplaceAll(a.Reason.Short(), " ", "-") {
			head += s.Paint(Faint, " ("+code+")")
		}
	}
	if a.Status != nil && a.Status.Tries > 1 {
		head += s.Paint(Faint, fmt.Sprintf(", %d tries", a.Status.Tries))
	}
	out := []string{s.Cut(head, width)}
	if a.Message != "" {
		out = append(out, Wrap("    "+Clean(a.Message), width, "    ")...)
	}
	out = append(out, candidates(s, width, a.Reason)...)
	out = append(out, logTail(s, width, a, len(group))...)
	if hint := Hint(a); hint != "" {
		out = append(out, Wrap("    "+s.Arrow()+" "+hint, width, "      ")...)
	}
	return out
}

// Hint is what can be done about an answer, with the unit's own name in it.
func Hint(a cluster.Answer) string {
	h := a.Hint
	if h == "" && a.Reason != nil {
		h = a.Reason.Hint()
	}
	return strings.ReplaceAll(Clean(h), "UNIT", Name(a.Unit))
}

// logTail gives the last lines that a failed run wrote.
func logTail(s Style, width int, a cluster.Answer, alike int) []string {
	if a.Status == nil || len(a.Status.LogTail) == 0 {
		return nil
	}
	lines := a.Status.LogTail
	lines = lines[max(0, len(lines)-maxLogLines):]
	var out []string
	if alike > 1 {
		out = append(out, s.Paint(Faint, "    last words of "+Name(a.Unit)+":"))
	}
	return append(out, barred(s, width, lines)...)
}

// barred are lines of a unit's own, each with a bar before it.
func barred(s Style, width int, lines []string) []string {
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		out = append(out, "    "+s.Paint(Faint, s.sign("│", "|")+" ")+s.Cut(Clean(l), max(width-6, 0)))
	}
	return out
}

// words tells of units that ended well what they complained of; those with the same words share them.
func (c Close) words(s Style, width int) []string {
	var order []string
	units, first := map[string][]string{}, map[string]Words{}
	for _, w := range c.Words {
		key := strings.Join(w.Lines, "\n")
		if units[key] == nil {
			order, first[key] = append(order, key), w
		}
		units[key] = append(units[key], w.Unit)
	}
	var out []string
	for _, key := range order {
		w := first[key]
		text := s.Paint(Busy, "!") + " " + Names(units[key]) + " ended well, but said on standard error:"
		out = append(out, Wrap(text, width, "    ")...)
		out = append(out, barred(s, width, w.Lines)...)
		if w.More > 0 {
			out = append(out, "    "+s.Arrow()+fmt.Sprintf(" argosy journal %s shows %d more", Name(w.Unit), w.More))
		}
		out = append(out, "")
	}
	return out
}

// candidates gives the nearest misses: which machines were looked at, what they have, and who holds it.
func candidates(s Style, width int, r *reason.Reason) []string {
	if r == nil || len(r.Candidates) == 0 {
		return nil
	}
	if len(r.Candidates) == 1 && len(r.Candidates[0].Because) == 1 && r.Candidates[0].Because[0].Code == r.Code {
		return nil // The sentence has said it.
	}
	var out []string
	for _, c := range r.Candidates[:min(len(r.Candidates), maxCandidates)] {
		parts := make([]string, 0, len(c.Because))
		for _, b := range c.Because {
			parts = append(parts, Clean(refusal(b)))
		}
		out = append(out, Wrap("    "+Clean(c.Machine)+"  "+strings.Join(parts, "; "), width, "        ")...)
	}
	if n := len(r.Candidates) - maxCandidates; n > 0 {
		out = append(out, s.Paint(Faint, fmt.Sprintf("    and %d more machines", n)))
	}
	return out
}

// refusal says shorter than the reason's sentence what one machine lacks: the machine's name is already there.
func refusal(r *reason.Reason) string {
	amount := reason.Bytes
	var what string
	switch r.Code {
	case reason.NoRoomMemory:
		what = "memory"
	case reason.NoRoomDisk:
		what = "disk"
	case reason.NoRoomCPU:
		amount, what = reason.CPU, "cpu"
	default: // Every other code has its own sentence.
		return r.Message()
	}
	text := fmt.Sprintf("%s %s free of %s", what, amount(r.Int("have")), amount(r.Int("capacity")))
	if h := r.Str("holders"); h != "" {
		text += " (" + h + ")"
	}
	return text
}

func pendingLine(s Style, width int, group []cluster.Answer) []string {
	units := make([]string, len(group))
	for i, g := range group {
		units[i] = g.Unit
	}
	a := group[0]
	mark, tone := s.Mark(a.State)
	text := s.Paint(tone, mark) + " " + Names(units) + " " + string(a.State)
	if d := present(a); d != "" {
		text += ": " + d
	}
	return Wrap(text, width, "    ")
}

// warnings says once what machines do not honour of units that otherwise run.
func (c Close) warnings(s Style, width int) []string {
	units := map[string][]string{}
	var order []string
	for _, a := range append(append([]cluster.Answer{}, c.OK...), c.Failed...) {
		if a.Status == nil {
			continue
		}
		for _, w := range a.Status.Warnings {
			text := w.Message
			if w.Directive != "" && !strings.Contains(text, w.Directive) {
				text = w.Directive + "=: " + text
			}
			if units[text] == nil {
				order = append(order, text)
			}
			units[text] = append(units[text], a.Unit)
		}
	}
	var out []string
	for i, m := range order {
		if i == maxWarnings {
			out = append(out, s.Paint(Faint, fmt.Sprintf("! %d more warnings: argosy status UNIT", len(order)-i)))
			break
		}
		out = append(out, Wrap(s.Paint(Busy, "!")+" "+Names(units[m])+": "+Clean(m), width, "    ")...)
	}
	if len(out) > 0 {
		out = append(out, "")
	}
	return out
}

// last is the line that is read first.
func (c Close) last(s Style) []string {
	tone := Good
	if c.Met < c.Wanted {
		tone = Bad
		if len(c.Failed) == 0 {
			tone = Busy
		}
	}
	line := s.Paint(tone, fmt.Sprintf("%d of %d %s", c.Met, c.Wanted, c.Good)) + " after " + Took(c.Took)
	if c.End != "" {
		line += ", " + c.End
	}
	var names []string
	for _, g := range groupBy(append(append([]cluster.Answer{}, c.Failed...), c.Pending...), failureKey) {
		if len(names) < maxWhyNames {
			names = append(names, Name(g[0].Unit))
		}
	}
	if len(names) > 0 {
		line += ".  Details: argosy why " + strings.Join(names, " ")
	}
	return []string{line}
}

// Annotations are GitHub's workflow commands, one per failure, which it shows beside the step.
func (c Close) Annotations() []string {
	var out []string
	for i, g := range groupBy(c.Failed, failureKey) {
		if i == maxFailures {
			break
		}
		a := g[0]
		units := make([]string, len(g))
		for i := range g {
			units[i] = g[i].Unit
		}
		title := Names(units)
		if a.Reason != nil {
			title += " " + string(a.Reason.Code)
		}
		if a.Machine != "" {
			title += " on " + Clean(a.Machine)
		}
		text := Clean(a.Message)
		if h := Hint(a); h != "" {
			text += "; try: " + h
		}
		out = append(out, "::error title="+escapeProperty(title)+"::"+escapeData(text))
	}
	return out
}

// escapeData and escapeProperty follow GitHub's workflow commands: what would end a message or a property is encoded.
func escapeData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func escapeProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

// Markdown is the table for a CI's summary page.
func (c Close) Markdown(title string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %d of %d %s after %s\n\n", Clean(title), c.Met, c.Wanted, c.Good, Took(c.Took))
	if len(c.Failed)+len(c.Pending) == 0 {
		return b.String()
	}
	b.WriteString("| unit | machine | state | reason | what to do |\n|---|---|---|---|---|\n")
	for i, a := range append(append([]cluster.Answer{}, c.Failed...), c.Pending...) {
		if i == 100 {
			fmt.Fprintf(&b, "| … | | | %d more | |\n", len(c.Failed)+len(c.Pending)-i)
			break
		}
		code := ""
		if a.Reason != nil {
			code = "`" + string(a.Reason.Code) + "` "
		}
		cell := func(t string) string { return strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(Clean(t)) }
		fmt.Fprintf(&b, "| %s | %s | %s | %s%s | %s |\n", cell(Name(a.Unit)), cell(a.Machine), a.State, code, cell(a.Message), cell(Hint(a)))
	}
	return b.String()
}
