package tidy

import "strings"

// floors lists the rooms from the ground up. A room may import rooms that stand before it, never beside or above it.
// Rooms on one line share a floor and do not import each other.
var floors = [][]string{
	{"reason", "calendar"},
	{"unit"},
	{"cluster"},
	{"wire"},
	{"plan", "judge", "quorum", "fence"},
	{"loop", "identity"},
	{"store"},
	{"store/memory", "store/etcd", "store/remote"},
	{"runtime"},
	{"runtime/native", "runtime/systemd", "runtime/fake"},
	{"shell", "agent", "leader", "member", "history", "audit", "trust", "kv"},
	{"client", "api"},
	{"node"},
	{"cmd/argosy"},
}

// garden rooms are for tests, measurements and examples: they may import everything and nothing imports them,
// but for tests.
var garden = []string{"sim", "hosttest", "bench", "internal", "store/storetest", "runtime/runtimetest", "examples"}

// pure rooms decide and do nothing: they have no clock, no disk, no network, no dice and no goroutine.
var pure = map[string]bool{"reason": true, "calendar": true, "unit": true, "cluster": true, "wire": true, "plan": true, "judge": true, "quorum": true, "fence": true}

// impureImports may not be imported by a pure room. The reason is part of the failure.
var impureImports = map[string]string{
	"os": "the world comes in as arguments", "os/exec": "a decision starts nothing", "net": "a decision asks nobody",
	"net/http": "a decision asks nobody", "math/rand": "dice come in as a seed", "math/rand/v2": "dice come in as a seed",
	"crypto/rand": "dice come in as a seed", "sync": "a decision has one thread", "sync/atomic": "a decision has one thread",
	"syscall": "a decision asks no kernel", "golang.org/x/sys/unix": "a decision asks no kernel", "log": "a reason is returned, not logged",
	"log/slog": "a reason is returned, not logged", "context": "a decision does not wait",
}

// impureCalls may not be made by a pure room.
var impureCalls = map[string]string{
	"time.Now": "time comes in as an argument", "time.Since": "time comes in as an argument", "time.Until": "time comes in as an argument",
	"time.Sleep": "a decision does not wait", "time.After": "a decision does not wait", "time.NewTimer": "a decision does not wait",
	"time.NewTicker": "a decision does not wait",
}

// roomOf finds the room that a package belongs to: itself, or the nearest room above it (runtime/native/internal/x).
func roomOf(pkg string) (room string, floor int, ok bool) {
	best := -1
	for f, rooms := range floors {
		for _, r := range rooms {
			if (pkg == r || strings.HasPrefix(pkg, r+"/")) && len(r) > best {
				room, floor, ok, best = r, f, true, len(r)
			}
		}
	}
	return room, floor, ok
}

func inGarden(pkg string) bool {
	for _, g := range garden {
		if pkg == g || strings.HasPrefix(pkg, g+"/") {
			return true
		}
	}
	return false
}
