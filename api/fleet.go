package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// fleet's API v1: the words, status codes and page tokens of fleet 1.0, so that fleetctl and scripts made for it go on
// working. It deviates on purpose where fleet's answer was a defect: a desired state is checked, a state that is not
// there is answered and does not end the server, a template cannot be started, a failed unit keeps none else from
// its place, comments in unit files are kept.

// fleetUnit is fleet's Unit.
type fleetUnit struct {
	CurrentState string            `json:"currentState,omitempty"`
	DesiredState string            `json:"desiredState,omitempty"`
	MachineID    string            `json:"machineID,omitempty"`
	Name         string            `json:"name,omitempty"`
	Options      []unit.FileOption `json:"options,omitempty"`
}

// fleetUnitPage is fleet's UnitPage: empty parts are left out, as fleet does.
type fleetUnitPage struct {
	NextPageToken string      `json:"nextPageToken,omitempty"`
	Units         []fleetUnit `json:"units,omitempty"`
}

// fleetState is fleet's UnitState. The systemd words are those of the machine's runtime.
type fleetState struct {
	Hash               string `json:"hash,omitempty"`
	MachineID          string `json:"machineID,omitempty"`
	Name               string `json:"name,omitempty"`
	SystemdActiveState string `json:"systemdActiveState,omitempty"`
	SystemdLoadState   string `json:"systemdLoadState,omitempty"`
	SystemdSubState    string `json:"systemdSubState,omitempty"`
}

// fleetStatePage is fleet's UnitStatePage.
type fleetStatePage struct {
	NextPageToken string       `json:"nextPageToken,omitempty"`
	States        []fleetState `json:"states,omitempty"`
}

// fleetMachine is fleet's Machine.
type fleetMachine struct {
	ID        string            `json:"id,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	PrimaryIP string            `json:"primaryIP,omitempty"`
}

// fleetMachinePage is fleet's MachinePage: its list is always there.
type fleetMachinePage struct {
	Machines      []fleetMachine `json:"machines"`
	NextPageToken string         `json:"nextPageToken,omitempty"`
}

// fleetError is how fleet tells an error.
type fleetError struct {
	Error fleetErrorBody `json:"error"`
}

type fleetErrorBody struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// fleetServer is what fleet's daemon calls itself.
const fleetServer = "fleetd/1.0.0"

func writeFleetError(w http.ResponseWriter, err error) int {
	if _, ok := errors.AsType[fleetNotFound](err); ok {
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(fleetError{fleetErrorBody{Code: http.StatusNotFound}}) // As in writeProblem.
		return http.StatusNotFound
	}
	all := reasonsOf(err)
	status := statusOf(all[0].Code)
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest // fleet's word for it.
	}
	if s, ok := errors.AsType[withStatus](err); ok {
		status = s.status
	}
	texts := make([]string, min(len(all), maxAlso))
	for i := range texts {
		texts[i] = all[i].Message()
	}
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(fleetError{fleetErrorBody{status, strings.Join(texts, "; ")}}) // As in writeProblem.
	return status
}

// fleetNotFound is fleet's answer to a path that it does not know: no words.
type fleetNotFound struct{}

func (fleetNotFound) Error() string { return "not found" }

func isFleetPath(path string) bool {
	return strings.HasPrefix(path, "/fleet/") || strings.HasPrefix(path, "/v1-alpha")
}

// fleetUnits is GET /units.
func (a *API) fleetUnits(w http.ResponseWriter, r *http.Request) error {
	page, err := fleetPage(r.URL.Query())
	if err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	var units []fleetUnit
	var wishes []*cluster.Wanted
	var more bool
	a.View.Peek(func(p *cluster.Picture) {
		names := p.UnitNames()
		var from, to int
		from, to, more = page.bounds(len(names))
		for _, n := range names[from:to] {
			units = append(units, fleetUnitOf(p, n))
			wishes = append(wishes, p.Units[n])
		}
	})
	for i := range units { // Outside the view's lock: it reads texts.
		units[i].Options = fleetOptions(wishes[i])
	}
	return writeJSON(w, http.StatusOK, fleetUnitPage{page.next(more), units})
}

// fleetGetUnit is GET /units/{name}.
func (a *API) fleetGetUnit(w http.ResponseWriter, r *http.Request) error {
	if err := a.read(r.Context()); err != nil {
		return err
	}
	name := r.PathValue("name")
	u, wish := a.fleetLook(name)
	if wish == nil {
		return withStatus{badRequest("unit does not exist"), http.StatusNotFound}
	}
	u.Options = fleetOptions(wish)
	return writeJSON(w, http.StatusOK, u)
}

func (a *API) fleetLook(name string) (u fleetUnit, wish *cluster.Wanted) {
	a.View.Peek(func(p *cluster.Picture) {
		if wish = p.Units[name]; wish != nil {
			u = fleetUnitOf(p, name)
		}
	})
	return u, wish
}

// fleetUnitOf is a unit in fleet's words, its options left out. Fleet tells no current state of a global unit.
func fleetUnitOf(p *cluster.Picture, name string) fleetUnit {
	w := p.Units[name]
	u := fleetUnit{Name: name, DesiredState: string(w.Desired), CurrentState: string(cluster.Inactive)}
	on := p.PlacedOn(name)
	if pl := p.Unplaced[name]; pl != nil && pl.Global {
		u.CurrentState = ""
	}
	if len(on) == 0 {
		return u
	}
	if p.Placements[cluster.On{Machine: on[0], Unit: name}].Global {
		u.CurrentState = ""
		return u
	}
	u.MachineID = on[0]
	switch s := p.Statuses[cluster.On{Machine: on[0], Unit: name}]; {
	case s == nil || !p.Alive[on[0]]:
	case w.Desired == cluster.Launched:
		u.CurrentState = string(cluster.Launched)
	default:
		u.CurrentState = string(cluster.Loaded)
	}
	return u
}

func fleetOptions(w *cluster.Wanted) []unit.FileOption {
	f, _, err := unit.ParseFile(w.Name, []byte(w.Text))
	if err != nil {
		return nil // It was checked when it was submitted.
	}
	return f.Options()
}

// fleetPutUnit is PUT /units/{name}: create (201), replace (201), or change the desired state (204).
func (a *API) fleetPutUnit(w http.ResponseWriter, r *http.Request) error {
	var in fleetUnit
	if err := fleetBody(r, &in); err != nil {
		return err
	}
	name := r.PathValue("name")
	if in.Name != "" && in.Name != name {
		return badRequest(fmt.Sprintf("name in URL %q differs from unit name in request body %q", name, in.Name))
	}
	if _, err := unitName(name); err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	c, err := a.fleetChange(name, in)
	if err != nil {
		return err
	}
	resp, err := a.apply(r.Context(), wire.ApplyRequest{Changes: []wire.Change{c}})
	if err != nil {
		return err
	}
	if c.Text != nil || resp.Units[0].Created {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

// fleetChange turns what fleet's clients send into a change, with fleet's rules for what is there already.
func (a *API) fleetChange(name string, in fleetUnit) (wire.Change, error) {
	c := wire.Change{Name: name, Desired: cluster.Desired(in.DesiredState)}
	_, wish := a.fleetLook(name)
	if len(in.Options) == 0 {
		if wish == nil && !a.fleetHasTemplate(name) {
			return c, withStatus{badRequest("unit does not exist and options field empty"), http.StatusConflict}
		}
		return c, nil
	}
	f, err := unit.FileFromOptions(name, in.Options)
	if err != nil {
		return c, err
	}
	if wish != nil {
		if old, _, err := unit.ParseFile(name, []byte(wish.Text)); err == nil && unit.FleetHash(old) == unit.FleetHash(f) {
			if in.DesiredState == "" {
				return c, withStatus{badRequest("unit already exists with the same options, and desiredState is empty"), http.StatusConflict}
			}
			return c, nil // The text stays, with its comments.
		}
	}
	text := f.String()
	c.Text, c.Replace = &text, true
	return c, nil
}

func (a *API) fleetHasTemplate(name string) bool {
	n := unit.Name(name)
	if !n.IsInstance() {
		return false
	}
	_, t := a.fleetLook(string(n.Template()))
	return t != nil
}

// fleetBody decodes a body; fleet asks for the content type, and takes fields that it does not know.
func fleetBody(r *http.Request, v any) error {
	ct := r.Header.Get("Content-Type")
	if ct == "" || !isJSON(ct) {
		return withStatus{badRequest("Content-Type must be application/json"), http.StatusUnsupportedMediaType}
	}
	err := json.NewDecoder(r.Body).Decode(v)
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge("bytes of the request", int(big.Limit)+1, int(big.Limit))
	}
	if err != nil {
		return badRequest("unable to decode body: " + err.Error())
	}
	return nil
}

// fleetDeleteUnit is DELETE /units/{name}.
func (a *API) fleetDeleteUnit(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	err := a.fleetDestroy(r.Context(), name)
	if all := reasonsIn(err); len(all) > 0 && all[0].Code == reason.NoSuchUnit {
		return withStatus{badRequest("unit does not exist"), http.StatusNotFound}
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func reasonsIn(err error) []*reason.Reason {
	if err == nil {
		return nil
	}
	return reasonsOf(err)
}

func (a *API) fleetDestroy(ctx context.Context, name string) error {
	_, err := a.apply(ctx, wire.ApplyRequest{Changes: []wire.Change{{Name: name, Destroy: true}}})
	return err
}
