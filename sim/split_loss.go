package sim

import (
	"maps"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
)

// lossBound is when a loss has to be over.
const lossBound = time.Minute

// Lose takes the power of a machine that runs ordinary, or exclusive, units, with nothing else going wrong, and tells how
// long it took until the first of them ran elsewhere.
func (w *Split) Lose(exclusive bool) (away time.Duration, err error) {
	w.run(w.t + 30*time.Second + w.upTo(10*time.Second))
	for _, b := range w.hosts {
		for _, name := range slices.Sorted(maps.Keys(b.runtime.Running())) {
			if _, yes := w.users[name]; yes == exclusive {
				return w.loseUnit(b, name)
			}
		}
	}
	w.fail("nothing runs")
	return 0, w.problem
}

func (w *Split) loseUnit(b *box, name string) (away time.Duration, err error) {
	begin := w.t
	b.kill()
	b.runtime.Reboot()
	b.off = true
	for w.problem == nil && w.t < begin+lossBound {
		if w.run(w.t + 50*time.Millisecond); w.runsNow(name) {
			return w.t - begin, nil
		}
	}
	w.fail("%s does not run a minute after %s lost its power", name, b.id)
	return 0, w.problem
}

func (w *Split) runsNow(name string) bool {
	for _, b := range w.hosts {
		if _, runs := b.runtime.Running()[name]; runs && !b.off {
			return true
		}
	}
	return false
}

// Restart kills a machine's agent, begins its next life after a pause, and tells how many placements that moved.
func (w *Split) Restart(pause time.Duration) (moved int, err error) {
	w.run(w.t + 30*time.Second + w.upTo(10*time.Second))
	before := w.placements()
	for _, b := range w.hosts {
		b.kill()
		w.after(pause, b.start)
	}
	w.run(w.t + 40*time.Second)
	after := w.placements()
	for on := range before {
		if _, there := after[on]; !there {
			moved++
		}
	}
	return moved, w.problem
}

func (w *Split) placements() map[string]struct{} {
	pic, err := w.store.Read(w.ctx, cluster.PlacementsPrefix)
	if err != nil {
		w.fail("read: %v", err)
	}
	out := map[string]struct{}{}
	for _, e := range pic.Entries {
		out[e.Key] = struct{}{}
	}
	return out
}
