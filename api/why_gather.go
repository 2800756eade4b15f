package api

import (
	"context"
	"net/http"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// Bounds of what is gathered for an explanation.
const (
	maxLikes   = 1000 // Siblings and neighbours, each.
	maxHistory = 200  // Events of the unit, and wishes of people.
	logTimeout = 2 * time.Second
)

// why is GET /v1/units/{name}/why.
func (a *API) why(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	in, ok := a.likes(name)
	if !ok {
		return reason.Because(reason.NoSuchUnit, reason.Args{"unit": string(name)})
	}
	in.now = a.Now()
	in.placed, in.candidates = a.placement(in.answer)
	if in.events, err = a.History.Recent(func(e *wire.Event) bool { return e.Unit == string(name) }, maxHistory); err != nil {
		return err
	}
	if in.wishes, err = a.History.Recent(func(e *wire.Event) bool { return e.Kind == wire.EventWish }, maxHistory); err != nil {
		return err
	}
	in.log = a.lastLog(r.Context(), in.answer)
	return writeJSON(w, http.StatusOK, explain(in))
}

// likes gathers the answers of the unit, of its siblings and of its neighbours.
func (a *API) likes(name unit.Name) (whyInput, bool) {
	h := a.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.units[string(name)]
	if k == nil {
		return whyInput{}, false
	}
	in := whyInput{answer: k.answer}
	for n, o := range h.units {
		if n == string(name) {
			continue
		}
		if other := unit.Name(n); name.IsInstance() && other.IsInstance() && other.Template() == name.Template() && len(in.siblings) < maxLikes {
			in.siblings = append(in.siblings, o.answer)
			continue
		}
		if o.answer.MachineID != "" && o.answer.MachineID == k.answer.MachineID && len(in.neighbours) < maxLikes {
			in.neighbours = append(in.neighbours, o.answer)
		}
	}
	return in, true
}

// placement tells why a unit is where it is: as a planner explains it now, else as it was written down.
func (a *API) placement(an cluster.Answer) (*reason.Reason, []reason.Candidate) {
	if an.Template || an.Desired == cluster.Inactive {
		return nil, nil
	}
	e := a.explanation(an.Unit)
	if r := roomOf(e); r != nil {
		return r, e.Candidates
	}
	var placed *reason.Reason
	a.View.Peek(func(p *cluster.Picture) {
		for _, id := range p.PlacedOn(an.Unit) {
			placed = p.Placements[cluster.On{Machine: id, Unit: an.Unit}].Reason
		}
	})
	if placed == nil {
		return nil, nil
	}
	return placed, placed.Candidates
}

// lastLog gives the last lines of the run that failed: those that the agent kept, else the journal's.
func (a *API) lastLog(ctx context.Context, an cluster.Answer) []string {
	if an.Status == nil || isFine(an) || an.Reason == nil || !ran(an) {
		return nil
	}
	if len(an.Status.LogTail) > 0 {
		return an.Status.LogTail
	}
	if an.MachineID != a.MachineID {
		return nil // Its journal is there.
	}
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	lines, err := a.Journal.Journal(ctx, an.Unit, runtime.JournalQuery{Lines: maxLog})
	if err != nil {
		return nil // The explanation stands without it.
	}
	var out []string
	for l := range lines {
		out = append(out, l.Text)
	}
	return out
}
