package api

import (
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

func (a *API) machineList() wire.MachineList {
	list := wire.MachineList{}
	a.View.Peek(func(p *cluster.Picture) { list = machinesIn(p) })
	return list
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

// machinesIn lists the machines with what is promised on them, sorted by name.
func machinesIn(p *cluster.Picture) wire.MachineList {
	promised, count := promises(p)
	list := wire.MachineList{Revision: p.Revision, Machines: make([]wire.MachineDetail, 0, len(p.Machines))}
	for _, id := range slices.Sorted(maps.Keys(p.Machines)) {
		m := *p.Machines[id]
		m.Metadata = p.Metadata(id)
		d := wire.MachineDetail{Machine: m, Alive: p.Alive[id], Allocatable: m.Allocatable(), Promised: promised[id], Units: count[id]}
		if admin := p.Admin[id]; admin != nil {
			d.Cordoned = admin.Cordoned
		}
		list.Machines = append(list.Machines, d)
	}
	slices.SortStableFunc(list.Machines, func(a, b wire.MachineDetail) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return list
}

// promises adds up what the placed units of each machine ask.
func promises(p *cluster.Picture) (map[string]unit.Resources, map[string]int) {
	promised, count := map[string]unit.Resources{}, map[string]int{}
	for on := range p.Placements {
		count[on.Machine]++
		wish := p.Units[on.Unit]
		if wish == nil {
			continue
		}
		u, err := load(unit.Name(on.Unit), wish.Text, wish.DropIns)
		if err != nil {
			continue
		}
		ask, sum := u.Demand().Request, promised[on.Machine]
		sum.CPU, sum.Memory, sum.Disk = sum.CPU+ask.CPU, sum.Memory+ask.Memory, sum.Disk+ask.Disk
		promised[on.Machine] = sum
	}
	return promised, count
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
	if _, err := a.administer(r.Context(), map[string]wire.MachinePatch{m.ID: patch}); err != nil {
		return err
	}
	if m, err = a.machine(m.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, m)
}

// administer writes down what a person says about machines, all or nothing. Ids need not be known yet, as in fleet.
func (a *API) administer(ctx context.Context, patches map[string]wire.MachinePatch) (int64, error) {
	for try := 1; ; try++ {
		var changes []store.Change
		for _, id := range slices.Sorted(maps.Keys(patches)) {
			c, err := a.adminChange(ctx, id, patches[id])
			if err != nil {
				return 0, err
			}
			changes = append(changes, c)
		}
		revision, err := a.Store.Write(ctx, store.Writer{Role: store.Person, ID: peerOf(ctx).who}, changes...)
		if errors.Is(err, store.ErrStale) && try < maxApplyTries {
			continue
		}
		if err != nil {
			return 0, err
		}
		short, cancel := context.WithTimeout(ctx, shownTimeout)
		defer cancel()
		_ = a.hub.wait(short, revision) // As in write.
		return revision, nil
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
