package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// StoreDesk answers for the members of the store on a server; package node has one. own: only what this server knows
// itself, without a question to others.
type StoreDesk interface {
	Status(ctx context.Context, own bool) (wire.StoreInfo, error)
	Snapshots(ctx context.Context, own bool) (wire.SnapshotList, error)
	// Snapshot writes a new snapshot.
	Snapshot(ctx context.Context, w io.Writer) error
	// Recover makes this machine the only one that holds the store, soon after it has answered.
	Recover(ctx context.Context, q wire.RecoverRequest, by string) (wire.RecoverAnswer, error)
}

const snapshotType = "application/octet-stream"

func storeRoutes() []route {
	return []route{
		{
			method: "GET", path: "/v1/store", id: "storeStatus", rule: viewers, summary: "How the store and its members do, and why they are as they are",
			answer: wire.StoreInfo{}, also: []int{503}, handle: desked((*API).storeStatus),
		},
		{
			method: "GET", path: "/v1/snapshots", id: "listSnapshots", rule: viewers, summary: "The snapshots of the store on all servers, the newest first",
			answer: wire.SnapshotList{}, also: []int{503}, handle: desked((*API).listSnapshots),
		},
		{
			method: "GET", path: "/v1/snapshot", id: "saveSnapshot", rule: admins, summary: "A new snapshot of the store; its last 32 bytes are the SHA-256 of those before",
			kinds: []string{snapshotType}, also: []int{503}, stream: true, handle: desked((*API).saveSnapshot),
		},
		{
			method: "POST", path: "/v1/recover", id: "recover", rule: admins, summary: "Make the server that is asked the only one that holds the store, when the others are lost for good",
			body: wire.RecoverRequest{}, answer: wire.RecoverAnswer{}, also: []int{400, 409, 503}, write: true, handle: desked((*API).recover),
		},
	}
}

// desked is a handler that needs the members of the store: a machine that is not a server has none.
func desked(handle func(*API, http.ResponseWriter, *http.Request) error) func(*API, http.ResponseWriter, *http.Request) error {
	return func(a *API, w http.ResponseWriter, r *http.Request) error {
		if a.Members == nil {
			return withStatus{reason.Because(reason.NotServer, reason.Args{"machine": "this machine"}), http.StatusServiceUnavailable}
		}
		return handle(a, w, r)
	}
}

// alone tells whether a server is asked for what it knows itself.
func alone(r *http.Request) bool { return r.Header.Get(wire.LocalHeader) != "" }

// storeStatus answers also when the store does not: then it is needed most.
func (a *API) storeStatus(w http.ResponseWriter, r *http.Request) error {
	out, err := a.Members.Status(r.Context(), alone(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) listSnapshots(w http.ResponseWriter, r *http.Request) error {
	out, err := a.Members.Snapshots(r.Context(), alone(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

// saveSnapshot streams one. A file that breaks off has no checksum at its end.
func (a *API) saveSnapshot(w http.ResponseWriter, r *http.Request) error {
	out := &patient{w: w, control: http.NewResponseController(w)}
	err := a.Members.Snapshot(r.Context(), out)
	if err != nil && out.begun {
		a.Log.Warn("a snapshot broke off", "who", peerOf(r.Context()).who, "error", err)
		panic(http.ErrAbortHandler) // So that the caller sees that it is not the end.
	}
	return err
}

// patient gives each write its own deadline, and sends the head with the first one: an error before it is still told.
type patient struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (p *patient) Write(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		p.w.Header().Set("Content-Type", snapshotType)
		p.w.Header().Set("Cache-Control", "no-store")
		p.w.WriteHeader(http.StatusOK)
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // As in serve.
	return p.w.Write(b)
}

func (a *API) recover(w http.ResponseWriter, r *http.Request) error {
	var q wire.RecoverRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	out, err := a.Members.Recover(r.Context(), q, peerOf(r.Context()).who)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}
