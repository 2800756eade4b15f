package storetest

import (
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
)

// testLeaser asks of leases by number what testKeepAlive and testTakeOver ask of KeepAlive.
func testLeaser(t *testing.T, s Troubled) {
	l, ok := s.(store.Leaser)
	if !ok {
		t.Fatal("the store is no store.Leaser")
	}
	key, told := cluster.AliveKey("m1"), 0
	before := time.Now()
	ctx := store.WithRenewed(within(t), func(sent time.Time) {
		if told++; sent.Before(before) || sent.After(time.Now()) {
			t.Errorf("a request of now was sent at %v", sent)
		}
	})
	one, err := l.Grant(ctx, m1, key, []byte("1"), ttl)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Renew(ctx, m1, key, one); err != nil || told != 2 || value(t, s, key) != "1" {
		t.Errorf("renewing: %v, told %d times, the key is %q", err, told, value(t, s, key))
	}
	wantErr(t, l.Renew(ctx, m1, key, one+1), store.ErrLeaseLost)
	wantErr(t, l.Renew(ctx, m2, key, one), store.ErrForbidden)
	wantErr(t, l.Revoke(ctx, m2, key, one), store.ErrForbidden)
	_, err = l.Grant(ctx, m2, key, []byte("x"), ttl)
	wantErr(t, err, store.ErrForbidden)
	two, err := l.Grant(ctx, m1, key, []byte("2"), ttl)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, l.Renew(ctx, m1, key, one), store.ErrLeaseLost)
	if err := l.Revoke(ctx, m1, key, one); err != nil || value(t, s, key) != "2" {
		t.Errorf("revoking the former lease: %v, the key is %q", err, value(t, s, key))
	}
	if err := l.Revoke(ctx, m1, key, two); err != nil || value(t, s, key) != "-" {
		t.Errorf("revoking: %v, the key is %q", err, value(t, s, key))
	}
	wantErr(t, l.Renew(ctx, m1, key, two), store.ErrLeaseLost)
	if err := l.Revoke(ctx, m1, key, two); err != nil {
		t.Errorf("revoking twice: %v", err)
	}
	if told != 3 {
		t.Errorf("told of %d renewals, want 3", told)
	}
}

// testFollower: a follower learns that it is up to date, also where the store's revision grew without a change of facts.
func testFollower(t *testing.T, s Troubled) {
	f, ok := s.(store.Follower)
	if !ok {
		t.Skip("its revision grows with facts alone")
	}
	ctx := within(t)
	first := write(t, s, ann, put(unit("a.service"), "1"))
	ch := f.Follow(ctx, "", first-1)
	if b := next(t, ch); b.Revision != first || len(b.Entries) != 1 {
		t.Fatalf("followed %+v, want revision %d", b, first)
	}
	lead(t, s, "m1").Resign()
	now := read(t, s, "").Revision
	for ask := time.NewTicker(50 * time.Millisecond); ; {
		if err := f.Progress(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case b := <-ch:
			if b.Err != nil || len(b.Entries) > 0 {
				t.Fatalf("followed %+v, want progress", b)
			}
			if b.Revision >= now {
				return
			}
		case <-ask.C:
		case <-ctx.Done():
			t.Fatal("no progress")
		}
	}
}

// testCondemned: from the leader's condemnation on no lease of the machine's epoch is renewed or granted; a newer one is.
func testCondemned(t *testing.T, s Troubled) {
	l, ok := s.(store.Leaser)
	if !ok {
		t.Fatal("the store is no store.Leaser")
	}
	leader := lead(t, s, "m2")
	key := cluster.AliveKey("m1")
	grant := func(epoch int64) (int64, error) {
		return l.Grant(within(t), m1, key, cluster.Encode(cluster.Sign{Epoch: epoch}), patience)
	}
	before := write(t, s, ann, put(cluster.UnitKey("a.service"), "1"))
	lease, err := grant(before)
	if err != nil {
		t.Fatal(err)
	}
	ended := write(t, s, leader.Writer, put(cluster.CondemnedKey("m1"), "1"), store.Delete(key))
	wantErr(t, l.Renew(within(t), m1, key, lease), store.ErrLeaseLost)
	for _, epoch := range []int64{before, ended - 1} {
		_, err = grant(epoch)
		wantErr(t, err, store.ErrStale)
	}
	if _, err = grant(ended); err != nil { // It has seen the condemnation.
		t.Error(err)
	}
}
