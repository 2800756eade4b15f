package main

import (
	"context"
	"fmt"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// statusOut is a unit's status for programs.
type statusOut struct {
	wire.UnitDetail
	Active string         `json:"active"` // systemd's word, as is-active tells it.
	Log    []cluster.Line `json:"log,omitempty"`
}

// unitStatus shows units as systemctl status does.
func (a *app) unitStatus(ctx context.Context, d door, args []string, lines int) error {
	answers, err := a.names(ctx, d, args, exitNoUnit)
	if err != nil {
		return err
	}
	machines, err := d.Machines(ctx)
	if err != nil {
		return err
	}
	code := exitOK
	all := make([]statusOut, 0, len(answers))
	for i, an := range answers {
		detail, err := d.Unit(ctx, an.Unit)
		if err != nil {
			return err
		}
		one := statusOut{UnitDetail: detail, Active: activeWord(detail.Answer)}
		if lines > 0 && !an.Template {
			one.Log = a.lastLines(ctx, d, an.Unit, lines)
		}
		if one.Active != "active" && one.Active != "activating" {
			code = exitNotActive
		}
		all = append(all, one)
		if a.text() {
			if i > 0 {
				if err := a.print(""); err != nil {
					return err
				}
			}
			if err := a.printAll(a.statusBlock(one, machines.Machines)); err != nil {
				return err
			}
		}
	}
	if !a.text() {
		if err := emitList(a, all, all); err != nil {
			return err
		}
	}
	return exitWith(code)
}

// lastLines are a unit's last log lines; a journal that does not answer leaves them out.
func (a *app) lastLines(ctx context.Context, d door, name string, n int) []cluster.Line {
	var out []cluster.Line
	_ = d.Journal(ctx, name, journalQuery{Lines: n}, func(l cluster.Line) error {
		if len(out) == n {
			out = out[1:]
		}
		out = append(out, l)
		return nil
	})
	return out
}

// block collects "   Label: text" lines.
type block struct {
	style show.Style
	width int
	lines []string
}

func (b *block) add(label, text string) {
	if text == "" {
		return
	}
	b.lines = append(b.lines, show.Wrap(fmt.Sprintf("%11s: %s", label, text), b.width, strings.Repeat(" ", 13))...)
}

func (a *app) statusBlock(one statusOut, machines []wire.MachineDetail) []string {
	an := one.Answer
	b := &block{style: a.outStyle(), width: a.width(a.stdout)}
	mark, tone := b.style.Mark(an.State)
	head := b.style.Paint(tone, mark) + " " + b.style.Paint(show.Strong, show.Clean(an.Unit))
	if desc := description(an.Unit, one.Text); desc != "" {
		head += " - " + show.Clean(desc)
	}
	b.lines = append(b.lines, head)
	st := cluster.Status{}
	if an.Status != nil {
		st = *an.Status
	}
	b.add("Loaded", a.loadedLine(one, st))
	b.add("Active", a.activeLine(b.style, an, st))
	if an.Template {
		return b.lines
	}
	if an.State != cluster.Healthy {
		b.add("Reason", show.Clean(an.Message))
		b.add("Hint", show.Hint(an))
	}
	b.add("Machine", machineLine(an, machines))
	b.add("Process", processLine(st))
	b.add("Status", quote(show.Clean(st.StatusText)))
	b.add("Memory", memoryLine(one))
	if st.Tries > 0 || st.Restarts > 0 {
		b.add("Tries", fmt.Sprintf("%d failed since the last start, %d restarts by Restart=", st.Tries, st.Restarts))
	}
	b.add("Next", stamp(st.Next))
	b.add("Last", stamp(st.Last))
	for _, on := range an.On {
		_, t := b.style.Mark(on.State)
		b.add("On", fmt.Sprintf("%s %s", machineNamed(on.Machine, machines), b.style.Paint(t, string(on.State))))
	}
	for _, w := range one.Warnings {
		b.add("Warning", warningText(w))
	}
	for _, w := range st.Warnings {
		b.add("Warning", warningText(w))
	}
	if len(one.Log) > 0 {
		b.lines = append(b.lines, "")
		for _, l := range one.Log {
			b.lines = append(b.lines, b.style.Cut(journalLine(b.style, l, false, false), b.width))
		}
	}
	return b.lines
}

func quote(s string) string {
	if s == "" {
		return ""
	}
	return `"` + s + `"`
}

func (a *app) loadedLine(one statusOut, st cluster.Status) string {
	word := st.Load
	if word == "" {
		word = "submitted"
	}
	parts := []string{fmt.Sprintf("revision %d", one.Answer.Revision)}
	if n := len(one.DropIns); n > 0 {
		parts = append(parts, plural(n, "drop-in"))
	}
	parts = append(parts, "wanted "+string(one.Answer.Desired))
	if one.By != "" {
		parts = append(parts, "by "+show.Clean(one.By)+", "+ago(a.now(), one.At)+" ago")
	}
	return word + " (" + strings.Join(parts, "; ") + ")"
}

func (a *app) activeLine(s show.Style, an cluster.Answer, st cluster.Status) string {
	_, tone := s.Mark(an.State)
	text := s.Paint(tone, string(an.State))
	if an.Reason != nil && string(an.Reason.Code) != string(an.State) {
		text += " (" + string(an.Reason.Code) + ")"
	}
	if st.Active != "" && st.Sub != "" {
		text += s.Paint(show.Faint, " ["+show.Clean(st.Active)+"/"+show.Clean(st.Sub)+"]")
	}
	if !an.Since.IsZero() {
		text += " since " + stamp(an.Since) + "; " + ago(a.now(), an.Since) + " ago"
	}
	return text
}

func machineNamed(id string, machines []wire.MachineDetail) string {
	for _, m := range machines {
		if m.ID == id {
			return show.Clean(machineName(m))
		}
	}
	return cluster.ShortID(id)
}

func machineLine(an cluster.Answer, machines []wire.MachineDetail) string {
	if an.Machine == "" {
		return ""
	}
	var text strings.Builder
	text.WriteString(show.Clean(an.Machine))
	for _, m := range machines {
		if m.ID != an.MachineID {
			continue
		}
		if m.Address != "" {
			text.WriteString(" (" + show.Clean(m.Address) + ")")
		}
		if m.Runtime != "" {
			text.WriteString(", " + m.Runtime + " runtime")
		}
	}
	return text.String()
}

func processLine(st cluster.Status) string {
	switch {
	case st.MainPID > 0:
		return fmt.Sprintf("%d (main)", st.MainPID)
	case st.ExitSignal > 0:
		return fmt.Sprintf("none; the last one was killed by signal %d", st.ExitSignal)
	case st.ExitCode > 0:
		return fmt.Sprintf("none; the last one ended with exit status %d", st.ExitCode)
	}
	return ""
}

func memoryLine(one statusOut) string {
	r := one.Demand.Request
	var parts []string
	if r.Memory > 0 {
		p := reason.Bytes(r.Memory) + " requested"
		if from := one.Demand.From["memory"]; from != "" {
			p += " (" + from + ")"
		}
		parts = append(parts, p)
	}
	if r.CPU > 0 {
		parts = append(parts, "cpu "+reason.CPU(r.CPU))
	}
	for _, port := range one.Demand.Ports {
		parts = append(parts, fmt.Sprintf("port %d/%s", port.Number, port.Proto))
	}
	return show.Clean(strings.Join(parts, ", "))
}
