package plan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"argosy.dev/argosy/unit"
)

// TestNearestMisses: the machines that are named are those that lack least, whichever way they were passed over.
func TestNearestMisses(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := New(seed)
		need := unit.Resources{CPU: int64(r.IntN(3)) * 500, Memory: int64(r.IntN(1000)), Disk: int64(r.IntN(3)) * 50}
		type far struct {
			name  string
			hard  int
			short float64
		}
		var want []far
		for i := range 10 + r.IntN(200) {
			m := Machine{
				ID: fmt.Sprintf("%032d", i), Name: fmt.Sprintf("m%d", i), Cordoned: r.IntN(6) == 0,
				Allocatable: unit.Resources{CPU: int64(r.IntN(1500)), Memory: int64(r.IntN(1200)), Disk: int64(r.IntN(120))},
			}
			if r.IntN(10) == 0 {
				m.Allocatable.Memory = -1 // As after it shrank below what is promised.
			}
			p.SetMachine(m)
			f, fits := far{name: m.Name}, !m.Cordoned
			if m.Cordoned {
				f.hard = 1
			}
			for _, d := range [][2]int64{{m.Allocatable.CPU, need.CPU}, {m.Allocatable.Memory, need.Memory}, {m.Allocatable.Disk, need.Disk}} {
				if have, ask := d[0], d[1]; have < ask {
					f.short, fits = f.short+float64(ask-max(0, have))/float64(ask), false
				} else if have < 0 {
					fits = false
				}
			}
			if !fits {
				want = append(want, f)
			}
		}
		slices.SortStableFunc(want, func(a, b far) int { return cmp.Or(a.hard-b.hard, cmp.Compare(a.short, b.short)) })
		p.SetUnit(Unit{Name: "u.service", Demand: unit.Demand{Service: "u.service", Request: need}})
		got := p.Explain("u.service").Candidates
		if len(got) != min(len(want), maxCandidates) {
			t.Fatalf("seed %d: %d candidates of %d misses", seed, len(got), len(want))
		}
		for i, c := range got {
			if c.Machine != want[i].name {
				t.Fatalf("seed %d: candidate %d is %s, want %+v", seed, i, c.Machine, want[i])
			}
		}
	}
}

// TestReasonsTakeTurns: what waits is told today's reason within a bounded number of passes, each of a bounded number of
// classes, and then a pass costs nothing.
func TestReasonsTakeTurns(t *testing.T) {
	const classes = 101
	p := New(1)
	p.SetMachine(Machine{ID: "m", Name: "m", Allocatable: unit.Resources{CPU: 1000, Memory: 1000, Disk: 1000}})
	for i := range int64(classes) {
		name := fmt.Sprintf("u%d.service", i)
		p.SetUnit(Unit{Name: name, Wanted: true, Demand: unit.Demand{Service: name, Request: unit.Resources{Memory: 2000 + i}}})
	}
	for p.Decide(); p.Behind(); {
		p.Decide()
	}
	p.SetUnit(Unit{Name: "small.service", Wanted: true, Demand: unit.Demand{Service: "small.service", Request: unit.Resources{Memory: 100}}})
	told, passes := 0, 0
	for again := true; again; again = p.Behind() {
		n := 0
		for _, c := range p.Decide() {
			if c.Unit != "small.service" {
				if n++; c.Reason.Int("have") != 900 {
					t.Errorf("%s is told %v", c.Unit, c.Reason)
				}
			}
		}
		if n > refreshLimit {
			t.Errorf("one pass tells %d anew, at most %d are allowed", n, refreshLimit)
		}
		told += n
		passes++
	}
	if most := (classes+refreshLimit-1)/refreshLimit + 1; told != classes || passes > most {
		t.Errorf("%d of %d were told in %d passes, at most %d are allowed", told, classes, passes, most)
	}
	if n := testing.AllocsPerRun(100, func() { p.Decide() }); n != 0 {
		t.Errorf("a settled pass allocates %v times while %d classes wait", n, classes)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}
