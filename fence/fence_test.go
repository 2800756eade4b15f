package fence_test

import (
	"errors"
	"testing"
	"time"

	"argosy.dev/argosy/fence"
)

const stop = fence.StopTimeout

func TestJudge(t *testing.T) {
	claim := fence.Claim{Machine: "m1", Lease: 10}
	for _, c := range []struct {
		what string
		m    fence.Machine
		want fence.Verdict
	}{
		{"it lives", fence.Machine{Epoch: 10}, fence.Ask},
		{"it is silent, not for long", fence.Machine{}, fence.Ask},
		{"it is missed", fence.Machine{Down: true}, fence.Condemn},
		{"condemned now", fence.Machine{Down: true, Condemned: 20}, fence.Hold},
		{"condemned long ago", fence.Machine{Down: true, Condemned: 20, Waited: fence.Wait(stop)}, fence.Free},
		{"a moment too early", fence.Machine{Down: true, Condemned: 20, Waited: fence.Wait(stop) - 1}, fence.Hold},
		{"condemned before the claim", fence.Machine{Down: true, Condemned: 9, Waited: time.Hour}, fence.Condemn},
		{"a person says that it is dead", fence.Machine{Down: true, Condemned: 20, Fenced: 20}, fence.Free},
		{"a person said so of the time before", fence.Machine{Down: true, Condemned: 20, Fenced: 19}, fence.Hold},
		{"it has begun anew", fence.Machine{Epoch: 11}, fence.Free},
		{"condemned, and begun anew", fence.Machine{Epoch: 21, Condemned: 20}, fence.Free},
		{"condemned again since it began anew", fence.Machine{Epoch: 21, Condemned: 22}, fence.Hold},
		{"it shows no epoch", fence.Machine{Condemned: 20}, fence.Hold},
	} {
		if got, left := fence.Judge(claim, c.m, stop); got != c.want || (got == fence.Hold) != (left > 0) {
			t.Errorf("%s: %v, %v left; want %v", c.what, got, left, c.want)
		}
	}
}

// TestArithmetic: a keeper that renewed a moment before the condemnation has stopped everything before the leader binds,
// with clocks that differ by 500 ppm each.
func TestArithmetic(t *testing.T) {
	last := fence.Deadline(0) + stop
	if wait := fence.Wait(stop); float64(last)*1.0005 >= float64(wait)*0.9995 {
		t.Errorf("a keeper may take %v, a leader waits %v", last, wait)
	}
	if most := fence.TTL + fence.DownAfter + 500*time.Millisecond; most > 13*time.Second {
		t.Errorf("a loss is found after %v", most)
	}
	if least := fence.TTL - fence.RenewEvery + fence.DownAfter; least < 10*time.Second {
		t.Errorf("an agent that is back after 10 s was missed after %v", least)
	}
}

func TestKeeper(t *testing.T) {
	k := &fence.Keeper{}
	at := time.Hour
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Allow("x", 1, 0, at); !errors.Is(err, fence.ErrNotLive) {
		t.Errorf("leave without a lease: %v", err)
	}
	must(k.Begin(5, false))
	must(k.Begin(5, false))
	must(k.Renewed(5, at))
	must(k.Renewed(5, at-time.Second)) // An answer that comes late takes nothing back.
	must(k.Allow("x", 1, 5, at))
	if end := fence.Deadline(at); !k.MayRun("x", end-1) || k.MayRun("x", end) || k.MayRun("y", at) || k.At() != end {
		t.Errorf("it may run until %v, and not to the right moment", k.At())
	}
	if err := k.Begin(6, false); !errors.Is(err, fence.ErrBusy) {
		t.Errorf("another epoch with leave out: %v", err)
	}
	if late := k.Overdue(fence.Deadline(at)); len(late) != 1 || late[0] != "x" || !k.Cut["x"] || len(k.Allowed) != 0 {
		t.Errorf("overdue: %v, %+v", late, k)
	}
	must(k.Begin(6, false))
	if err := k.Renewed(5, 2*at); !errors.Is(err, fence.ErrOldEpoch) || k.Live(at) {
		t.Errorf("a renewal of the epoch before: %v, live %v", err, k.Live(at))
	}
	for _, err := range []error{fence.ErrBusy, fence.ErrNotLive, fence.ErrOldEpoch} {
		if got := fence.Refusal(err.Error()); !errors.Is(got, err) {
			t.Errorf("%v came back as %v", err, got)
		}
	}
}
