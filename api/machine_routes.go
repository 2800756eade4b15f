package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// machineRoutes are the calls about machines as a whole; the rest is in clusterRoutes.
func machineRoutes() []route {
	return []route{
		{
			method: "DELETE", path: "/v1/machines/{id}", id: "removeMachine", rule: operators, summary: "Forget a machine: its units move, its records go",
			params: []param{
				{"id", "path", "string", "The machine: its id, the first eight characters of it, or its name."},
				{"force", "query", "boolean", "Also when it is alive: then its certificates count no more. It takes an admin."},
			},
			answer: wire.MachineDetail{}, also: []int{404, 409}, write: true, handle: (*API).removeMachine,
		},
		{
			method: "POST", path: "/v1/plan", id: "plan", rule: viewers, summary: "What would become of the units if machines were lost, drained or added; changes nothing",
			body: wire.PlanRequest{}, answer: wire.PlanAnswer{}, also: []int{400, 404}, handle: (*API).whatIf,
		},
	}
}

// maxForget bounds the records of one transaction of a removal.
const maxForget = 500

// removeMachine is DELETE /v1/machines/{id}.
func (a *API) removeMachine(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := a.read(ctx); err != nil {
		return err
	}
	m, err := a.machine(r.PathValue("id"))
	if err != nil {
		return err
	}
	force := r.URL.Query().Get("force") == "true"
	if m.Alive && !force {
		return withStatus{reason.Because(reason.MachineAlive, reason.Args{"machine": m.Name, "units": m.Units}), http.StatusConflict}
	}
	if m.Alive {
		if m.ID == a.MachineID {
			return badRequest("a machine does not remove itself: ask another server")
		}
		if err := callerIn(ctx).may("remove a machine that is alive", admins); err != nil {
			return err
		}
		if a.Trust != nil { // Or it would be back within a second.
			if err := a.Trust.Revoke(ctx, identity.KindMachine, m.ID, "removed while it was alive", peerOf(ctx).who); err != nil {
				return err
			}
		}
	}
	if err := a.forget(ctx, m.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, m)
}

// forget takes away what is known of a machine. The leader sees that it is gone, and moves its units.
func (a *API) forget(ctx context.Context, id string) error {
	changes := []store.Change{store.Delete(cluster.MachineKey(id)), store.Delete(cluster.AdminKey(id)), store.Delete(cluster.AliveKey(id))}
	a.View.Peek(func(p *cluster.Picture) {
		for on, st := range p.Statuses {
			if on.Machine == id && st.Lease == 0 { // Claims to exclusive units count until they are fenced.
				changes = append(changes, store.Delete(cluster.StatusKey(id, on.Unit)))
			}
		}
	})
	slices.SortFunc(changes[3:], func(a, b store.Change) int { return cmp.Compare(a.Key, b.Key) })
	by := store.Writer{Role: store.Person, ID: peerOf(ctx).who}
	for chunk := range slices.Chunk(changes, maxForget) {
		revision, err := a.Store.Write(ctx, by, chunk...)
		if err != nil {
			return err
		}
		a.shown(ctx, revision)
	}
	return nil
}

// shown waits a moment until the lists show a revision, so that who asks next sees it.
func (a *API) shown(ctx context.Context, revision int64) {
	short, cancel := context.WithTimeout(ctx, shownTimeout)
	defer cancel()
	_ = a.hub.wait(short, revision) // As in write.
}

// onMachine lists what a machine has: units that are placed there, that move away, that are going down.
func (a *API) onMachine(m *wire.MachineDetail) []wire.OnMachine {
	var list []wire.OnMachine
	a.View.Peek(func(p *cluster.Picture) {
		for on := range p.Placements {
			if on.Machine == m.ID {
				list = append(list, placedOn(p, on))
			}
		}
		for on, s := range p.Statuses {
			if on.Machine == m.ID && p.Placements[on] == nil && p.Alive[on.Machine] && s.Active != "" && s.Active != "inactive" && s.Active != "failed" {
				list = append(list, wire.OnMachine{Unit: on.Unit, State: s.State, Stopping: true})
			}
		}
	})
	slices.SortFunc(list, func(a, b wire.OnMachine) int { return unit.CompareNames(a.Unit, b.Unit) })
	if m.Draining {
		stays := map[string]*reason.Reason{}
		for _, s := range a.planner(a.situation()).Stays(m.ID) {
			stays[s.Unit] = s.Why
		}
		for i := range list {
			if on := &list[i]; !on.Stopping && on.To == "" {
				on.Stays = wire.NewFault(stays[on.Unit])
			}
		}
	}
	return list
}

func placedOn(p *cluster.Picture, on cluster.On) wire.OnMachine {
	out := wire.OnMachine{Unit: on.Unit, State: cluster.Starting}
	if s := p.Statuses[on]; s != nil {
		out.State = s.State
	}
	here := p.Placements[on]
	for _, id := range p.PlacedOn(on.Unit) {
		next := cluster.On{Machine: id, Unit: on.Unit}
		there := p.Placements[next]
		if id == on.Machine || here.Global || there.Global || there.Epoch <= here.Epoch {
			continue
		}
		out.To, out.Is = p.MachineName(id), cluster.Starting
		if s := p.Statuses[next]; s != nil && s.Epoch >= there.Epoch {
			out.Is, out.Why = s.State, wire.NewFault(s.Reason)
		}
	}
	return out
}

// maxAdd bounds the machines of one question.
const maxAdd = 1000

// whatIf is POST /v1/plan.
func (a *API) whatIf(w http.ResponseWriter, r *http.Request) error {
	var q wire.PlanRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	s := a.situation()
	f := forecast{names: map[string]string{}, before: map[string]string{}, about: map[string]string{}}
	if err := f.ask(&s, q); err != nil {
		return err
	}
	p := a.planner(s)
	f.now(p, s)
	for _, m := range f.changed {
		p.SetMachine(m)
	}
	p.Decide()
	for p.Behind() {
		p.Decide() // Until every reason is one of afterwards.
	}
	return writeJSON(w, http.StatusOK, f.answer(p, s))
}

// forecast is one question and what the planner says to it.
type forecast struct {
	names   map[string]string // Machine id -> name.
	before  map[string]string // Unit -> id of the machine that it is on now.
	about   map[string]string // Machine id -> lost, drained or added.
	changed []plan.Machine    // As they would be.
}

// ask finds the machines of the question among those of the situation.
func (f *forecast) ask(s *situation, q wire.PlanRequest) error {
	for _, m := range s.machines {
		f.names[m.ID] = m.Name
	}
	mark := func(what string, wants []string, change func(*plan.Machine)) error {
		for _, want := range wants {
			found := false
			for _, m := range s.machines {
				if !plan.Named(m, want) {
					continue
				}
				found = true
				if f.about[m.ID] == "" {
					change(&m)
					f.about[m.ID] = what
					f.changed = append(f.changed, m)
				}
			}
			if !found {
				return reason.Because(reason.NoSuchMachine, reason.Args{"machine": want})
			}
		}
		return nil
	}
	if err := mark("lost", q.Lose, func(m *plan.Machine) { m.Down = true }); err != nil {
		return err
	}
	if err := mark("drained", q.Drain, func(m *plan.Machine) { m.Draining = true }); err != nil {
		return err
	}
	n := 0
	for _, add := range q.Add {
		for range max(1, min(add.Count, maxAdd+1)) {
			if n++; n > maxAdd {
				return tooLarge("machines added by one question", n, maxAdd)
			}
			m := plan.Machine{ID: fmt.Sprintf("added-%03d", n), Name: fmt.Sprintf("new%d", n), Metadata: add.Metadata, Allocatable: add.Resources}
			f.names[m.ID], f.about[m.ID] = m.Name, "added"
			f.changed = append(f.changed, m)
		}
	}
	if n == 0 && len(f.changed) == 0 {
		return badRequest("nothing to plan: say which machines are lost, drained or added")
	}
	return nil
}

// now notes where the units are.
func (f *forecast) now(p *plan.Planner, s situation) {
	for _, w := range s.wishes {
		f.before[w.Name] = p.Placed(w.Name)
	}
}

func (f *forecast) answer(p *plan.Planner, s situation) wire.PlanAnswer {
	out := wire.PlanAnswer{Revision: s.revision, Fits: true, Machines: []wire.PlanMachine{}, Moves: []wire.PlanMove{}, Homeless: []wire.PlanMove{}, Stays: []wire.PlanMove{}}
	units := map[string]int{}
	for _, w := range s.wishes {
		from, to := f.before[w.Name], p.Placed(w.Name)
		units[from]++
		if f.about[to] == "added" {
			units[to]++
		}
		if unit.Name(w.Name).IsTemplate() || w.Desired == cluster.Inactive {
			continue
		}
		move := wire.PlanMove{Unit: w.Name, From: f.names[from], To: f.names[to]}
		e := plan.Explanation{}
		if to == "" {
			e = p.Explain(w.Name)
		}
		switch {
		case to == "" && e.Unplaced != nil:
			move.Why = wire.NewFault(e.Unplaced)
			out.Homeless = append(out.Homeless, move)
			out.Fits = false
		case from == to:
			out.Settled++
		default:
			out.Moves = append(out.Moves, move)
		}
	}
	for _, m := range f.changed {
		pm := wire.PlanMachine{Machine: m.Name, What: f.about[m.ID], Units: units[m.ID]}
		switch pm.What {
		case "drained":
			for _, stay := range p.Stays(m.ID) {
				out.Stays = append(out.Stays, wire.PlanMove{Unit: stay.Unit, From: m.Name, Why: wire.NewFault(stay.Why)})
				out.Fits = out.Fits && stay.Why != nil && stay.Why.Code == reason.StaysGlobal
			}
		case "added":
			used := p.Promised(m.ID)
			pm.Room = unit.Resources{CPU: m.Allocatable.CPU - used.CPU, Memory: m.Allocatable.Memory - used.Memory, Disk: m.Allocatable.Disk - used.Disk}
		}
		out.Machines = append(out.Machines, pm)
	}
	return out
}
