package agent

import (
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

// TestRestoreStopsNothing: the store is made anew from a snapshot that knows of eight units, one of them as stopped; the
// machine runs ten, so few that the brake alone would let them go. None is stopped until a person has settled it.
func TestRestoreStopsNothing(t *testing.T) {
	r := newRig(t, nil)
	all := names("w@%d.service", 10)
	for _, name := range all {
		r.start(name, sleeper)
	}
	r.run(11 * time.Second)
	pids := r.runtime.Running()

	r.store = memory.New()
	term, err := r.store.Lead(r.ctx, "leader")
	if err != nil {
		t.Fatal(err)
	}
	r.term = term
	for _, name := range all[:8] {
		r.start(name, sleeper)
	}
	r.want(all[0], "", cluster.Inactive)
	person := store.Writer{Role: store.Person, ID: "restore"}
	pic, err := r.store.Read(r.ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	marked := cluster.Settings{Restored: &cluster.Restored{Revision: pic.Revision + 1}}
	r.write(person, store.Put(cluster.SettingsKey(), marked))

	same := func(when string) {
		t.Helper()
		now := r.runtime.Running()
		for _, name := range all {
			if now[name] == 0 || now[name] != pids[name] {
				t.Errorf("%s: %s has pid %d, had %d", when, name, now[name], pids[name])
			}
		}
	}
	r.boot()
	r.run(2 * time.Hour)
	same("two hours after the restore")
	r.boot() // Its words about the unknown units are in the store by now.
	r.run(time.Minute)
	same("with another agent")
	if c := r.agent.Conditions(); len(c) != 1 || c[0].Reason.Int("units") != 3 {
		t.Errorf("conditions: %+v", c)
	}

	r.want(all[1], "", cluster.Inactive) // A person's word of now counts.
	r.run(time.Minute)
	if now := r.runtime.Running(); now[all[1]] != 0 || len(now) != 9 {
		t.Errorf("one was stopped: %v", now)
	}
	r.write(person, store.Put(cluster.SettingsKey(), cluster.Settings{}))
	r.run(time.Minute)
	if now := r.runtime.Running(); len(now) != 6 {
		t.Errorf("settled: %v", now)
	}
	if c := r.agent.Conditions(); len(c) != 0 {
		t.Errorf("conditions: %+v", c)
	}
}
