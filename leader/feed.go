package leader

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// look tells the planner what changed in the picture; false while the picture is older than our last new link.
func (l *Leader) look() bool {
	fresh := l.planner != nil
	if !fresh {
		l.cfg.View.Peek(func(p *cluster.Picture) { fresh = p.Revision >= l.chain })
	}
	if !fresh {
		return false
	}
	l.cfg.View.Look(func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
		switch {
		case l.planner == nil:
			l.build(p)
		case all:
			l.compare(p)
		default:
			l.feed(p, touched)
		}
		l.heed(p)
	})
	return true
}

// build makes the planner anew from the picture, in a fixed order so that the same picture gives the same plan.
func (l *Leader) build(p *cluster.Picture) {
	l.planner = plan.New(l.cfg.Seed)
	l.last = map[string]*read{}
	l.held, l.count = map[cluster.On]cluster.Placement{}, map[string]int{}
	l.unplaced, l.lingers = map[string]*reason.Reason{}, map[cluster.On]*reason.Reason{}
	l.bad, l.wanted, l.isDown = map[string]*reason.Reason{}, map[string]bool{}, map[string]bool{}
	l.rested, l.waking = map[string]bool{}, nil
	l.gated, l.paced, l.closedFor = map[string]*gated{}, map[string]cluster.Placement{}, map[string]bool{}
	for _, on := range sortedOn(p.Placements) {
		l.hold(on, *p.Placements[on])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Unplaced)) {
		l.unplaced[name] = p.Unplaced[name].Reason
	}
	l.findHanding(p)
	l.machines(p)
	for _, name := range p.UnitNames() {
		l.setUnit(p, p.Units[name])
	}
	l.findGrown(p)
	for _, on := range sortedOn(l.held) {
		if _, grown := l.lingers[on]; grown || l.handing[on] {
			continue
		}
		l.planner.Adopt(on.Unit, on.Machine, l.held[on].Epoch)
	}
	for _, name := range slices.Sorted(maps.Keys(l.unplaced)) {
		if l.bad[name] == nil {
			l.planner.AdoptUnplaced(name, l.unplaced[name])
		}
	}
}

// findGrown finds the placements that the planner must not adopt: on machines which are promised more than they have,
// or a port twice, because a wish was changed when no leader could compare it with the one before. The last changed
// ones have to look for a place as if they were on none.
func (l *Leader) findGrown(p *cluster.Picture) {
	on := map[string][]string{}
	for _, at := range sortedOn(l.held) {
		if w := p.Units[at.Unit]; w != nil && p.Machines[at.Machine] != nil {
			on[at.Machine] = append(on[at.Machine], at.Unit)
		}
	}
	for id, names := range on { // Order does not matter: each machine for itself.
		l.findGrownOn(p, id, names)
	}
}

func (l *Leader) findGrownOn(p *cluster.Picture, id string, names []string) {
	free, ports := p.Machines[id].Allocatable(), map[string][]unit.Port{}
	for _, name := range names {
		d := l.demand(p, name)
		free, ports[name] = minus(free, d.Request), d.Ports
	}
	unfit := func(name string) {
		d := l.demand(p, name)
		free = minus(free, unit.Resources{CPU: -d.Request.CPU, Memory: -d.Request.Memory, Disk: -d.Request.Disk})
		delete(ports, name)
		l.lingers[cluster.On{Machine: id, Unit: name}] = reason.Because(reason.NotScheduled, reason.Args{"unit": name})
	}
	names = slices.DeleteFunc(names, func(name string) bool { // Those stay that nobody has changed since they came.
		at := cluster.On{Machine: id, Unit: name}
		return l.held[at].Global && l.demand(p, name).Global || p.Units[name].Revision <= l.held[at].Epoch
	})
	status := func(name string) (up int, since time.Time) {
		if s := p.Statuses[cluster.On{Machine: id, Unit: name}]; s != nil && s.Active != "inactive" && s.Active != "failed" {
			return 1, s.StartedAt
		}
		return 0, time.Time{}
	}
	slices.SortStableFunc(names, func(a, b string) int { // First what does not run, then what was started last: it came to a held port.
		x, since := status(a)
		y, after := status(b)
		return cmp.Or(x-y, after.Compare(since))
	})
	for _, name := range names {
		if clashes(ports, name) {
			unfit(name)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { // First what does not run, then what changed last.
		x, _ := status(a)
		y, _ := status(b)
		return cmp.Or(x-y, cmp.Compare(p.Units[b].Revision, p.Units[a].Revision))
	})
	for _, name := range names {
		_, stays := ports[name]
		if short := free.CPU < 0 || free.Memory < 0 || free.Disk < 0; short && stays && l.demand(p, name).Request != (unit.Resources{}) {
			unfit(name)
		}
	}
}

// clashes tells whether a unit asks for a port that another one on its machine holds.
func clashes(ports map[string][]unit.Port, name string) bool {
	for _, mine := range ports[name] {
		for other, theirs := range ports {
			if other != name && slices.ContainsFunc(theirs, func(q unit.Port) bool { return plan.PortsClash(mine, q) }) {
				return true
			}
		}
	}
	return false
}

// demand is what a unit holds of its machine: nothing while it rests.
func (l *Leader) demand(p *cluster.Picture, name string) unit.Demand {
	if r := l.last[name]; r != nil && !Rests(p, p.Units[name]) {
		return r.demand
	}
	return unit.Demand{}
}

func minus(a, b unit.Resources) unit.Resources {
	return unit.Resources{CPU: a.CPU - b.CPU, Memory: a.Memory - b.Memory, Disk: a.Disk - b.Disk}
}

// compare looks at everything: the picture was read anew, or too much changed to list.
func (l *Leader) compare(p *cluster.Picture) {
	l.machines(p)
	for _, name := range slices.Sorted(maps.Keys(l.wanted)) {
		if p.Units[name] == nil {
			l.removeUnit(name)
		}
	}
	for _, name := range p.UnitNames() {
		l.setUnit(p, p.Units[name])
	}
}

func (l *Leader) machines(p *cluster.Picture) {
	known := map[string]bool{}
	for id := range p.Machines {
		known[id] = true
	}
	for id := range l.isDown {
		known[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		l.setMachine(p, id)
	}
}

// feed tells only what was touched. Placements are not looked at: they are our own.
func (l *Leader) feed(p *cluster.Picture, touched map[cluster.Touched]struct{}) {
	units, machines := map[string]bool{}, map[string]bool{}
	for t := range touched {
		switch t.Prefix {
		case cluster.UnitsPrefix:
			units[t.Unit] = true
		case cluster.StatusesPrefix: // A unit that was stopped gives its room back when its agent says that it has ended.
			if w := p.Units[t.Unit]; w != nil && w.Desired == cluster.Loaded {
				units[t.Unit] = true
			}
		case cluster.MachinesPrefix, cluster.AdminPrefix, cluster.AlivePrefix:
			machines[t.Machine] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(machines)) {
		l.setMachine(p, id)
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		if w := p.Units[name]; w != nil {
			l.setUnit(p, w)
		} else {
			l.removeUnit(name)
		}
	}
}

// setMachine tells the planner of a machine. One that fell silent takes nothing new at once, and counts as down
// when it stayed silent for DownAfter: an agent that starts again keeps its units.
func (l *Leader) setMachine(p *cluster.Picture, id string) {
	m := p.Machines[id]
	if m == nil {
		delete(l.down, id)
		delete(l.isDown, id)
		delete(l.closedFor, id)
		l.planner.RemoveMachine(id)
		return
	}
	silent, down := l.missed(p, id)
	l.isDown[id] = down
	cordoned, draining, refuses := l.closed(p, id)
	if refuses == nil {
		refuses = l.unsteady(p, id)
		l.closedFor[id] = refuses != nil
	}
	l.planner.SetMachine(plan.Machine{
		ID: id, Name: p.MachineName(id), Metadata: p.Metadata(id), Allocatable: m.Allocatable(),
		Types: m.Types, Runtime: m.Runtime, Cordoned: cordoned, Draining: draining, Refuses: refuses, Silent: silent, Down: l.isDown[id],
	})
}

// heed finds the machines whose silence has become too long, and when the next one's will.
func (l *Leader) heed(p *cluster.Picture) {
	l.next = 0
	now := l.cfg.Now()
	for _, id := range slices.Sorted(maps.Keys(l.down)) {
		if l.isDown[id] {
			continue
		}
		left := l.cfg.DownAfter - now.Sub(l.down[id])
		if left <= 0 || left > l.cfg.DownAfter {
			l.setMachine(p, id)
			left = l.cfg.DownAfter - now.Sub(l.down[id])
		}
		if left > 0 && (l.next == 0 || left < l.next) {
			l.next = max(left, time.Millisecond)
		}
	}
	l.heedSteady(p)
}

// setUnit tells the planner of a wish. A text that cannot be read moves nothing: what is placed stays where it
// is, with what it asked for before, and its agent says what is wrong; what is not placed gets the reason.
func (l *Leader) setUnit(p *cluster.Picture, w *cluster.Wanted) {
	if strings.Contains(w.Name, "@.") { // A template is never placed.
		l.removeUnit(w.Name)
		return
	}
	r := l.demands.of(w)
	wanted := w.Desired != cluster.Inactive
	l.wanted[w.Name] = wanted
	l.good(w.Name)
	switch {
	case r.bad == nil:
		l.last[w.Name] = r
	case l.count[w.Name] == 0 && wanted:
		l.bad[w.Name] = r.bad
		l.planner.RemoveUnit(w.Name)
		return
	case l.last[w.Name] != nil:
		r = l.last[w.Name]
	}
	demand := r.demand
	if planted == "overcommit" {
		demand.Request.Memory /= 2
	}
	// One that gave its room back keeps its place when its agent, late, runs it by an older wish once more: it is about to
	// see this one.
	rests := Rests(p, w) || l.rested[w.Name] && w.Desired == cluster.Loaded
	if rests {
		demand.Request, demand.Ports = unit.Resources{}, nil
	}
	u := plan.Unit{Name: w.Name, Type: unit.Name(w.Name).Type(), Wanted: wanted, Demand: demand}
	if l.rested[w.Name] && !rests && wanted && l.count[w.Name] > 0 {
		l.waking = append(l.waking, u) // It has to find room like a new one, and never at the cost of one that runs.
		u.Wanted = false
	}
	l.rested[w.Name] = rests
	if !rests {
		delete(l.rested, w.Name)
	}
	l.planner.SetUnit(u)
}

// Rests tells whether a unit is wanted loaded and runs nowhere: such a unit has its place but holds no memory, cpu or port.
// When it is started again it needs room like any other, and moves if its machine has none left.
func Rests(p *cluster.Picture, w *cluster.Wanted) bool {
	if w.Desired != cluster.Loaded {
		return false
	}
	for _, id := range p.PlacedOn(w.Name) {
		s := p.Statuses[cluster.On{Machine: id, Unit: w.Name}]
		if s != nil && s.For < w.Revision {
			return false // Its agent may be starting it by an older wish right now.
		}
		if s != nil && s.Active != "" && s.Active != "inactive" && s.Active != "failed" {
			return false
		}
	}
	return true
}

// good forgets that a unit's text could not be read, and hands its record over to the planner, which takes it away.
func (l *Leader) good(name string) {
	if l.bad[name] == nil {
		return
	}
	delete(l.bad, name)
	if r, told := l.unplaced[name]; told {
		l.planner.AdoptUnplaced(name, r)
	}
}

func (l *Leader) removeUnit(name string) {
	delete(l.wanted, name)
	delete(l.rested, name)
	l.good(name)
	delete(l.last, name)
	l.planner.RemoveUnit(name)
}

func sortedOn[V any](m map[cluster.On]V) []cluster.On {
	return slices.SortedFunc(maps.Keys(m), func(a, b cluster.On) int {
		if c := strings.Compare(a.Unit, b.Unit); c != 0 {
			return c
		}
		return strings.Compare(a.Machine, b.Machine)
	})
}
