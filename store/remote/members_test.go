package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/store/storetest"
)

// member is a server of a cluster of three: its own member of the store, and what it serves machines.
type member struct {
	*etcd.Store
	srv  *httptest.Server
	link *proxy
}

// three is a cluster of three servers.
func three(t *testing.T) []*member {
	t.Helper()
	peers, dir := storetest.NewPeers(t), t.TempDir()
	var all []*member
	for i := range 3 {
		p := peers.New(t)
		id := fmt.Sprintf("s%d", i)
		o := etcd.Options{
			Dir: filepath.Join(dir, id), Name: id, Log: quiet,
			Peer: etcd.Peer{Listen: p.Address, Advertise: p.Address, CertFile: p.CertFile, KeyFile: p.KeyFile, CAFile: p.CAFile},
		}
		if i > 0 {
			again(t, func(ctx context.Context) (err error) {
				o.Join, err = all[0].AddLearner(ctx, id, o.Peer.URL())
				return err
			})
		}
		s, err := etcd.Open(within(t), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if i > 0 {
			again(t, func(ctx context.Context) error { return all[0].Promote(ctx, s.ID()) })
		}
		srv, _ := serveStore(t, s)
		all = append(all, &member{s, srv, newProxy(t, hostOf(srv))})
	}
	return all
}

// again calls f until it gives nil or what time does not cure.
func again(t *testing.T, f func(ctx context.Context) error) {
	t.Helper()
	for ctx := within(t); ; {
		err := f(ctx)
		if err == nil {
			return
		}
		if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Cure() != reason.Transient || ctx.Err() != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestServerGoes: three servers, and the one that a machine talks to is cut off from it and closed, which is also the
// one whose store leads. The machine's lease lives on, its watch has no gap, and its writes are done. How a server that
// is killed is missed by the others is left to tests with processes of their own.
func TestServerGoes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three members of a store")
	}
	t.Parallel()
	all := three(t)
	var addrs []string
	for i, m := range all {
		if m.Leads() {
			all[0], all[i] = all[i], all[0] // The machine's first choice.
		}
	}
	for _, m := range all {
		addrs = append(addrs, m.link.addr())
	}
	c := client(t, "m1", addrs...)
	beats := make(chan time.Time, 1000)
	ctx, stop := context.WithCancel(store.WithRenewed(within(t), func(sent time.Time) { beats <- sent }))
	ended := make(chan error, 1)
	const ttl = 3 * time.Second
	go func() { ended <- c.KeepAlive(ctx, m1, cluster.AliveKey("m1"), []byte("{}"), ttl) }()
	last := <-beats
	watch := c.Watch(within(t), store.PartPrefix("m1"), partNow(t, c, "m1").Revision)
	var seen int
	put := func() time.Duration {
		began := time.Now()
		write(t, c, m1, store.Put(cluster.MachineKey("m1"), seen))
		b := next(t, watch)
		if want := fmt.Sprint(seen); b.Err != nil || len(b.Entries) != 1 || string(b.Entries[0].Value) != want {
			t.Fatalf("watched %q = %s, %v; want %s", keys(b.Entries), b.Entries[0].Value, b.Err, want)
		}
		seen++
		return time.Since(began)
	}
	for range 20 {
		put()
	}
	all[0].link.die()
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	dead := time.Now()
	t.Logf("the first write after the leading server went was done and seen in %v", put())
	longest := time.Duration(0)
	for time.Since(dead) < 2*ttl {
		select {
		case sent := <-beats:
			longest = max(longest, sent.Sub(last))
			last = sent
		case err := <-ended:
			t.Fatalf("the lease was lost: %v", err)
		}
		put()
	}
	t.Logf("the longest time between two renewals was %v", longest)
	if e := read(t, all[1], cluster.AliveKey("m1")).Entries; len(e) != 1 {
		t.Error("the lease was lost")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
