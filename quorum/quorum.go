// Package quorum decides which machines hold the store: from the machines there are, the members there are and the
// number that is wished, it finds the one next step, and says why this one, or why none.
//
// The rules, in their order: a voter whose address changed is told first; without a majority nothing is done; one
// change at a time, so a learner is promoted, waited for or taken out before anything else; a dead voter goes when a
// standby can take its place and its time to come back is over, at once when its machine was removed; then the number
// grows, by the zones with the fewest voters, and shrinks, from the zones with the most and the leading member last.
// The number aimed at is odd: an even one costs another disk and survives no more losses. No step is made after which
// a majority could be missing.
//
// It carries nothing out: that is member's.
package quorum

import (
	"time"

	"argosy.dev/argosy/reason"
)

// MaxVoters is the largest number of voting members; more make writes slower and nothing safer.
const MaxVoters = 5

// DefaultPatience is how long a voter that is away has to come back before a standby takes its place.
const DefaultPatience = 10 * time.Minute

const (
	learnerPatience = 2 * time.Minute // For a learner to start and to catch up.
	look            = time.Second     // How soon to look again while a change is under way.
)

// Machine is a machine of the cluster.
type Machine struct {
	ID       string
	Name     string // For people.
	Zone     string
	PeerURL  string // Where its store is, or would be, reached.
	CanServe bool   // It may hold the store, and is able to.
	Alive    bool
	Since    time.Time // Since when it is alive, or is not.
	Leaving  bool      // A person wants it out: its voter is replaced without waiting.
}

// Member is a member of the store.
type Member struct {
	MachineID string // Empty: added and not started; its machine is the one with its PeerURL.
	EtcdID    uint64
	PeerURL   string
	Learner   bool
	Started   bool
	InSync    bool // Of a learner: worth the try to promote it. The store refuses one that is behind.
	Alive     bool // Its store answers.
	Leads     bool // It leads the members: it goes last.
	Since     time.Time
}

// Input is what Decide looks at.
type Input struct {
	Wish     int           // Voting members: 1, 3 or 5. Below 1: as many as there are servers for, up to MaxVoters.
	Patience time.Duration // 0: DefaultPatience.
	Machines []Machine
	Members  []Member
	Now      time.Time
}

// Kind is what a step does.
type Kind string

// The kinds of steps.
const (
	Nothing    Kind = "nothing"
	AddLearner Kind = "add-learner"
	Promote    Kind = "promote"
	Remove     Kind = "remove"
	UpdatePeer Kind = "update-peer"
)

// Step is the one next step.
type Step struct {
	Kind    Kind
	Machine string // Its id; may be empty for a member that nobody knows.
	EtcdID  uint64 // Of the member; 0 for AddLearner.
	PeerURL string // For AddLearner and UpdatePeer.
	Reason  *reason.Reason
	After   time.Duration // When to look again at the latest; 0: when something changes.
}

// Decide finds the one next step. It is the same for the same input.
func Decide(in Input) Step {
	p := newPicture(in)
	for _, rule := range []func() (Step, bool){p.moved, p.lost, p.learner, p.dead, p.grow, p.shrink, p.spread} {
		if s, ok := rule(); ok {
			return s
		}
	}
	if want := p.wish(); len(p.staying()) < want {
		return Step{Kind: Nothing, Reason: reason.Because(reason.MembersFew, reason.Args{
			"have": len(p.voters), "want": want, "servers": p.eligible(),
		})}
	}
	return Step{Kind: Nothing, Reason: reason.Because(reason.MembersRight, reason.Args{"voters": len(p.voters)})}
}

// Majority is how many of n voters have to answer.
func Majority(n int) int { return n/2 + 1 }
