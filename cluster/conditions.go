package cluster

import "argosy.dev/argosy/reason"

// The kinds of conditions that agents tell of their machines.
const (
	ConditionMemory  = "memory-pressure"
	ConditionIO      = "disk-pressure"
	ConditionCPU     = "cpu-pressure"
	ConditionDisk    = "disk-nearly-full"
	ConditionClock   = "clock-skew"
	ConditionRuntime = "runtime-down"
)

// Refuses is the reason of the first condition for which a machine takes nothing new; nil: there is none.
func (m *Machine) Refuses() *reason.Reason {
	for _, c := range m.Conditions {
		switch {
		case c.NoNew && c.Reason != nil:
			return c.Reason
		case c.NoNew:
			return reason.Because(reason.MachineCordoned, reason.Args{"machine": m.Name})
		}
	}
	return nil
}

// IsLeaving tells whether a unit on a machine is on its way to another one: it has a later placement, and stays here until
// it is healthy there.
func (p *Picture) IsLeaving(name, machine string) bool {
	here := p.Placements[On{machine, name}]
	for _, id := range p.PlacedOn(name) {
		if next := p.Placements[On{id, name}]; here != nil && id != machine && !here.Global && !next.Global && next.Epoch > here.Epoch {
			return true
		}
	}
	return false
}
