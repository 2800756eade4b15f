package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/hosttest/light"
)

// TestLinearizable (S15, S16): the power of a random server is lost every five seconds, in every fifth run that of all at
// once, while clients create, read, change and delete units at every server. What they saw has to be a history that one
// server alone could have given, and no acknowledged write may be lost.
func TestLinearizable(t *testing.T) {
	f := newFleet(t, 3)
	f.found(3)
	from := f.laptop()
	runs, kills := 2, 2
	if full() {
		runs, kills = number(t, "ARGOSY_RUNS", 50), 3
	}
	seed := uint64(number(t, "ARGOSY_SEED", int(time.Now().UnixNano()&0xffff)))
	t.Logf("ARGOSY_SEED=%d", seed)
	for run := range runs {
		dice := rand.New(rand.NewPCG(seed, uint64(run))) //nolint:gosec // Replayable on purpose.
		if run%2 == 0 {                                  // A server that hears of changes late must not tell what was before.
			f.must(f.bed.Delay(f.hosts[dice.IntN(2)], f.hosts[2], late))
		}
		if run == runs-1 || run%5 == 4 {
			f.powerLoss(from, fmt.Sprintf("all-%d", run), seed+uint64(run), 1, func() []*light.Host { return f.hosts })
		} else {
			f.powerLoss(from, fmt.Sprintf("one-%d", run), seed+uint64(run), kills, func() []*light.Host {
				return []*light.Host{f.hosts[dice.IntN(len(f.hosts))]}
			})
		}
		f.must(f.bed.Heal())
		if t.Failed() {
			return
		}
	}
}

func number(t *testing.T, name string, unset int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return unset
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

const (
	killEvery = 5 * time.Second
	without   = time.Second // How long a host has no power.
	late      = 50 * time.Millisecond
)

// powerLoss is one run: a load, power losses, and the check.
func (f *fleet) powerLoss(from *laptop, name string, seed uint64, kills int, choose func() []*light.Host) {
	f.Helper()
	l := f.startLoad(from, name, seed, f.hosts...)
	pause(f.Context(), without)
	for range kills {
		lost := choose()
		var all sync.WaitGroup
		for _, h := range lost {
			all.Go(func() { f.must(h.Kill()) })
		}
		all.Wait()
		pause(f.Context(), without)
		for _, h := range lost {
			f.must(h.On())
			f.daemon(h, "up")
		}
		pause(f.Context(), killEvery-without)
	}
	for _, h := range f.hosts {
		f.answers(h)
	}
	l.end()
}

// pause lets time pass: what is watched here is a load that goes on.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
