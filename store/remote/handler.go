package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// Bounds of what a machine may ask.
const (
	bodyBytes   = store.MaxWrite/3*4 + store.MaxChanges*(store.MaxKey+128) // A largest write as JSON.
	smallBytes  = store.MaxValue/3*4 + 2*store.MaxKey                      // Of every other body.
	bodyTimeout = 10 * time.Second                                         // Until a body is there.
	callBound   = 5 * time.Second                                          // Of what the store does for one call.
	minTTL      = 2 * time.Second
	maxTTL      = 60 * time.Second
	maxMachine  = 128 // Bytes of a machine's id.
)

type machineKey struct{}

// WithMachine says which machine calls, as its certificate proves. Nothing else names the caller: without it all is forbidden.
func WithMachine(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, machineKey{}, id)
}

// handler is the server's half.
type handler struct {
	store  store.Store
	parts  *Parts
	log    *slog.Logger
	writer func(*http.Request) (store.Writer, error) // callerOf, but in the tests of conformance.

	leases, writes, reads *lane
}

// Handler answers machines under Path. What a machine may do is decided here: it writes as store.Writer of itself,
// and reads and watches its own part. A Store that is no store.Leaser refuses leases.
func Handler(s store.Store, p *Parts, log *slog.Logger) http.Handler {
	return newHandler(s, p, log).mux()
}

func newHandler(s store.Store, p *Parts, log *slog.Logger) *handler {
	return &handler{
		store: s, parts: p, log: log, writer: callerOf,
		leases: newLane("lease calls", leaseSlots, leaseEach),
		writes: newLane("writes", writeSlots, writeEach),
		reads:  newLane("reads", readSlots, readEach),
	}
}

func (h *handler) mux() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST "+readPath, h.read)
	m.HandleFunc("GET "+watchPath, h.watch)
	m.HandleFunc("POST "+writePath, serve(h, h.writes, bodyBytes, h.write))
	m.HandleFunc("POST "+grantPath, serve(h, h.leases, smallBytes, h.grant))
	m.HandleFunc("POST "+renewPath, serve(h, h.leases, smallBytes, h.renew))
	m.HandleFunc("POST "+revokePath, serve(h, h.leases, smallBytes, h.revoke))
	m.HandleFunc("GET "+healthPath, serve(h, h.reads, 0, h.health))
	return m
}

// callerOf is the writer that a request speaks for.
func callerOf(r *http.Request) (store.Writer, error) {
	id, _ := r.Context().Value(machineKey{}).(string)
	if _, ok := store.CutPart(store.PartPrefix(id)); !ok || len(id) > maxMachine {
		return store.Writer{}, forbidden("reach the store without a machine's identity", "the caller")
	}
	return store.Writer{Role: store.Machine, ID: id}, nil
}

// may tells whether a prefix is the caller's to read.
func may(by store.Writer, prefix string) error {
	if id, ok := store.CutPart(prefix); ok && id == by.ID {
		return nil
	}
	return forbidden(fmt.Sprintf("read %q, which is not its own part of the store", clip(prefix)), "machine "+by.ID)
}

// clip bounds what a message repeats of what a caller sent.
func clip(text string) string {
	const most = 100
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// serve makes a handler of a call: whose it is, its lane, its body, its answer.
func serve[T any](h *handler, l *lane, most int64, call func(ctx context.Context, by store.Writer, req T) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by, err := h.writer(r)
		if err != nil {
			h.refuse(w, err)
			return
		}
		out, err := func() (answer, error) {
			leave, err := l.admit(by.ID)
			if err != nil {
				return answer{}, err
			}
			defer leave()
			var req T
			if most > 0 {
				if err := body(w, r, most, &req); err != nil {
					return answer{}, err
				}
			}
			ctx, cancel := context.WithTimeout(r.Context(), callBound)
			defer cancel()
			done, err := l.enter(ctx)
			if err != nil {
				return answer{}, err
			}
			defer done()
			return call(ctx, by, req)
		}()
		if err != nil {
			h.refuse(w, err)
			return
		}
		reply(w, http.StatusOK, out)
	}
}

// body reads a request's body, bounded in size and time.
func body(w http.ResponseWriter, r *http.Request, most int64, into any) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // A recorder in a test has none.
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	_ = control.SetReadDeadline(time.Time{})
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return reason.Because(reason.TooLarge, reason.Args{"what": "bytes of a request to the store, above", "need": big.Limit + 1, "have": big.Limit})
	}
	if err != nil {
		return badRequest("the request broke off: " + err.Error())
	}
	if err := json.Unmarshal(b, into); err != nil {
		return badRequest("the request is not what is asked for: " + err.Error())
	}
	return nil
}

func badRequest(text string) error {
	return reason.Because(reason.BadRequest, reason.Args{"error": text})
}

func (h *handler) refuse(w http.ResponseWriter, err error) {
	status, f := faultOf(err)
	h.log.Debug("a call of a machine was refused", "status", status, "error", err)
	reply(w, status, answer{Fault: f})
}

func reply(w http.ResponseWriter, status int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // A recorder in a test has none.
	w.WriteHeader(status)
	_, _ = w.Write(encode(a)) // A caller that has gone asks again.
}

func (h *handler) write(ctx context.Context, by store.Writer, req writeRequest) (answer, error) {
	changes := make([]store.Change, len(req.Changes))
	for i, c := range req.Changes {
		changes[i] = store.Change(c)
	}
	rev, err := h.store.Write(ctx, by, changes...)
	return answer{Revision: rev}, err
}

func (h *handler) leaser() (store.Leaser, error) {
	if l, ok := h.store.(store.Leaser); ok {
		return l, nil
	}
	return nil, cannot("this server's store has no leases")
}

func (h *handler) grant(ctx context.Context, by store.Writer, req leaseRequest) (answer, error) {
	ttl := time.Duration(req.TTL) * time.Millisecond
	if req.TTL < minTTL.Milliseconds() || req.TTL > maxTTL.Milliseconds() {
		return answer{}, badRequest(fmt.Sprintf("a lease of %v is asked for; there are those of %v to %v", ttl, minTTL, maxTTL))
	}
	l, err := h.leaser()
	if err != nil {
		return answer{}, err
	}
	id, err := l.Grant(ctx, by, req.Key, req.Value, ttl)
	return answer{Lease: id}, err
}

func (h *handler) renew(ctx context.Context, by store.Writer, req leaseRequest) (answer, error) {
	l, err := h.leaser()
	if err != nil {
		return answer{}, err
	}
	return answer{Lease: req.Lease}, l.Renew(ctx, by, req.Key, req.Lease)
}

func (h *handler) revoke(ctx context.Context, by store.Writer, req leaseRequest) (answer, error) {
	l, err := h.leaser()
	if err != nil {
		return answer{}, err
	}
	return answer{}, l.Revoke(ctx, by, req.Key, req.Lease)
}

func (h *handler) health(ctx context.Context, _ store.Writer, _ struct{}) (answer, error) {
	return answer{}, h.store.Health(ctx)
}

// read answers with lines, since a part may be large.
func (h *handler) read(w http.ResponseWriter, r *http.Request) {
	pic, err := h.picture(w, r)
	if err != nil {
		h.refuse(w, err)
		return
	}
	out := newStream(w)
	for _, l := range lines(pic.Revision, pic.Entries) {
		if out.send(l) != nil {
			return // The caller has gone.
		}
	}
}

func (h *handler) picture(w http.ResponseWriter, r *http.Request) (store.Picture, error) {
	by, err := h.writer(r)
	if err != nil {
		return store.Picture{}, err
	}
	leave, err := h.reads.admit(by.ID)
	if err != nil {
		return store.Picture{}, err
	}
	defer leave()
	var req readRequest
	if err := body(w, r, smallBytes, &req); err != nil {
		return store.Picture{}, err
	}
	if err := may(by, req.Prefix); err != nil {
		return store.Picture{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callBound)
	defer cancel()
	return h.parts.Read(ctx, by.ID)
}

// watch streams a part.
func (h *handler) watch(w http.ResponseWriter, r *http.Request) {
	by, err := h.writer(r)
	if err != nil {
		h.refuse(w, err)
		return
	}
	prefix := r.URL.Query().Get("prefix")
	if err := may(by, prefix); err != nil {
		h.refuse(w, err)
		return
	}
	since, err := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	if err != nil {
		h.refuse(w, badRequest("since has to be a revision"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), callBound)
	one, err := h.parts.watch(ctx, by.ID, since)
	cancel()
	if err != nil {
		h.refuse(w, err)
		return
	}
	defer one.close()
	h.log.Debug("a watch ended", "machine", by.ID, "error", newStream(w).follow(r.Context(), one))
}
