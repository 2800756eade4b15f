package sim

import (
	"maps"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

// fault draws what goes wrong with one write.
func (w *World) fault(_ store.Writer, changes []store.Change) memory.Fault {
	if !w.faults || len(changes) == 0 {
		return memory.None
	}
	switch w.dice.IntN(40) {
	case 0:
		return memory.Stale
	case 1:
		return memory.LostRequest
	case 2, 3:
		return memory.LostAnswer
	}
	return memory.None
}

// trouble draws what goes wrong with a machine, a unit, a clock or a leader.
func (w *World) trouble() {
	h := w.hosts[w.dice.IntN(len(w.hosts))]
	switch w.dice.IntN(12) {
	case 0, 1:
		w.crash(h)
	case 2:
		w.slowStop(h)
	case 3:
		h.runtime.DropKicks(1 + w.dice.IntN(3))
		w.tell("%s loses kicks", h.id)
	case 4, 5:
		if !h.off {
			w.startAgent(h)
			w.tell("the agent of %s starts again", h.id)
		}
	case 6:
		w.elect()
		w.tell("another leader")
	case 7:
		w.deposed()
	case 8:
		w.jump(h)
	case 9:
		if len(w.hosts) < maxMachines {
			w.addMachine()
		}
	default:
		w.lose(h)
	}
}

func (w *World) crash(h *host) {
	names := slices.Sorted(maps.Keys(h.runtime.Running()))
	if h.off || len(names) == 0 {
		return
	}
	name := names[w.dice.IntN(len(names))]
	h.runtime.Crash(name, 11)
	w.tell("%s crashes on %s", name, h.id)
}

func (w *World) slowStop(h *host) {
	names := slices.Sorted(maps.Keys(h.runtime.Running()))
	if len(names) == 0 {
		return
	}
	name := names[w.dice.IntN(len(names))]
	h.runtime.SlowStop(name, time.Duration(w.dice.IntN(20))*time.Second)
	w.tell("%s stops slowly on %s", name, h.id)
}

// deposed elects another leader while the old one has not noticed, and lets the old one act.
func (w *World) deposed() {
	w.old = w.leads
	w.elect()
	w.tell("another leader, and the old one has not noticed")
	before := w.placementsRevision()
	w.catchUp(&w.old.follower, true)
	err := w.old.leader.Pass(w.ctx, w.old.term.Writer)
	if after := w.placementsRevision(); after != before {
		w.fail("a deposed leader wrote (%v)", err)
	}
	w.old = nil
}

func (w *World) placementsRevision() (rev int64) {
	pic, err := w.store.Read(w.ctx, "")
	if err != nil {
		w.fail("read: %v", err)
	}
	return pic.Revision
}

func (w *World) jump(h *host) {
	if w.chance(2) {
		h.skew += time.Duration(1+w.dice.IntN(3600)) * time.Second
	} else {
		h.skew -= time.Duration(1+w.dice.IntN(30)) * time.Second
	}
	w.tell("the clock of %s jumps to %v", h.id, h.skew)
}

// lose cuts a machine off, takes its power, or brings it back.
func (w *World) lose(h *host) {
	switch {
	case h.off || h.cut:
		w.bringBack(h)
	case w.chance(2):
		h.cut, h.silent = true, w.now
		w.tell("%s is cut off", h.id)
	default:
		h.off, h.silent = true, w.now
		h.runtime.Reboot()
		w.tell("%s loses its power", h.id)
	}
}

func (w *World) bringBack(h *host) {
	if h.off {
		w.startAgent(h)
	}
	w.tell("%s is back", h.id)
	w.truth.wasSilent[h.id] = w.truth.revision
	h.off, h.cut = false, false
	w.revive(h)
}

// user is what people do. It reads the store as the API does, and its writes go through.
type user struct {
	w    *World
	next int
}

func (u *user) act() {
	w := u.w
	names := slices.Sorted(maps.Keys(w.truth.picture().Units))
	if len(names) < 3 || len(names) < maxUnits && w.chance(4) {
		u.submit()
		return
	}
	name := names[w.dice.IntN(len(names))]
	wish := *w.truth.picture().Units[name]
	switch w.dice.IntN(16) {
	case 0, 1, 2, 3, 4:
		wish.Desired = cluster.Launched
		wish.Orders.Start++
	case 5, 6:
		wish.Desired = cluster.Inactive
	case 7:
		wish.Desired = cluster.Loaded
	case 8, 9, 10:
		wish.Desired = cluster.Launched
		wish.Orders.Restart++
	case 11:
		wish.Orders.Kill++
		wish.Orders.Signal = 15
	case 12, 13:
		wish.Text = drawText(w)
		w.truth.replaced[name] = w.truth.revision + 1
	case 14:
		u.cordon()
		return
	default:
		w.tell("a person destroys %s", name)
		w.mustWrite(person(), store.Delete(cluster.UnitKey(name)))
		return
	}
	u.put(wish)
}

func (u *user) submit() {
	name := drawName(u.w, u.next)
	u.next++
	u.put(cluster.Wanted{Name: name, Text: drawText(u.w), Desired: cluster.Launched, Orders: cluster.Orders{Start: 1}})
}

func (u *user) put(wish cluster.Wanted) {
	wish.By, wish.At = "ann", u.w.now
	u.w.tell("a person wants %s %s, start %d, restart %d, kill %d, %dM", wish.Name, wish.Desired, wish.Orders.Start, wish.Orders.Restart, wish.Orders.Kill, specOf(wish.Text).memory>>20)
	u.w.mustWrite(person(), store.Put(cluster.UnitKey(wish.Name), wish))
}

func (u *user) cordon() {
	h := u.w.hosts[u.w.dice.IntN(len(u.w.hosts))]
	a := u.w.truth.picture().Admin[h.id]
	cordoned := a == nil || !a.Cordoned
	u.w.tell("a person cordons %s: %v", h.id, cordoned)
	u.w.mustWrite(person(), store.Put(cluster.AdminKey(h.id), cluster.MachineAdmin{ID: h.id, Cordoned: cordoned}))
}

func person() store.Writer { return store.Writer{Role: store.Person, ID: "ann"} }
