package api

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Limits of watches and other streams (reliability.md 3.2).
const (
	maxStreams       = 1024 // At once, of everybody.
	maxStreamsCaller = 128  // At once, of one user.
	readyTimeout     = 10 * time.Second
	heartbeat        = 15 * time.Second
	serverName       = "argosy"
	jsonType         = "application/json"
	eventStreamType  = "text/event-stream"
	jsonLinesType    = "application/jsonl"
	plainType        = "text/plain"
)

// limits count the open streams of each caller.
type limits struct {
	mu    sync.Mutex
	total int
	by    map[string]int
}

func newLimits() *limits { return &limits{by: map[string]int{}} }

// stream takes a place for a stream; the returned function gives it back.
func (l *limits) stream(who string) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by[who] >= maxStreamsCaller {
		return nil, reason.Because(reason.TooMany, reason.Args{"what": "open watches and logs of one user", "have": maxStreamsCaller})
	}
	if l.total >= maxStreams {
		return nil, reason.Because(reason.TooMany, reason.Args{"what": "open watches and logs", "have": maxStreams})
	}
	l.total++
	l.by[who]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.total--
		if l.by[who]--; l.by[who] == 0 {
			delete(l.by, who)
		}
	}, nil
}

// recorder remembers the status for the log and the metrics.
type recorder struct {
	http.ResponseWriter
	status int
	note   *noted // For the audit log.
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// handler puts around a route what all routes share: limits, deadlines, errors as problems, log and metrics.
func (a *API) handler(rt route) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		begun, fail := time.Now(), writeProblem
		w := &recorder{ResponseWriter: rw}
		w.Header().Set("Server", serverName+"/"+a.Version)
		if isFleetPath(r.URL.Path) {
			fail = writeFleetError
			w.Header().Set("Server", fleetServer)
		}
		r, w.note = withNote(r)
		r, err := a.admit(rt, r)
		if err == nil {
			a.askToRenew(w, r)
			err = a.serve(rt, w, r)
		}
		if err != nil && w.status == 0 && r.Context().Err() == nil {
			letGo(w, err)
			fail(w, err)
		}
		a.metrics.request(rt, w.status, time.Since(begun))
		a.logRequest(rt, r, w.status, time.Since(begun), err)
		a.record(rt, r, w.note, w.status, err)
	})
}

// askToRenew asks a user whose certificate is of a root that is being replaced for a renewal; machines are asked by their
// records.
func (a *API) askToRenew(w http.ResponseWriter, r *http.Request) {
	if a.Outdated != nil && callerIn(r.Context()).kind == callerUser && a.Outdated(r.TLS) {
		w.Header().Set(wire.RenewHeader, "now")
	}
}

// letGo ends the connection of a caller who is revoked, after the answer.
func letGo(w http.ResponseWriter, err error) {
	if r, ok := errors.AsType[*reason.Reason](err); ok && r.Code == reason.CertificateRevoked {
		w.Header().Set("Connection", "close")
	}
}

func (a *API) serve(rt route, w http.ResponseWriter, r *http.Request) error {
	p := peerOf(r.Context())
	if err := p.pace(r.Context()); err != nil {
		return err
	}
	if err := foreign(r); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, wire.MaxBody)
	if rt.stream {
		done, err := a.limits.stream(p.who)
		if err != nil {
			return err
		}
		defer done()
		r, end := a.whileAllowed(rt, r)
		defer end()
		return rt.handle(a, w, r)
	}
	control := http.NewResponseController(w)
	// Errors mean only that the writer knows no deadlines: a test's recorder.
	_ = control.SetReadDeadline(time.Now().Add(requestTimeout))
	_ = control.SetWriteDeadline(time.Now().Add(requestTimeout + writeTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	return rt.handle(a, w, r.WithContext(ctx))
}

// foreign refuses what a browser sends for another site's page: no client of ours sends these headers.
func foreign(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" && r.Method != http.MethodGet {
		return reason.Because(reason.NotAllowed, reason.Args{"what": "change the cluster", "who": "a page of another site"})
	}
	return nil
}

func (a *API) logRequest(rt route, r *http.Request, status int, took time.Duration, err error) {
	switch {
	case err != nil && status >= http.StatusInternalServerError:
		a.Log.Error("a request failed", "route", rt.method+" "+rt.path, "status", status, "who", peerOf(r.Context()).who, "error", err)
	case rt.write:
		args := []any{"route", rt.method + " " + rt.path, "path", r.URL.Path, "status", status, "who", peerOf(r.Context()).who, "took", took}
		if err != nil {
			args = append(args, "error", err)
		}
		a.Log.Info("a request to change something", args...)
	}
}

// read waits until the store was read once.
func (a *API) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return a.seen(ctx, 0)
}

// seen waits until the view has come to a revision: who reads after a write finds it.
func (a *API) seen(ctx context.Context, revision int64) error {
	return unseen(a.hub.wait(ctx, revision))
}

// unseen is why the view did not come so far.
func unseen(err error) error {
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		return reason.Because(reason.StoreUnavailable, reason.Args{"error": "its present state was not read in time"})
	}
	return err
}

// noRoute answers what no route takes: 405 when the path is right, else 404.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request) error {
	var allow []string
	for _, m := range []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost, http.MethodPut} {
		probe := r.Clone(r.Context())
		probe.Method = m
		if _, pattern := a.mux.Handler(probe); pattern != "/" && pattern != "" {
			allow = append(allow, m)
		}
	}
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		return withStatus{badRequest(r.URL.Path + " does not take " + r.Method + ", only " + strings.Join(allow, ", ")), http.StatusMethodNotAllowed}
	}
	if isFleetPath(r.URL.Path) {
		return fleetNotFound{}
	}
	return withStatus{badRequest("there is no " + r.URL.Path + "; /v1/openapi.json lists what there is"), http.StatusNotFound}
}

// isJSON tells whether a Content-Type is JSON; none is taken for it.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == jsonType || strings.HasSuffix(t, "+json"))
}

// wants picks the first of the content types that the caller accepts; the first of all when it does not say.
func wants(r *http.Request, kinds ...string) string {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		t, _, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		for _, k := range kinds {
			if t == k {
				return k
			}
		}
	}
	return kinds[0]
}
