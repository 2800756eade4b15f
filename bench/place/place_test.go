package place

import (
	"flag"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"

	"argosy.dev/argosy/plan"
)

var (
	full  = flag.Bool("full", false, "measure with 10,000 machines; without it a tenth of everything, only to see that it works")
	seeds = flag.Int("seeds", 3, "seeds of the density workloads; the figures in README.md are of 40")
	dense = flag.Int("machines", 300, "machines of the density workloads")
)

func scale(n int) int {
	if *full {
		return n
	}
	return n / 10
}

// cpuTime is what the process has used: user and system, garbage collection included.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func spent(t testing.TB, f func()) time.Duration {
	runtime.GC()
	before := cpuTime(t)
	f()
	return cpuTime(t) - before
}

// check counts everything again; with -full it would take longer than everything else.
func check(t *testing.T, p *plan.Planner) {
	if *full {
		return
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}

func one(t *testing.T) {
	old := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

// wave tells everything and decides it, timed together: a unit is told, classed, placed and given its reason.
func wave(t *testing.T, what string, units []plan.Unit) *plan.Planner {
	machines := Machines(scale(10000))
	var p *plan.Planner
	var best time.Duration
	for range 3 {
		p = Filled(machines, nil)
		p.Decide()
		placed := 0
		d := spent(t, func() {
			for _, u := range units {
				p.SetUnit(u)
			}
			for _, c := range p.Decide() {
				if c.Machine != "" {
					placed++
				}
			}
		})
		if best == 0 || d < best {
			best = d
		}
		if placed != len(units) {
			t.Errorf("%s: %d of %d placed", what, placed, len(units))
		}
	}
	t.Logf("%s: %d units on %d machines in %v of cpu: %.0f placements/cpu-s, memory %.1f %% promised", what, len(units), len(machines), best, float64(len(units))/best.Seconds(), 100*promised(p, machines))
	return p
}

// promised is the share of all memory that is promised.
func promised(p *plan.Planner, machines []plan.Machine) float64 {
	var used, all int64
	for _, m := range machines {
		used += p.Promised(m.ID).Memory
		all += m.Allocatable.Memory
	}
	return float64(used) / float64(all)
}

func TestWaves(t *testing.T) {
	one(t)
	wave(t, "groups of 100", Groups(scale(10000)/100, 100))
	wave(t, "single units", Groups(scale(10000), 1))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p := wave(t, "mixed", Mixed(scale(100000), 1))
	debug.FreeOSMemory()
	runtime.ReadMemStats(&after)
	t.Logf("memory of the planner: %.0f MiB", float64(after.HeapAlloc-before.HeapAlloc)/float64(mib))
	runtime.KeepAlive(p)
	check(t, p)
}

func percentile(d []time.Duration, q float64) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

func TestSettledPass(t *testing.T) {
	one(t)
	units := Mixed(scale(100000), 1)
	p := Filled(Machines(scale(10000)), units)
	p.Decide()
	var stop, start []time.Duration
	for i := range 2000 {
		u := units[i*37%len(units)]
		for _, wanted := range []bool{false, true} {
			u.Wanted = wanted
			at := time.Now()
			p.SetUnit(u)
			n := len(p.Decide())
			took := time.Since(at)
			if n != 1 {
				t.Fatalf("%s wanted=%v: %d changes", u.Name, wanted, n)
			}
			if wanted {
				start = append(start, took)
			} else {
				stop = append(stop, took)
			}
		}
	}
	t.Logf("one unit stops: p50 %v p99 %v; one starts: p50 %v p99 %v", percentile(stop, .5), percentile(stop, .99), percentile(start, .5), percentile(start, .99))
	none := testing.AllocsPerRun(1000, func() { p.Decide() })
	i := 0
	stops := testing.AllocsPerRun(500, func() {
		u := units[i]
		u.Wanted = false
		i++
		p.SetUnit(u)
		p.Decide()
	})
	starts := testing.AllocsPerRun(500, func() { i--; p.SetUnit(units[i]); p.Decide() })
	t.Logf("allocations of a pass: without news %.0f, one unit stops %.0f, one starts %.0f (its reason)", none, stops, starts)
	if none != 0 || stops != 0 {
		t.Error("the settled pass allocates")
	}
	explained := spent(t, func() {
		for k := range 1000 {
			p.Explain(units[k].Name)
		}
	})
	t.Logf("an explanation: %v", explained/1000)
}

func TestLoss(t *testing.T) {
	one(t)
	machines, units := Machines(scale(10000)), Mixed(scale(100000), 1)
	p := Filled(machines, units)
	p.Decide()
	moved, lost := 0, 0
	d := spent(t, func() {
		for i := 0; i < len(machines); i += 10 {
			m := machines[i]
			m.Down = true
			p.SetMachine(m)
		}
		for _, c := range p.Decide() {
			if moved++; c.Machine == "" {
				lost++
			}
		}
	})
	t.Logf("%d of %d machines lost: %d units moved (%d found no room) in %v of cpu: %.0f/cpu-s", len(machines)/10, len(machines), moved, lost, d, float64(moved)/d.Seconds())
	check(t, p)
}

func TestDensity(t *testing.T) {
	for _, w := range []struct {
		name string
		draw func(int, uint64) Workload
		aim  float64
	}{{"google", Google, 1.06}, {"azure", Azure, 1.03}} {
		sum, worst := 0.0, 0.0
		for s := range *seeds {
			c := w.draw(*dense, uint64(s+1)).Compaction()
			sum += c
			worst = max(worst, c)
		}
		mean := sum / float64(*seeds)
		t.Logf("%s: compaction %.3f, worst %.3f, over %d seeds of %d machines (aim %.2f)", w.name, mean, worst, *seeds, *dense, w.aim)
		if *seeds >= 20 && mean > w.aim {
			t.Errorf("%s: compaction %.3f, the aim is %.2f", w.name, mean, w.aim)
		}
	}
}

func BenchmarkSettledPass(b *testing.B) {
	p := Filled(Machines(1000), Mixed(10000, 1))
	p.Decide()
	b.ReportAllocs()
	for b.Loop() {
		p.Decide()
	}
}

func BenchmarkStopStart(b *testing.B) {
	units := Mixed(10000, 1)
	p := Filled(Machines(1000), units)
	p.Decide()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		u := units[i%len(units)]
		i++
		u.Wanted = false
		p.SetUnit(u)
		p.Decide()
		u.Wanted = true
		p.SetUnit(u)
		p.Decide()
	}
}

func BenchmarkExplain(b *testing.B) {
	units := Mixed(100000, 1)
	p := Filled(Machines(10000), units)
	p.Decide()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p.Explain(units[i%1000].Name)
		i++
	}
}
