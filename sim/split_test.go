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
	splits    = flag.Int("splits", 20, "how many seeds of exclusive units to play")
	splitFrom = flag.Uint64("splits-from", 1, "the first of them")
	splitLong = flag.Duration("splits-long", time.Hour, "simulated time of each")
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
