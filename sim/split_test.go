package sim_test

import (
	"flag"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/sim"
)

var (
	splits    = flag.Int("splits", 10, "how many seeds of exclusive units to play")
	splitFrom = flag.Uint64("splits-from", 1, "the first of them")
	splitLong = flag.Duration("splits-long", 20*time.Minute, "simulated time of each")
	split     = flag.Uint64("split", 0, "play this seed alone and tell its story")
)

// TestSplits plays seeds of the world of exclusive units.
func TestSplits(t *testing.T) {
	if *split != 0 {
		playSplit(t, *split, true)
		return
	}
	begin, n := time.Now(), 0
	for s := *splitFrom; s < *splitFrom+uint64(*splits) && !t.Failed(); s++ {
		playSplit(t, s, false)
		n++
	}
	t.Logf("%d seeds of %v in %v", n, *splitLong, time.Since(begin).Round(time.Millisecond))
}

func playSplit(t *testing.T, seed uint64, loud bool) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if loud {
		log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	w := sim.NewSplit(t.Context(), seed, log)
	err := runSplit(w)
	if loud || err != nil {
		t.Logf("the last steps:\n%s", strings.Join(w.Story(), "\n"))
	}
	if err != nil {
		t.Errorf("split %d: %v\nreplay: go test ./sim -run TestSplits -split %d -splits-long %v", seed, err, seed, *splitLong)
	}
}

func runSplit(w *sim.Split) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.Run(*splitLong)
}

// TestLoss measures how long units are away when their machine loses its power (reliability.md P2, P3), and that an agent
// which is back within ten seconds moves nothing (S13).
func TestLoss(t *testing.T) {
	const seeds = 60
	var ordinary, exclusive []time.Duration
	for s := range uint64(seeds) {
		world := func() *sim.Split { return sim.NewSplit(t.Context(), s+1, slog.New(slog.DiscardHandler)) }
		plain, err := world().Lose(false)
		if err != nil {
			t.Fatalf("seed %d: %v", s+1, err)
		}
		once, err := world().Lose(true)
		if err != nil {
			t.Fatalf("seed %d: %v", s+1, err)
		}
		ordinary, exclusive = append(ordinary, plain), append(exclusive, once)
		if moved, err := world().Restart(10 * time.Second); err != nil || moved > 0 {
			t.Fatalf("seed %d: agents that were away for 10 s moved %d units (%v)", s+1, moved, err)
		}
	}
	slices.Sort(ordinary)
	slices.Sort(exclusive)
	at := func(all []time.Duration, percent int) time.Duration {
		return all[min(len(all)*percent/100, len(all)-1)].Round(10 * time.Millisecond)
	}
	t.Logf("away: ordinary units %v to %v, p50 %v, p99 %v; exclusive units (%d) %v to %v, p99 %v", at(ordinary, 0), at(ordinary, 100),
		at(ordinary, 50), at(ordinary, 99), len(exclusive), at(exclusive, 0), at(exclusive, 100), at(exclusive, 99))
	if most := at(ordinary, 99); most > 14*time.Second {
		t.Errorf("p99 of ordinary units is %v", most)
	}
	if most := at(exclusive, 100); most > 45*time.Second {
		t.Errorf("an exclusive unit was away for %v", most)
	}
}

// TestSameSplitSameStory: what a seed does depends on nothing but the seed.
func TestSameSplitSameStory(t *testing.T) {
	for s := range uint64(5) {
		var stories [2]string
		for i := range stories {
			w := sim.NewSplit(t.Context(), s+1, slog.New(slog.DiscardHandler))
			if err := w.Run(10 * time.Minute); err != nil {
				t.Fatalf("split %d: %v", s+1, err)
			}
			stories[i] = strings.Join(w.Story(), "\n")
		}
		if stories[0] != stories[1] {
			t.Errorf("split %d went two ways", s+1)
		}
	}
}
