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
