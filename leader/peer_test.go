package leader_test

import (
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// TestFollowerOfAnAbsentUnit: who follows a unit that stays away is told so for good, and is placed when it comes.
func TestFollowerOfAnAbsentUnit(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	orders := func(memory, section string, desired cluster.Desired) {
		w.want("orders@1.service", text(memory)+section, desired)
	}
	w.want("side@1.service", text("1M")+"[X-Fleet]\nMachineOf=orders@1.service\n", cluster.Launched)
	says := func(state cluster.State, code reason.Code, final bool) {
		t.Helper()
		w.settle()
		var a cluster.Answer
		w.view.Peek(func(p *cluster.Picture) { a, _ = p.Answer("side@1.service") })
		if a.State != state || a.Reason == nil || a.Reason.Code != code || a.Final != final {
			t.Errorf("%s because %v, final %v; want %s because %s, final %v", a.State, a.Reason, a.Final, state, code, final)
		}
	}
	says(cluster.Unplaced, reason.NoMachinePeerAbsent, true)
	orders("1M", "", cluster.Inactive)
	says(cluster.Unplaced, reason.NoMachinePeerAbsent, true)
	orders("1M", "[X-Fleet]\nMachineMetadata=zone=z\n", cluster.Launched)
	says(cluster.Unplaced, reason.NoMachinePeerAbsent, true)
	orders("4G", "", cluster.Launched) // No room is final too (reason.NoRoomMemory), until there is some.
	says(cluster.Unplaced, reason.NoMachinePeerAbsent, true)
	orders("1M", "", cluster.Launched)
	says(cluster.Starting, reason.NotTaken, false)
}
