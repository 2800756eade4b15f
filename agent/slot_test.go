package agent

import (
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// A refused start shows in the evidence by its refusal alone, and is told at once; an older refusal is none of it.
func TestRefusalEndsTheWaitForAnOrder(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	down := func(peer string) *reason.Reason {
		return reason.Because(reason.DependencyFailed, reason.Args{"dependency": peer, "kind": "BindsTo", "state": "failed"})
	}
	s := &slot{evidence: &cluster.Evidence{Active: "inactive", Error: down("a.service")}}
	s.ordered(now)
	if !s.isPending(now) {
		t.Error("evidence from before the order is taken for its outcome")
	}
	s.evidence = &cluster.Evidence{Active: "inactive", Error: down("b.service")}
	if s.isPending(now) {
		t.Error("the refusal of the order is not seen")
	}
}
