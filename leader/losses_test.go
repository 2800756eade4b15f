package leader_test

import (
	"fmt"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/leader"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// placed counts the units on each machine.
func (w *world) placed() map[string]int {
	w.t.Helper()
	w.follow()
	out := map[string]int{}
	w.view.Peek(func(p *cluster.Picture) {
		for on := range p.Placements {
			out[on.Machine]++
		}
	})
	return out
}

func (w *world) conditions() (out []cluster.Condition) {
	w.follow()
	w.view.Peek(func(p *cluster.Picture) { out = p.Reign.Conditions })
	return out
}

// TestManyLost: more than half of the machines lost at once moves nothing and is said (S31); they come back, and all is as before.
func TestManyLost(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.machine(fmt.Sprintf("m%02d", i), gib)
	}
	for i := range 40 {
		w.want(fmt.Sprintf("u@%d.service", i), text("300M"), cluster.Launched)
	}
	w.settle()
	before := w.placed()
	for i := range 12 {
		w.silent(fmt.Sprintf("m%02d", i))
		w.now = w.now.Add(100 * time.Millisecond)
		w.settle()
	}
	for range 30 {
		w.now = w.now.Add(10 * time.Second)
		w.settle()
	}
	if after := w.placed(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("12 of 20 machines lost moved units: %v became %v", before, after)
	}
	c := w.conditions()
	if len(c) != 1 || c[0].Reason.Code != reason.ManyLost || c[0].Reason.Int("lost") != 12 {
		t.Fatalf("the conditions are %+v", c)
	}
	for i := range 11 {
		w.write(store.Writer{Role: store.Machine, ID: fmt.Sprintf("m%02d", i)}, store.Put(cluster.AliveKey(fmt.Sprintf("m%02d", i)), 1))
	}
	w.settle()
	w.now = w.now.Add(time.Second)
	w.settle()
	if c := w.conditions(); len(c) != 0 {
		t.Errorf("they are back, and the conditions are %+v", c)
	}
	if after := w.placed(); after["m11"] != 0 {
		t.Errorf("the one that stays away keeps %d units", after["m11"])
	}
}

// TestHerd: 50 units of a lost machine move ten in a second, and none is forgotten.
func TestHerd(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", 64*gib)
	for i := range 50 {
		w.want(fmt.Sprintf("u@%d.service", i), text("64M"), cluster.Launched)
	}
	w.settle()
	w.machine("m2", 64*gib)
	w.settle()
	w.silent("m1")
	w.settle()
	w.now = w.now.Add(leader.DefaultDownAfter)
	begin := w.now
	for w.placed()["m2"] < 50 {
		w.settle()
		most := 10 + int(w.now.Sub(begin).Seconds()*10)
		if n := w.placed()["m2"]; n > most {
			t.Fatalf("%d units moved in %v", n, w.now.Sub(begin))
		}
		next := w.l.Next()
		if next <= 0 {
			next = time.Second
		}
		if w.now = w.now.Add(next); w.now.Sub(begin) > 10*time.Second {
			t.Fatalf("after 10 s: %v", w.placed())
		}
	}
	if n := w.placed()["m1"]; n != 0 {
		t.Errorf("%d units are still on the lost machine", n)
	}
	t.Logf("50 units in %v", w.now.Sub(begin))
}

// TestHerdEnds: the machine is back before all its units were moved: those that were not go where they were going.
func TestHerdEnds(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", 64*gib)
	for i := range 30 {
		w.want(fmt.Sprintf("u@%d.service", i), text("64M"), cluster.Launched)
	}
	w.settle()
	w.machine("m2", 64*gib)
	w.settle()
	w.silent("m1")
	w.settle()
	w.now = w.now.Add(leader.DefaultDownAfter)
	w.settle()
	w.machine("m1", 64*gib)
	for range 20 {
		w.settle()
		w.now = w.now.Add(time.Second)
	}
	if p := w.placed(); p["m1"]+p["m2"] != 30 {
		t.Errorf("30 units are placed as %v", p)
	}
	for i := range 30 {
		if is := w.is(fmt.Sprintf("u@%d.service", i)); is != "m1" && is != "m2" {
			t.Errorf("u@%d is on %q", i, is)
		}
	}
}

// TestFlapping: a machine that was lost takes new units after a minute, and after two when it was lost again.
func TestFlapping(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	for lost := range 2 {
		w.silent("m1")
		w.settle()
		w.now = w.now.Add(leader.DefaultDownAfter)
		w.settle()
		w.machine("m1", gib)
		w.settle()
		name := fmt.Sprintf("a%d.service", lost)
		w.want(name, text("10M"), cluster.Launched)
		hold := time.Minute << lost
		w.now = w.now.Add(hold - time.Second)
		w.settle()
		w.check(map[string]string{name: string(reason.Unsteady)})
		if n := w.l.Next(); n <= 0 || n > time.Second {
			t.Errorf("next look in %v", n)
		}
		w.now = w.now.Add(time.Second)
		w.settle()
		w.check(map[string]string{name: "m1"})
		w.want(name, text("10M"), cluster.Inactive)
		w.settle()
	}
}

func (w *world) alive(id string, epoch int64) {
	w.write(store.Writer{Role: store.Machine, ID: id}, store.Put(cluster.AliveKey(id), cluster.Sign{Epoch: epoch}))
}

// TestExclusive: a unit that runs on one machine at a time waits until its lost machine must have stopped it.
func TestExclusive(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.alive("m1", 1)
	w.want("x.service", text("10M")+"Exclusive=yes\n", cluster.Launched)
	w.settle()
	w.check(map[string]string{"x.service": "m1"})
	first := w.epoch("m1", "x.service")
	claim := cluster.Status{Unit: "x.service", Machine: "m1", Lease: 1, Epoch: first, Active: "active", For: 1 << 40}
	w.write(store.Writer{Role: store.Machine, ID: "m1"}, store.Put(cluster.StatusKey("m1", "x.service"), claim))
	w.machine("m2", gib)
	w.alive("m2", 1)
	w.silent("m1")
	w.settle()
	w.now = w.now.Add(leader.DefaultDownAfter)
	w.settle()
	w.check(map[string]string{"x.service": string(reason.Fencing)})
	w.follow()
	w.view.Peek(func(p *cluster.Picture) {
		if p.Condemned["m1"] == nil {
			t.Error("m1 was not condemned")
		}
	})
	wait := fence.Wait(fence.StopTimeout)
	w.now = w.now.Add(wait - time.Second)
	w.settle()
	w.check(map[string]string{"x.service": string(reason.Fencing)})
	w.lead("m2") // Another leader begins the wait again.
	w.settle()
	w.now = w.now.Add(leader.DefaultDownAfter)
	w.settle()
	w.now = w.now.Add(wait - leader.DefaultDownAfter - time.Millisecond)
	w.settle()
	w.check(map[string]string{"x.service": string(reason.Fencing)})
	w.now = w.now.Add(leader.DefaultDownAfter)
	w.settle()
	w.check(map[string]string{"x.service": "m2"})
	if again := w.epoch("m2", "x.service"); again <= first {
		t.Errorf("epoch %d after %d", again, first)
	}
}

// TestExclusiveShortCuts: a new epoch of the machine, or a person's word, ends the wait.
func TestExclusiveShortCuts(t *testing.T) {
	for _, cut := range []string{"epoch", "person"} {
		t.Run(cut, func(t *testing.T) {
			w := newWorld(t)
			w.machine("m1", gib)
			w.alive("m1", 1)
			w.want("x.service", text("10M")+"Exclusive=yes\n", cluster.Launched)
			w.settle()
			claim := cluster.Status{Unit: "x.service", Machine: "m1", Lease: 1, Epoch: w.epoch("m1", "x.service"), Active: "active", For: 1 << 40}
			w.write(store.Writer{Role: store.Machine, ID: "m1"}, store.Put(cluster.StatusKey("m1", "x.service"), claim))
			w.machine("m2", gib)
			w.silent("m1")
			w.settle()
			w.now = w.now.Add(leader.DefaultDownAfter)
			w.settle()
			w.check(map[string]string{"x.service": string(reason.Fencing)})
			w.follow()
			if cut == "epoch" {
				w.alive("m1", w.seen)
			} else {
				var condemned int64
				w.view.Peek(func(p *cluster.Picture) { condemned = p.Condemned["m1"].Revision })
				w.write(ann, store.Put(cluster.AdminKey("m1"), cluster.MachineAdmin{ID: "m1", Fenced: condemned}))
			}
			w.settle()
			w.check(map[string]string{"x.service": "m2"})
		})
	}
}
