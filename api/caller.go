package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
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
}

// String names a caller in logs and records.
func (c caller) String() string {
	switch c.kind {
	case callerNobody:
		return "somebody without a certificate"
	case callerLocal, callerUser:
		return c.name
	case callerMachine, callerServer:
		return "machine " + cluster.ShortID(c.name)
	}
	return string(c.kind) + " " + c.name
}

// Guard knows whose certificates count and what users may do; trust.Desk is one.
type Guard interface {
	IsRevoked(id identity.ID) bool
	RoleOf(user string) cluster.Role
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
	if a.Guard == nil || a.Guard.IsRevoked(id) {
		return caller{}, reason.Because(reason.CertificateRevoked, reason.Args{"who": string(id.Kind) + " " + id.Name})
	}
	c := caller{kind: callerKind(id.Kind), name: id.Name}
	switch c.kind {
	case callerUser:
		c.role = a.Guard.RoleOf(id.Name)
	case callerServer:
		c.role = cluster.Admin // It holds the store and the cluster's key anyway.
	case callerMachine:
		c.role = a.localRole(id.Name)
	}
	return c, nil
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
	case viewers, deployers, operators, admins:
		ok = c.role.May(cluster.Role(needs))
	}
	if ok {
		return nil
	}
	return reason.Because(reason.NotAllowed, reason.Args{"what": deed(what) + ", which takes " + needs.words(), "who": c.String()})
}

// deed is what a route does, as it stands in a sentence.
func deed(summary string) string {
	what, _, _ := strings.Cut(summary, ":")
	if what == "" {
		return "make this call"
	}
	return strings.ToLower(what[:1]) + what[1:]
}

func (r rule) words() string {
	switch r {
	case members:
		return "a certificate of this cluster"
	case themselves:
		return "a machine's certificate"
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

// recheck is how often an open stream is asked again whether its caller may still see it.
const recheck = 2 * time.Second

// whileAllowed ends a stream's request when its caller may not see it any more. The returned function has to be called.
func (a *API) whileAllowed(rt route, r *http.Request) (*http.Request, func()) {
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		t := time.NewTicker(recheck)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if _, err := a.admit(rt, r); err != nil {
				cancel()
				return
			}
		}
	}()
	return r.WithContext(ctx), cancel
}
