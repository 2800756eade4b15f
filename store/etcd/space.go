package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// When space is made: at a share of the quota, in hundredths, or when etcd raised its alarm.
const (
	spaceEvery  = 10 * time.Second // A look costs no write.
	spaceBound  = 2 * time.Minute  // A defragmentation of a full quota on a slow disk.
	tightShare  = 75               // From here history is thrown away and the file defragmented.
	healedShare = 90               // Below this the alarm is disarmed.
	freeShare   = 25               // Of the file: so much free space is worth a defragmentation.
	restFactor  = 10               // Making space takes at most a tenth of the time.
)

// space is what the loop that makes space remembers; only that loop touches it.
type space struct {
	rest time.Time // Not before this: every refused write kicks the loop, and its work is heavy.
	told bool      // The log knows that the store is full.
}

func (s *Store) kickSpace() {
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// makeSpace is a pass of the loop that keeps this member under its quota; every member has its own. etcd refuses every write when the quota
// is reached and goes on refusing until somebody disarms its alarm; reads and the renewal of leases go on.
func (s *Store) makeSpace(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, spaceBound)
	defer cancel()
	st, err := s.client.Status(ctx, "")
	if err != nil {
		return fmt.Errorf("the store's size: %w", err)
	}
	alarm, err := s.ownAlarm(ctx)
	if err != nil {
		return err
	}
	tight := st.DbSize*100 > s.quota*tightShare
	if !tight && !alarm || time.Now().Before(s.space.rest) {
		return nil
	}
	begin := time.Now()
	defer func() { s.space.rest = time.Now().Add(restFactor * time.Since(begin)) }()
	if err := s.Compact(ctx, st.Header.Revision); err != nil {
		return err
	}
	if st, err = s.client.Status(ctx, ""); err != nil {
		return fmt.Errorf("the store's size: %w", err)
	}
	if (st.DbSize-st.DbSizeInUse)*100 > st.DbSize*freeShare {
		// Not by the client: in this process its Defragment has no health notifier and panics (etcd 3.7.3).
		if err := s.server.Server.Defragment(); err != nil {
			return fmt.Errorf("defragment the store: %w", err)
		}
	}
	if alarm {
		return s.disarm(ctx)
	}
	return nil
}

// disarm takes the alarm back when there is space again; else it stays, and the next pass looks again.
func (s *Store) disarm(ctx context.Context) error {
	st, err := s.client.Status(ctx, "")
	if err != nil {
		return fmt.Errorf("the store's size: %w", err)
	}
	if st.DbSize*100 > s.quota*healedShare {
		if !s.space.told {
			s.space.told = true
			s.log.Error("the store is full", "size", st.DbSize, "quota", s.quota)
		}
		return nil
	}
	if err := s.disarmOf(ctx, s.ID()); err != nil {
		return err
	}
	s.space.told = false
	s.log.Warn("the store was full and takes writes again", "size", st.DbSize, "quota", s.quota)
	return nil
}

// ownAlarm tells whether this member raised the alarm. One of a member that was removed is taken back: nobody else
// would, and it stops the writes of all.
func (s *Store) ownAlarm(ctx context.Context) (own bool, err error) {
	for _, id := range s.alarms(etcdserverpb.AlarmType_NOSPACE) {
		switch {
		case id == s.ID():
			own = true
		case !slices.ContainsFunc(s.Known(), func(m Member) bool { return m.EtcdID == id }):
			if err := s.disarmOf(ctx, id); err != nil {
				return own, err
			}
		}
	}
	return own, nil
}

func (s *Store) disarmOf(ctx context.Context, etcdID uint64) error {
	_, err := s.client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: etcdID, Alarm: etcdserverpb.AlarmType_NOSPACE})
	if err != nil {
		return fmt.Errorf("disarm the store's alarm: %w", err)
	}
	return nil
}

// alarms are the members that raised an alarm. It is what this member has applied: asking by the client would be a
// write to all of them.
func (s *Store) alarms(kind etcdserverpb.AlarmType) []uint64 {
	var out []uint64
	for _, a := range s.server.Server.Alarms() {
		if a.GetAlarm() == kind {
			out = append(out, a.GetMemberID())
		}
	}
	return out
}

// Compact forgets the history up to and including a revision, and returns when the space is free for reuse.
func (s *Store) Compact(ctx context.Context, revision int64) error {
	_, err := s.client.Compact(ctx, revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(s.explain(err), store.ErrCompacted) {
		return fmt.Errorf("compact the store: %w", err)
	}
	return nil
}

// Health implements store.Store: a linearizable read, and etcd's alarms.
func (s *Store) Health(ctx context.Context) error {
	err := s.try(ctx, 1, func(ctx context.Context) error {
		_, err := s.client.Get(ctx, factsPrefix, clientv3.WithCountOnly())
		return err
	})
	if err != nil {
		return err
	}
	switch {
	case len(s.alarms(etcdserverpb.AlarmType_CORRUPT)) > 0:
		return store.Unavailable(errors.New("etcd found its data corrupt"))
	case len(s.alarms(etcdserverpb.AlarmType_NOSPACE)) > 0:
		s.kickSpace()
		return s.fullReason()
	}
	return nil
}

func (s *Store) fullReason() error {
	return reason.Because(reason.StoreFull, reason.Args{"size": s.server.Server.Backend().Size(), "quota": s.quota})
}
