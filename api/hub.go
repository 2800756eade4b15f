package api

import (
	"context"
	"maps"
	"path"
	"reflect"
	"slices"
	"sync"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/unit"
)

// maxTombs bounds how many destroyed units a broken watch can be told about; beyond, it gets everything anew.
const maxTombs = 4096

// hub follows the view and keeps the answer of every unit, computed anew only for what was touched.
// All lists, metrics and watches are fed from it. Nothing runs while nothing changes.
type hub struct {
	view *store.View

	mu       sync.Mutex
	ready    chan struct{} // Closed when the first picture was taken in.
	isReady  bool
	advanced chan struct{} // Closed and made anew with every pass that saw a newer revision.
	revision int64
	units    map[string]*known
	machines map[string]machineSeen
	tombs    []tomb // Oldest first.
	// resumable is the revision from which tombs are complete.
	resumable int64
	sorted    []string // Names of units in the order of unit.CompareNames; nil: to be made anew.
	byState   map[cluster.State]int
	byReason  map[reason.Code]int
	tally     tally // Since the first picture: what happened before is not known.
	subs      map[*subscriber]struct{}
}

// known is the present answer of one unit. Its parts are never changed, only replaced.
type known struct {
	answer   cluster.Answer
	revision int64  // Of the picture in which the answer changed.
	json     []byte // The watch event, encoded once for all watchers; nil: not yet.
}

type tomb struct {
	unit     string
	revision int64
}

// machineSeen is what answers take from a machine.
type machineSeen struct {
	name  string
	alive bool
}

func newHub(view *store.View) *hub {
	return &hub{
		view: view, ready: make(chan struct{}), advanced: make(chan struct{}),
		units: map[string]*known{}, machines: map[string]machineSeen{},
		byState: map[cluster.State]int{}, byReason: map[reason.Code]int{}, subs: map[*subscriber]struct{}{},
	}
}

// pass takes in what the view has seen since the last pass. extra looks at the same touched part.
func (h *hub) pass(extra func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool)) {
	first := false
	select {
	case <-h.view.Ready():
		first = true
	default:
		return // Nothing was read yet; the view kicks when it was.
	}
	h.view.Look(func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
		extra(p, touched, all)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.see(p, touched, all)
		if first && !h.isReady {
			h.isReady, h.resumable = true, p.Revision
			close(h.ready)
		}
	})
}

func (h *hub) see(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
	for name := range h.namesTouched(p, touched, all) {
		h.look(p, name)
	}
	if p.Revision > h.revision {
		h.revision = p.Revision
		close(h.advanced)
		h.advanced = make(chan struct{})
	}
}

// namesTouched lists the units whose answer may have changed.
func (h *hub) namesTouched(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) map[string]struct{} {
	names := map[string]struct{}{}
	if all {
		for n := range p.Units {
			names[n] = struct{}{}
		}
		for n := range h.units {
			names[n] = struct{}{}
		}
		for id := range h.machines {
			h.machineChanged(p, id)
		}
		for id := range p.Machines {
			h.machineChanged(p, id)
		}
		return names
	}
	changed := map[string]bool{}
	for t := range touched {
		if t.Unit != "" {
			names[t.Unit] = struct{}{}
		} else if t.Machine != "" && h.machineChanged(p, t.Machine) {
			changed[t.Machine] = true
		}
	}
	if len(changed) == 0 {
		return names
	}
	for on := range p.Placements {
		if changed[on.Machine] {
			names[on.Unit] = struct{}{}
		}
	}
	for n, k := range h.units {
		if changed[k.answer.MachineID] {
			names[n] = struct{}{}
		}
	}
	return names
}

// machineChanged tells whether something of a machine changed that answers show. Its usage and conditions do not count.
func (h *hub) machineChanged(p *cluster.Picture, id string) bool {
	_, before := h.machines[id]
	m := p.Machines[id]
	if m == nil && !p.Alive[id] {
		delete(h.machines, id)
		return before
	}
	now := machineSeen{name: p.MachineName(id), alive: p.Alive[id]}
	if before && h.machines[id] == now {
		return false
	}
	h.machines[id] = now
	return true
}

func (h *hub) look(p *cluster.Picture, name string) {
	before := h.units[name]
	a, there := p.Answer(name)
	switch {
	case there && before != nil && sameAnswer(before.answer, a):
		return
	case there:
		h.count(before, -1)
		now := &known{answer: a, revision: p.Revision}
		h.units[name] = now
		h.count(now, 1)
		h.add(before, now)
		if before == nil {
			h.sorted = nil
		}
	case before != nil:
		h.count(before, -1)
		delete(h.units, name)
		h.sorted = nil
		h.bury(name, p.Revision)
	default:
		return
	}
	for s := range h.subs {
		s.touch(name)
	}
}

func (h *hub) bury(name string, revision int64) {
	h.tombs = append(h.tombs, tomb{name, revision})
	if len(h.tombs) > maxTombs {
		drop := len(h.tombs) / 4
		h.resumable = h.tombs[drop-1].revision
		h.tombs = slices.Delete(h.tombs, 0, drop)
	}
}

func (h *hub) count(k *known, by int) {
	if k == nil {
		return
	}
	if h.byState[k.answer.State] += by; h.byState[k.answer.State] == 0 {
		delete(h.byState, k.answer.State)
	}
	if k.answer.Reason == nil {
		return
	}
	if h.byReason[k.answer.Reason.Code] += by; h.byReason[k.answer.Reason.Code] == 0 {
		delete(h.byReason, k.answer.Reason.Code)
	}
}

// add counts what happened to a unit. The first picture is only where counting begins.
func (h *hub) add(before, now *known) {
	switch {
	case !h.isReady:
	case before == nil:
		h.tally.see(nil, now.answer)
	default:
		h.tally.see(&before.answer, now.answer)
	}
}

// sameAnswer compares what people are shown.
func sameAnswer(a, b cluster.Answer) bool { return reflect.DeepEqual(a, b) }

// wait blocks until the hub has seen a revision.
func (h *hub) wait(ctx context.Context, revision int64) error {
	return h.until(ctx, func() bool { return h.revision >= revision })
}

// waitGone blocks until the hub shows no such unit.
func (h *hub) waitGone(ctx context.Context, name string) error {
	return h.until(ctx, func() bool { return h.units[name] == nil })
}

// until blocks until something holds, which is looked at with the hub locked.
func (h *hub) until(ctx context.Context, holds func() bool) error {
	select {
	case <-h.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		h.mu.Lock()
		there, advanced := holds(), h.advanced
		h.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answer gives the present answer of one unit.
func (h *hub) answer(name string) (cluster.Answer, int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.units[name]
	if k == nil {
		return cluster.Answer{}, h.revision, false
	}
	return k.answer, h.revision, true
}

// list gives the answers of all units that match, sorted by name.
func (h *hub) list(m *matcher) ([]cluster.Answer, int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []cluster.Answer{}
	for _, n := range h.matching(m) {
		out = append(out, h.units[n].answer)
	}
	return out, h.revision
}

// matching lists names, sorted. The caller holds mu.
func (h *hub) matching(m *matcher) []string {
	if names, ok := m.exact(); ok {
		return slices.DeleteFunc(names, func(n string) bool { return h.units[n] == nil })
	}
	if h.sorted == nil {
		h.sorted = slices.SortedFunc(maps.Keys(h.units), unit.CompareNames)
	}
	if m.any() {
		return h.sorted
	}
	out := []string{}
	for _, n := range h.sorted {
		if m.match(n) {
			out = append(out, n)
		}
	}
	return out
}

// counts copies the number of units in each state and with each reason.
func (h *hub) counts() (states map[cluster.State]int, reasons map[reason.Code]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.byState), maps.Clone(h.byReason)
}

// happened copies what was added up.
func (h *hub) happened() tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tally.copied()
}

func (h *hub) watches() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs)
}

// matcher selects units by names and globs; none selects all.
type matcher struct {
	names map[string]struct{}
	globs []string
}

func (m *matcher) any() bool { return len(m.names) == 0 && len(m.globs) == 0 }

// exact gives the names, in order, when no glob is among them.
func (m *matcher) exact() ([]string, bool) {
	if m.any() || len(m.globs) > 0 {
		return nil, false
	}
	names := make([]string, 0, len(m.names))
	for n := range m.names {
		names = append(names, n)
	}
	slices.SortFunc(names, unit.CompareNames)
	return names, true
}

func (m *matcher) match(name string) bool {
	if m.any() {
		return true
	}
	if _, ok := m.names[name]; ok {
		return true
	}
	for _, g := range m.globs {
		if ok, err := path.Match(g, name); ok && err == nil {
			return true
		}
	}
	return false
}
