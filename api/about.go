package api

import (
	"context"
	"net/http"
	goruntime "runtime"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// apiVersion is the version of the routes under /v1.
const apiVersion = "v1"

// version is GET /v1/version.
func (a *API) version(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, wire.VersionInfo{
		Version: a.Version, Go: goruntime.Version(), API: apiVersion, Machine: a.MachineID, Leader: a.Leader(),
	})
}

// health is GET /v1/health.
func (a *API) health(w http.ResponseWriter, r *http.Request) error {
	h := wire.HealthInfo{OK: true, Watches: a.hub.watches()}
	ctx, cancel := context.WithTimeout(r.Context(), shownTimeout)
	defer cancel()
	if err := a.Store.Health(ctx); err != nil {
		h.OK, h.Store = false, wire.NewFault(reasonsOf(err)[0])
	}
	select {
	case <-a.hub.ready:
		a.View.Peek(func(p *cluster.Picture) { h.Revision, h.Units, h.Machines = p.Revision, len(p.Units), len(p.Machines) })
	default:
		h.OK, h.Picture = false, wire.NewFault(reason.Because(reason.StoreUnavailable, reason.Args{"error": "it was not read yet"}))
	}
	status := http.StatusOK
	if !h.OK {
		status = http.StatusServiceUnavailable
	}
	return writeJSON(w, status, h)
}
