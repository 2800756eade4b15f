package loop_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"argosy.dev/argosy/loop"
)

// run runs a loop in a bubble for a while and gives the moments of its passes, counted from the start.
func run(t *testing.T, l loop.Loop, pass func(n int) error, during time.Duration, meanwhile func(ctx context.Context, kick chan<- struct{})) []time.Duration {
	t.Helper()
	var at []time.Duration
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		l.Log = slog.New(slog.DiscardHandler)
		l.Pass = func(context.Context) error {
			at = append(at, time.Since(begin))
			return pass(len(at))
		}
		if meanwhile != nil {
			kick := make(chan struct{}, 1) // Made in here: the bubble's clock waits for others' channels.
			l.Kick = kick
			wg.Go(func() { meanwhile(ctx, kick) })
		}
		l.Run(ctx)
		wg.Wait() // Nobody may outlive the bubble.
		if err := ctx.Err(); err == nil {
			t.Error("the loop ended by itself")
		}
	})
	return at
}

func fine(int) error { return nil }

func want(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("passes at %v, want %v", got, want)
	}
}

const second = time.Second

func TestAtStartAndEveryPeriod(t *testing.T) {
	got := run(t, loop.Loop{Every: 10 * second}, fine, 35*second, nil)
	want(t, got, 0, 10*second, 20*second, 30*second)
}

func TestKick(t *testing.T) {
	got := run(t, loop.Loop{Every: 10 * second}, fine, 15*second, func(_ context.Context, kick chan<- struct{}) {
		<-time.After(3 * second)
		kick <- struct{}{}
	})
	want(t, got, 0, 3*second, 13*second)
}

func TestFailuresBackOffAndKicksDoNotHurry(t *testing.T) {
	fails := func(n int) error {
		if n <= 4 {
			return errors.New("no")
		}
		return nil
	}
	got := run(t, loop.Loop{Every: 10 * second}, fails, 12*second, func(ctx context.Context, kick chan<- struct{}) {
		for ctx.Err() == nil { // A storm.
			select {
			case kick <- struct{}{}:
			case <-ctx.Done():
			}
			<-time.After(50 * time.Millisecond)
		}
	})
	ms := time.Millisecond
	if len(got) < 6 || !slices.Equal(got[:5], []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms}) {
		t.Errorf("passes at %v, want pauses of 100, 200, 400 and 800 ms", got)
	}
}

func TestPauseIsBounded(t *testing.T) {
	got := run(t, loop.Loop{Every: time.Hour}, func(int) error { return errors.New("no") }, 5*time.Minute, nil)
	for i := 1; i < len(got); i++ {
		if d := got[i] - got[i-1]; d > 30*second {
			t.Fatalf("a pause of %v", d)
		}
	}
	got = run(t, loop.Loop{Every: second}, func(int) error { return errors.New("no") }, 30*second, nil)
	for i := 1; i < len(got); i++ {
		if d := got[i] - got[i-1]; d > second {
			t.Fatalf("a pause of %v is above the period", d)
		}
	}
}

func TestNext(t *testing.T) {
	next, n := []time.Duration{2 * second, 0, time.Hour}, 0
	l := loop.Loop{Every: 10 * second, Next: func() time.Duration {
		n++
		return next[(n-1)%len(next)]
	}}
	got := run(t, l, fine, 30*second, nil)
	want(t, got, 0, 2*second, 12*second, 22*second, 24*second)
}
