package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// Path is where a server mounts Handler; all its routes begin with it.
const Path = "/v1/store/"

// The routes under Path. Read and watch answer with lines, the others with one JSON object.
const (
	readPath   = Path + "read"         // POST readRequest
	writePath  = Path + "write"        // POST writeRequest, answer
	watchPath  = Path + "watch"        // GET ?prefix=&since=
	grantPath  = Path + "lease/grant"  // POST leaseRequest, answer
	renewPath  = Path + "lease/renew"  // POST leaseRequest, answer
	revokePath = Path + "lease/revoke" // POST leaseRequest, answer
	healthPath = Path + "health"       // GET, answer
)

// Routes lists the routes of Handler as patterns of http.ServeMux, for a table of who may call what.
func Routes() []string {
	return []string{
		"POST " + readPath, "POST " + writePath, "GET " + watchPath,
		"POST " + grantPath, "POST " + renewPath, "POST " + revokePath, "GET " + healthPath,
	}
}

type readRequest struct {
	Prefix string `json:"prefix"`
}

type writeRequest struct {
	Changes []change `json:"changes"`
}

// change is store.Change; a null value deletes.
type change struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
	Guard bool   `json:"guard,omitempty"`
	If    int64  `json:"if,omitempty"`
}

type leaseRequest struct {
	Key   string `json:"key"`
	Value []byte `json:"value,omitempty"`  // Of a grant.
	TTL   int64  `json:"ttl_ms,omitempty"` // Of a grant, milliseconds.
	Lease int64  `json:"lease,omitempty"`  // Of a renewal or revocation.
}

// answer is what a call gives that is not a stream.
type answer struct {
	Revision int64  `json:"revision,omitempty"`
	Lease    int64  `json:"lease,omitempty"`
	Fault    *fault `json:"fault,omitempty"`
}

// line is one line of a read or a watch: what one revision changed, or a part of it if more lines of the same revision
// follow; without entries, a heartbeat that all changes up to the revision were sent; or why the stream ends.
type line struct {
	Revision int64   `json:"revision,omitempty"`
	Entries  []entry `json:"entries,omitempty"`
	More     bool    `json:"more,omitempty"`
	Fault    *fault  `json:"fault,omitempty"`
}

// entry is store.Entry; a null value is a deletion.
type entry struct {
	Key      string `json:"key"`
	Value    []byte `json:"value"`
	Revision int64  `json:"revision"`
}

// kind tells the store's errors apart on their way through HTTP.
type kind string

const (
	isStale     kind = "stale"
	isCondemned kind = "condemned"
	isForbidden kind = "forbidden"
	isCompacted kind = "compacted"
	isLeaseLost kind = "lease-lost"
	isAway      kind = "away"    // This server cannot, and has done nothing: another one may.
	isUnknown   kind = "unknown" // The store gave no answer: whether it was done is not known.
	isRefused   kind = "refused" // For the reason, and so by every server.
)

// fault is an error on its way through HTTP.
type fault struct {
	Kind   kind           `json:"kind"`
	Text   string         `json:"text"`
	Reason *reason.Reason `json:"reason,omitempty"`
}

// awayError is an error after which nothing was done.
type awayError struct{ error }

func (e awayError) Unwrap() error { return e.error }

// cannot says that this server cannot serve, and that nothing was done.
func cannot(text string) error { return awayError{store.Unavailable(errors.New(text))} }

func faultOf(err error) (int, *fault) {
	f := &fault{Text: err.Error()}
	if r, ok := errors.AsType[*reason.Reason](err); ok {
		f.Reason = r
	}
	_, nothingDone := errors.AsType[awayError](err)
	switch {
	case nothingDone:
		f.Kind = isAway
		return http.StatusServiceUnavailable, f
	case errors.Is(err, store.ErrForbidden):
		f.Kind = isForbidden
		return http.StatusForbidden, f
	case errors.Is(err, store.ErrCondemned):
		f.Kind = isCondemned
		return http.StatusConflict, f
	case errors.Is(err, store.ErrStale):
		f.Kind = isStale
		return http.StatusConflict, f
	case errors.Is(err, store.ErrCompacted):
		f.Kind = isCompacted
		return http.StatusGone, f
	case errors.Is(err, store.ErrLeaseLost):
		f.Kind = isLeaseLost
		return http.StatusGone, f
	case f.Reason == nil || f.Reason.Code == reason.StoreUnavailable:
		f.Kind = isUnknown
		return http.StatusServiceUnavailable, f
	}
	f.Kind = isRefused
	switch f.Reason.Code {
	case reason.TooMany:
		return http.StatusTooManyRequests, f
	case reason.TooLarge:
		return http.StatusRequestEntityTooLarge, f
	case reason.StoreFull:
		return http.StatusInsufficientStorage, f
	default:
		return http.StatusBadRequest, f
	}
}

// err makes an error again that errors.Is and errors.AsType know as the one that was sent.
func (f *fault) err() error {
	switch f.Kind {
	case isStale:
		return wrap(store.ErrStale, f)
	case isCondemned:
		return store.ErrCondemned
	case isForbidden:
		return wrap(store.ErrForbidden, f)
	case isCompacted:
		return store.ErrCompacted
	case isLeaseLost:
		return wrap(store.ErrLeaseLost, f)
	case isAway, isUnknown, isRefused:
	}
	if f.Reason != nil {
		return f.Reason
	}
	return store.Unavailable(errors.New(f.Text))
}

func wrap(err error, f *fault) error {
	if f.Reason != nil {
		return fmt.Errorf("%w: %w", err, f.Reason)
	}
	return fmt.Errorf("%w (the server says: %s)", err, f.Text)
}

// forbidden is a *reason.Reason, and store.ErrForbidden for the store's callers.
func forbidden(what, who string) error {
	return fmt.Errorf("%w: %w", store.ErrForbidden, reason.Because(reason.NotAllowed, reason.Args{"what": what, "who": who}))
}

// lineBytes is how much a line carries of a revision that changed much, unless a single entry is larger.
const lineBytes = 256 << 10

// lines splits what a revision has into lines; without entries it is one line.
func lines(revision int64, entries []store.Entry) []line {
	out := []line{{Revision: revision}}
	size := 0
	for _, e := range entries {
		n := len(e.Key) + len(e.Value)
		if size > 0 && size+n > lineBytes {
			out[len(out)-1].More = true
			out = append(out, line{Revision: revision})
			size = 0
		}
		size += n
		last := &out[len(out)-1]
		last.Entries = append(last.Entries, entry(e))
	}
	return out
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // These types always encode; a reason's arguments hold only what encodes.
		return []byte(`{"fault":{"kind":"unknown","text":"the answer cannot be encoded"}}`)
	}
	return append(b, '\n')
}
