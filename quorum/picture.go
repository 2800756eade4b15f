package quorum

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"argosy.dev/argosy/reason"
)

// seat is a member with what is known of its machine.
type seat struct {
	Member
	on      *Machine // nil: a machine that nobody knows.
	leaving bool     // It is to go, whatever the others do.
}

// id is the machine's, if it has one.
func (s seat) id() string {
	if s.on != nil {
		return s.on.ID
	}
	return s.MachineID
}

func (s seat) name() string {
	switch {
	case s.on != nil && s.on.Name != "":
		return s.on.Name
	case s.id() != "":
		return s.id()
	}
	return fmt.Sprintf("member %016x", s.EtcdID)
}

func (s seat) zone() string {
	if s.on != nil {
		return s.on.Zone
	}
	return ""
}

// picture is the input, sorted, with members and machines put together.
type picture struct {
	Input
	voters   []seat
	learners []seat
	standby  []Machine // Could hold the store and does not; the best one first.
}

func newPicture(in Input) *picture {
	if in.Patience <= 0 {
		in.Patience = DefaultPatience
	}
	in.Machines, in.Members = slices.Clone(in.Machines), slices.Clone(in.Members)
	slices.SortFunc(in.Machines, func(a, b Machine) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(in.Members, func(a, b Member) int { return cmp.Compare(a.EtcdID, b.EtcdID) })
	p := &picture{Input: in}
	holds := map[string]bool{}
	for _, m := range in.Members {
		s := seat{Member: m, on: p.machineOf(m)}
		// A machine that is gone from the list was removed. One whose store still answers will say who it is.
		s.leaving = s.on == nil && !m.Alive || s.on != nil && (s.on.Leaving || !s.on.CanServe && len(in.Members) > 1)
		if s.on != nil {
			holds[s.on.ID] = true
		}
		if m.Learner {
			p.learners = append(p.learners, s)
		} else {
			p.voters = append(p.voters, s)
		}
	}
	for _, m := range in.Machines {
		if m.CanServe && !m.Leaving && !holds[m.ID] && m.PeerURL != "" {
			p.standby = append(p.standby, m)
		}
	}
	zones := p.zones()
	slices.SortStableFunc(p.standby, func(a, b Machine) int {
		return cmp.Or(cmp.Compare(zones[a.Zone], zones[b.Zone]), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return p
}

func (p *picture) machineOf(m Member) *Machine {
	for i, machine := range p.Machines {
		if m.MachineID == machine.ID && m.MachineID != "" || m.MachineID == "" && m.PeerURL == machine.PeerURL && m.PeerURL != "" {
			return &p.Machines[i]
		}
	}
	return nil
}

// zones counts the voters that stay by zone.
func (p *picture) zones() map[string]int {
	out := map[string]int{}
	for _, v := range p.staying() {
		out[v.zone()]++
	}
	return out
}

// staying are the voters that are not to go.
func (p *picture) staying() []seat {
	var out []seat
	for _, v := range p.voters {
		if !v.leaving {
			out = append(out, v)
		}
	}
	return out
}

func (p *picture) alive() int {
	n := 0
	for _, v := range p.voters {
		if v.Alive {
			n++
		}
	}
	return n
}

// ready is the best standby that is there.
func (p *picture) ready() (Machine, bool) {
	for _, m := range p.standby {
		if m.Alive {
			return m, true
		}
	}
	return Machine{}, false
}

// eligible counts the machines that hold the store and stay, and those that could: one that is away for a moment
// counts, so that the number aimed at does not go up and down with it.
func (p *picture) eligible() int {
	n := len(p.staying())
	for _, l := range p.learners {
		if !l.leaving && (l.Alive || p.Now.Sub(l.Since) < p.Patience) {
			n++
		}
	}
	for _, m := range p.standby {
		if m.Alive || p.Now.Sub(m.Since) < p.Patience {
			n++
		}
	}
	return n
}

// wish is the number of voters that people want.
func (p *picture) wish() int {
	if p.Wish < 1 {
		return max(1, odd(min(p.eligible(), MaxVoters)))
	}
	return odd(min(p.Wish, MaxVoters))
}

// target is the number to aim at: what is wished, as far as there are machines, and odd.
func (p *picture) target() int { return max(1, odd(min(p.wish(), p.eligible()))) }

// odd is the largest odd number not above n.
func odd(n int) int {
	if n%2 == 0 {
		return n - 1
	}
	return n
}

func since(now, then time.Time) time.Duration {
	if then.IsZero() {
		return 0
	}
	return max(0, now.Sub(then))
}

func change(kind Kind, s seat, what, why string) Step {
	return Step{
		Kind: kind, Machine: s.id(), EtcdID: s.EtcdID, PeerURL: s.PeerURL, After: look,
		Reason: reason.Because(reason.MembersChange, reason.Args{"member": s.name(), "what": what, "why": why}),
	}
}

func (p *picture) unsafe(what string, alive, voters, need int) Step {
	return Step{Kind: Nothing, After: look, Reason: reason.Because(reason.MembersUnsafe, reason.Args{
		"what": what, "alive": alive, "voters": voters, "need": need,
	})}
}

func waitFor(s seat, what string, left time.Duration) Step {
	return Step{Kind: Nothing, Machine: s.id(), EtcdID: s.EtcdID, After: min(max(left, look), time.Minute), Reason: reason.Because(reason.MembersWait, reason.Args{
		"member": s.name(), "what": what, "next": left.Milliseconds(),
	})}
}
