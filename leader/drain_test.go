package leader_test

import (
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
)

// does writes what an agent says of a unit that it runs, by its present placement.
func (w *world) does(machine, name string, state cluster.State) {
	w.t.Helper()
	w.follow()
	st := cluster.Status{Unit: name, Machine: machine, State: state, Active: "active", Sub: "running", For: 1 << 40}
	w.view.Peek(func(p *cluster.Picture) { st.Epoch = p.Placements[cluster.On{Machine: machine, Unit: name}].Epoch })
	w.write(store.Writer{Role: store.Machine, ID: machine}, store.Put(cluster.StatusKey(machine, name), st))
}

func (w *world) drain(id string, on bool) {
	w.write(ann, store.Put(cluster.AdminKey(id), cluster.MachineAdmin{ID: id, Cordoned: on, Draining: on}))
}

// A service is started elsewhere first; what is no running service is withdrawn first; what finds no place stays.
func TestDrainStartsElsewhereFirst(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", 4*gib)
	w.want("a.service", text("200M"), cluster.Launched)
	w.want("big.service", text("2G"), cluster.Launched)
	w.want("job.service", text("100M"), cluster.Launched)
	w.settle()
	w.machine("m2", gib)
	w.does("m1", "a.service", cluster.Healthy)
	w.does("m1", "big.service", cluster.Healthy)
	w.does("m1", "job.service", cluster.FinishedOK)
	w.settle()
	w.drain("m1", true)
	w.settle()
	w.check(map[string]string{"a.service": "m1+m2", "big.service": "m1", "job.service": "m2"})
	w.does("m2", "a.service", cluster.CrashLooping)
	w.settle()
	w.check(map[string]string{"a.service": "m1+m2"})
	w.lead("m2") // The next leader goes on where this one was.
	w.settle()
	w.check(map[string]string{"a.service": "m1+m2", "big.service": "m1", "job.service": "m2"})
	w.does("m2", "a.service", cluster.Healthy)
	w.settle()
	w.check(map[string]string{"a.service": "m2", "big.service": "m1"})
	w.drain("m1", false)
	w.want("new.service", text("1500M"), cluster.Launched)
	w.settle()
	w.check(map[string]string{"a.service": "m2", "new.service": "m1"})
}

// A machine whose units are on their way takes nothing, also when it is opened again meanwhile: its room is still used.
func TestDrainEndedHalfWay(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("800M"), cluster.Launched)
	w.settle()
	w.machine("m2", gib)
	w.does("m1", "a.service", cluster.Healthy)
	w.drain("m1", true)
	w.settle()
	w.check(map[string]string{"a.service": "m1+m2"})
	w.drain("m1", false)
	w.want("b.service", text("800M"), cluster.Launched)
	w.settle()
	w.check(map[string]string{"a.service": "m1+m2", "b.service": "no-room.memory"})
	w.does("m2", "a.service", cluster.Healthy)
	w.settle()
	w.check(map[string]string{"a.service": "m2", "b.service": "m1"})
}

// When the new place is lost before the unit was healthy there, the old one goes on; stopped meanwhile, both end.
func TestDrainLosesTheNewPlace(t *testing.T) {
	w := newWorld(t)
	w.machine("m1", gib)
	w.want("a.service", text("800M"), cluster.Launched)
	w.settle()
	w.machine("m2", gib)
	w.does("m1", "a.service", cluster.Healthy)
	w.drain("m1", true)
	w.settle()
	w.check(map[string]string{"a.service": "m1+m2"})
	w.write(store.Writer{Role: store.Machine, ID: "m2"}, store.Delete(cluster.AliveKey("m2")), store.Delete(cluster.MachineKey("m2")))
	w.settle()
	w.check(map[string]string{"a.service": "m1"})
	w.machine("m3", gib)
	w.settle()
	w.check(map[string]string{"a.service": "m1+m3"})
	w.want("a.service", text("800M"), cluster.Inactive)
	w.settle()
	w.check(map[string]string{"a.service": ""})
}
