package leader

import (
	"maps"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/reason"
)

// The bounds of moving (reliability.md P17, P18).
const (
	massMachines = 3                // So many machines, and more than half of all,
	massWindow   = 60 * time.Second // lost within so long: that is the network. Nothing is moved.

	bindsPerSecond = 10 // Units that are bound elsewhere after a loss.
	bindsAtOnce    = 10

	steadyAfter = 60 * time.Second // Without a loss, until a machine that was lost takes new units; doubled with every loss,
	steadyMost  = 30 * time.Minute // up to so long. After so long without a loss its past is forgotten.
)

// massLoss tells how many of all machines were lost within massWindow of one of them, and whether that is too many to
// believe. since is when each silent machine fell silent.
func massLoss(id string, since map[string]time.Time, machines int) (lost int, yes bool) {
	for _, at := range since { // Order does not matter: they are counted.
		if at.Sub(since[id]).Abs() <= massWindow {
			lost++
		}
	}
	return lost, lost >= massMachines && 2*lost > machines
}

// steadiness is how often a machine was lost and came back.
type steadiness struct {
	losses int
	back   time.Time // When it came back last.
}

// until is when the machine may take new units again. That it was silent once, as its agent started again, is no matter.
func (s steadiness) until() time.Time {
	if s.losses < 2 {
		return s.back
	}
	wait := steadyMost
	if n := s.losses - 2; n < 5 {
		wait = min(steadyAfter<<n, steadyMost)
	}
	return s.back.Add(wait)
}

// cameBack counts a return. A machine that was lost for so long that its units were moved counts twice.
func (s steadiness) cameBack(wasDown bool, now time.Time) steadiness {
	if now.Sub(s.back) > steadyMost {
		s.losses = 0
	}
	s.losses, s.back = s.losses+1, now
	if wasDown && s.losses == 1 {
		s.losses = 2
	}
	return s
}

// bucket gives out bindsPerSecond leaves to bind.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time) bool {
	if b.at.IsZero() || now.Before(b.at) {
		b.tokens, b.at = bindsAtOnce, now
	}
	b.tokens = min(bindsAtOnce, b.tokens+now.Sub(b.at).Seconds()*bindsPerSecond)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// missed notes that a machine is silent or back, and tells whether it is, and whether it is to count as down.
func (l *Leader) missed(p *cluster.Picture, id string) (silent, down bool) {
	now, was := l.cfg.Now(), l.isDown[id]
	if p.Alive[id] {
		if _, silent := l.down[id]; silent {
			l.steady[id] = l.steady[id].cameBack(was, now)
			delete(l.down, id)
		}
		return false, false
	}
	if since, ok := l.down[id]; !ok || since.After(now) { // After: the clock was set back.
		l.down[id] = now
	}
	switch {
	case was || p.Signs[id].Left:
		return true, true
	case now.Sub(l.down[id]) < l.cfg.DownAfter:
		return true, false
	}
	_, mass := massLoss(id, l.lostNow(p), len(p.Machines))
	return true, !mass
}

// lostNow are the machines that fell silent and did not say goodbye.
func (l *Leader) lostNow(p *cluster.Picture) map[string]time.Time {
	out := maps.Clone(l.down)
	maps.DeleteFunc(out, func(id string, _ time.Time) bool { return p.Signs[id].Left || p.Machines[id] == nil })
	return out
}

// unsteady is why a machine that comes and goes takes no new units yet; nil: it does. One that still holds what no other
// machine could take keeps it.
func (l *Leader) unsteady(p *cluster.Picture, id string) *reason.Reason {
	left := l.steady[id].until().Sub(l.cfg.Now())
	if left <= 0 || left > steadyMost {
		return nil
	}
	for on := range l.lingers {
		if on.Machine == id {
			return nil
		}
	}
	l.soon(left)
	return reason.Because(reason.Unsteady, reason.Args{"machine": p.MachineName(id), "times": l.steady[id].losses})
}

// heedSteady opens machines again whose time is over, and forgets those that are long steady.
func (l *Leader) heedSteady(p *cluster.Picture) {
	now := l.cfg.Now()
	for _, id := range slices.Sorted(maps.Keys(l.steady)) {
		s := l.steady[id]
		switch left := s.until().Sub(now); {
		case p.Machines[id] == nil || now.Sub(s.back) > steadyMost && l.down[id].IsZero():
			delete(l.steady, id)
		case left > 0 && left <= steadyMost:
			l.soon(left)
			continue
		}
		if l.closedFor[id] {
			l.setMachine(p, id)
		}
	}
}

// pace holds back the moves off lost machines that come too fast: the unit stays where it was, and is moved in its turn.
func (l *Leader) pace(e *edit, c plan.Change) {
	if _, yes := l.exclusive(e.unit); yes || e.put == nil || c.Global || !l.isDown[c.From] {
		return
	}
	if len(l.paced) == 0 && l.bucket.take(l.cfg.Now()) {
		return
	}
	l.paced[e.unit] = *e.put
	for _, on := range e.drop {
		if _, held := l.held[on]; held {
			l.lingers[on] = reason.Because(reason.MachineDown, reason.Args{"machine": on.Machine})
		}
	}
	*e = edit{unit: e.unit, order: leaving}
}

// movePaced moves the units whose turn it is.
func (l *Leader) movePaced() []edit {
	var edits []edit
	for _, name := range slices.Sorted(maps.Keys(l.paced)) {
		if !l.bucket.take(l.cfg.Now()) {
			l.soon(time.Second / bindsPerSecond)
			break
		}
		put := l.paced[name]
		delete(l.paced, name)
		e := edit{unit: name, order: moving, put: &put, clear: l.hasUnplaced(name)}
		e.drop = l.elsewhere(plan.Change{Unit: name, Machine: put.Machine}, nil)
		edits = append(edits, e)
		l.remember(e)
	}
	return edits
}

// conditions are what the leader has to say of the cluster.
func (l *Leader) conditions() []cluster.Condition {
	var out []cluster.Condition
	l.cfg.View.Peek(func(p *cluster.Picture) {
		since, most := l.lostNow(p), 0
		for id := range since { // Order does not matter: the largest counts.
			if lost, mass := massLoss(id, since, len(p.Machines)); mass && !l.isDown[id] {
				most = max(most, lost)
			}
		}
		if most > 0 {
			why := reason.Because(reason.ManyLost, reason.Args{"lost": most, "machines": len(p.Machines)})
			out = append(out, cluster.Condition{Kind: "many-machines-lost", Reason: why})
		}
	})
	return out
}
