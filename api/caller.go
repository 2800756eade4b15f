package api

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// rule says who may make a call. Every route has one; a test fails for a route without.
type rule string

// The rules. Those of a role let higher roles in as well.
const (
	anyone     rule = "anyone"   // Also who has no certificate: the token in the body speaks.
	members    rule = "known"    // Every machine and user of the cluster: states, but no texts and no logs.
	viewers    rule = "viewer"   // Everything but secrets.
	deployers  rule = "deployer" // Units.
	operators  rule = "operator" // Machines.
	admins     rule = "admin"    // Who may come in, and the store.
	themselves rule = "machine"  // A machine, about itself.
	holders    rule = "holder"   // Who has a certificate that counts, about that.
)

// callerKind is how a caller came in.
type callerKind string

const (
	callerNobody  callerKind = ""        // Over the network, without a certificate.
	callerLocal   callerKind = "local"   // Over the unix socket.
	callerUser    callerKind = "user"    // A user's certificate.
	callerMachine callerKind = "machine" // A machine's certificate.
	callerServer  callerKind = "server"  // A server's certificate.
)

// caller is who makes a call.
type caller struct {
	kind callerKind
	name string // Of the user at the socket, the user, or the machine's id.
	role cluster.Role
	// behalf is who uses a machine to call, as the machine says: for the record, it gives no rights.
	behalf string
}

// String names a caller in logs and records.
func (c caller) String() string {
	switch c.kind {
	case callerNobody:
		return "somebody without a certificate"
	case callerLocal, callerUser:
		return c.name
	case callerMachine, callerServer:
		if c.behalf != "" {
			return c.behalf + " on " + c.machine()
		}
		return c.machine()
	}
	return string(c.kind) + " " + c.name
}

// plain is a caller by its certificate alone.
func (c caller) plain() string {
	if c.kind == callerUser {
		return "user " + c.name
	}
	return c.machine()
}

func (c caller) machine() string { return "machine " + cluster.ShortID(c.name) }

// Guard knows whose certificates count and what users may do; trust.Desk is one.
type Guard interface {
	IsRevoked(id identity.ID) bool
	// RoleOf is what a user may do with a certificate that was issued at a moment.
	RoleOf(user string, issued time.Time) cluster.Role
}

// callerOf says who makes a request: the certificate of the connection, else the user at the other end of the socket.
func (a *API) callerOf(r *http.Request) (caller, error) {
	if r.TLS == nil {
		return caller{kind: callerLocal, name: peerOf(r.Context()).who, role: cluster.Admin}, nil
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return caller{}, nil
	}
	id, err := identity.FromCertificate(r.TLS.PeerCertificates[0])
	if err != nil {
		return caller{}, reason.Because(reason.NotAllowed, reason.Args{"what": "call this cluster", "who": "a certificate that names nobody (" + err.Error() + ")"})
	}
	c := caller{kind: callerKind(id.Kind), name: id.Name}
	select {
	case <-a.View.Ready():
	default: // Who is revoked, and what users may do, is not known yet.
		return c, reason.Because(reason.StoreUnavailable, reason.Args{"error": "this machine has not read the store yet"})
	}
	if a.Guard == nil || a.Guard.IsRevoked(id) {
		return c, reason.Because(reason.CertificateRevoked, reason.Args{"who": c.plain()})
	}
	switch c.kind { //nolint:exhaustive // The others come without a certificate.
	case callerUser:
		c.role = a.Guard.RoleOf(id.Name, identity.IssuedAt(r.TLS.PeerCertificates[0]))
	case callerServer:
		c.role = cluster.Admin // It holds the store and the cluster's key anyway.
	case callerMachine:
		c.role = a.localRole(id.Name)
		c.behalf = forwarded(r.Header.Get(wire.ForHeader))
	}
	return c, nil
}

var personName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_. -]*$`)

// forwarded is the name that a machine gives of who uses it; empty when it is none.
func forwarded(name string) string {
	if len(name) > maxForwardedFor || !personName.MatchString(name) {
		return ""
	}
	return name
}

// localRole is what people on a machine may do through it; a person grants it (cluster.MachineAdmin).
func (a *API) localRole(machine string) cluster.Role {
	var r cluster.Role
	a.View.Peek(func(p *cluster.Picture) {
		if m := p.Admin[machine]; m != nil {
			r = m.LocalRole
		}
	})
	return r
}

// may is the table's one reading: nil when the caller may make calls of a rule.
func (c caller) may(what string, needs rule) error {
	ok := false
	switch needs {
	case anyone:
		ok = true
	case members:
		ok = c.kind == callerLocal || c.kind == callerMachine || c.role.May(cluster.Viewer)
	case themselves:
		ok = c.kind == callerMachine || c.kind == callerServer
	case holders:
		ok = c.kind == callerMachine || c.kind == callerServer || c.kind == callerUser && c.role.May(cluster.Viewer)
	case viewers, deployers, operators, admins:
		ok = c.role.May(cluster.Role(needs))
	}
	if ok {
		return nil
	}
	args := reason.Args{"what": deed(what) + ", which takes " + needs.words(), "who": c.subject()}
	if cure := c.cure(needs); cure != "" {
		args["cure"] = cure
	}
	return reason.Because(reason.NotAllowed, args)
}

// subject is the caller as it stands in a refusal.
func (c caller) subject() string {
	switch {
	case c.kind == callerUser && c.role == "":
		return "user " + c.name + ", who has no rights here or had this certificate before they were taken away,"
	case c.kind == callerMachine:
		return "who uses " + c.machine()
	}
	return c.String()
}

// cure is what helps a caller who has not the right for a rule; empty: nothing that can be said.
func (c caller) cure(needs rule) string {
	role := cluster.Role(needs)
	if needs == members || needs == holders {
		role = cluster.Viewer
	}
	if !slices.Contains(cluster.Roles(), role) {
		return ""
	}
	switch {
	case c.kind == callerMachine:
		return "use a server's socket, or a context of your own (argosy help contexts); or let everybody at this machine's socket do it: " +
			"argosy machine set " + cluster.ShortID(c.name) + " --local-role " + string(role) + ", as an admin"
	case c.kind == callerUser && c.role == "":
		return "an admin lets you in: argosy user add " + c.name + " --role " + string(role)
	case c.kind == callerUser:
		return "an admin gives you more: argosy user add " + c.name + " --role " + string(role)
	}
	return ""
}

// deed is what a route does, as it stands in a sentence: reads have a thing as their summary, writes a deed.
func deed(summary string) string {
	what, _, _ := strings.Cut(summary, ":")
	if what == "" {
		return "make this call"
	}
	what = strings.ToLower(what[:1]) + what[1:]
	for _, article := range []string{"the ", "one ", "what ", "whether ", "who ", "present ", "log ", "metrics ", "versions", "this ", "new ", "where ", "how ", "a machine's "} {
		if strings.HasPrefix(what, article) {
			return "see " + what
		}
	}
	return what
}

func (r rule) words() string {
	switch r { //nolint:exhaustive // The others are roles.
	case members:
		return "a certificate of this cluster"
	case themselves:
		return "a machine's certificate"
	case holders:
		return "a certificate of this cluster that counts"
	}
	return "the role " + string(r)
}

type callerKey struct{}

// callerIn is who makes the request that a context belongs to.
func callerIn(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// admit finds out who calls and whether it may; the request it returns knows.
func (a *API) admit(rt route, r *http.Request) (*http.Request, error) {
	c, err := a.callerOf(r)
	if err == nil {
		err = c.may(rt.summary, rt.rule)
	}
	p := *peerOf(r.Context())
	p.who = c.String()
	ctx := context.WithValue(context.WithValue(r.Context(), callerKey{}, c), peerKey{}, &p)
	return r.WithContext(ctx), err
}
