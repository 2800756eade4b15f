package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// Status is how the store does, as this member sees it.
type Status struct {
	Cluster  string // The store's own id; a restore makes a new one.
	Majority bool   // A majority answers.
	Error    string // Why the members could not be asked: no majority, or a full store.
	Leader   uint64 // The member that leads the members; 0: none.
	Members  []MemberStatus
}

// MemberStatus is one member's. What it says about itself is there when it answered.
type MemberStatus struct {
	Member
	Self     bool
	Leads    bool          // It leads the members.
	Reached  bool          // It is there.
	Answered bool          // It answered within the time, and so takes part.
	Took     time.Duration // From the question to its answer: through the leader, the disks, and this member.
	Term     uint64        // Of raft.
	Revision int64
	Applied  uint64 // The raft entry that it has carried out.
	Behind   uint64 // Entries that others had committed and it had not applied. A few are the answers themselves.
	Size     int64  // Bytes of its file.
	InUse    int64  // Of those, bytes that hold something.
	Quota    int64
	Version  string   // Of etcd.
	Alarms   []string // NOSPACE, CORRUPT.
	Errors   []string
}

// Status asks every member how it does. Without a majority, or when the store is full, it tells what this member alone
// knows, and why.
func (s *Store) Status(ctx context.Context) (Status, error) {
	if s.ctx.Err() != nil {
		return Status{}, s.away()
	}
	cluster := s.server.Server.Cluster()
	out := Status{Cluster: cluster.ID().String(), Leader: s.server.Server.Lead()}
	begin, answers, took := time.Now(), map[uint64]answer{}, map[uint64]time.Duration{}
	started := 0
	for _, m := range cluster.Members() {
		if m.Name != "" {
			started++
		}
	}
	err := s.call(ctx, roll{}, rollPatience, func(a answer) bool {
		answers[a.Member], took[a.Member] = a, time.Since(begin)
		return len(answers) >= started
	})
	if err != nil && !errors.Is(err, errSilent) {
		out.Error = err.Error()
		answers[s.ID()] = s.self(ctx)
	}
	out.Majority = out.Error == "" || s.majority(ctx)
	var there map[uint64]bool
	if len(answers) < started {
		there = s.Reachable(ctx)
	}
	var commit uint64
	for _, a := range answers {
		commit = max(commit, a.Commit)
	}
	alarms := map[uint64][]string{}
	for _, a := range s.server.Server.Alarms() {
		alarms[a.GetMemberID()] = append(alarms[a.GetMemberID()], a.GetAlarm().String())
	}
	for _, m := range s.Known() { // After the answers: this member knows now what the others knew then.
		a, ok := answers[m.EtcdID]
		st := MemberStatus{
			Member: m, Self: m.EtcdID == s.ID(), Leads: m.EtcdID == out.Leader, Reached: ok || there[m.EtcdID], Answered: ok, Took: took[m.EtcdID],
			Alarms: alarms[m.EtcdID],
		}
		if ok {
			st.Term, st.Revision, st.Applied, st.Behind = a.Term, a.Revision, a.Applied, commit-min(commit, a.Applied)
			st.Size, st.InUse, st.Quota, st.Version, st.Errors = a.Size, a.InUse, a.Quota, a.Version, a.Errors
		}
		out.Members = append(out.Members, st)
	}
	return out, nil
}

// majority asks for a majority without a write.
func (s *Store) majority(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return s.server.Server.LinearizableReadNotify(ctx) == nil
}

// known is the member list as this member knows it, which needs no majority; sorted by id.
func known(list []*membership.Member) []Member {
	out := make([]Member, 0, len(list))
	for _, m := range list { // membership sorts it.
		one := Member{MachineID: m.Name, EtcdID: uint64(m.ID), Learner: m.IsLearner, Started: m.Name != ""}
		if len(m.PeerURLs) > 0 {
			one.PeerURL = m.PeerURLs[0]
		}
		out = append(out, one)
	}
	return out
}

// Known lists the members as this one knows them, with or without a majority.
func (s *Store) Known() []Member { return known(s.server.Server.Cluster().Members()) }

// probeBound bounds the question whether another member is there.
const probeBound = time.Second

// Reachable asks every other member, on the address in the list, whether it is there. Nothing is written.
func (s *Store) Reachable(ctx context.Context) map[uint64]bool {
	ctx, cancel := context.WithTimeout(ctx, probeBound)
	defer cancel()
	out := map[uint64]bool{s.ID(): s.ctx.Err() == nil}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range s.Known() {
		if m.EtcdID == s.ID() {
			continue
		}
		wg.Go(func() {
			err := s.probe(ctx, m.PeerURL)
			mu.Lock()
			defer mu.Unlock()
			out[m.EtcdID] = err == nil
		})
	}
	wg.Wait()
	return out
}

func (s *Store) probe(ctx context.Context, peerURL string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peerURL+"/version", nil)
	if err != nil {
		return err
	}
	resp, err := s.peers.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", peerURL, resp.Status)
	}
	return nil
}

// peerClient makes the client that asks the other members.
func peerClient(p Peer) (*http.Client, error) {
	if p == (Peer{}) {
		return &http.Client{}, nil
	}
	text, err := os.ReadFile(p.CAFile)
	if err != nil {
		return nil, fmt.Errorf("the store's roots: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the store's roots: no certificate in %s", p.CAFile)
	}
	return &http.Client{Transport: &http.Transport{
		IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{
			RootCAs: roots, MinVersion: tls.VersionTLS13,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				c, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
				return &c, err
			},
		},
	}}, nil
}
