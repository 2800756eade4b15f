package quorum

import (
	"cmp"
	"fmt"
	"slices"

	"argosy.dev/argosy/reason"
)

// moved: a machine is reached at another address than the members know. Everything else could fail on that.
func (p *picture) moved() (Step, bool) {
	for _, s := range slices.Concat(p.voters, p.learners) {
		if s.on == nil || !s.on.Alive || s.on.PeerURL == "" || s.on.PeerURL == s.PeerURL {
			continue
		}
		if need := Majority(len(p.voters)); p.alive() < need {
			return p.unsafe("telling the address of "+s.name(), p.alive(), len(p.voters), need), true
		}
		step := change(UpdatePeer, s, "has another address", s.PeerURL+" became "+s.on.PeerURL)
		step.PeerURL = s.on.PeerURL
		return step, true
	}
	return Step{}, false
}

// lost: without a majority no step is possible.
func (p *picture) lost() (Step, bool) {
	need := Majority(len(p.voters))
	if p.alive() >= need {
		return Step{}, false
	}
	return Step{Kind: Nothing, After: look, Reason: reason.Because(reason.MembersLost, reason.Args{
		"alive": p.alive(), "voters": len(p.voters), "need": need,
	})}, true
}

// learner: what was begun is brought to an end, one after the other.
func (p *picture) learner() (Step, bool) {
	if len(p.learners) == 0 {
		return Step{}, false
	}
	l := p.learners[0]
	away := since(p.Now, l.Since)
	switch {
	case l.leaving:
		return change(Remove, l, "goes, it had no vote yet", "its machine was removed or cannot hold the store"), true
	case !p.needed(l):
		return change(Remove, l, "goes, it had no vote yet", "enough others hold the store"), true
	case !l.Alive && away >= learnerPatience:
		return change(Remove, l, "goes, it had no vote yet", "it did not answer for "+reason.Span(away.Milliseconds())), true
	case !l.Alive:
		step := waitFor(l, "has not started to hold the store", learnerPatience-away)
		step.After = look // Nothing in the store tells when it has.
		return step, true
	case !l.InSync:
		return waitFor(l, "receives the store", look), true
	}
	if need := Majority(len(p.voters) + 1); p.alive()+1 < need {
		return p.unsafe("giving "+l.name()+" a vote", p.alive()+1, len(p.voters)+1, need), true
	}
	return change(Promote, l, "gets a vote", "it has caught up"), true
}

// needed tells whether a learner is still to become a voter.
func (p *picture) needed(l seat) bool {
	return len(p.staying()) < p.target() || p.better(l.zone())
}

// dead: a voter that does not answer goes when another machine can take its place. It goes first, as with it in the
// list a new member could cost the majority.
func (p *picture) dead() (Step, bool) {
	_, have := p.ready()
	var first *seat // Of those that are away, the one whose time is over first.
	for i, v := range p.voters {
		if v.Alive || len(p.voters) == 1 {
			continue
		}
		away := since(p.Now, v.Since)
		switch {
		case v.leaving:
			return p.remove(v, "its machine was removed or cannot hold the store"), true
		case len(p.staying()) > p.target():
			return p.remove(v, "it is away, and fewer voters are wished"), true
		case have && away >= p.Patience:
			return p.remove(v, "it is away for "+reason.Span(away.Milliseconds())+", and another machine takes its place"), true
		case first == nil || v.Since.Before(first.Since):
			first = &p.voters[i]
		}
	}
	switch {
	case first == nil:
		return Step{}, false
	case have:
		return waitFor(*first, "is away, and another machine could take its place", p.Patience-since(p.Now, first.Since)), true
	}
	// Nobody can take its place: nothing is gained by taking it out.
	return Step{Kind: Nothing, Machine: first.id(), EtcdID: first.EtcdID, Reason: reason.Because(reason.MembersFew, reason.Args{
		"have": p.alive(), "want": max(p.wish(), len(p.voters)), "servers": p.eligible(),
	})}, true
}

// remove takes a voter out, if the rest is a majority of the rest.
func (p *picture) remove(v seat, why string) Step {
	rest, alive := len(p.voters)-1, p.alive()
	if v.Alive {
		alive--
	}
	if rest == 0 {
		return p.unsafe("taking out "+v.name(), alive, rest, 1)
	}
	if need := Majority(rest); alive < need {
		return p.unsafe("taking out "+v.name(), alive, rest, need)
	}
	return change(Remove, v, "holds the store no more", why)
}

// grow: one more, in the zone with the fewest.
func (p *picture) grow() (Step, bool) {
	have, want := len(p.staying()), p.target()
	if have >= want {
		return Step{}, false
	}
	m, ok := p.ready()
	if !ok {
		for _, m := range p.standby { // Away for a moment: it counts in the target.
			if left := p.Patience - since(p.Now, m.Since); left > 0 {
				return waitFor(seat{on: &m}, "is away and is to hold the store", left), true
			}
		}
		return Step{}, false
	}
	return p.add(m, fmt.Sprintf("%d of %d wished machines hold it", have, want)), true
}

func (p *picture) add(m Machine, why string) Step {
	s := seat{on: &m}
	s.PeerURL = m.PeerURL
	// A store alone on its machine that nobody else can reach cannot grow.
	for _, v := range p.voters {
		if v.on != nil && v.on.PeerURL == "" {
			return waitFor(v, "holds the store and has no address for other machines", look)
		}
	}
	// The store counts a learner as a voter that is away, except beside the first one.
	if need := Majority(len(p.voters) + 1); p.alive() < need && len(p.voters) > 1 {
		return p.unsafe("adding "+s.name(), p.alive(), len(p.voters)+1, need)
	}
	return change(AddLearner, s, "is to hold the store", why)
}

// shrink: who is to go goes, then who is too many; the leading one last.
func (p *picture) shrink() (Step, bool) {
	if len(p.voters) < 2 {
		return Step{}, false
	}
	staying, zones := p.staying(), p.zones()
	rank := func(a, b seat) int {
		return cmp.Or(-cmp.Compare(zones[a.zone()], zones[b.zone()]), cmp.Compare(b.EtcdID, a.EtcdID))
	}
	leadLast := func(a, b seat) int {
		switch {
		case a.Leads == b.Leads:
			return rank(a, b)
		case a.Leads:
			return 1
		}
		return -1
	}
	var going []seat
	for _, v := range p.voters {
		if v.leaving {
			going = append(going, v)
		}
	}
	if len(going) > 0 { // Those that could take their places have done so.
		return p.remove(slices.MinFunc(going, leadLast), "its machine is to leave or cannot hold the store"), true
	}
	if len(staying) <= p.target() {
		return Step{}, false
	}
	return p.remove(slices.MinFunc(staying, leadLast), fmt.Sprintf("%d machines hold it and %d are enough", len(staying), p.target())), true
}

// spread: one more in a zone that has two fewer than the fullest one; then there is one too many, and it goes there.
func (p *picture) spread() (Step, bool) {
	for _, m := range p.standby {
		if m.Alive && p.better(m.Zone) {
			return p.add(m, "the zone "+m.Zone+" has fewer voters than the others"), true
		}
	}
	return Step{}, false
}

// better tells whether a voter in a zone would spread them better.
func (p *picture) better(zone string) bool {
	zones, most := p.zones(), 0
	for _, n := range zones {
		most = max(most, n)
	}
	return len(p.staying()) == p.target() && p.target() > 1 && zones[zone] <= most-2
}
