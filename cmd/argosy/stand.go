package main

import (
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
)

// running judges whether a unit that was started is as asked. Only a final answer counts: until then the cluster
// is still at work on it.
func running(a cluster.Answer) show.Standing {
	switch {
	case !a.Final, nobodyYet(a):
		return show.Pending
	case a.State == cluster.Healthy, a.State == cluster.FinishedOK:
		return show.Met
	}
	return show.Missed
}

// stopped judges whether a unit that was stopped is down; one that failed on its way down is down too, and then the
// cluster says stopped.
func stopped(a cluster.Answer) show.Standing {
	if a.Final && (a.State == cluster.Stopped || a.State == cluster.Unplaced && a.Desired == cluster.Inactive) {
		return show.Met
	}
	return show.Pending
}

// loaded judges whether a unit has a machine.
func loaded(a cluster.Answer) show.Standing {
	switch {
	case !a.Final, nobodyYet(a):
		return show.Pending
	case a.State == cluster.Unplaced, a.State == cluster.Failed && a.MachineID == "":
		return show.Missed
	}
	return show.Met
}

// unloaded judges whether a unit has left its machine.
func unloaded(a cluster.Answer) show.Standing {
	if a.MachineID != "" {
		return show.Pending
	}
	return stopped(a)
}

// reloaded judges a reload: the unit goes on as before, or has failed over it.
func reloaded(a cluster.Answer) show.Standing {
	if a.Status == nil || a.Status.For < a.Revision {
		return show.Pending
	}
	return running(a)
}

// nobodyYet: a cluster without any machine is one that is just coming up, its own machine will be there in a moment.
func nobodyYet(a cluster.Answer) bool {
	return a.Reason != nil && a.Reason.Code == reason.NoMachine && a.Reason.Int("machines") == 0
}
