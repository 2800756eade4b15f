package memory_test

import (
	"errors"
	"fmt"
	"testing"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/store/storetest"
)

var ann = store.Writer{Role: store.Person, ID: "ann"}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s := memory.New()
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}

func TestHistoryIsBounded(t *testing.T) {
	s := memory.New()
	for i := range 2*memory.History + 10 {
		if _, err := s.Write(t.Context(), ann, store.Put("units/a.service", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Since("", 1); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("the history has no bound: %v", err)
	}
	pic, err := s.Read(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Since("", pic.Revision-memory.History)
	if err != nil || len(got) != memory.History {
		t.Errorf("%d batches (%v), want the last %d", len(got), err, memory.History)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		fault memory.Fault
		code  reason.Code // Empty: ErrStale.
		done  bool
	}{
		{memory.Stale, "", false},
		{memory.LostRequest, reason.StoreUnavailable, false},
		{memory.LostAnswer, reason.StoreUnavailable, true},
		{memory.Full, reason.StoreFull, false},
	} {
		t.Run(fmt.Sprint(c.fault), func(t *testing.T) {
			s := memory.New()
			s.Inject(func(store.Writer, []store.Change) memory.Fault { return c.fault })
			_, err := s.Write(t.Context(), ann, store.Put("units/a.service", 1))
			r, ok := errors.AsType[*reason.Reason](err)
			if c.code == "" && !errors.Is(err, store.ErrStale) || c.code != "" && (!ok || r.Code != c.code) {
				t.Errorf("error %v", err)
			}
			s.Inject(nil)
			if got, err := s.Since("", 0); err != nil || (len(got) == 1) != c.done {
				t.Errorf("done=%v (%v), want %v", len(got) == 1, err, c.done)
			}
		})
	}
}

func TestElectDeposes(t *testing.T) {
	s := memory.New()
	one, two := s.Elect("m1"), s.Elect("m1")
	<-one.Done
	if _, err := s.Write(t.Context(), one.Writer, store.Put("unplaced/a.service", 1)); !errors.Is(err, store.ErrStale) {
		t.Errorf("a deposed leader wrote: %v", err)
	}
	if _, err := s.Write(t.Context(), two.Writer, store.Put("unplaced/a.service", 1)); err != nil {
		t.Error(err)
	}
}
