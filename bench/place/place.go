// Package place measures placement: how many per second of processor time, how soon one event is answered, and how
// densely machines are filled. README.md holds the figures and the commands. It is a garden room: tests only.
package place

import (
	"fmt"
	"math"
	"math/rand/v2"

	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/unit"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// Machines makes n machines of 64 cores and 256 GiB in 3 zones and racks of 50; every fourth has an ssd.
func Machines(n int) []plan.Machine {
	list := make([]plan.Machine, n)
	for i := range list {
		disk := "hdd"
		if i%4 == 0 {
			disk = "ssd"
		}
		list[i] = plan.Machine{
			ID: fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15), Name: fmt.Sprintf("m%d", i), Runtime: "native",
			Metadata:    map[string]string{"az": string(rune('a' + i%3)), "rack": fmt.Sprintf("r%d", i/50), "disk": disk},
			Allocatable: unit.Resources{CPU: 64000, Memory: 256 * gib, Disk: 4000 * gib},
		}
	}
	return list
}

// Mixed makes about n units of 9,200 services per 100,000: 10 % want an ssd, 10 % a zone, 10 % conflict with their
// own service, 10 % spread over racks, 5 % hold a port.
func Mixed(n int, seed uint64) []plan.Unit {
	r := rand.New(rand.NewPCG(seed, 7))
	var units []plan.Unit
	for s := 0; len(units) < n; s++ {
		d := unit.Demand{Service: fmt.Sprintf("svc%d@.service", s)}
		d.Request = unit.Resources{
			CPU:    int64(math.Min(math.Exp(math.Log(500)+1.1*r.NormFloat64()), 16000)),
			Memory: int64(math.Min(math.Exp(math.Log(11500)+1.2*r.NormFloat64()), 64000)) * mib,
			Disk:   int64(r.IntN(20)) * gib,
		}
		switch x := r.IntN(100); {
		case x < 10:
			d.Metadata = []unit.MetadataTerm{{Key: "disk", Values: []string{"ssd"}}}
		case x < 20:
			d.Metadata = []unit.MetadataTerm{{Key: "az", Values: []string{"a", "b"}}}
		case x < 30:
			d.Conflicts = []string{fmt.Sprintf("svc%d@*", s)}
		case x < 40:
			d.Spread = []string{"rack"}
		case x < 45:
			d.Ports = []unit.Port{{Number: uint16(1024 + s%60000), Proto: "tcp"}}
		}
		count := min(1+int(r.ExpFloat64()*9.9), 200, n-len(units))
		for k := range count {
			units = append(units, plan.Unit{Name: fmt.Sprintf("svc%d@%d.service", s, k), Type: "service", Wanted: true, Demand: d})
		}
	}
	return units
}

// Groups makes services of size units each; size 1 makes single units that have nothing in common.
func Groups(services, size int) []plan.Unit {
	r := rand.New(rand.NewPCG(1, 1))
	var units []plan.Unit
	for s := range services {
		d := unit.Demand{Service: fmt.Sprintf("svc%d@.service", s), Request: unit.Resources{CPU: int64(100 + r.IntN(2000)), Memory: int64(100+r.IntN(8000)) * mib}}
		for k := range size {
			units = append(units, plan.Unit{Name: fmt.Sprintf("svc%d@%d.service", s, k), Type: "service", Wanted: true, Demand: d})
		}
	}
	return units
}

// Filled gives a planner with machines and units told, nothing decided yet.
func Filled(machines []plan.Machine, units []plan.Unit) *plan.Planner {
	p := plan.New(1)
	for _, m := range machines {
		p.SetMachine(m)
	}
	for _, u := range units {
		p.SetUnit(u)
	}
	return p
}
