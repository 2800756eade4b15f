package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

func testRead(t *testing.T, s Troubled) {
	if pic := read(t, s, ""); len(pic.Entries) != 0 || pic.Revision < 1 {
		t.Fatalf("an empty store reads as %+v", pic)
	}
	write(t, s, ann, put(unit("b.service"), "B"), put(unit("a.service"), "A"))
	rev := write(t, s, ann, put(unit("b.service"), "B2"))
	first := write(t, s, m1, put(cluster.MachineKey("m1"), "M"))
	pic := read(t, s, cluster.UnitsPrefix)
	if len(pic.Entries) != 2 || pic.Revision != first {
		t.Fatalf("read %+v, want two units at revision %d", pic, first)
	}
	a, b := pic.Entries[0], pic.Entries[1]
	if a.Key != unit("a.service") || string(a.Value) != "A" || b.Key != unit("b.service") || string(b.Value) != "B2" {
		t.Errorf("read %+v", pic.Entries)
	}
	if a.Revision != rev-1 || b.Revision != rev {
		t.Errorf("revisions %d and %d, want %d and %d", a.Revision, b.Revision, rev-1, rev)
	}
	if all := read(t, s, ""); len(all.Entries) != 3 || all.Entries[0].Key != cluster.MachineKey("m1") {
		t.Errorf("the empty prefix reads %+v", all.Entries)
	}
	if got := read(t, s, "units/c"); len(got.Entries) != 0 {
		t.Errorf("a prefix of nothing reads %+v", got.Entries)
	}
}

func testDelete(t *testing.T, s Troubled) {
	rev := write(t, s, ann, put(unit("a.service"), "A"))
	if got := write(t, s, ann, store.Delete(unit("none.service"))); got != rev {
		t.Errorf("deleting nothing made revision %d of %d", got, rev)
	}
	if got := write(t, s, ann); got != rev {
		t.Errorf("a write of nothing gives revision %d, want %d", got, rev)
	}
	if got := write(t, s, ann, store.Delete(unit("a.service")), store.Delete(unit("none.service"))); got != rev+1 {
		t.Errorf("a deletion gives revision %d, want %d", got, rev+1)
	}
	if v := value(t, s, unit("a.service")); v != "-" {
		t.Errorf("deleted, and still %q", v)
	}
}

func testEmptyValue(t *testing.T, s Troubled) {
	since := read(t, s, "").Revision
	write(t, s, ann, put(unit("a.service"), ""))
	if pic := read(t, s, ""); len(pic.Entries) != 1 || pic.Entries[0].Value == nil {
		t.Fatalf("read %+v", pic)
	}
	if b := next(t, s.Watch(within(t), "", since)); len(b.Entries) != 1 || b.Entries[0].Value == nil {
		t.Fatalf("watched %+v", b)
	}
}

func testAllOrNothing(t *testing.T, s Troubled) {
	rev := write(t, s, ann, put(unit("a.service"), "A"))
	_, err := s.Write(within(t), ann, put(unit("b.service"), "B"), store.PutIf(unit("a.service"), "A2", rev+100))
	wantErr(t, err, store.ErrStale)
	_, err = s.Write(within(t), ann, put(unit("b.service"), "B"), put(cluster.StatusKey("m1", "a.service"), "S"))
	wantErr(t, err, store.ErrForbidden)
	_, err = s.Write(within(t), ann, put(unit("b.service"), "B"), store.Delete(unit("b.service")))
	wantCode(t, err, reason.BadRequest)
	if pic := read(t, s, ""); len(pic.Entries) != 1 || pic.Revision != rev {
		t.Errorf("a refused write left %+v", pic)
	}
}

func testGuard(t *testing.T, s Troubled) {
	rev := write(t, s, ann, store.PutIf(unit("a.service"), 1, 0))
	_, err := s.Write(within(t), ann, store.PutIf(unit("a.service"), 2, 0))
	wantErr(t, err, store.ErrStale)
	rev2 := write(t, s, ann, store.PutIf(unit("a.service"), 2, rev))
	_, err = s.Write(within(t), ann, store.PutIf(unit("a.service"), 3, rev))
	wantErr(t, err, store.ErrStale)
	_, err = s.Write(within(t), ann, store.Change{Key: unit("a.service"), Guard: true, If: rev})
	wantErr(t, err, store.ErrStale)
	write(t, s, ann, store.Change{Key: unit("a.service"), Guard: true, If: rev2})
	write(t, s, ann, store.PutIf(unit("a.service"), 4, 0)) // Deleted is as never there.
	if v := value(t, s, unit("a.service")); v != "4" {
		t.Errorf("value %q, want 4", v)
	}
}

// forgets tells who may delete what only others write: the leader the sign of life of whom it condemns, a person all
// that a machine said which is no more.
func forgets(w store.Writer, key string) bool {
	prefixes := map[store.Role][]string{
		store.Leader: {cluster.AlivePrefix},
		store.Person: {cluster.AlivePrefix, cluster.MachinesPrefix, cluster.StatusesPrefix},
	}
	return slices.ContainsFunc(prefixes[w.Role], func(p string) bool { return strings.HasPrefix(key, p) })
}

func testWriters(t *testing.T, s Troubled) {
	leader := lead(t, s, "m1")
	own := map[string][]store.Writer{
		cluster.UnitKey("a.service"):            {ann},
		cluster.AdminKey("m1"):                  {ann},
		cluster.PlacementKey("m1", "a.service"): {leader.Writer},
		cluster.UnplacedKey("a.service"):        {leader.Writer},
		cluster.LeaderKey():                     {leader.Writer},
		cluster.CondemnedKey("m1"):              {leader.Writer},
		cluster.StatusKey("m1", "a.service"):    {m1},
		cluster.StatusKey("m2", "a.service"):    {m2},
		cluster.MachineKey("m1"):                {m1},
		cluster.AliveKey("m1"):                  {m1},
		cluster.AliveKey("m2"):                  {m2},
		"unknown/x":                             nil,
		"statuses/m":                            nil,
	}
	everyone := []store.Writer{ann, leader.Writer, m1, m2, {Role: store.Machine}, {Role: "root", ID: "m1"}, {}}
	for key, may := range own {
		for _, w := range everyone {
			_, err := s.Write(within(t), w, put(key, "x"))
			switch allowed := slices.Contains(may, w); {
			case allowed && err != nil:
				t.Errorf("%s %q may write %s, but: %v", w.Role, w.ID, key, err)
			case !allowed && !errors.Is(err, store.ErrForbidden):
				t.Errorf("%s %q wrote %s: error %v, want ErrForbidden", w.Role, w.ID, key, err)
			}
			if slices.Contains(may, w) {
				continue
			}
			switch _, err := s.Write(within(t), w, store.Delete(key)); {
			case forgets(w, key) && err != nil:
				t.Errorf("%s %q may delete %s, but: %v", w.Role, w.ID, key, err)
			case !forgets(w, key) && !errors.Is(err, store.ErrForbidden):
				t.Errorf("%s %q deleted %s: error %v, want ErrForbidden", w.Role, w.ID, key, err)
			}
			if err := s.KeepAlive(within(t), w, key, nil, patience); !errors.Is(err, store.ErrForbidden) {
				t.Errorf("%s %q kept %s: error %v, want ErrForbidden", w.Role, w.ID, key, err)
			}
		}
	}
}

func testLimits(t *testing.T, s Troubled) {
	big := strings.Repeat("x", store.MaxValue+1)
	_, err := s.Write(within(t), ann, put(unit("a.service"), big))
	wantCode(t, err, reason.TooLarge)
	_, err = s.Write(within(t), ann, put(unit(strings.Repeat("n", store.MaxKey)), "x"))
	wantCode(t, err, reason.TooLarge)
	_, err = s.Write(within(t), ann, many(store.MaxChanges+1, "x")...)
	wantCode(t, err, reason.TooLarge)
	_, err = s.Write(within(t), ann, many(store.MaxWrite/store.MaxValue+1, big[:store.MaxValue])...)
	wantCode(t, err, reason.TooLarge)
	_, err = s.Write(within(t), ann, put("", "x"))
	wantCode(t, err, reason.BadRequest)
	_, err = s.Write(within(t), ann, put(unit("a\n.service"), "x"))
	wantCode(t, err, reason.BadRequest)
	if pic := read(t, s, ""); len(pic.Entries) != 0 {
		t.Fatalf("a refused write left %d entries", len(pic.Entries))
	}
	write(t, s, ann, put(unit("a.service"), big[1:])) // Just fits.
}

func many(n int, text string) []store.Change {
	out := make([]store.Change, n)
	for i := range out {
		out[i] = put(unit(fmt.Sprintf("u@%d.service", i)), text)
	}
	return out
}

func testThousand(t *testing.T, s Troubled) {
	since := read(t, s, "").Revision
	changes := many(store.MaxChanges, strings.Repeat("y", store.MaxWrite/store.MaxChanges-64))
	for i := range changes {
		changes[i].Guard = true
	}
	rev := write(t, s, ann, changes...)
	if b := next(t, s.Watch(within(t), "", since)); b.Revision != rev || len(b.Entries) != store.MaxChanges {
		t.Errorf("watched %d entries at revision %d, want %d at %d", len(b.Entries), b.Revision, store.MaxChanges, rev)
	}
	if pic := read(t, s, ""); len(pic.Entries) != store.MaxChanges {
		t.Errorf("read %d entries", len(pic.Entries))
	}
}

// testConcurrent adds to one number from many writers; each retries when it is stale.
func testConcurrent(t *testing.T, s Troubled) {
	const writers, each = 8, 10
	ctx, key := within(t), unit("n.service")
	write(t, s, ann, put(key, "0"))
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				pic, err := s.Read(ctx, key)
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				if _, err := fmt.Sscan(string(pic.Entries[0].Value), &n); err != nil {
					t.Error(err)
					return
				}
				_, err = s.Write(ctx, ann, store.PutIf(key, n+1, pic.Entries[0].Revision))
				switch {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrStale):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if v := value(t, s, key); v != fmt.Sprint(writers*each) {
		t.Errorf("counted to %s, want %d", v, writers*each)
	}
}
