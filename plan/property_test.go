package plan

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

var (
	seeds = flag.Int("seeds", 60, "seeds of the property tests")
	from  = flag.Uint64("seed", 1, "first seed of the property tests, the same in every run; 0: from the clock")
)

// world is the naive reference: lists and loops, nothing kept. It holds what was told and what was decided.
type world struct {
	machines map[string]Machine
	units    map[string]Unit
	at       map[string]string          // Ordinary unit -> machine id.
	global   map[string]map[string]bool // Global unit -> machine ids.
	nowhere  map[string]*reason.Reason
	excused  map[string]bool // Machines that were overcommitted by adoption, shrinking or growing.
	epoch    map[string]int64
}

func newWorld() *world {
	return &world{map[string]Machine{}, map[string]Unit{}, map[string]string{}, map[string]map[string]bool{}, map[string]*reason.Reason{}, map[string]bool{}, map[string]int64{}}
}

// take applies changes as a leader would write them, and complains of what makes no sense.
func (w *world) take(changes []Change) error {
	for _, c := range changes {
		if c.Machine != "" && (c.Epoch <= w.epoch[c.Unit] || c.Reason == nil || c.Reason.Code != reason.Placed) {
			return fmt.Errorf("%+v: epoch after %d, reason %w", c, w.epoch[c.Unit], c.Reason)
		}
		if c.Machine == "" && c.From == "" && c.Reason != nil && reason.Equal(w.nowhere[c.Unit], c.Reason) {
			return fmt.Errorf("%+v says again what was said", c)
		}
		w.epoch[c.Unit] = max(w.epoch[c.Unit], c.Epoch)
		if c.Global {
			if w.global[c.Unit] == nil {
				w.global[c.Unit] = map[string]bool{}
			}
			if c.From != "" {
				delete(w.global[c.Unit], c.From)
				if w.at[c.Unit] == c.From { // It was an ordinary unit before.
					delete(w.at, c.Unit)
				}
			}
			if c.Machine != "" {
				w.global[c.Unit][c.Machine] = true
				if w.at[c.Unit] == c.Machine {
					delete(w.at, c.Unit)
				}
			}
		} else {
			rewritten := c.From == "" && w.at[c.Unit] == c.Machine // Ordinary, global and ordinary again within one pass.
			if w.at[c.Unit] != c.From && !w.global[c.Unit][c.From] && !rewritten {
				return fmt.Errorf("%+v: leaves %s, but was on %q", c, c.From, w.at[c.Unit])
			}
			delete(w.global[c.Unit], c.From)
			delete(w.at, c.Unit)
			if c.Machine != "" {
				delete(w.global[c.Unit], c.Machine) // In the store it is one record.
				w.at[c.Unit] = c.Machine
			}
		}
		delete(w.nowhere, c.Unit)
		if c.Machine == "" && c.Reason != nil {
			w.nowhere[c.Unit] = c.Reason
		}
	}
	return nil
}

// on lists the units on a machine.
func (w *world) on(id string) (list []Unit) {
	for name, at := range w.at {
		if at == id {
			list = append(list, w.units[name])
		}
	}
	for name, on := range w.global {
		if on[id] {
			list = append(list, w.units[name])
		}
	}
	return list
}

func conflictOf(a, b Unit) bool {
	match := func(patterns []string, name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return naiveMatch(p, name) })
	}
	return match(a.Demand.Conflicts, b.Name) || match(b.Demand.Conflicts, a.Name)
}

// naiveMatch knows "*" only, which is all that the random patterns have.
func naiveMatch(pattern, name string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, before) {
		return false
	}
	for rest := name[len(before):]; ; rest = rest[1:] {
		if naiveMatch(after, rest) {
			return true
		}
		if rest == "" {
			return false
		}
	}
}

func portOf(a, b Unit) bool {
	for _, p := range a.Demand.Ports {
		for _, q := range b.Demand.Ports {
			any := p.Address == "" || q.Address == "" || p.Address == "0.0.0.0" || q.Address == "0.0.0.0"
			if p.Number == q.Number && p.Proto == q.Proto && (any || p.Address == q.Address) {
				return true
			}
		}
	}
	return false
}

// replacesOf tells whether a replaces b, and not the other way round as well.
func replacesOf(a, b Unit) bool {
	match := func(u, v Unit) bool {
		return slices.ContainsFunc(u.Demand.Replaces, func(p string) bool { return naiveMatch(p, v.Name) })
	}
	return match(a, b) && !match(b, a)
}

// static is what the machine has to be.
func (w *world) static(u Unit, m Machine) bool {
	d := u.Demand
	if d.MachineID != "" && d.MachineID != m.ID && d.MachineID != m.ID[:8] {
		return false
	}
	for _, t := range d.Metadata {
		if !slices.Contains(t.Values, m.Metadata[t.Key]) {
			return false
		}
	}
	for _, peer := range d.MachineOf {
		if w.at[peer] != m.ID && !w.global[peer][m.ID] {
			return false
		}
	}
	return len(m.Types) == 0 || slices.Contains(m.Types, u.Type)
}

func (w *world) free(id string) amounts {
	free := amountsOf(w.machines[id].Allocatable)
	for _, u := range w.on(id) {
		for d, n := range amountsOf(u.Demand.Request) {
			free[d] -= n
		}
	}
	return free
}

// takes tells whether a machine could take one more unit.
func (w *world) takes(u Unit, m Machine) bool {
	if m.Down || m.Cordoned || m.Draining || !w.static(u, m) {
		return false
	}
	for d, free := range w.free(m.ID) {
		if free < amountsOf(u.Demand.Request)[d] {
			return false
		}
	}
	for _, o := range w.on(m.ID) {
		if o.Name != u.Name && (conflictOf(u, o) || portOf(u, o) || replacesOf(o, u)) {
			return false
		}
	}
	return true
}

// check looks at everything that must be so.
func (w *world) check() error {
	for id, m := range w.machines {
		for d, free := range w.free(id) {
			if free < 0 && !w.excused[id] {
				return fmt.Errorf("%s is oversold in dimension %d by %d", m.Name, d, -free)
			}
		}
		on := w.on(id)
		for i, a := range on {
			if a.Name == "" || !a.Wanted {
				return fmt.Errorf("%s holds %q, which nobody wants", m.Name, a.Name)
			}
			if !w.static(a, m) || m.Down && !a.Demand.Global {
				return fmt.Errorf("%s may not be on %s", a.Name, m.Name)
			}
			for _, b := range on[i+1:] {
				if conflictOf(a, b) || portOf(a, b) || replacesOf(a, b) || replacesOf(b, a) {
					return fmt.Errorf("%s and %s are together on %s: %+v and %+v", a.Name, b.Name, m.Name, a.Demand, b.Demand)
				}
			}
		}
	}
	for name, u := range w.units {
		if !u.Wanted || u.Demand.Global {
			continue
		}
		if (w.at[name] == "") == (w.nowhere[name] == nil) {
			return fmt.Errorf("%s: on %q, reason %w", name, w.at[name], w.nowhere[name])
		}
		if w.at[name] != "" {
			continue
		}
		if w.nowhere[name].Message() == "" || w.nowhere[name].Code == reason.Placed {
			return fmt.Errorf("%s is nowhere because %w", name, w.nowhere[name])
		}
		for _, m := range w.machines {
			if w.takes(u, m) {
				return fmt.Errorf("%s is refused (%w), but %s could take it", name, w.nowhere[name], m.Name)
			}
		}
	}
	for name, u := range w.units {
		for id, m := range w.machines {
			if u.Wanted && u.Demand.Global && !w.global[name][id] && w.takes(u, m) {
				return fmt.Errorf("global %s is not on %s", name, m.Name)
			}
		}
	}
	return nil
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomMachine(r *rand.Rand) Machine {
	n := r.IntN(7)
	m := Machine{ID: fmt.Sprintf("%08d%024d", n, n), Name: fmt.Sprintf("m%d", n), Runtime: "native", Metadata: map[string]string{}}
	m.Allocatable = unit.Resources{CPU: one[int64](r, 1000, 2000, 4000), Memory: one[int64](r, 500, 1000, 2000), Disk: 100}
	if r.IntN(4) > 0 {
		m.Metadata["zone"] = one(r, "a", "b")
	}
	if r.IntN(4) == 0 {
		m.Metadata["ssd"] = "yes"
	}
	if r.IntN(8) == 0 {
		m.Types = []string{"service"}
	}
	m.Cordoned, m.Down, m.Draining = r.IntN(8) == 0, r.IntN(8) == 0, r.IntN(8) == 0
	return m
}

func randomUnit(r *rand.Rand) Unit {
	service := one(r, "web", "db", "side", "x")
	n := r.IntN(6)
	u := Unit{Name: fmt.Sprintf("%s@%d.service", service, n), Type: "service", Wanted: r.IntN(5) > 0}
	d := &u.Demand
	d.Service = service + "@.service"
	d.Request = unit.Resources{CPU: one[int64](r, 0, 100, 500, 1500), Memory: one[int64](r, 0, 50, 200, 700), Disk: one[int64](r, 0, 0, 60)}
	some := func(n int) bool { return r.IntN(n) == 0 }
	switch {
	case some(8):
		d.Global = true
	case some(5) && (service == "side" || some(4)):
		d.MachineOf = []string{fmt.Sprintf("%s@%d.service", one(r, "web", "db"), n)}
	case some(8):
		d.MachineID = fmt.Sprintf("%08d", r.IntN(7))
	}
	if slices.Contains(d.MachineOf, u.Name) {
		d.MachineOf = nil
	}
	if some(4) {
		d.Conflicts = []string{one(r, "web@*", "db@*.service", "*@1.service", service+"@*", "x@2.service")}
	} else if some(8) && !d.Global {
		d.Replaces = []string{fmt.Sprintf("%s@%d.service", one(r, "web", "db", "x"), (n+1)%6)}
	}
	if some(4) {
		d.Metadata = append(d.Metadata, unit.MetadataTerm{Key: "zone", Values: one(r, []string{"a"}, []string{"a", "b"}, []string{"c"})})
	}
	if some(10) {
		d.Metadata = append(d.Metadata, unit.MetadataTerm{Key: "ssd", Values: []string{"yes"}})
	}
	if some(4) {
		d.Ports = []unit.Port{{Number: uint16(one(r, 80, 81)), Proto: "tcp", Address: one(r, "", "0.0.0.0", "127.0.0.1", "10.0.0.1")}}
	}
	if some(3) {
		d.Spread = one(r, []string{"zone"}, []string{"machine"}, []string{"zone", "machine"})
	}
	if some(5) {
		d.Priority = r.IntN(3)
	}
	return u
}

// event does one random thing to both the planner and the reference.
func (w *world) event(r *rand.Rand, p *Planner) string {
	switch r.IntN(12) {
	case 0, 1, 2:
		m := randomMachine(r)
		w.machines[m.ID] = m
		w.excused[m.ID] = true // It may have shrunk below what it holds.
		p.SetMachine(m)
		return fmt.Sprintf("machine %+v", m)
	case 3:
		id := randomMachine(r).ID
		delete(w.machines, id)
		p.RemoveMachine(id)
		return "remove " + id
	case 4:
		u := randomUnit(r)
		delete(w.units, u.Name)
		p.RemoveUnit(u.Name)
		return "forget " + u.Name
	}
	u := randomUnit(r)
	if id := w.at[u.Name]; id != "" && w.units[u.Name].Wanted {
		// A unit may stay where it is when it asks for less; the room it holds there was its own.
		w.excused[id] = w.excused[id] || w.short(id)
	}
	w.units[u.Name] = u
	p.SetUnit(u)
	return fmt.Sprintf("unit %+v", u)
}

func (w *world) short(id string) bool {
	free := w.free(id)
	return free[0]|free[1]|free[2] < 0
}

// settle forgets the excuse of machines that are no longer overcommitted.
func (w *world) settle() {
	for id := range w.excused {
		if _, there := w.machines[id]; !there || !w.short(id) {
			delete(w.excused, id)
		}
	}
}

func TestProperties(t *testing.T) {
	first := *from
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	t.Logf("seeds %d and %d more", first, *seeds-1)
	for n := range uint64(*seeds) {
		if err := runSeed(first + n); err != nil {
			t.Fatalf("seed %d (-seed %d -seeds 1): %v", first+n, first+n, err)
		}
	}
}

func runSeed(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	p, twin, w := New(seed), New(seed), newWorld()
	log := []string{}
	for step := range 60 {
		for range 1 + r.IntN(6) {
			log = append(log, w.event(r, p))
		}
		changes := slices.Clone(p.Decide())
		fail := func(err error) error {
			return fmt.Errorf("step %d: %w\nafter:\n%s", step, err, strings.Join(log[max(0, len(log)-12):], "\n"))
		}
		if err := w.take(changes); err != nil {
			return fail(err)
		}
		if err := w.check(); err != nil {
			return fail(err)
		}
		if err := p.Check(); err != nil {
			return fail(fmt.Errorf("Check: %w", err))
		}
		if r.IntN(2) == 0 { // Else the next news comes before every reason is today's.
			if err := w.catchUp(p); err != nil {
				return fail(err)
			}
		}
		for name := range w.units {
			if err := explained(p, w, name); err != nil {
				return fail(err)
			}
		}
		w.settle()
	}
	return sameAgain(seed, p, twin)
}

// catchUp decides until the reasons are today's: nothing but reasons changes, and it has an end.
func (w *world) catchUp(p *Planner) error {
	for most := len(p.waiting) + len(p.globals); p.Behind(); most -= refreshLimit {
		if most+refreshLimit <= 0 {
			return fmt.Errorf("still behind, %d waiting classes and %d globals", len(p.waiting), len(p.globals))
		}
		again := slices.Clone(p.Decide())
		for _, c := range again {
			if c.Machine != "" || c.From != "" || c.Reason == nil {
				return fmt.Errorf("without news it changes %+v", c)
			}
		}
		if err := w.take(again); err != nil {
			return err
		}
	}
	if again := p.Decide(); len(again) > 0 {
		return fmt.Errorf("a second Decide says %+v", again)
	}
	return p.Check()
}

// explained: an explanation agrees with the reference about which machines could take the unit.
func explained(p *Planner, w *world, name string) error {
	u := w.units[name]
	if u.Demand.Global {
		return nil
	}
	e := p.Explain(name)
	at := w.at[name]
	delete(w.at, name)
	fits := 0
	for _, m := range w.machines {
		if w.takes(u, m) {
			fits++
		}
	}
	if at != "" {
		w.at[name] = at
	}
	if e.Fits != fits || e.Machine != at || len(e.Candidates) != min(maxCandidates, len(w.machines)-fits) {
		return fmt.Errorf("explanation of %s: %+v, the reference finds %d that fit and has it on %q", name, e, fits, at)
	}
	for _, c := range e.Candidates {
		if len(c.Because) == 0 {
			return fmt.Errorf("explanation of %s: nothing speaks against %s", name, c.Machine)
		}
	}
	return nil
}

// sameAgain: the same calls give the same changes, and a planner built from the store agrees with the old one.
func sameAgain(seed uint64, p, twin *Planner) error {
	r, w := rand.New(rand.NewPCG(seed, 1)), newWorld()
	other := New(seed)
	r2, w2 := rand.New(rand.NewPCG(seed, 1)), newWorld()
	for range 200 {
		w.event(r, twin)
		w2.event(r2, other)
		a, b := twin.Decide(), other.Decide()
		if !reflect.DeepEqual(a, b) {
			return fmt.Errorf("the same calls gave %v and %v", a, b)
		}
	}
	for p.Behind() {
		p.Decide()
	}
	heir := p.Clone()
	for _, c := range heir.Decide() {
		told := p.members[p.byName[c.Unit]].why
		if c.Machine != "" || c.From != "" || c.Reason == nil || told == nil || told.Code != c.Reason.Code { // Among equals it may name others.
			return fmt.Errorf("an heir of the same picture changes %+v, told was %w", c, told)
		}
	}
	return heir.Check()
}
