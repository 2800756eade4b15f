package remote

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestBoard(t *testing.T) {
	b, now := newBoard(), time.Unix(1_000_000, 0)
	servers := []string{"a", "b", "c"}
	order := func(want ...string) {
		t.Helper()
		if got := b.order(servers, now); !reflect.DeepEqual(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	}
	order("a", "b", "c")
	b.failed("a", now)
	order("b", "c", "a")
	b.failed("a", now) // Another call that met the same failure.
	now = now.Add(firstPenalty)
	order("a", "b", "c")
	b.failed("a", now)
	now = now.Add(firstPenalty)
	order("b", "c", "a") // Twice as long by now.
	b.failed("b", now)
	b.failed("c", now)
	order("a", "b", "c") // All failed, and all are asked.
	b.answered("c")
	order("c", "a", "b")
	for range 100 {
		now = now.Add(time.Hour)
		b.failed("a", now)
	}
	now = now.Add(lastPenalty)
	order("a", "b", "c")
	for i := range 10 * maxNotes {
		b.failed(fmt.Sprint(i), now)
	}
	if len(b.notes) > maxNotes {
		t.Errorf("%d servers are remembered", len(b.notes))
	}
}

// TestSpread: machines share the servers, and when one goes only its machines move.
func TestSpread(t *testing.T) {
	servers := []string{"10.0.0.1:7443", "10.0.0.2:7443", "10.0.0.3:7443"}
	first, moved := map[string]int{}, 0
	for i := range 3000 {
		id := fmt.Sprintf("%032x", i)
		order := Spread(servers, id)
		first[order[0]]++
		less := Spread(slices.DeleteFunc(slices.Clone(servers), func(s string) bool { return s == servers[1] }), id)
		if less[0] != order[0] {
			moved++
			if order[0] != servers[1] {
				t.Fatalf("%s goes from %s to %s without need", id, order[0], less[0])
			}
		}
	}
	for s, n := range first {
		if n < 800 || n > 1200 {
			t.Errorf("%s is the first choice of %d of 3000 machines", s, n)
		}
	}
	if moved != first[servers[1]] {
		t.Errorf("%d machines moved, of %d", moved, first[servers[1]])
	}
}
