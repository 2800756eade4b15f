package sim

import (
	"fmt"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
)

// The programs of exclusive units: willing, slow and stubborn ones, and ones that end by themselves.
var splitPrograms = []string{
	"ExecStart=/fake/run term=1s\nRestart=always\nRestartSec=1\n",
	"ExecStart=/fake/run term=never\nTimeoutStopSec=8\n",
	"ExecStart=/fake/run term=never\n",
	"ExecStart=/fake/exit status=1 after=20s\nRestart=always\nRestartSec=2\nStartLimitBurst=9999\n",
	"Type=notify\nExecStart=/fake/run ready=2s term=3s\nRestart=on-failure\n",
	"ExecStart=/fake/run term=5s\n",
}

// submitAll submits exclusive units, and some ordinary ones beside them.
func (w *Split) submitAll() {
	for i, program := range splitPrograms {
		name := fmt.Sprintf("x%d.service", i)
		w.users[name] = true
		w.names = append(w.names, name)
		w.want(name, cluster.Launched, 1)
		w.must(person(), store.Put(cluster.UnitKey(fmt.Sprintf("u%d.service", i)), cluster.Wanted{
			Name: fmt.Sprintf("u%d.service", i), Text: "[Service]\n" + program + "[X-Argosy]\nMemoryRequest=64M\n", Desired: cluster.Launched, Orders: cluster.Orders{Start: 1}, By: "ann",
		}))
	}
}

func (w *Split) want(name string, desired cluster.Desired, start int64) {
	var i int
	_, _ = fmt.Sscanf(name, "x%d.service", &i) // Our own name.
	w.must(person(), store.Put(cluster.UnitKey(name), cluster.Wanted{
		Name: name, Text: "[Service]\n" + splitPrograms[i] + "[X-Argosy]\nMemoryRequest=64M\nExclusive=yes\n", Desired: desired,
		Orders: cluster.Orders{Start: start}, By: "ann",
	}))
	w.users[name] = desired == cluster.Launched
}

// tickFaults draws the next thing that goes wrong.
func (w *Split) tickFaults() {
	if !w.faults {
		return
	}
	b := w.hosts[w.dice.IntN(len(w.hosts))]
	switch w.dice.IntN(16) {
	case 0, 1, 2:
		w.cut(b, w.dice.IntN(3))
	case 3: // An agent that starts again and again while nobody hears it.
		w.cut(b, w.dice.IntN(3))
		w.killAgent(b, true)
	case 4, 5:
		w.freeze(b)
	case 6, 7:
		w.killAgent(b, w.chance(3))
	case 8:
		w.reboot(b)
	case 9, 10:
		b.slow = true
		w.tell("%s is slow", b.id)
		w.after(w.upTo(30*time.Second), func() { b.slow = false })
	case 11:
		w.revoke(b)
	case 12:
		w.tell("another leader")
		w.elect()
	case 13:
		w.boss.frozen = w.t + w.upTo(longestFreeze)
		w.tell("the leader is frozen until %v", w.boss.frozen)
	default:
		w.person()
	}
	w.after(2*time.Second+w.upTo(20*time.Second), w.tickFaults)
}

// cut cuts a machine off: both ways, so that it hears nothing, or so that it is not heard.
func (w *Split) cut(b *box, how int) {
	switch how {
	case 0:
		b.up, b.down = false, false
	case 1:
		b.down = false
	case 2:
		b.up = false
	}
	w.tell("%s is cut off: up %v, down %v", b.id, b.up, b.down)
	w.after(w.upTo(90*time.Second), func() {
		b.up, b.down = true, true
		w.tell("%s is reached again", b.id)
	})
}

func (w *Split) freeze(b *box) {
	if b.proc != nil {
		b.proc.frozen = w.t + w.upTo(longestFreeze)
		w.tell("the agent of %s is frozen until %v", b.id, b.proc.frozen)
	}
}

// killAgent kills the agent, now and then again and again.
func (w *Split) killAgent(b *box, again bool) {
	times := 1
	if again {
		times = 2 + w.dice.IntN(20)
	}
	pause := w.upTo(15 * time.Second)
	if times > 1 {
		pause = time.Second + w.upTo(2*time.Second)
	}
	w.tell("the agent of %s is killed %d times", b.id, times)
	for i := range times {
		w.after(time.Duration(i)*2*pause, func() {
			b.kill()
			w.after(pause, b.start)
		})
	}
}

func (w *Split) reboot(b *box) {
	if b.off {
		return
	}
	w.tell("%s loses its power", b.id)
	b.kill()
	b.runtime.Reboot()
	b.off = true
	if w.chance(3) {
		w.after(w.upTo(30*time.Second), func() { w.sayFenced(b) })
	}
	w.after(2*time.Second+w.upTo(60*time.Second), func() {
		if b.off {
			w.tell("%s boots", b.id)
			b.off = false
			b.start()
		}
	})
}

// sayFenced is a person who has seen that a machine is dead.
func (w *Split) sayFenced(b *box) {
	pic, err := w.store.Read(w.ctx, cluster.CondemnedKey(b.id))
	if err != nil || len(pic.Entries) == 0 || !b.off {
		return
	}
	w.tell("a person says that %s is dead", b.id)
	w.must(person(), store.Put(cluster.AdminKey(b.id), cluster.MachineAdmin{ID: b.id, Fenced: pic.Entries[0].Revision}))
}

// revoke is a store that loses leases long before their time, of one machine or of all; often when the machine is cut off.
func (w *Split) revoke(b *box) {
	w.tell("the store loses leases")
	for _, each := range w.hosts {
		if each == b || w.chance(2) {
			w.expire(each)
		}
	}
	switch w.dice.IntN(3) {
	case 0:
		w.cut(b, w.dice.IntN(3))
	case 1: // The leader sees the lease end, and not that the machine takes another one.
		w.after(2*splitTick, func() {
			w.boss.deaf = w.t + w.upTo(longestFreeze)
			w.tell("the leader hears nothing until %v", w.boss.deaf)
		})
		b.slow = true
		w.after(w.upTo(30*time.Second), func() { b.slow = false })
	}
}

// person orders something about an exclusive unit, or ends a program.
func (w *Split) person() {
	name := w.names[w.dice.IntN(len(w.names))]
	switch w.dice.IntN(6) {
	case 0:
		w.tell("a person stops %s", name)
		w.want(name, cluster.Loaded, 1)
	case 1:
		w.tell("a person destroys %s, and submits it again", name)
		w.must(person(), store.Delete(cluster.UnitKey(name)))
		w.users[name] = false
		w.after(w.upTo(20*time.Second), func() { w.want(name, cluster.Launched, 1) })
	case 2:
		for _, b := range w.hosts {
			if !b.off && b.runtime.Crash(name, 11) {
				w.tell("%s crashes on %s", name, b.id)
			}
		}
	case 3:
		b := w.hosts[w.dice.IntN(len(w.hosts))]
		b.runtime.SlowStop(name, w.upTo(20*time.Second))
	default:
		w.tell("a person starts %s", name)
		w.want(name, cluster.Launched, int64(w.t))
	}
}

// healAll ends all faults, and has everything wanted.
func (w *Split) healAll() {
	w.tell("all is well from now on")
	w.elect() // It does not know yet which machines come and go, and shuts out none for half an hour.
	w.boss.frozen, w.boss.deaf = 0, 0
	for _, b := range w.hosts {
		b.up, b.down, b.slow = true, true, false
		if b.proc != nil {
			b.proc.frozen = 0
		}
		if b.off {
			b.off = false
		}
		b.start()
	}
	for _, name := range w.names {
		w.want(name, cluster.Launched, int64(w.t))
	}
}

// checkRest: every unit that is wanted runs, once.
func (w *Split) checkRest() {
	for _, name := range w.names {
		on := 0
		for _, b := range w.hosts {
			if e, there := b.runtime.Evidence(name); there && e.Active != "inactive" && e.Active != "failed" {
				on++
			}
		}
		if on != 1 && w.users[name] {
			w.fail("at rest %s runs on %d machines: %s", name, on, w.where(name))
		}
	}
}

func (w *Split) where(name string) string {
	view := store.NewView(w.log)
	w.follow(view, 0)
	var out string
	view.Peek(func(p *cluster.Picture) {
		a, _ := p.Answer(name)
		out = fmt.Sprintf("placed on %v, %s, %v", p.PlacedOn(name), a.State, a.Reason)
		for _, b := range w.hosts {
			if s := p.Statuses[cluster.On{Machine: b.id, Unit: name}]; s != nil {
				out += fmt.Sprintf("; %s says %s, epoch %d, lease %d, %v", b.id, s.State, s.Epoch, s.Lease, s.Reason)
			}
			if e, there := b.runtime.Evidence(name); there {
				out += fmt.Sprintf("; on %s it is %s (%s)", b.id, e.Active, e.Sub)
			}
			out += fmt.Sprintf("; %s alive %v sign %+v condemned %v", b.id, p.Alive[b.id], p.Signs[b.id], p.Condemned[b.id])
		}
	})
	return out
}
