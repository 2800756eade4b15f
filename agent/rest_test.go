package agent

import (
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// Loaded while it goes down to come up again: the restart's own stop is not the one that was asked for.
func TestLoadedDuringARestartEndsTheRestart(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", service("ExecStart=/fake/run term=10s"))
	r.run(11 * time.Second)
	r.want("a.service", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Restart++ })
	r.run(2 * time.Second)
	r.want("a.service", "", cluster.Loaded)
	r.run(time.Minute)
	if r.pid("a.service") != 0 {
		t.Error("it runs again")
	}
	r.calls("stop", "a.service", 1)
	r.is("a.service", cluster.Stopped, reason.StoppedByUser)
}

// Withdrawn while it goes down to come up again: no second run begins here.
func TestWithdrawnDuringARestartEndsTheRestart(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", service("ExecStart=/fake/run term=10s"))
	r.run(11 * time.Second)
	r.want("a.service", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Restart++ })
	r.run(2 * time.Second)
	r.unplace("a.service")
	for range 60 {
		r.run(time.Second)
		if st := r.status("a.service"); st != nil && st.Active == "active" {
			t.Fatal("it came up again")
		}
	}
	r.calls("stop", "a.service", 1)
}
