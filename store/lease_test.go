package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

var m1 = store.Writer{Role: store.Machine, ID: "m1"}

// silent is a store of which a test says what a renewal brings.
type silent struct {
	*memory.Store
	renew atomic.Pointer[error] // Instead of the store's answer.
	asked []time.Duration       // When a renewal was asked for. Read it when the keeper has ended.
	since time.Time
}

func (s *silent) Renew(ctx context.Context, by store.Writer, key string, lease int64) error {
	s.asked = append(s.asked, time.Since(s.since))
	if err := s.renew.Load(); err != nil {
		return *err
	}
	return s.Store.Renew(ctx, by, key, lease)
}

// keep runs Keep in a bubble, and gives what it came to.
func keep(ctx context.Context, s *silent) <-chan error {
	s.since = time.Now()
	ended := make(chan error, 1)
	go func() { ended <- store.Keep(ctx, s, m1, "alive/m1", []byte("x"), 12*time.Second) }()
	synctest.Wait()
	return ended
}

func there(t *testing.T, s *silent) bool {
	t.Helper()
	pic, err := s.Read(t.Context(), "alive/m1")
	if err != nil {
		t.Fatal(err)
	}
	return len(pic.Entries) == 1
}

func TestKeepRenewsAndLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &silent{Store: memory.New()}
		var renewals atomic.Int64
		ctx, stop := context.WithCancel(store.WithRenewed(t.Context(), func(sent time.Time) {
			if renewals.Add(1); !sent.Equal(time.Now()) {
				t.Errorf("sent at %v", sent)
			}
		}))
		ended := keep(ctx, s)
		<-time.After(31 * time.Second)
		if renewals.Load() != 11 || !there(t, s) { // The grant, and every 3 s.
			t.Errorf("%d renewals in 31 s, want 11", renewals.Load())
		}
		stop()
		if err := <-ended; err != nil || there(t, s) {
			t.Errorf("let go: %v, still there: %v", err, there(t, s))
		}
	})
}

// TestKeepOutlastsSilence: while nobody answers it asks more often, and goes on when somebody does.
func TestKeepOutlastsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, away := &silent{Store: memory.New()}, store.Unavailable(errors.New("away"))
		s.renew.Store(&away)
		ctx, stop := context.WithCancel(t.Context())
		ended := keep(ctx, s)
		<-time.After(time.Minute)
		s.renew.Store(nil)
		<-time.After(12 * time.Second)
		if len(ended) > 0 || !there(t, s) {
			t.Error("the lease did not outlast the silence")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		n := len(s.asked) - 4 // In the last 12 s.
		if n < 25 || n > 40 || s.asked[1]-s.asked[0] > 300*time.Millisecond {
			t.Errorf("asked %d times in a minute of silence: %v", n, s.asked)
		}
	})
}

func TestKeepEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &silent{Store: memory.New()}
		ended := keep(t.Context(), s)
		other, err := s.Grant(t.Context(), m1, "alive/m1", []byte("y"), time.Second) // Another process of the machine.
		if err != nil {
			t.Fatal(err)
		}
		err = <-ended
		if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.StoreUnavailable {
			t.Errorf("ended with %v", err)
		}
		if !there(t, s) || s.Renew(t.Context(), m1, "alive/m1", other) != nil {
			t.Error("the former keeper took the key along")
		}
		s.renew.Store(&store.ErrForbidden)
		if err := <-keep(t.Context(), s); !errors.Is(err, store.ErrForbidden) {
			t.Errorf("a keeper that may not any more ends with %v", err)
		}
	})
}

func TestPartPrefix(t *testing.T) {
	if id, ok := store.CutPart(store.PartPrefix("m1")); id != "m1" || !ok {
		t.Errorf("got %q, %v", id, ok)
	}
	for _, bad := range []string{"", "part/", "part//", "part/m1", "part/m1/x", "part/a/b/", "units/"} {
		if id, ok := store.CutPart(bad); ok {
			t.Errorf("%q is the part of %q", bad, id)
		}
	}
}
