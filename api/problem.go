package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

// maxAlso bounds how many further faults one error names.
const maxAlso = 100

// faults are several reasons that speak against one request; the first is its headline.
type faults []*reason.Reason

func (f faults) Error() string { return f[0].Error() }

// Unwrap lets errors.AsType find the reasons.
func (f faults) Unwrap() []error {
	out := make([]error, len(f))
	for i, r := range f {
		out[i] = r
	}
	return out
}

// withStatus gives an error another HTTP status than its code's.
type withStatus struct {
	error
	status int
}

func (e withStatus) Unwrap() error { return e.error }

func badRequest(text string) error {
	return reason.Because(reason.BadRequest, reason.Args{"error": text})
}

// statusOf is the HTTP status of a reason code.
func statusOf(code reason.Code) int {
	switch code {
	case reason.BadRequest, reason.NameInvalid, reason.BadToken:
		return http.StatusBadRequest
	case reason.UnitInvalid, reason.TemplateOnly:
		return http.StatusUnprocessableEntity
	case reason.NoSuchUnit, reason.NoSuchMachine, reason.NoSuchUser:
		return http.StatusNotFound
	case reason.Stale, reason.NotRunning, reason.NotListening, reason.MachineCloned, reason.NameInUse, reason.CARotating, reason.MajorityThere, reason.NoStoreHere:
		return http.StatusConflict
	case reason.TooLarge:
		return http.StatusRequestEntityTooLarge
	case reason.TooMany:
		return http.StatusTooManyRequests
	case reason.NotAllowed, reason.TokenUnknown, reason.TokenExpired, reason.TokenUsed, reason.TokenRole,
		reason.CertificateInvalid, reason.CertificateExpired, reason.CertificateEarly, reason.CertificateRevoked, reason.CertificateRefused,
		reason.WrongCluster, reason.WrongIdentity, reason.CAUnknown, reason.CAMismatch:
		return http.StatusForbidden
	case reason.StoreUnavailable, reason.RuntimeDown, reason.NoServer, reason.NotServer, reason.NoCluster:
		return http.StatusServiceUnavailable
	case reason.StoreFull:
		return http.StatusInsufficientStorage
	case reason.Unsupported:
		return http.StatusNotImplemented
	default: // The others tell of a unit's state and are no answer to a request.
		return http.StatusInternalServerError
	}
}

// reasonsOf finds the reasons in an error; what has none becomes internal.
func reasonsOf(err error) []*reason.Reason {
	if many, ok := errors.AsType[faults](err); ok {
		return many
	}
	if r, ok := errors.AsType[*reason.Reason](err); ok {
		return []*reason.Reason{r}
	}
	switch {
	case errors.Is(err, store.ErrStale):
		return []*reason.Reason{reason.Because(reason.Stale, reason.Args{"unit": "the store", "expected": "the one it had", "found": "a newer one"})}
	case errors.Is(err, context.DeadlineExceeded):
		return []*reason.Reason{reason.Because(reason.StoreUnavailable, reason.Args{"error": "no answer in time"})}
	}
	return []*reason.Reason{reason.Because(reason.Internal, reason.Args{"error": err.Error()})}
}

// problemOf is an error as it goes over the wire.
func problemOf(err error) wire.Problem {
	all := reasonsOf(err)
	r := all[0]
	p := wire.Problem{
		Type: "urn:argosy:reason:" + string(r.Code), Title: r.Short(), Status: statusOf(r.Code), Detail: r.Message(),
		Code: r.Code, Args: r.Args, Scope: r.Scope(), Hint: r.Hint(), Candidates: r.Candidates,
		Also: all[1:min(len(all), maxAlso+1)],
	}
	if s, ok := errors.AsType[withStatus](err); ok {
		p.Status = s.status
	}
	return p
}

func writeProblem(w http.ResponseWriter, err error) int {
	p := problemOf(err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Del("ETag")
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(1))
	}
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // The caller has gone if this fails: nobody is left to be told.
	return p.Status
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	if r, ok := w.(*recorder); ok && r.note != nil {
		r.note.told(v)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // As above.
	return nil
}
