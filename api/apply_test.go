package api_test

import (
	"errors"
	"fmt"
	"os/user"
	"strings"
	"sync"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/wire"
)

func (h *harness) apply(c ...wire.Change) *wire.ApplyResponse {
	h.t.Helper()
	resp, err := h.client.Apply(deadline(h.t), wire.ApplyRequest{Changes: c})
	if err != nil {
		h.t.Fatal(err)
	}
	return resp
}

// wanted reads a wish from the store.
func (h *harness) wanted(name string) *cluster.Wanted {
	h.t.Helper()
	pic, err := h.store.Read(deadline(h.t), cluster.UnitsPrefix)
	if err != nil {
		h.t.Fatal(err)
	}
	p := cluster.NewPicture()
	for _, e := range pic.Entries {
		if _, err := p.Apply(e.Key, e.Value, e.Revision); err != nil {
			h.t.Fatal(err)
		}
	}
	return p.Units[name]
}

// TestApplyRules: what a change does to a wish.
func TestApplyRules(t *testing.T) {
	h := start(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if r := h.apply(wire.Change{Name: "a.service", Text: new("# one\n" + sleepUnit)}); !r.Units[0].Created || !r.Units[0].Changed {
		t.Fatalf("created: %+v", r)
	}
	if w := h.wanted("a.service"); w.By != me.Username || w.Desired != cluster.Inactive || w.Orders != (cluster.Orders{}) || !w.At.Equal(at) {
		t.Errorf("after submit: %+v", w)
	}
	again := h.apply(wire.Change{Name: "a.service", Text: new("# one\n" + sleepUnit)})
	if u := again.Units[0]; u.Changed || u.Differs || u.Revision != h.wanted("a.service").Revision {
		t.Errorf("the same again: %+v", u)
	}
	if u := h.apply(wire.Change{Name: "a.service", Text: new("# two\n" + sleepUnit)}).Units[0]; u.Changed || u.Differs {
		t.Errorf("another comment alone is no difference: %+v", u)
	}
	other := strings.Replace(sleepUnit, "infinity", "9", 1)
	if u := h.apply(wire.Change{Name: "a.service", Text: &other, Desired: cluster.Launched}).Units[0]; !u.Changed || !u.Differs || strings.Contains(h.wanted("a.service").Text, "9") {
		t.Errorf("a difference without Replace: %+v", u)
	}
	if w := h.wanted("a.service"); w.Desired != cluster.Launched || w.Orders.Start != 1 {
		t.Errorf("started: %+v", w)
	}
	h.apply(wire.Change{Name: "a.service", Desired: cluster.Launched})
	if w := h.wanted("a.service"); w.Orders.Start != 1 {
		t.Errorf("launched again without an order: %+v", w)
	}
	h.apply(wire.Change{Name: "a.service", Desired: cluster.Launched, Start: true, Restart: true, Reload: true, Signal: 9})
	if w := h.wanted("a.service"); w.Orders != (cluster.Orders{Start: 2, Restart: 1, Reload: 1, Kill: 1, Signal: 9}) {
		t.Errorf("orders: %+v", w.Orders)
	}
	if u := h.apply(wire.Change{Name: "a.service", Text: &other, Replace: true}).Units[0]; !u.Changed || u.Differs || h.wanted("a.service").Text != other {
		t.Errorf("replaced: %+v", u)
	}
}

// TestApplyIsAllOrNothing: one fault, and nothing of the request is there; all faults are named.
func TestApplyIsAllOrNothing(t *testing.T) {
	h := start(t)
	_, err := h.client.Apply(deadline(t), wire.ApplyRequest{Changes: []wire.Change{
		{Name: "good.service", Text: new(sleepUnit)},
		{Name: "none.service", Restart: true},
		{Name: "bad", Text: new(sleepUnit)},
		{Name: "f.service", Text: new("[Service]\nType=oneshot\nExecStart=bad/path\nExecStop=bad/path\n")},
	}})
	var codes []string
	for e := range unwrapped(err) {
		codes = append(codes, string(e.Code))
	}
	if got := strings.Join(codes, " "); got != "no-such-unit name-invalid unit-invalid unit-invalid" {
		t.Errorf("the faults are %s: %v", got, err)
	}
	if h.wanted("good.service") != nil {
		t.Error("a part was done")
	}
}

// unwrapped gives the reasons of an error in order.
func unwrapped(err error) func(func(*reason.Reason) bool) {
	return func(yield func(*reason.Reason) bool) {
		many, ok := errors.AsType[interface {
			error
			Reasons() []*reason.Reason
		}](err)
		if !ok {
			return
		}
		for _, r := range many.Reasons() {
			if !yield(r) {
				return
			}
		}
	}
}

// TestDryRunChangesNothing, and says where there is room.
func TestDryRunChangesNothing(t *testing.T) {
	h := start(t)
	h.machine()
	big := sleepUnit + "MemoryMax=600M\n"
	resp, err := h.client.Apply(deadline(t), wire.ApplyRequest{DryRun: true, Changes: []wire.Change{
		{Name: "t@.service", Text: &big}, {Name: "t@1.service", Desired: cluster.Launched}, {Name: "t@2.service", Desired: cluster.Launched},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r := resp.Units[1].Room; r == nil || r.Code != reason.Placed {
		t.Errorf("the first is %+v", r)
	}
	if r := resp.Units[2].Room; r == nil || r.Code != reason.NoRoomMemory || r.Int("need") != 600<<20 || r.Int("have") != 424<<20 {
		t.Errorf("the second is %+v", r)
	}
	if h.wanted("t@.service") != nil {
		t.Error("a dry run has changed something")
	}
	v, err := h.client.Verify(deadline(t), wire.VerifyRequest{Units: []wire.VerifyUnit{
		{Name: "a.service", Text: big}, {Name: "b.service", Text: big}, {Name: "c.service", Text: "[Service]\nExecStart=x/y\nWrong=1\n"}, {Name: "d.service", Text: "[Service]\nExecStart=/x\nWrong=1\n"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if v.OK || v.Units[0].Machine != "m1" || v.Units[1].Room == nil || v.Units[1].Room.Reason.Code != reason.NoRoomMemory || len(v.Units[2].Faults) == 0 || len(v.Units[3].Warnings) == 0 {
		t.Errorf("verified: %+v", v)
	}
}

// TestApplyTogether: many callers change the same unit at the same time; no order is lost, and a guard loses cleanly.
func TestApplyTogether(t *testing.T) {
	h := start(t)
	h.apply(wire.Change{Name: "a.service", Text: new(sleepUnit), Desired: cluster.Launched})
	const callers, each = 4, 10
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if _, err := h.client.Apply(deadline(t), wire.ApplyRequest{Changes: []wire.Change{{Name: "a.service", Restart: true}}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if w := h.wanted("a.service"); w.Orders.Restart != callers*each {
		t.Errorf("%d of %d orders are there", w.Orders.Restart, callers*each)
	}
	rev := h.wanted("a.service").Revision
	var mu sync.Mutex
	won := 0
	for i := range 5 {
		wg.Go(func() {
			_, err := h.client.Put(deadline(t), wire.Change{Name: "a.service", Text: new(sleepUnit + fmt.Sprintf("Nice=%d\n", i))}, &rev)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.Stale {
				t.Errorf("a guard that does not hold gives %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 5 guarded changes were done", won)
	}
}

// TestStoreTrouble: a store that refuses is told with its own reason and the right status.
func TestStoreTrouble(t *testing.T) {
	h := start(t)
	h.apply(wire.Change{Name: "a.service", Text: new(sleepUnit)})
	var fault memory.Fault
	var mu sync.Mutex
	h.store.Inject(func(by store.Writer, _ []store.Change) memory.Fault {
		mu.Lock()
		defer mu.Unlock()
		return fault
	})
	for _, c := range []struct {
		fault memory.Fault
		want  reason.Code
	}{{memory.LostRequest, reason.StoreUnavailable}, {memory.LostAnswer, reason.StoreUnavailable}, {memory.Full, reason.StoreFull}, {memory.Stale, reason.Stale}} {
		mu.Lock()
		fault = c.fault
		mu.Unlock()
		_, err := h.client.Apply(deadline(t), wire.ApplyRequest{Changes: []wire.Change{{Name: "a.service", Restart: true}}})
		if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != c.want {
			t.Errorf("%v gives %v", c.fault, err)
		}
	}
}

// TestTimerLoadsWhatItStarts: a timer alone is started, and the unit that it starts gets a machine.
func TestTimerLoadsWhatItStarts(t *testing.T) {
	h := start(t)
	h.apply(wire.Change{Name: "job.service", Text: new("[Service]\nType=oneshot\nExecStart=/bin/true\n")},
		wire.Change{Name: "other.timer", Text: new("[Timer]\nOnCalendar=daily\nUnit=job.service\n")})
	if w := h.wanted("job.service"); w.Desired != cluster.Inactive {
		t.Fatalf("after submit: %s", w.Desired)
	}
	h.apply(wire.Change{Name: "other.timer", Desired: cluster.Launched, Start: true})
	if w := h.wanted("job.service"); w.Desired != cluster.Loaded || w.Orders != (cluster.Orders{}) {
		t.Errorf("the timer is started, its unit is %s %+v", w.Desired, w.Orders)
	}
	h.apply(wire.Change{Name: "tick.timer", Text: new("[Timer]\nOnCalendar=daily\n"), Desired: cluster.Launched, Start: true},
		wire.Change{Name: "tick.service", Text: new("[Service]\nType=oneshot\nExecStart=/bin/true\n")})
	if w := h.wanted("tick.service"); w.Desired != cluster.Loaded {
		t.Errorf("sent along with its timer: %s", w.Desired)
	}
	h.apply(wire.Change{Name: "job.service", Desired: cluster.Launched}) // A present wish is left alone.
	h.apply(wire.Change{Name: "other.timer", Start: true})
	if w := h.wanted("job.service"); w.Desired != cluster.Launched {
		t.Errorf("a running unit became %s", w.Desired)
	}
}
