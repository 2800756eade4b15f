package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// ttl is long beside any hiccup of a busy test machine: the suite ends leases itself.
const ttl = 10 * time.Second

// keep starts KeepAlive and waits until the key is there. stop ends it and gives its error.
func keep(t *testing.T, s Troubled, by store.Writer, text string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended, key := make(chan error, 1), cluster.AliveKey(by.ID)
	since := read(t, s, "").Revision
	go func() { ended <- s.KeepAlive(ctx, by, key, []byte(text), ttl) }()
	b := next(t, s.Watch(within(t), key, since))
	if b.Err != nil || len(b.Entries) != 1 || string(b.Entries[0].Value) != text {
		t.Fatalf("the kept key was told as %+v", b)
	}
	t.Cleanup(cancel)
	return func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("KeepAlive does not end")
		}
	}
}

func testKeepAlive(t *testing.T, s Troubled) {
	stop := keep(t, s, m1, "here")
	if v := value(t, s, cluster.AliveKey("m1")); v != "here" {
		t.Fatalf("the kept key is %q", v)
	}
	if err := stop(); err != nil {
		t.Fatalf("letting go: %v", err)
	}
	await(t, s, cluster.AliveKey("m1"), false)
}

func testLeaseLost(t *testing.T, s Troubled) {
	ended, key := make(chan error, 1), cluster.AliveKey("m1")
	ctx := within(t)
	go func() { ended <- s.KeepAlive(ctx, m1, key, []byte("x"), ttl) }()
	await(t, s, key, true)
	if err := s.Expire(ctx, key); err != nil {
		t.Fatal(err)
	}
	await(t, s, key, false)
	select {
	case err := <-ended:
		wantCode(t, err, reason.StoreUnavailable)
	case <-time.After(patience):
		t.Fatal("the keeper of a lost lease does not end")
	}
	if err := s.Expire(ctx, key); err == nil {
		t.Error("a key without a lease expired")
	}
}

// testTakeOver is an agent that starts again while the lease of its former self still runs.
func testTakeOver(t *testing.T, s Troubled) {
	old := keep(t, s, m1, "old")
	young := keep(t, s, m1, "young")
	if err := old(); err != nil {
		t.Fatal(err)
	}
	if v := value(t, s, cluster.AliveKey("m1")); v != "young" {
		t.Fatalf("the former keeper's end left %q", v)
	}
	if err := young(); err != nil {
		t.Fatal(err)
	}
	await(t, s, cluster.AliveKey("m1"), false)
}

func lead(t *testing.T, s store.Store, id string) *store.Term {
	t.Helper()
	term, err := s.Lead(within(t), id)
	if err != nil {
		t.Fatalf("lead: %v", err)
	}
	return term
}

func over(t *testing.T, term *store.Term) {
	t.Helper()
	select {
	case <-term.Done:
	case <-time.After(patience):
		t.Fatal("the term goes on")
	}
}

func testLead(t *testing.T, s Troubled) {
	one := lead(t, s, "m1")
	if w := one.Writer; w.Role != store.Leader || w.ID != "m1" || w.Fence == "" {
		t.Errorf("the leader writes as %+v", w)
	}
	write(t, s, one.Writer, put(cluster.UnplacedKey("a.service"), "1"))
	elected := make(chan *store.Term, 1)
	ctx := within(t)
	go func() {
		term, err := s.Lead(ctx, "m2")
		if err != nil {
			t.Error(err)
		}
		elected <- term
	}()
	select {
	case <-elected:
		t.Fatal("two lead at once")
	case <-one.Done:
		t.Fatal("the leader lost its term to one who waits")
	case <-time.After(50 * time.Millisecond):
	}
	one.Resign()
	over(t, one)
	one.Resign() // Twice is no harm.
	select {
	case two := <-elected:
		if two == nil {
			return
		}
		write(t, s, two.Writer, put(cluster.UnplacedKey("a.service"), "2"))
		_, err := s.Write(ctx, one.Writer, put(cluster.UnplacedKey("a.service"), "3"))
		wantErr(t, err, store.ErrStale)
		two.Resign()
	case <-time.After(patience):
		t.Fatal("nobody follows")
	}
}

func testDeposed(t *testing.T, s Troubled) {
	one := lead(t, s, "m1")
	write(t, s, one.Writer, put(cluster.PlacementKey("m1", "a.service"), "1"))
	if err := s.Depose(within(t)); err != nil {
		t.Fatal(err)
	}
	over(t, one)
	// It has not noticed, and writes on: also where nobody else leads, and also without a guard of its own.
	_, err := s.Write(within(t), one.Writer, put(cluster.PlacementKey("m1", "a.service"), "stale"))
	wantErr(t, err, store.ErrStale)
	again := lead(t, s, "m1") // The same machine, another term.
	_, err = s.Write(within(t), one.Writer, store.Delete(cluster.PlacementKey("m1", "a.service")))
	wantErr(t, err, store.ErrStale)
	_, err = s.Write(within(t), store.Writer{Role: store.Leader, ID: "m1"}, put(cluster.UnplacedKey("a.service"), "no proof"))
	wantErr(t, err, store.ErrStale)
	write(t, s, again.Writer, put(cluster.PlacementKey("m1", "a.service"), "2"))
	if v := value(t, s, cluster.PlacementKey("m1", "a.service")); v != "2" {
		t.Errorf("the placement is %q", v)
	}
	again.Resign()
}

// testLeadAgain is a leader that was killed and starts again before its lease ran out.
func testLeadAgain(t *testing.T, s Troubled) {
	one := lead(t, s, "m1")
	two := lead(t, s, "m1")
	over(t, one)
	_, err := s.Write(within(t), one.Writer, put(cluster.UnplacedKey("a.service"), "1"))
	wantErr(t, err, store.ErrStale)
	write(t, s, two.Writer, put(cluster.UnplacedKey("a.service"), "2"))
	two.Resign()
}

func testLeadEnds(t *testing.T, s Troubled) {
	one := lead(t, s, "m1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if term, err := s.Lead(ctx, "m2"); err == nil {
		t.Fatalf("%s leads beside m1", term.Writer.ID)
	}
	one.Resign()
	lead(t, s, "m3").Resign() // The one who gave up is not in the way.
}

func testHealth(t *testing.T, s Troubled) {
	if err := s.Health(within(t)); err != nil {
		t.Fatal(err)
	}
}

func testClosed(t *testing.T, s Troubled) {
	watch := s.Watch(within(t), "", read(t, s, "").Revision)
	term := lead(t, s, "m1")
	stop := keep(t, s, m1, "x")
	<-watch // The kept key.
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	over(t, term)
	if b, open := <-watch; open && b.Err == nil {
		t.Errorf("a watch of a closed store tells %+v", b)
	}
	if err := stop(); err == nil {
		t.Log("the keeper was told to end before it saw the close")
	}
	_, err := s.Read(within(t), "")
	wantCode(t, err, reason.StoreUnavailable)
	_, err = s.Write(within(t), ann, put(unit("a.service"), "x"))
	wantCode(t, err, reason.StoreUnavailable)
	if err := s.Health(within(t)); err == nil {
		t.Error("a closed store is healthy")
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}
