package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// Bounds of what a person says about a machine.
const (
	maxMetadata      = 128 // Keys.
	maxMetadataValue = 256 // Bytes.
	maxMachineID     = 128 // Bytes.
)

// metadataKey is fleet's rule for keys.
var metadataKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// machineID is what may stand in the store's keys.
var machineID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// listMachines is GET /v1/machines.
func (a *API) listMachines(w http.ResponseWriter, r *http.Request) error {
	if err := a.read(r.Context()); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a.machineList())
}

// machineList lists the machines with what is promised on them, sorted by name.
func (a *API) machineList() wire.MachineList {
	list := wire.MachineList{Machines: []wire.MachineDetail{}}
	held := map[string][]*cluster.Wanted{}
	a.View.Peek(func(p *cluster.Picture) {
		list.Revision = p.Revision
		for on := range p.Placements {
			held[on.Machine] = append(held[on.Machine], p.Units[on.Unit])
		}
		for id := range p.Machines {
			list.Machines = append(list.Machines, machineIn(p, id))
		}
	})
	slices.SortFunc(list.Machines, func(a, b wire.MachineDetail) int {
		return cmp.Or(unit.CompareNames(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	for i := range list.Machines { // Outside the view's lock: it may read texts.
		m := &list.Machines[i]
		m.Units, m.Promised = len(held[m.ID]), a.promised(held[m.ID])
	}
	return list
}

func machineIn(p *cluster.Picture, id string) wire.MachineDetail {
	m := *p.Machines[id]
	m.Metadata = p.Metadata(id)
	d := wire.MachineDetail{Machine: m, Alive: p.Alive[id], Allocatable: m.Allocatable()}
	if admin := p.Admin[id]; admin != nil {
		d.Cordoned, d.Draining, d.LocalRole = admin.Cordoned, admin.Draining, admin.LocalRole
	}
	return d
}

// promised adds up what units ask. Nil stands for one that is destroyed and still on its way down.
func (a *API) promised(wishes []*cluster.Wanted) unit.Resources {
	var sum unit.Resources
	for _, w := range wishes {
		if w == nil {
			continue
		}
		if ask, ok := a.demands.get(w); ok {
			sum.CPU, sum.Memory, sum.Disk = sum.CPU+ask.Request.CPU, sum.Memory+ask.Request.Memory, sum.Disk+ask.Request.Disk
		}
	}
	return sum
}

// getMachine is GET /v1/machines/{id}: an id, its first eight characters, or a name.
func (a *API) getMachine(w http.ResponseWriter, r *http.Request) error {
	if err := a.read(r.Context()); err != nil {
		return err
	}
	d, err := a.machine(r.PathValue("id"))
	if err != nil {
		return err
	}
	d.On = a.onMachine(d)
	return writeJSON(w, http.StatusOK, d)
}

func (a *API) machine(id string) (*wire.MachineDetail, error) {
	for _, m := range a.machineList().Machines {
		if m.ID == id || m.Name == id || cluster.ShortID(m.ID) == id {
			return &m, nil
		}
	}
	return nil, reason.Because(reason.NoSuchMachine, reason.Args{"machine": id})
}

// patchMachine is PATCH /v1/machines/{id}.
func (a *API) patchMachine(w http.ResponseWriter, r *http.Request) error {
	var patch wire.MachinePatch
	if err := readBody(r, &patch); err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	m, err := a.machine(r.PathValue("id"))
	if err != nil {
		return err
	}
	if patch.LocalRole != nil {
		if err := callerIn(r.Context()).may("say what people at a machine may do", admins); err != nil {
			return err
		}
	}
	if err := a.administer(r.Context(), map[string]wire.MachinePatch{m.ID: patch}); err != nil {
		return err
	}
	if m, err = a.machine(m.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, m)
}

// administer writes down what a person says about machines, all or nothing. Ids need not be known yet, as in fleet.
func (a *API) administer(ctx context.Context, patches map[string]wire.MachinePatch) error {
	for try := 1; ; try++ {
		var changes []store.Change
		for _, id := range slices.Sorted(maps.Keys(patches)) {
			c, err := a.adminChange(ctx, id, patches[id])
			if err != nil {
				return err
			}
			changes = append(changes, c)
		}
		revision, err := a.Store.Write(ctx, store.Writer{Role: store.Person, ID: peerOf(ctx).who}, changes...)
		if errors.Is(err, store.ErrStale) && try < maxApplyTries {
			continue
		}
		if err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, shownTimeout)
		defer cancel()
		_ = a.hub.wait(short, revision) // As in write.
		return nil
	}
}

// adminChange reads a machine's record as it is now and patches it.
func (a *API) adminChange(ctx context.Context, id string, patch wire.MachinePatch) (store.Change, error) {
	if len(id) > maxMachineID || !machineID.MatchString(id) {
		return store.Change{}, badRequest(fmt.Sprintf("%q is not a machine id", id))
	}
	pic, err := a.Store.Read(ctx, cluster.AdminKey(id))
	if err != nil {
		return store.Change{}, err
	}
	one := cluster.NewPicture()
	var revision int64
	for _, e := range pic.Entries {
		if e.Key != cluster.AdminKey(id) {
			continue // Another machine, whose id begins with this one.
		}
		if _, err := one.Apply(e.Key, e.Value, e.Revision); err != nil {
			return store.Change{}, err
		}
		revision = e.Revision
	}
	admin := cluster.MachineAdmin{ID: id}
	if have := one.Admin[id]; have != nil {
		admin = *have
	}
	if err := patchAdmin(&admin, patch); err != nil {
		return store.Change{}, err
	}
	return store.PutIf(cluster.AdminKey(id), admin, revision), nil
}

func patchAdmin(admin *cluster.MachineAdmin, patch wire.MachinePatch) error {
	if patch.Cordoned != nil {
		admin.Cordoned = *patch.Cordoned
		admin.Draining = admin.Draining && admin.Cordoned
	}
	if d := patch.Draining; d != nil {
		admin.Draining, admin.Cordoned = *d, admin.Cordoned || *d
	}
	if r := patch.LocalRole; r != nil {
		if *r != "" && !slices.Contains(cluster.Roles(), *r) {
			return badRequest(fmt.Sprintf("%q is not a role: viewer, deployer, operator or admin", *r))
		}
		admin.LocalRole = *r
	}
	meta := maps.Clone(admin.Metadata)
	if meta == nil {
		meta = map[string]string{}
	}
	for k, v := range patch.Metadata {
		if !metadataKey.MatchString(k) {
			return badRequest(fmt.Sprintf("metadata key %q: letters, digits and _.- only", k))
		}
		if v == nil {
			delete(meta, k)
			continue
		}
		if len(*v) > maxMetadataValue {
			return tooLarge("bytes of the value of metadata "+k, len(*v), maxMetadataValue)
		}
		meta[k] = *v
	}
	if len(meta) > maxMetadata {
		return tooLarge("metadata keys of one machine", len(meta), maxMetadata)
	}
	admin.Metadata = meta
	return nil
}
