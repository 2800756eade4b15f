package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
)

func testWatch(t *testing.T, s Troubled) {
	before := write(t, s, ann, put(unit("old.service"), "O"))
	ch := s.Watch(within(t), cluster.UnitsPrefix, before)
	one := write(t, s, ann, put(unit("b.service"), "B"), put(unit("a.service"), "A"))
	write(t, s, m1, put(cluster.MachineKey("m1"), "M")) // Not under the prefix.
	two := write(t, s, ann, store.Delete(unit("a.service")), put(cluster.AdminKey("m1"), "x"))
	b := next(t, ch)
	if b.Err != nil || b.Revision != one || len(b.Entries) != 2 || b.Entries[0].Revision != one {
		t.Fatalf("first batch %+v, want two entries at revision %d", b, one)
	}
	b = next(t, ch)
	if b.Err != nil || b.Revision != two || len(b.Entries) != 1 {
		t.Fatalf("second batch %+v, want one entry at revision %d", b, two)
	}
	if e := b.Entries[0]; e.Key != unit("a.service") || e.Value != nil || e.Revision != two {
		t.Errorf("a deletion is told as %+v", e)
	}
	all := next(t, s.Watch(within(t), "", 0)) // From the beginning.
	if all.Revision != before {
		t.Errorf("a watch from the beginning starts at %d, want %d", all.Revision, before)
	}
}

// testResume breaks a watch off again and again while a writer writes, and goes on where it stopped.
func testResume(t *testing.T, s Troubled) {
	const writes, each = 120, 7
	start := read(t, s, "").Revision
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range writes {
			if _, err := s.Write(context.WithoutCancel(t.Context()), ann, put(unit("n.service"), fmt.Sprint(i)), put(unit(fmt.Sprintf("u@%d.service", i)), "x")); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	since, got := start, 0
	for got < writes {
		ctx, cancel := context.WithCancel(within(t))
		ch := s.Watch(ctx, "", since)
		for range min(each, writes-got) {
			b := next(t, ch)
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			if b.Revision != since+1 || len(b.Entries) != 2 || string(b.Entries[0].Value) != fmt.Sprint(got) {
				t.Fatalf("after revision %d came %+v, want write %d", since, b, got)
			}
			since, got = b.Revision, got+1
		}
		cancel()
	}
	<-done
}

func testCompacted(t *testing.T, s Troubled) {
	first := write(t, s, ann, put(unit("a.service"), "1"))
	var last int64
	for i := range 5 {
		last = write(t, s, ann, put(unit("a.service"), fmt.Sprint(i)))
	}
	if err := s.Compact(within(t), last-1); err != nil {
		t.Fatal(err)
	}
	ch := s.Watch(within(t), "", first)
	wantErr(t, next(t, ch).Err, store.ErrCompacted)
	if _, open := <-ch; open {
		t.Error("the watch goes on after its error")
	}
	if b := next(t, s.Watch(within(t), "", last-1)); b.Err != nil || b.Revision != last {
		t.Errorf("a watch from the kept history tells %+v", b)
	}
	if v := value(t, s, unit("a.service")); v != "4" {
		t.Errorf("after compaction the value is %q", v)
	}
}

func testWatchEnds(t *testing.T, s Troubled) {
	ctx, cancel := context.WithCancel(within(t))
	ch := s.Watch(ctx, "", read(t, s, "").Revision)
	cancel()
	select {
	case b, open := <-ch:
		if open {
			t.Fatalf("a cancelled watch tells %+v", b)
		}
	case <-time.After(patience):
		t.Fatal("a cancelled watch stays open")
	}
}

func testSlowWatcher(t *testing.T, s Troubled) {
	const writes = 400
	since := read(t, s, "").Revision
	ch := s.Watch(within(t), "", since)
	for i := range writes {
		write(t, s, ann, put(unit("a.service"), fmt.Sprint(i)))
	}
	for i := range writes {
		if b := next(t, ch); b.Err != nil || b.Revision != since+1+int64(i) {
			t.Fatalf("batch %d is %+v, want revision %d", i, b, since+1+int64(i))
		}
	}
}
