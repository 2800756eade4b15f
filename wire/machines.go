package wire

import (
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/unit"
)

// OnMachine is a unit that a machine has: placed there, on its way to another one, or still going down.
type OnMachine struct {
	Unit  string        `json:"unit"`
	State cluster.State `json:"state"` // Of the unit on this machine.
	// To is the name of the machine that it moves to: it runs here until it is healthy there. Then, Is is what it does there,
	// and Why the reason of that.
	To  string        `json:"to,omitempty"`
	Is  cluster.State `json:"is,omitempty"`
	Why *Fault        `json:"why,omitempty"`
	// Stays is why a machine that is drained keeps it.
	Stays *Fault `json:"stays,omitempty"`
	// Stopping: it is not placed here any more, and has not ended yet.
	Stopping bool `json:"stopping,omitempty"`
}

// PlanRequest is POST /v1/plan: what would become of the units if. Nothing is changed.
type PlanRequest struct {
	Lose  []string     `json:"lose,omitempty"`  // Machines that die: names, ids, or KEY=VALUE of their metadata, such as zone=a.
	Drain []string     `json:"drain,omitempty"` // Machines that are drained, named in the same way.
	Add   []AddMachine `json:"add,omitempty"`   // Machines that come.
}

// AddMachine is a machine that does not exist yet, or several alike.
type AddMachine struct {
	Count     int               `json:"count,omitempty"` // 0: one.
	Resources unit.Resources    `json:"resources"`       // What may be promised on each.
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// PlanAnswer answers POST /v1/plan.
type PlanAnswer struct {
	Revision int64 `json:"revision"`
	// Fits: every unit that is wanted has a machine afterwards, and every unit of a drained machine has left it, but for what
	// is on every machine.
	Fits     bool          `json:"fits"`
	Machines []PlanMachine `json:"machines"` // That are lost, drained or added.
	Moves    []PlanMove    `json:"moves"`    // Units that come to another machine.
	Homeless []PlanMove    `json:"homeless"` // Units that would be on no machine; those that are on none today have no From.
	Stays    []PlanMove    `json:"stays"`    // Units that a drained machine keeps.
	Settled  int           `json:"settled"`  // Units that stay where they are.
}

// PlanMachine is a machine that the question is about.
type PlanMachine struct {
	Machine string         `json:"machine"`
	What    string         `json:"what"` // lost, drained or added.
	Units   int            `json:"units"`
	Room    unit.Resources `json:"room"` // Added: what is left of it.
}

// PlanMove is what becomes of one unit.
type PlanMove struct {
	Unit string `json:"unit"`
	From string `json:"from,omitempty"` // Name of the machine that it is on today.
	To   string `json:"to,omitempty"`
	Why  *Fault `json:"why,omitempty"` // Why on no machine, or why it stays.
}
