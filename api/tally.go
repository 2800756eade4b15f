package api

import (
	"maps"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// tally adds up what happens to units while this process looks: what counters in metrics are made of. It has no unit's
// name in it, so that its size does not grow with the cluster.
type tally struct {
	restarts int
	oomKills int
	failures map[reason.Code]int
}

// failing tells whether a state is one in which a unit is not what somebody wants it to be.
func failing(s cluster.State) bool {
	switch s {
	case cluster.Unhealthy, cluster.CrashLooping, cluster.Failing, cluster.Failed, cluster.Unplaced, cluster.Lost:
		return true
	default:
		return false
	}
}

// see counts what lies between two answers about one unit; before is nil when it is new.
func (t *tally) see(before *cluster.Answer, now cluster.Answer) {
	var was cluster.Answer
	if before != nil {
		was = *before
	}
	t.restarts += grown(was, now, func(s *cluster.Status) int { return s.Restarts })
	t.oomKills += grown(was, now, func(s *cluster.Status) int { return s.OOMKills })
	if now.Reason == nil || !failing(now.State) {
		return
	}
	if failing(was.State) && was.Reason != nil && was.Reason.Code == now.Reason.Code {
		return // The same failure, told with other numbers.
	}
	if t.failures == nil {
		t.failures = map[reason.Code]int{}
	}
	t.failures[now.Reason.Code]++
}

// grown is by how much a count of a status went up. It begins anew with a start order and on another machine.
func grown(was, now cluster.Answer, count func(*cluster.Status) int) int {
	if now.Status == nil {
		return 0
	}
	n, before := count(now.Status), 0
	if was.Status != nil && was.Status.Machine == now.Status.Machine {
		before = count(was.Status)
	}
	if n < before {
		return n
	}
	return n - before
}

// copied gives the counts as they are.
func (t *tally) copied() tally {
	return tally{t.restarts, t.oomKills, maps.Clone(t.failures)}
}
