package main

import (
	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

func (a *app) machineShowCommand() *cobra.Command {
	c := doc{
		use: "show MACHINE", short: "All about one machine: what it has, what is wrong with it, what runs there",
		long: `
Shows what the machine is and has, what is promised to units and what is free, the conditions that hold, and its units.`,
		example: `
  argosy machine show m3
  argosy machine show m3 -o json`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable},
	}.command()
	c.Args = exactlyOne(oneMachine)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		m, err := d.Machine(c.Context(), args[0])
		if err != nil {
			return err
		}
		if !a.text() {
			return a.emit(m)
		}
		return a.printAll(a.machineLines(m))
	}
	return c
}

func (a *app) machineLines(m *wire.MachineDetail) []string {
	s := a.outStyle()
	state := machineState(*m)
	lines := []string{s.Paint(state.Tone, state.Text) + "  " + show.Clean(machineName(*m)) + "  " + m.ID}
	row := func(name, text string) {
		if text != "" {
			lines = append(lines, "  "+s.Paint(show.Faint, (name + "         ")[:9])+" "+show.Clean(text))
		}
	}
	row("role", machineRole(*m))
	row("address", m.Address)
	row("metadata", metadataWords(m.Metadata, " "))
	row("socket", string(m.LocalRole))
	of := func(amount func(int64) string, used, may, has, kept int64) string {
		return amount(used) + " promised of " + amount(may) + "; has " + amount(has) + ", keeps " + amount(kept) + " for the system"
	}
	row("cpu", of(reason.CPU, m.Promised.CPU, m.Allocatable.CPU, m.Capacity.CPU, m.Reserved.CPU))
	row("memory", of(reason.Bytes, m.Promised.Memory, m.Allocatable.Memory, m.Capacity.Memory, m.Reserved.Memory))
	row("disk", of(reason.Bytes, m.Promised.Disk, m.Allocatable.Disk, m.Capacity.Disk, m.Reserved.Disk))
	row("system", joined(m.OS, m.Kernel, m.Arch))
	row("runtime", joined(m.Runtime, "argosy "+m.Version))
	for _, c := range m.Conditions {
		text := c.Kind
		if c.Reason != nil {
			text += ": " + c.Reason.Message()
		}
		if c.NoNew {
			text += "; it takes nothing new"
		}
		row("condition", text)
	}
	row("units", itoa(len(m.On)))
	for _, on := range m.On {
		_, tone := s.Mark(on.State)
		lines = append(lines, "    "+show.Name(on.Unit)+"  "+s.Paint(tone, string(on.State))+onWords(s, on))
	}
	return lines
}

func joined(parts ...string) string {
	out := ""
	for _, p := range parts {
		if p != "" && out != "" {
			out += ", "
		}
		out += p
	}
	return out
}

// onWords is what else there is to say of a unit on a machine.
func onWords(s show.Style, on wire.OnMachine) string {
	switch {
	case on.Stopping:
		return "  going down"
	case on.To != "":
		text := "  " + s.Arrow() + " " + show.Clean(on.To) + ": " + string(on.Is)
		if on.Why != nil && on.Is != cluster.Healthy && on.Is != cluster.Starting {
			text += ", " + show.Clean(on.Why.Message)
		}
		return text
	case on.Stays != nil:
		return "  stays: " + show.Clean(on.Stays.Message)
	}
	return ""
}
