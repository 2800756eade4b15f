package remote

import (
	"cmp"
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// How long a server that failed is left for later, doubling with each failure.
const (
	firstPenalty = 250 * time.Millisecond
	lastPenalty  = 15 * time.Second
	maxNotes     = 64 // Servers that are remembered.
)

// Spread orders servers of equal rank for a machine: each machine has another order, so that the load is shared and the
// loss of a server is shared as well; a machine's order stays when servers come or go.
func Spread(servers []string, machine string) []string {
	out := slices.Clone(servers)
	rank := func(server string) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(machine + "\x00" + server)) // A hash takes everything.
		return h.Sum64()
	}
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

// board remembers which servers failed lately.
type board struct {
	mu    sync.Mutex
	notes map[string]note
}

type note struct {
	until   time.Time
	penalty time.Duration
}

func newBoard() *board { return &board{notes: map[string]note{}} }

// order gives the servers as they are to be asked: as preferred, and behind them those that failed, the one first whose
// penalty ends first. None is left out: when all failed, all are asked.
func (b *board) order(servers []string, now time.Time) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(servers)
	slices.SortStableFunc(out, func(x, y string) int {
		return cmp.Compare(max(0, b.notes[x].until.Sub(now)), max(0, b.notes[y].until.Sub(now)))
	})
	return slices.Compact(out)
}

func (b *board) failed(server string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.notes[server]
	if now.Before(n.until) {
		return // Several calls met the same failure.
	}
	if len(b.notes) >= maxNotes {
		clear(b.notes)
	}
	n.penalty = min(max(2*n.penalty, firstPenalty), lastPenalty)
	n.until = now.Add(n.penalty)
	b.notes[server] = n
}

func (b *board) answered(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.notes, server)
}
