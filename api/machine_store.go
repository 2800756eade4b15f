package api

import (
	"net/http"

	"argosy.dev/argosy/store/remote"
)

// storeRoute is the one entry of the table for the calls by which machines reach the store: package remote has a table
// of its own, and decides what a machine may read and write.
var storeRoute = route{path: remote.Path, summary: "reach the store", rule: themselves}

// serveStore lets a machine through to the store, as the one that its certificate proves it to be. It is not paced: these
// calls keep the machine alive, and package remote has lanes for them.
func (a *API) serveStore(w http.ResponseWriter, r *http.Request) {
	r, err := a.admit(storeRoute, r)
	if err != nil {
		letGo(w, err)
		a.record(storeRoute, r, &noted{}, writeProblem(w, err), err)
		return
	}
	r, end := a.whileAllowed(storeRoute, r)
	defer end()
	a.Machines.ServeHTTP(w, r.WithContext(remote.WithMachine(r.Context(), callerIn(r.Context()).name))) //nolint:contextcheck // It is the request's own.
}
