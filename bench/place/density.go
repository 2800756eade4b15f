package place

import (
	"fmt"
	"math"
	"math/rand/v2"

	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/unit"
)

// service is one service of a density workload: count equal units.
type service struct {
	need  unit.Resources
	count int
}

// Workload is machines, the order in which they are taken away, and services in the order in which they come.
type Workload struct {
	Machines []unit.Resources
	order    []int
	services []service // Together 75 % of the scarcest dimension of all machines.
}

// Google makes machines in the mix of the 2011 trace (Reiss et al., SoCC'12) and lognormal, correlated demands of which
// 5 % are eight times as big, in services with a heavy tail.
func Google(n int, seed uint64) Workload {
	r := rand.New(rand.NewPCG(seed, 11))
	mix := []struct{ share, cpu, mem float64 }{{.5350, .5, .5}, {.3070, .5, .25}, {.0796, .5, .75}, {.0632, 1, 1}, {.0100, .25, .25}, {.0052, .5, .12}}
	w := Workload{}
	for range n {
		x, k := r.Float64(), 0
		for k < len(mix)-1 && x > mix[k].share {
			x -= mix[k].share
			k++
		}
		w.Machines = append(w.Machines, unit.Resources{CPU: int64(mix[k].cpu * 64000), Memory: int64(mix[k].mem*262144) * mib, Disk: 4000 * gib})
	}
	return w.fill(r, func() service {
		a, b := r.NormFloat64(), r.NormFloat64()
		cpu, mem := math.Exp(math.Log(500)+1.1*a), math.Exp(math.Log(2048)+1.2*(0.5*a+0.866*b))
		if r.Float64() < 0.05 {
			cpu, mem = cpu*8, mem*8
		}
		return service{
			need: unit.Resources{
				CPU: int64(min(max(cpu, 50), 24000)), Memory: int64(min(max(mem, 64), 56<<10)) * mib,
				Disk: int64(min(math.Exp(r.NormFloat64()*1.5+1), 500)) * gib,
			},
			count: max(1, int(min(math.Exp(r.ExpFloat64()*1.3), 200))),
		}
	})
}

// Azure makes equal machines of 64 cores and 256 GiB and demands of 1 to 32 cores with 2, 4 or 8 GiB a core.
func Azure(n int, seed uint64) Workload {
	r := rand.New(rand.NewPCG(seed, 13))
	w := Workload{}
	for range n {
		w.Machines = append(w.Machines, unit.Resources{CPU: 64000, Memory: 256 * gib, Disk: 4000 * gib})
	}
	sizes := []struct {
		share float64
		cores int64
	}{{.40, 1}, {.27, 2}, {.18, 4}, {.09, 8}, {.04, 16}, {.02, 32}}
	return w.fill(r, func() service {
		x, k := r.Float64(), 0
		for k < len(sizes)-1 && x > sizes[k].share {
			x -= sizes[k].share
			k++
		}
		cores, ratio := sizes[k].cores, []int64{2, 4, 4, 4, 8}[r.IntN(5)]
		return service{
			need:  unit.Resources{CPU: cores * 1000, Memory: cores * ratio * gib, Disk: cores * 16 * gib},
			count: max(1, int(min(math.Exp(r.ExpFloat64()*0.9), 100))),
		}
	})
}

// fill draws services until they ask for 75 % of the scarcest dimension.
func (w Workload) fill(r *rand.Rand, draw func() service) Workload {
	have, want := [3]float64{}, [3]float64{}
	for _, m := range w.Machines {
		add(&have, m, 1)
	}
	w.order = r.Perm(len(w.Machines))
	for {
		s := draw()
		add(&want, s.need, float64(s.count))
		if want[0] > .75*have[0] || want[1] > .75*have[1] || want[2] > .75*have[2] {
			return w
		}
		w.services = append(w.services, s)
	}
}

func add(to *[3]float64, r unit.Resources, times float64) {
	to[0] += float64(r.CPU) * times
	to[1] += float64(r.Memory) * times
	to[2] += float64(r.Disk) * times
}

// fits tells whether the first n machines take the whole workload, 0.2 % of the units apart. Services come one by one.
func (w Workload) fits(n int) bool {
	p := plan.New(99)
	for _, i := range w.order[:n] {
		p.SetMachine(plan.Machine{ID: fmt.Sprintf("%032d", i), Allocatable: w.Machines[i]})
	}
	units, refused := 0, 0
	for s, v := range w.services {
		for k := range v.count {
			p.SetUnit(plan.Unit{
				Name: fmt.Sprintf("s%d@%d.service", s, k), Wanted: true,
				Demand: unit.Demand{Service: fmt.Sprint("s", s), Request: v.need},
			})
		}
		units += v.count
		for _, c := range p.Decide() {
			if c.Machine == "" && c.From == "" {
				refused++
			}
		}
	}
	return float64(refused) <= 0.002*float64(units)
}

// Compaction is the smallest number of machines that takes the workload, over the fewest that have the volume
// (Borg's cell compaction: 1 is perfect). 2 when not even all machines take it.
func (w Workload) Compaction() float64 {
	want, have := [3]float64{}, [3]float64{}
	for _, s := range w.services {
		add(&want, s.need, float64(s.count))
	}
	least := len(w.order)
	for n, i := range w.order {
		if add(&have, w.Machines[i], 1); have[0] >= want[0] && have[1] >= want[1] && have[2] >= want[2] {
			least = n + 1
			break
		}
	}
	low, high := least, len(w.order)
	if !w.fits(high) {
		return 2
	}
	for low < high {
		if mid := (low + high) / 2; w.fits(mid) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return float64(high) / float64(least)
}
