// Package storetest is the conformance suite of store.Store: every promise in the comments of that interface as
// a test. An implementation passes it in its own test with Run. What only an implementation can do, such as
// surviving a restart, it tests itself.
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

// Troubled is what an implementation offers so that the suite can cause what time and faults cause: every
// implementation has it.
type Troubled interface {
	store.Store
	// Expire loses the lease that a key is bound to.
	Expire(ctx context.Context, key string) error
	// Depose ends the present term of leadership from outside.
	Depose(ctx context.Context) error
	// Compact forgets the history up to and including a revision.
	Compact(ctx context.Context, revision int64) error
}

// patience bounds every wait of the suite; only a failing test waits so long.
const patience = 20 * time.Second

var (
	ann = store.Writer{Role: store.Person, ID: "ann"}
	m1  = store.Writer{Role: store.Machine, ID: "m1"}
	m2  = store.Writer{Role: store.Machine, ID: "m2"}
)

// Run runs the suite. open gives a fresh, empty store and closes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s Troubled)
	}{
		{"read gives what was written, sorted, at one revision", testRead},
		{"deleting what is not there is no change", testDelete},
		{"an empty value is not a deletion", testEmptyValue},
		{"a write is done whole or not at all", testAllOrNothing},
		{"a guard holds the write to a revision", testGuard},
		{"writers touch only their own facts", testWriters},
		{"limits are told with their numbers", testLimits},
		{"a thousand changes fit in one write", testThousand},
		{"concurrent guarded writers lose no update", testConcurrent},
		{"a watch tells every change after its revision, one batch for each", testWatch},
		{"a watch resumes without gaps while others write", testResume},
		{"a watch before the kept history says so", testCompacted},
		{"a watch ends with its context", testWatchEnds},
		{"a slow watcher misses nothing", testSlowWatcher},
		{"a kept key lives as long as its keeper", testKeepAlive},
		{"a lost lease ends its keeper", testLeaseLost},
		{"a new keeper takes a key over", testTakeOver},
		{"no lease for a condemned epoch", testCondemned},
		{"a lease has a number, by which it is renewed and let go", testLeaser},
		{"a follower learns that it is up to date", testFollower},
		{"one leads, the next one follows", testLead},
		{"a deposed leader cannot write", testDeposed},
		{"an id that leads again ends its former term", testLeadAgain},
		{"waiting to lead ends with its context", testLeadEnds},
		{"health is fine", testHealth},
		{"a closed store says that it is away", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ok := open(t).(Troubled)
			if !ok {
				t.Fatal("the store does not implement storetest.Troubled")
			}
			c.test(t, s)
		})
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func write(t *testing.T, s store.Store, by store.Writer, changes ...store.Change) int64 {
	t.Helper()
	rev, err := s.Write(within(t), by, changes...)
	if err != nil {
		t.Fatalf("write by %s: %v", by.Role, err)
	}
	return rev
}

func read(t *testing.T, s store.Store, prefix string) store.Picture {
	t.Helper()
	pic, err := s.Read(within(t), prefix)
	if err != nil {
		t.Fatalf("read %q: %v", prefix, err)
	}
	return pic
}

// value gives a key's value as text, or "-" when it is not there.
func value(t *testing.T, s store.Store, key string) string {
	t.Helper()
	for _, e := range read(t, s, key).Entries {
		if e.Key == key {
			return string(e.Value)
		}
	}
	return "-"
}

func put(key, text string) store.Change { return store.Change{Key: key, Value: []byte(text)} }

func unit(name string) string { return cluster.UnitKey(name) }

func next(t *testing.T, ch <-chan store.Batch) store.Batch {
	t.Helper()
	select {
	case b, ok := <-ch:
		if !ok {
			t.Fatal("the watch ended")
		}
		return b
	case <-time.After(patience):
		t.Fatal("the watch tells nothing")
	}
	return store.Batch{}
}

// await watches a key until it is there or gone.
func await(t *testing.T, s store.Store, key string, there bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	pic := read(t, s, key)
	now := false
	for _, e := range pic.Entries {
		now = now || e.Key == key
	}
	if now == there {
		return
	}
	for b := range s.Watch(ctx, key, pic.Revision) {
		if b.Err != nil {
			t.Fatalf("watch %s: %v", key, b.Err)
		}
		for _, e := range b.Entries {
			if e.Key == key && (e.Value != nil) == there {
				return
			}
		}
	}
	t.Fatalf("%s: there=%v was not seen within %v", key, there, patience)
}

func wantCode(t *testing.T, err error, code reason.Code) {
	t.Helper()
	r, ok := errors.AsType[*reason.Reason](err)
	if !ok || r.Code != code {
		t.Fatalf("got error %v, want reason %s", err, code)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
