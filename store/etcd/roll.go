package etcd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"argosy.dev/argosy/loop"
	"argosy.dev/argosy/reason"
)

// Members listen for each other only on the port that carries the store itself, and there is nothing on it to ask a
// member how it does. So they are asked through the store: who wants to know writes the roll, each member that sees
// it writes its answer. Nothing is written while nobody asks, and an answer proves that the member takes part.
const (
	rollKey       = "/argosy/roll"
	answersPrefix = "/argosy/answers/"
	rollPatience  = 1500 * time.Millisecond
	rollEvery     = time.Minute
)

// roll is a question to all members.
type roll struct {
	ID     string `json:"id"`
	Defrag uint64 `json:"defrag,omitempty"` // The member that is to defragment its file before it answers.
	Lead   uint64 `json:"lead,omitempty"`   // The member that the leading one is to hand the lead to.
}

// answer is what a member says about itself.
type answer struct {
	Roll     string   `json:"roll"`
	Member   uint64   `json:"member"`
	Term     uint64   `json:"term"`
	Leader   uint64   `json:"leader"` // Whom it follows.
	Learner  bool     `json:"learner,omitempty"`
	Revision int64    `json:"revision"`
	Applied  uint64   `json:"applied"`
	Commit   uint64   `json:"commit"`
	Size     int64    `json:"size"`
	InUse    int64    `json:"in_use"`
	Quota    int64    `json:"quota"`
	Version  string   `json:"version,omitempty"`
	Errors   []string `json:"errors,omitempty"`
	Failed   string   `json:"failed,omitempty"` // Why an order was not carried out.
}

// answerRolls answers the others until the store closes.
func (s *Store) answerRolls() {
	loop.Loop{Name: "store roll", Every: rollEvery, Log: s.log, Pass: func(ctx context.Context) error {
		for resp := range s.client.Watch(ctx, rollKey) {
			for _, ev := range resp.Events {
				s.answer(ctx, ev.Kv.Value)
			}
			if err := resp.Err(); err != nil && ctx.Err() == nil {
				return fmt.Errorf("the watch for rolls: %w", err)
			}
		}
		return nil
	}}.Run(s.ctx)
}

func (s *Store) answer(ctx context.Context, question []byte) {
	var r roll
	if err := json.Unmarshal(question, &r); err != nil {
		s.log.Warn("a roll cannot be read", "error", err)
		return
	}
	var failed string
	if r.Defrag == s.ID() {
		// Not by the client: in this process its Defragment has no health notifier and panics (etcd 3.7.3).
		if err := s.server.Server.Defragment(); err != nil {
			failed = err.Error()
		}
	}
	if r.Lead != 0 && s.Leads() && r.Lead != s.ID() {
		one, cancel := context.WithTimeout(ctx, transferBound)
		if err := s.server.Server.MoveLeader(one, s.ID(), r.Lead); err != nil {
			failed = err.Error()
		}
		cancel()
	}
	a := s.self(ctx)
	a.Roll, a.Failed = r.ID, failed
	text, err := json.Marshal(a)
	if err != nil {
		s.log.Error("an answer to a roll", "error", err)
		return
	}
	err = s.try(ctx, tries, func(ctx context.Context) error {
		_, err := s.client.Put(ctx, fmt.Sprintf("%s%016x", answersPrefix, a.Member), string(text))
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("a roll was not answered", "error", err)
	}
}

// self is this member's own answer; it needs nobody else.
func (s *Store) self(ctx context.Context) answer {
	es := s.server.Server
	a := answer{
		Member: s.ID(), Term: es.Term(), Leader: es.Lead(), Learner: es.IsLearner(), Applied: es.AppliedIndex(),
		Commit: es.CommittedIndex(), Size: es.Backend().Size(), InUse: es.Backend().SizeInUse(), Quota: s.quota,
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	st, err := s.client.Status(ctx, "")
	if err != nil {
		a.Errors = []string{err.Error()}
		return a
	}
	a.Errors, a.Version, a.Revision = st.Errors, st.Version, st.Header.Revision
	return a
}

// call asks all members and gives each answer to take until take says that it has enough, or patience is over.
func (s *Store) call(ctx context.Context, r roll, patience time.Duration, take func(answer) (enough bool)) error {
	if s.ctx.Err() != nil {
		return s.away()
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	r.ID = rand.Text()
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// Answers of before are of no use to anybody: who waits for them has seen them in its watch.
	resp, err := s.client.Txn(ctx).Then(
		clientv3.OpDelete(answersPrefix, clientv3.WithPrefix()), clientv3.OpPut(rollKey, string(text))).Commit()
	if err != nil {
		return s.explain(err)
	}
	for got := range s.client.Watch(ctx, answersPrefix, clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision+1)) {
		for _, ev := range got.Events {
			var a answer
			if ev.Type != clientv3.EventTypePut || json.Unmarshal(ev.Kv.Value, &a) != nil || a.Roll != r.ID {
				continue
			}
			if take(a) {
				return nil
			}
		}
	}
	return errSilent
}

var errSilent = errors.New("not every member answered")

// Defragment gives a member's free space back to its disk; the member answers nobody meanwhile. It returns the bytes
// of its file after it.
func (s *Store) Defragment(ctx context.Context, etcdID uint64) (size int64, err error) {
	err = s.call(ctx, roll{Defrag: etcdID}, spaceBound, func(a answer) bool {
		if a.Member != etcdID {
			return false
		}
		size = a.Size
		if a.Failed != "" {
			size = -1
		}
		return true
	})
	switch {
	case err != nil:
		return 0, reason.Because(reason.StoreNotReady, reason.Args{"what": "defragment " + s.nameOf(etcdID), "error": err.Error()})
	case size < 0:
		return 0, fmt.Errorf("defragment %s: it failed there", s.nameOf(etcdID))
	}
	return size, nil
}

// TakeLead has this member lead the members. Reason store-not-ready: the lead did not come.
func (s *Store) TakeLead(ctx context.Context) error {
	if s.Leads() {
		return nil
	}
	old := s.LeaderID()
	var failed string
	err := s.call(ctx, roll{Lead: s.ID()}, rollPatience+transferBound, func(a answer) bool {
		failed = a.Failed
		return a.Member == old
	})
	switch {
	case s.Leads():
		return nil
	case err != nil:
		failed = err.Error()
	}
	return reason.Because(reason.StoreNotReady, reason.Args{"what": "take the lead among the store's members", "error": failed})
}
