package memory

import "argosy.dev/argosy/store"

// Fault is what goes wrong with one write, drawn by the simulator.
type Fault int

// The faults of a write.
const (
	None        Fault = iota
	Stale             // Refused as stale, though nothing changed: somebody was quicker.
	LostRequest       // store-unavailable, and not done.
	LostAnswer        // store-unavailable, and done.
	Full              // store-full.
)

// Inject asks draw before every write what goes wrong with it; nil: nothing. Health asks it with no changes.
func (s *Store) Inject(draw func(by store.Writer, changes []store.Change) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = draw
}
