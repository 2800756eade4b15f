package api

import (
	"net/http"

	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// verify is POST /v1/verify: every fault and every warning of every file, and whether there is room for all of them
// at once. Faults are its answer, not its error.
func (a *API) verify(w http.ResponseWriter, r *http.Request) error {
	var req wire.VerifyRequest
	if err := readBody(r, &req); err != nil {
		return err
	}
	if len(req.Units) > wire.MaxUnitsCall {
		return tooLarge("units in one call", len(req.Units), wire.MaxUnitsCall)
	}
	resp := wire.VerifyResponse{OK: true, Units: make([]wire.Verified, 0, len(req.Units))}
	models := make([]*unit.Unit, len(req.Units))
	for i, u := range req.Units {
		v, model := verifyOne(u)
		resp.OK = resp.OK && len(v.Faults) == 0
		models[i] = model
		resp.Units = append(resp.Units, v)
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	a.verifyRoom(&resp, models)
	return writeJSON(w, http.StatusOK, resp)
}

func verifyOne(u wire.VerifyUnit) (wire.Verified, *unit.Unit) {
	v := wire.Verified{Name: u.Name}
	name, err := unitName(u.Name)
	var model *unit.Unit
	if err == nil {
		model, err = loadBounded(name, u.Text, u.DropIns)
	}
	if err != nil {
		for _, r := range allReasons(err) {
			v.Faults = append(v.Faults, *wire.NewFault(r))
		}
		return v, nil
	}
	ask := model.Demand()
	v.Demand, v.Warnings = &ask, model.Warnings
	return v, model
}

// verifyRoom places the units on top of what is there. Templates take no room themselves.
func (a *API) verifyRoom(resp *wire.VerifyResponse, models []*unit.Unit) {
	p := a.planner(a.situation())
	for _, m := range models {
		if m != nil && !m.Name.IsTemplate() {
			p.SetUnit(plan.Unit{Name: string(m.Name), Type: m.Name.Type(), Wanted: true, Demand: m.Demand()})
		}
	}
	p.Decide()
	for i, m := range models {
		if m == nil || m.Name.IsTemplate() {
			continue
		}
		e := p.Explain(string(m.Name))
		v := &resp.Units[i]
		if e.Unplaced != nil && e.Placed == nil {
			resp.OK = false
			v.Room = wire.NewFault(withCandidates(e.Unplaced, e.Candidates))
			continue
		}
		if e.Placed != nil {
			v.Machine = e.Placed.Str("machine")
		}
	}
}

// withCandidates is the reason together with the machines that were refused, bounded.
func withCandidates(r *reason.Reason, candidates []reason.Candidate) *reason.Reason {
	return &reason.Reason{Code: r.Code, Args: r.Args, Candidates: candidates[:min(len(candidates), maxRefusals)]}
}
