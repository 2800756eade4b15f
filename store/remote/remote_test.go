package remote

import (
	"context"
	"errors"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		inner := memory.New()
		t.Cleanup(func() { _ = inner.Close() })
		return open(t, inner)
	})
}

// TestPart is one machine's view of its part, from the wish to the end.
func TestPart(t *testing.T) {
	s := memory.New()
	srv, _ := serveStore(t, s)
	leader := s.Elect("m9").Writer
	c := client(t, "m1", hostOf(srv))
	pic, err := c.Read(within(t), store.PartPrefix("m1"))
	if err != nil || len(pic.Entries) != 0 {
		t.Fatalf("the part of a new machine is %+v, %v", pic, err)
	}
	watch := c.Watch(within(t), store.PartPrefix("m1"), pic.Revision)
	want := func(what string) {
		t.Helper()
		if b := next(t, watch); b.Err != nil || keys(b.Entries) != what {
			t.Fatalf("watched %q (%v), want %q", keys(b.Entries), b.Err, what)
		}
	}
	write(t, s, ann, store.Put(cluster.UnitKey("a.service"), cluster.Wanted{Name: "a.service"})) // Not placed: nobody's.
	write(t, s, leader, placement("m2", "a.service"))                                            // Another machine's.
	write(t, s, leader, placement("m1", "a.service"))
	want("placements/m1/a.service units/a.service")
	write(t, c, m1, store.Put(cluster.StatusKey("m1", "a.service"), cluster.Status{}))
	want("statuses/m1/a.service")
	write(t, s, ann, store.Put(cluster.UnitKey("a.service"), cluster.Wanted{Name: "a.service", By: "ann"}))
	want("units/a.service")
	write(t, s, leader, store.Delete(cluster.PlacementKey("m1", "a.service")))
	want("-placements/m1/a.service placements/m2/a.service") // It was moved: the machine sees where to.
	write(t, s, leader, store.Put(cluster.LeaderKey(), cluster.Reign{ID: "m9"}))
	want("leader/term")
	write(t, s, leader, store.Put(cluster.LeaderKey(), cluster.Reign{ID: "m9"})) // The same one leads.
	s2 := store.Writer{Role: store.Machine, ID: "s2"}
	write(t, s, s2, store.Put(cluster.MachineKey("s2"), cluster.Machine{ID: "s2", Server: true, Address: "a:1"}))
	want("machines/s2")
	write(t, s, s2, store.Put(cluster.MachineKey("s2"), cluster.Machine{ID: "s2", Server: true, Address: "a:1", Kernel: "6"}))
	write(t, s, ann, store.Put(cluster.AdminKey("m1"), cluster.MachineAdmin{ID: "m1"}))
	want("admin/m1")
	if pic, err = c.Read(within(t), store.PartPrefix("m1")); err != nil ||
		keys(pic.Entries) != "admin/m1 leader/term machines/s2 placements/m2/a.service statuses/m1/a.service units/a.service" {
		t.Errorf("read %q, %v", keys(pic.Entries), err)
	}
	write(t, c, m1, store.Delete(cluster.StatusKey("m1", "a.service")))
	want("-placements/m2/a.service -statuses/m1/a.service -units/a.service")
	write(t, s, s2, store.Put(cluster.MachineKey("s2"), cluster.Machine{ID: "s2"}))
	want("-machines/s2")
}

// TestForeignPart: a machine reaches its own part and its own facts, and nothing else.
func TestForeignPart(t *testing.T) {
	s := memory.New()
	srv, _ := serveStore(t, s)
	c := client(t, "m1", hostOf(srv))
	for _, prefix := range []string{"", "units/", store.PartPrefix("m2"), "part/", "part/m1", "part/m1/x/", "part//"} {
		_, err := c.Read(within(t), prefix)
		wantForbidden(t, err)
		wantForbidden(t, next(t, c.Watch(within(t), prefix, 0)).Err)
	}
	for _, by := range []store.Writer{ann, {Role: store.Leader, ID: "m1"}, {Role: store.Machine, ID: "m2"}} {
		_, err := c.Write(within(t), by, store.Put(cluster.StatusKey("m1", "a.service"), 1))
		wantForbidden(t, err)
	}
	if _, err := c.Lead(within(t), "m1"); err == nil {
		t.Error("an agent leads")
	}
	nobody := client(t, "m1", hostOf(srv))
	nobody.http.Transport = nil // Says no name.
	_, err := nobody.Read(within(t), store.PartPrefix("m1"))
	wantForbidden(t, err)
	// A client that lies about whom it is finds the server's rule.
	liar := client(t, "m1", hostOf(srv))
	liar.o.Machine = "m2"
	_, err = liar.Write(within(t), store.Writer{Role: store.Machine, ID: "m2"}, store.Put(cluster.MachineKey("m2"), 1))
	if !errors.Is(err, store.ErrForbidden) {
		t.Errorf("m1 wrote as m2: %v", err)
	}
	if pic, _ := s.Read(context.Background(), ""); len(pic.Entries) != 0 {
		t.Errorf("something was written: %v", keys(pic.Entries))
	}
}

func wantForbidden(t *testing.T, err error) {
	t.Helper()
	r, ok := errors.AsType[*reason.Reason](err)
	if !ok || r.Code != reason.NotAllowed || !errors.Is(err, store.ErrForbidden) {
		t.Errorf("got %v, want not-allowed", err)
	}
}

// TestLines: a revision is handed on whole, once, and not when its link broke in the middle.
func TestLines(t *testing.T) {
	many := []store.Entry{{Key: "a", Value: make([]byte, lineBytes)}, {Key: "b", Value: []byte{}}, {Key: "c"}}
	split := lines(7, many)
	if len(split) != 2 || !split[0].More || split[1].More || len(lines(7, nil)) != 1 {
		t.Fatalf("%d lines", len(split))
	}
	out := make(chan store.Batch, 10)
	w := &follower{out: out, since: 6}
	for _, l := range []line{
		{Revision: 6, Entries: []entry{{Key: "known"}}},
		split[0], split[1], split[0], split[1],
		{Revision: 9},
		{Revision: 8, Entries: []entry{{Key: "before the heartbeat"}}},
	} {
		if !w.take(t.Context(), l) {
			t.Fatal("nobody listens")
		}
	}
	close(out)
	b := <-out
	if b.Revision != 7 || keys(b.Entries) != "a b -c" || b.Entries[1].Value == nil || w.since != 9 {
		t.Errorf("got %d: %q, since %d", b.Revision, keys(b.Entries), w.since)
	}
	if b, more := <-out; more {
		t.Errorf("and %d: %q", b.Revision, keys(b.Entries))
	}
}
