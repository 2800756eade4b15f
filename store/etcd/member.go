package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"argosy.dev/argosy/loop"
	"argosy.dev/argosy/reason"
)

// Member is one member of the store.
type Member struct {
	MachineID string // Empty for one that was added and has not started: its machine is known by PeerURL.
	EtcdID    uint64
	PeerURL   string
	Learner   bool // Takes every write and has no vote yet.
	Started   bool // It has taken part at least once.
}

// A change goes through the members, or fails at once when it may not be.
const (
	changeBound   = 5 * time.Second
	transferBound = 1500 * time.Millisecond // An election takes one second.
)

// ID is this member's own id.
func (s *Store) ID() uint64 { return uint64(s.server.Server.MemberID()) }

// Members lists the members, sorted by id, as the majority of them knows it.
func (s *Store) Members(ctx context.Context) ([]Member, error) {
	var out []Member
	err := s.try(ctx, tries, func(ctx context.Context) error {
		resp, err := s.client.MemberList(ctx)
		if err == nil {
			out = members(resp.Members)
		}
		return err
	})
	return out, err
}

func members(list []*etcdserverpb.Member) []Member {
	out := make([]Member, 0, len(list))
	for _, m := range list {
		one := Member{MachineID: m.GetName(), EtcdID: m.GetID(), Learner: m.GetIsLearner(), Started: m.GetName() != ""}
		if urls := m.GetPeerURLs(); len(urls) > 0 {
			one.PeerURL = urls[0]
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Member) int {
		return strings.Compare(fmt.Sprintf("%016x", a.EtcdID), fmt.Sprintf("%016x", b.EtcdID))
	})
	return out
}

// InitialCluster is what a machine that was added at peerURL starts with (Options.Join): all members by name. It
// counts only until the members change again.
func InitialCluster(all []Member, machineID, peerURL string) string {
	parts := make([]string, 0, len(all))
	for _, m := range all {
		name := m.MachineID
		switch {
		case m.PeerURL == peerURL:
			name = machineID
		case name == "":
			name = fmt.Sprintf("member-%016x", m.EtcdID)
		}
		parts = append(parts, name+"="+m.PeerURL)
	}
	return strings.Join(parts, ",")
}

// AddLearner adds a machine as a member without a vote, and returns what that machine starts with. Adding it again
// is no error. Reason store-not-ready: the members that are there have to be connected for five seconds first.
func (s *Store) AddLearner(ctx context.Context, machineID, peerURL string) (initialCluster string, err error) {
	peerURL = PeerURL(peerURL)
	var all []Member
	err = s.change(ctx, "add a member", func(ctx context.Context) error {
		resp, err := s.client.MemberAddAsLearner(ctx, []string{peerURL})
		if err == nil {
			all = members(resp.Members)
		}
		return err
	})
	if errors.Is(err, rpctypes.ErrPeerURLExist) || errors.Is(err, rpctypes.ErrMemberExist) {
		if all, err = s.Members(ctx); err == nil && !waits(all, machineID, peerURL) {
			err = fmt.Errorf("add a member: %s is the address of another member already", peerURL)
		}
	}
	if err != nil {
		return "", err
	}
	return InitialCluster(all, machineID, peerURL), nil
}

// waits tells whether a member was added for the machine before: nobody else has come in its place.
func waits(all []Member, machineID, peerURL string) bool {
	return slices.ContainsFunc(all, func(m Member) bool {
		return m.PeerURL == peerURL && m.Learner && (m.MachineID == "" || m.MachineID == machineID)
	})
}

// Promote gives a learner its vote. Reason learner-behind: it has not received enough yet, try again.
func (s *Store) Promote(ctx context.Context, etcdID uint64) error {
	err := s.change(ctx, "promote a member", func(ctx context.Context) error {
		_, err := s.client.MemberPromote(ctx, etcdID)
		return err
	})
	switch {
	case errors.Is(err, rpctypes.ErrMemberNotLearner): // Somebody did it.
		return nil
	case errors.Is(err, rpctypes.ErrMemberLearnerNotReady):
		return reason.Because(reason.LearnerBehind, reason.Args{"member": s.nameOf(etcdID)})
	}
	return err
}

// Remove takes a member out, for good: its id never comes back. Removing one that is not there is no error. Reason
// store-not-ready: the members that would be left are not enough.
func (s *Store) Remove(ctx context.Context, etcdID uint64) error {
	if etcdID == s.ID() {
		if err := s.Transfer(ctx); err != nil {
			return err
		}
	}
	err := s.change(ctx, "remove a member", func(ctx context.Context) error {
		_, err := s.client.MemberRemove(ctx, etcdID)
		return err
	})
	if errors.Is(err, rpctypes.ErrMemberNotFound) || errors.Is(s.Failed(), ErrRemoved) {
		return nil
	}
	return err
}

// UpdatePeer tells the members that one of them is reached at another address.
func (s *Store) UpdatePeer(ctx context.Context, etcdID uint64, peerURL string) error {
	return s.change(ctx, "change a member's address", func(ctx context.Context) error {
		_, err := s.client.MemberUpdate(ctx, etcdID, []string{PeerURL(peerURL)})
		return err
	})
}

// Transfer hands the lead among the members over to another voter that answers, if this one leads and there is
// another one. Reason store-not-ready: nobody took it.
func (s *Store) Transfer(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return s.away()
	}
	var last error
	there := s.Reachable(ctx)
	for _, m := range s.Known() {
		if !s.Leads() {
			return nil
		}
		if m.Learner || m.EtcdID == s.ID() {
			continue
		}
		last = errors.New("no other voter answers")
		if !there[m.EtcdID] {
			continue
		}
		// One that got its vote a moment ago does not take it yet.
		one, cancel := context.WithTimeout(ctx, transferBound)
		last = s.server.Server.MoveLeader(one, s.ID(), m.EtcdID)
		cancel()
		if last == nil {
			return nil
		}
	}
	if last == nil {
		return nil
	}
	return reason.Because(reason.StoreNotReady, reason.Args{"what": "hand over the lead among the store's members", "error": last.Error()})
}

// Leads tells whether this member leads the members. That is not the cluster's leader, which is elected above it.
func (s *Store) Leads() bool { return s.server.Server.Leader() == s.server.Server.MemberID() }

// LeaderID is the member that leads the members, as far as this one knows; 0: none.
func (s *Store) LeaderID() uint64 { return uint64(s.server.Server.Leader()) }

// change makes a change of the members, once, and says what may be tried again.
func (s *Store) change(ctx context.Context, what string, f func(context.Context) error) error {
	if s.ctx.Err() != nil {
		return s.away()
	}
	ctx, cancel := context.WithTimeout(ctx, changeBound)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err := f(ctx)
	switch {
	case err == nil:
		return nil
	case notYet(err):
		return reason.Because(reason.StoreNotReady, reason.Args{"what": what, "error": err.Error()})
	}
	return fmt.Errorf("%s: %w", what, err)
}

// notYet tells the errors of a change that time cures.
func notYet(err error) bool {
	for _, e := range []error{
		rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotEnoughStarted, rpctypes.ErrTooManyLearners,
		context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return again(err) || strings.Contains(err.Error(), "unhealthy cluster")
}

// nameOf is a member's name for people.
func (s *Store) nameOf(etcdID uint64) string {
	for _, m := range s.server.Server.Cluster().Members() {
		if uint64(m.ID) == etcdID && m.Name != "" {
			return m.Name
		}
	}
	return fmt.Sprintf("%016x", etcdID)
}

const addressEvery = time.Minute

// keepAddress tells the other members when this one is reached at another address than they know: a lone member that
// got an address, a machine that got another one. Its own word counts, if it reaches a majority; member does the same
// from the other side.
func (s *Store) keepAddress() {
	select {
	case <-s.server.Server.ReadyNotify():
	case <-s.ctx.Done():
		return
	}
	loop.Loop{Name: "store address", Every: addressEvery, Pass: s.readvertise, Log: s.log}.Run(s.ctx)
}

func (s *Store) readvertise(ctx context.Context) error {
	if s.peer == (Peer{}) {
		return nil
	}
	self := s.server.Server.Cluster().Member(s.server.Server.MemberID())
	if self == nil || slices.Equal(self.PeerURLs, []string{s.peer.URL()}) {
		return nil
	}
	s.log.Info("telling the members of the store this one's address", "before", self.PeerURLs, "now", s.peer.URL())
	return s.UpdatePeer(ctx, s.ID(), s.peer.URL())
}
