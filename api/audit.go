package api

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/audit"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Bounds of the audit log's records, and of how fast refusals come into it.
const (
	maxObject       = 1024 // Bytes of what a record says about its object.
	refusalsEach    = 10   // A minute, of one caller making one call.
	refusalsAll     = 600  // A minute, of everybody: who is refused must not push out what was done.
	defaultAudit    = 1000
	maxAudit        = 10_000
	refusalsKeys    = 4096
	refusalsPeriod  = time.Minute
	verbConnect     = "connect"
	socketFrom      = "socket"
	maxForwardedFor = 64 // Bytes of the name of who uses a machine.
)

// Audit keeps who did what; audit.Log is one.
type Audit interface {
	Append(r wire.AuditRecord) error
	Read(q audit.Query) ([]wire.AuditRecord, error)
	Verify() (wire.AuditState, error)
}

// noted is what handlers say about one call while they make it.
type noted struct {
	object   string
	who      string // For a caller without a certificate: whose token it is.
	revision int64
	dry      bool
}

type notedKey struct{}

func withNote(r *http.Request) (*http.Request, *noted) {
	n := &noted{}
	return r.WithContext(context.WithValue(r.Context(), notedKey{}, n)), n
}

// heard takes what a record may say from a request's body. What is not named here is left out: no texts, no secrets.
func heard(ctx context.Context, body any) {
	n, ok := ctx.Value(notedKey{}).(*noted)
	if !ok {
		return
	}
	switch q := body.(type) {
	case *wire.ApplyRequest:
		n.dry = q.DryRun
		var all []string
		for _, c := range q.Changes {
			all = append(all, deedOf(c))
		}
		n.object = strings.Join(all, ", ")
	case *wire.Change:
		n.object = deedOf(*q)
	case *wire.JoinRequest:
		n.object = q.Name + " " + cluster.ShortID(q.Machine)
		if t, err := identity.ParseToken(q.Token); err == nil {
			n.who = "token " + t.ID
		}
	case *wire.TokenRequest:
		n.object = fmt.Sprintf("role %s, ttl %ds, uses %d", cmp.Or(q.Role, "agent"), q.TTL, q.Uses)
	case *wire.UserRequest:
		n.object = fmt.Sprintf("%s role %s", q.Name, q.Role)
	case *wire.RevokeRequest:
		n.object = q.Why
	case *wire.RotateRequest:
		n.object = "force"
		if !q.Force {
			n.object = ""
		}
	case *wire.MachinePatch:
		n.object = patchWords(*q)
	case *wire.SettingsPatch:
		n.object = settingsWords(*q)
	}
}

// deedOf says what a change does to a unit.
func deedOf(c wire.Change) string {
	words := []string{c.Name}
	for _, w := range []struct {
		is   bool
		word string
	}{
		{c.Destroy, "destroy"},
		{c.Text != nil, "submit"},
		{c.Replace, "replace"},
		{c.Desired != "", string(c.Desired)},
		{c.Start, "start"},
		{c.Restart, "restart"},
		{c.Reload, "reload"},
		{c.Trigger, "trigger"},
		{c.Signal != 0, "kill -" + strconv.Itoa(c.Signal)},
	} {
		if w.is {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, " ")
}

func patchWords(p wire.MachinePatch) string {
	var words []string
	if p.Cordoned != nil {
		words = append(words, fmt.Sprintf("cordoned=%t", *p.Cordoned))
	}
	if p.LocalRole != nil {
		words = append(words, fmt.Sprintf("local-role=%s", *p.LocalRole))
	}
	for k := range p.Metadata {
		words = append(words, "metadata "+k)
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// told takes what a record may say from an answer.
func (n *noted) told(answer any) {
	switch a := answer.(type) {
	case *wire.ApplyResponse:
		n.revision = a.Revision
	case *wire.Applied:
		n.revision = a.Revision
	case wire.Applied:
		n.revision = a.Revision
	case wire.TokenAnswer:
		n.object = "token " + a.ID + ", " + n.object
	}
}

// record writes a call to the audit log, if it changed something or was refused.
func (a *API) record(rt route, r *http.Request, n *noted, status int, err error) {
	refused := err != nil && (status == http.StatusForbidden || status == http.StatusUnauthorized)
	if a.Audit == nil || n.dry || (!rt.write && !refused) {
		return
	}
	c := callerIn(r.Context())
	rec := wire.AuditRecord{
		Kind: string(c.kind), Who: c.auditName(), For: c.behalf, Role: string(c.role), From: from(r), Verb: cmp.Or(rt.id, strings.Trim(rt.path, "/")),
		Object: objectOf(r, n), Result: wire.AuditDone, Status: status, Store: n.revision,
	}
	if c.kind == callerNobody {
		rec.Who = cmp.Or(n.who, rec.Who)
	}
	if err != nil {
		why := reasonsOf(err)[0]
		rec.Result, rec.Code, rec.Why = wire.AuditFailed, why.Code, bounded(why.Message())
	}
	if refused {
		rec.Result = wire.AuditRefused
	}
	a.note(rec)
}

// Refused writes a connection that was refused to the audit log: id is who it proved to be.
func (a *API) Refused(id identity.ID, from string, why *reason.Reason) {
	if a.Audit == nil {
		return
	}
	c := caller{kind: callerKind(id.Kind), name: id.Name}
	a.note(wire.AuditRecord{
		Kind: string(c.kind), Who: c.auditName(), From: from, Verb: verbConnect, Result: wire.AuditRefused, Code: why.Code, Why: bounded(why.Message()),
	})
}

func (a *API) note(rec wire.AuditRecord) {
	rec.At, rec.Machine = a.Now().UTC(), a.MachineID
	if rec.Result == wire.AuditRefused {
		more, ok := a.refusals.admit(rec, rec.At)
		if !ok {
			return
		}
		rec.More = more
	}
	if err := a.Audit.Append(rec); err != nil {
		a.Log.Error("the audit log cannot be written", "who", rec.Who, "verb", rec.Verb, "object", rec.Object, "result", rec.Result, "error", err)
	}
}

// auditName is a caller in the audit log: whole ids.
func (c caller) auditName() string {
	switch c.kind {
	case callerNobody:
		return "nobody"
	case callerLocal, callerUser, callerMachine, callerServer:
	}
	return c.name
}

// from is where a request came from.
func from(r *http.Request) string {
	if r.TLS == nil {
		return socketFrom
	}
	return r.RemoteAddr
}

// objectOf is what a call was about: what its path names, and what its body adds.
func objectOf(r *http.Request, n *noted) string {
	path := cmp.Or(r.PathValue("name"), r.PathValue("id"))
	switch {
	case path == "" && n.object == "" && r.Pattern == "":
		return bounded(r.URL.Path)
	case path == "" || strings.HasPrefix(n.object, path):
		return bounded(n.object)
	case n.object == "":
		return bounded(path)
	}
	return bounded(path + ": " + n.object)
}

// bounded cuts what stands in a record, and takes out what a terminal might obey.
func bounded(s string) string {
	if len(s) > maxObject {
		s = s[:maxObject] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}

// refusals bound how fast refusals come into the audit log.
type refusals struct {
	mu    sync.Mutex
	begun time.Time
	all   int
	each  map[string]int
	more  int64 // Not written down since the last one that was.
}

// admit tells whether a refusal is written down, and how many before it were not.
func (f *refusals) admit(r wire.AuditRecord, now time.Time) (more int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.each == nil || now.Sub(f.begun) >= refusalsPeriod || now.Before(f.begun) {
		f.begun, f.all, f.each = now, 0, map[string]int{}
	}
	host, _, err := net.SplitHostPort(r.From)
	if err != nil {
		host = r.From
	}
	key := r.Kind + " " + r.Who + " " + host + " " + r.Verb
	if f.all >= refusalsAll || f.each[key] >= refusalsEach || len(f.each) >= refusalsKeys {
		f.more++
		return 0, false
	}
	f.all++
	f.each[key]++
	more, f.more = f.more, 0
	return more, true
}
