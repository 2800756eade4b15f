package sim_test

import (
	"flag"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/sim"
)

var (
	seeds = flag.Int("seeds", 1000, "how many seeds to play")
	most  = flag.Int("broken", 1, "stop after so many broken seeds; only one of them tells its story")
	seed  = flag.Uint64("seed", 0, "play this seed alone and tell its story")
)

// TestSeeds plays seeds until one breaks a promise.
func TestSeeds(t *testing.T) {
	if *seed != 0 {
		play(t, *seed, true)
		return
	}
	begin, broken := time.Now(), 0
	for s := uint64(1); s <= uint64(*seeds) && broken < *most; s++ {
		if !play(t, s, false) {
			broken++
		}
	}
	t.Logf("%d seeds in %v", *seeds, time.Since(begin).Round(time.Millisecond))
}

func play(t *testing.T, seed uint64, loud bool) bool {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if loud {
		log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	w := sim.New(t.Context(), seed, log)
	err := run(w)
	if loud || err != nil && *most == 1 {
		t.Logf("the last steps:\n%s", strings.Join(w.Story(), "\n"))
	}
	if err != nil {
		t.Errorf("seed %d: %v\nreplay: go test ./sim -run TestSeeds -seed %d", seed, err, seed)
	}
	return err == nil
}

// run makes a finding of a panic: one seed's must not hide the others'.
func run(w *sim.World) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.Run()
}

// TestSameSeedSameTrace: what a seed does depends on nothing but the seed.
func TestSameSeedSameTrace(t *testing.T) {
	different := map[string]bool{}
	for s := range uint64(25) {
		var traces [2]string
		for i := range traces {
			w := sim.New(t.Context(), s+1, slog.New(slog.DiscardHandler))
			if err := w.Run(); err != nil {
				t.Fatalf("seed %d: %v", s+1, err)
			}
			traces[i] = w.Trace()
		}
		if traces[0] != traces[1] {
			t.Errorf("seed %d went two ways: %v", s+1, traces)
		}
		different[traces[0]] = true
	}
	if len(different) < 20 {
		t.Errorf("25 seeds made only %d traces", len(different))
	}
}
