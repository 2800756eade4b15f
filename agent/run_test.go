package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/runtime/fake"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

// TestRunOnItsOwn lets the agent run as it does in production: real loop, real watch, real kicks, in a bubble's time.
func TestRunOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, log := memory.New(), newRigLog()
		rt := fake.New(time.Now, 3)
		view := store.NewView(log)
		a := New(Config{Machine: me, Store: s, View: view.Fork(), Runtime: rt, Log: log, Record: &cluster.Machine{ID: me, Name: "m1"}})
		done := make(chan struct{}, 3)
		for _, f := range []func(){
			func() { view.Run(ctx, s, "") },
			func() { a.Run(ctx) },
			func() {
				for ctx.Err() == nil {
					time.Sleep(10 * time.Millisecond)
					rt.Step()
				}
			},
		} {
			go func() { f(); done <- struct{}{} }()
		}
		term, err := s.Lead(ctx, "leader")
		if err != nil {
			t.Fatal(err)
		}
		write := func(by store.Writer, c ...store.Change) {
			if _, err := s.Write(ctx, by, c...); err != nil {
				t.Fatal(err)
			}
		}
		state := func(name string) (st cluster.Status) {
			synctest.Wait()
			view.Peek(func(p *cluster.Picture) {
				if have := p.Statuses[cluster.On{Machine: me, Unit: name}]; have != nil {
					st = *have
				}
			})
			return st
		}
		for _, name := range names("w@%d.service", 50) {
			write(store.Writer{Role: store.Person, ID: "anna"}, store.Put(cluster.UnitKey(name), cluster.Wanted{
				Name: name, Text: service("ExecStart=/fake/run", "Restart=always", "RestartSec=1s"), Desired: cluster.Launched, Orders: cluster.Orders{Start: 1},
			}))
			write(term.Writer, store.Put(cluster.PlacementKey(me, name), cluster.Placement{Unit: name, Machine: me, Epoch: 1}))
		}
		time.Sleep(11 * time.Second)
		for _, name := range names("w@%d.service", 50) {
			if st := state(name); st.State != cluster.Healthy {
				t.Errorf("%s is %s because %v", name, st.State, st.Reason)
			}
		}
		if rec := machine(view); rec == nil || rec.Name != "m1" {
			t.Errorf("the machine's record: %+v", rec)
		}
		rt.Crash("w@7.service", 9)
		time.Sleep(500 * time.Millisecond)
		if st := state("w@7.service"); st.State != cluster.BackingOff {
			t.Errorf("half a second after a crash it is %s because %v", st.State, st.Reason)
		}
		lists := rt.Calls("list", "")
		time.Sleep(5 * time.Minute)
		if st := state("w@7.service"); st.State != cluster.Healthy || st.Restarts != 1 {
			t.Errorf("%+v", st)
		}
		if n := rt.Calls("list", "") - lists; n > 6 {
			t.Errorf("%d looks at the runtime in five quiet minutes", n)
		}
		cancel()
		for range cap(done) {
			<-done
		}
	})
}

func machine(v *store.View) (m *cluster.Machine) {
	v.Peek(func(p *cluster.Picture) { m = p.Machines[me] })
	return m
}
