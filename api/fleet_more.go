package api

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// fleetLimit is how many entries a page has (fleet's token_limit).
const fleetLimit = 100

// pageToken is fleet's: limit and page as little-endian 16-bit numbers, in base64url.
type pageToken struct{ limit, page uint16 }

func (t pageToken) encode() string {
	b := binary.LittleEndian.AppendUint16(nil, t.limit)
	return base64.URLEncoding.EncodeToString(binary.LittleEndian.AppendUint16(b, t.page))
}

func decodePageToken(s string) (pageToken, error) {
	b, err := base64.URLEncoding.DecodeString(s)
	if err != nil || len(b) != 4 {
		return pageToken{}, badRequest("nextPageToken is not one that was sent")
	}
	t := pageToken{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])}
	if t.limit != fleetLimit {
		return t, badRequest(fmt.Sprintf("token limit must be %d", fleetLimit))
	}
	if t.page < 1 {
		return t, badRequest("token page must be at least 1")
	}
	return t, nil
}

// fleetPage reads ?nextPageToken=.
func fleetPage(q url.Values) (pageToken, error) {
	switch tokens := q["nextPageToken"]; len(tokens) {
	case 0:
		return pageToken{fleetLimit, 1}, nil
	case 1:
		return decodePageToken(tokens[0])
	default:
		return pageToken{}, badRequest("nextPageToken is given more than once")
	}
}

// bounds of the page in a list of n entries; more: another page follows.
func (t pageToken) bounds(n int) (from, to int, more bool) {
	from = min((int(t.page)-1)*fleetLimit, n)
	to = min(from+fleetLimit, n)
	return from, to, to < n && t.page < 1<<16-1
}

func (t pageToken) next(more bool) string {
	if !more {
		return ""
	}
	return pageToken{t.limit, t.page + 1}.encode()
}

// fleetStates is GET /state.
func (a *API) fleetStates(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	page, err := fleetPage(q)
	if err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	states := a.statesOf(q.Get("unitName"), q.Get("machineID"))
	from, to, more := page.bounds(len(states))
	return writeJSON(w, http.StatusOK, fleetStatePage{page.next(more), a.withHashes(states[from:to])})
}

// statesOf lists what the machines say of units, sorted by unit, then machine.
func (a *API) statesOf(name, machine string) []fleetState {
	var states []fleetState
	a.View.Peek(func(p *cluster.Picture) {
		for on, s := range p.Statuses {
			if p.Units[on.Unit] == nil || (name != "" && on.Unit != name) ||
				(machine != "" && on.Machine != machine && cluster.ShortID(on.Machine) != machine) {
				continue
			}
			states = append(states, fleetState{
				Name: on.Unit, MachineID: on.Machine,
				SystemdLoadState: s.Load, SystemdActiveState: s.Active, SystemdSubState: s.Sub,
			})
		}
	})
	slices.SortFunc(states, func(a, b fleetState) int {
		return cmp.Or(unit.CompareNames(a.Name, b.Name), cmp.Compare(a.MachineID, b.MachineID))
	})
	return states
}

// withHashes adds fleet's hash of each unit's text.
func (a *API) withHashes(states []fleetState) []fleetState {
	wishes := make([]*cluster.Wanted, len(states))
	a.View.Peek(func(p *cluster.Picture) {
		for i, s := range states {
			wishes[i] = p.Units[s.Name]
		}
	})
	for i, w := range wishes {
		if w == nil {
			continue
		}
		if f, _, err := unit.ParseFile(w.Name, []byte(w.Text)); err == nil {
			states[i].Hash = unit.FleetHash(f)
		}
	}
	return states
}

// fleetGetState is GET /state/{name}. A unit of which no machine has spoken is inactive; one that is not there
// is not-found, as systemd says. Fleet's handler panicked here.
func (a *API) fleetGetState(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, err := unitName(name); err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	states := a.statesOf(name, "")
	if len(states) == 0 {
		s := fleetState{Name: name, SystemdLoadState: "not-found", SystemdActiveState: "inactive", SystemdSubState: "dead"}
		if u, wish := a.fleetLook(name); wish != nil {
			s.SystemdLoadState, s.MachineID = "inactive", u.MachineID
		}
		states = append(states, s)
	}
	return writeJSON(w, http.StatusOK, a.withHashes(states[:1])[0])
}

// fleetMachines is GET /machines: those that are heard of.
func (a *API) fleetMachines(w http.ResponseWriter, r *http.Request) error {
	page, err := fleetPage(r.URL.Query())
	if err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	all := []fleetMachine{}
	a.View.Peek(func(p *cluster.Picture) {
		for _, id := range slices.Sorted(maps.Keys(p.Machines)) {
			if p.Alive[id] {
				all = append(all, fleetMachine{ID: id, PrimaryIP: hostOf(p.Machines[id].Address), Metadata: p.Metadata(id)})
			}
		}
	})
	from, to, more := page.bounds(len(all))
	return writeJSON(w, http.StatusOK, fleetMachinePage{all[from:to], page.next(more)})
}

// hostOf is an address without its port: fleet's clients expect an IP.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// fleetPatch is one operation of PATCH /machines: JSON patch as fleet takes it.
type fleetPatch struct {
	Op    string          `json:"op"` // add, replace or remove.
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"` // {"value":"V"} as fleet's code takes it, or "V" as its document says.
}

var fleetPatchPath = regexp.MustCompile(`^/([^/]+)/metadata/([A-Za-z0-9_.-]+)$`)

// maxFleetPatches bounds the operations of one request.
const maxFleetPatches = 1000

// fleetPatchMachines is PATCH /machines. A removed key hides the machine's own, and stays removed.
func (a *API) fleetPatchMachines(w http.ResponseWriter, r *http.Request) error {
	var ops []fleetPatch
	if err := fleetBody(r, &ops); err != nil {
		return err
	}
	if len(ops) > maxFleetPatches {
		return tooLarge("operations in one request", len(ops), maxFleetPatches)
	}
	patches := map[string]wire.MachinePatch{}
	for i, op := range ops {
		id, key, value, err := op.read()
		if err != nil {
			return badRequest(fmt.Sprintf("operation %d: %v", i+1, err))
		}
		p, ok := patches[id]
		if !ok {
			p.Metadata = map[string]*string{}
			patches[id] = p
		}
		p.Metadata[key] = &value
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	if len(patches) > 0 {
		if err := a.administer(r.Context(), patches); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (op fleetPatch) read() (id, key, value string, err error) {
	m := fleetPatchPath.FindStringSubmatch(op.Path)
	if m == nil {
		return "", "", "", fmt.Errorf("path %q is not /ID/metadata/KEY", op.Path)
	}
	switch op.Op {
	case "remove":
		return m[1], m[2], "", nil
	case "add", "replace":
	default:
		return "", "", "", fmt.Errorf("op %q is not add, replace or remove", op.Op)
	}
	in := struct {
		Value string `json:"value"`
	}{}
	if bytes.HasPrefix(bytes.TrimSpace(op.Value), []byte(`"`)) {
		err = json.Unmarshal(op.Value, &in.Value)
	} else {
		err = json.Unmarshal(op.Value, &in)
	}
	if err != nil || in.Value == "" {
		return "", "", "", fmt.Errorf("invalid value: it has to be a string that is not empty")
	}
	return m[1], m[2], in.Value, nil
}

// fleetRoutes are under /fleet/v1, and under the older /v1-alpha.
func fleetRoutes() []route {
	name := []param{{"name", "path", "string", "The unit, with its suffix."}}
	token := param{"nextPageToken", "query", "string", "The page to give, from the page before."}
	filters := []param{token, {"machineID", "query", "string", "Only on this machine."}, {"unitName", "query", "string", "Only of this unit."}}
	table := []route{
		{method: "GET", path: "/units", id: "fleetUnits", rule: viewers, summary: "fleet: units", params: []param{token}, answer: fleetUnitPage{}, also: []int{400}, handle: (*API).fleetUnits},
		{method: "GET", path: "/units/{name}", id: "fleetUnit", rule: viewers, summary: "fleet: one unit", params: name, answer: fleetUnit{}, also: []int{404}, handle: (*API).fleetGetUnit},
		{
			method: "PUT", path: "/units/{name}", id: "fleetPutUnit", rule: deployers, summary: "fleet: create, replace, or set the desired state", params: name, body: fleetUnit{},
			status: 201, also: []int{204, 400, 409, 415}, write: true, handle: (*API).fleetPutUnit,
		},
		{method: "DELETE", path: "/units/{name}", id: "fleetDeleteUnit", rule: deployers, summary: "fleet: destroy a unit", params: name, status: 204, also: []int{404}, write: true, handle: (*API).fleetDeleteUnit},
		{method: "GET", path: "/state", id: "fleetStates", rule: members, summary: "fleet: states of units", params: filters, answer: fleetStatePage{}, also: []int{400}, handle: (*API).fleetStates},
		{method: "GET", path: "/state/{name}", id: "fleetState", rule: members, summary: "fleet: state of one unit", params: name, answer: fleetState{}, handle: (*API).fleetGetState},
		{method: "GET", path: "/machines", id: "fleetMachines", rule: members, summary: "fleet: machines", params: []param{token}, answer: fleetMachinePage{}, also: []int{400}, handle: (*API).fleetMachines},
		{method: "PATCH", path: "/machines", id: "fleetPatchMachines", rule: operators, summary: "fleet: change metadata", body: []fleetPatch{}, status: 204, also: []int{400, 415}, write: true, handle: (*API).fleetPatchMachines},
		{method: "GET", path: "/discovery", id: "fleetDiscovery", rule: members, summary: "fleet: what its API offers", handle: (*API).fleetDiscovery},
	}
	var out []route
	for prefix, suffix := range map[string]string{"/fleet/v1": "", "/v1-alpha": "Alpha"} {
		for _, r := range table {
			r.path, r.id, r.fleet = prefix+r.path, r.id+suffix, true
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b route) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method)) })
	return out
}

// fleetDiscovery is GET /discovery: the outline of the document that fleet served; OpenAPI has the rest.
func (a *API) fleetDiscovery(w http.ResponseWriter, _ *http.Request) error {
	methods := map[string]any{}
	for _, r := range a.routes {
		if path, ok := strings.CutPrefix(r.path, "/fleet/v1/"); ok {
			methods[r.id] = map[string]any{"id": "fleet." + r.id, "httpMethod": r.method, "path": path, "description": r.summary}
		}
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"kind": "discovery#restDescription", "discoveryVersion": "v1", "id": "fleet:v1", "name": "fleet", "version": "v1", "title": "fleet API",
		"protocol": "rest", "basePath": "/fleet/v1/", "methods": methods, "documentationLink": "/v1/openapi.json",
	})
}
