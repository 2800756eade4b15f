package leader_test

import (
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
)

func (w *world) status(machine, name, active string) {
	w.write(store.Writer{Role: store.Machine, ID: machine},
		store.Put(cluster.StatusKey(machine, name), cluster.Status{Unit: name, Machine: machine, Active: active, For: 1 << 40}))
}

// A stopped unit gives its room back when it has ended, not when its end was asked for; to start again it needs room.
func TestStoppedUnitGivesItsRoomBack(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("800M"), cluster.Launched)
	w.settle()
	w.status("m1", "a.service", "active")
	w.want("a.service", text("800M"), cluster.Loaded)
	w.want("b.service", text("800M"), cluster.Launched)
	w.settle()
	w.check(map[string]string{"a.service": "m1", "b.service": "no-room.memory"})
	w.status("m1", "a.service", "inactive")
	w.settle()
	w.check(map[string]string{"a.service": "m1", "b.service": "m1"})
	w.status("m1", "a.service", "active") // Its agent is late, and about to end it.
	w.settle()
	w.check(map[string]string{"a.service": "m1", "b.service": "m1"})
	w.want("a.service", text("800M"), cluster.Launched)
	w.settle()
	w.check(map[string]string{"a.service": "no-room.memory", "b.service": "m1"})
}

// A unit that is started again between two leaders finds its port taken meanwhile: it looks for another machine, and never
// drives out the one that runs.
func TestStartedAgainBetweenTwoLeaders(t *testing.T) {
	port := text("10M") + "Port=8081\n"
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", port, cluster.Loaded)
	w.settle()
	w.status("m1", "a.service", "inactive")
	w.want("b.service", port, cluster.Launched)
	w.settle()
	w.status("m1", "b.service", "active")
	w.check(map[string]string{"a.service": "m1", "b.service": "m1"})
	w.want("a.service", port, cluster.Launched)
	w.lead("m2")
	w.settle()
	w.check(map[string]string{"a.service": "no-room.port", "b.service": "m1"})
	w.machine("m2", gib)
	w.settle()
	w.check(map[string]string{"a.service": "m2", "b.service": "m1"})
}
