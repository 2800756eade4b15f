package api

import (
	"context"
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/store"
)

// viewGuard is a Guard from a view, as trust.Desk is.
type viewGuard struct{ view *store.View }

func (g viewGuard) IsRevoked(id identity.ID) bool {
	gone := false
	g.view.Peek(func(p *cluster.Picture) { gone = p.Revoked["machine/"+id.Name] != nil })
	return gone
}

func (g viewGuard) RoleOf(name string, _ time.Time) cluster.Role {
	var r cluster.Role
	g.view.Peek(func(p *cluster.Picture) {
		if u := p.Users[name]; u != nil {
			r = u.Role
		}
	})
	return r
}

// TestRightsEndWithTheView: as soon as a server's view holds a revocation, or a user less, the next call is refused and
// open streams end, without waiting for the recheck.
func TestRightsEndWithTheView(t *testing.T) {
	for what, c := range map[string]struct {
		by   *http.Request
		gone store.Entry
	}{
		"a machine revoked": {as(identity.KindMachine, m2), store.Entry{Key: cluster.RevokedKey("machine", m2), Value: []byte(`{"kind":"machine","name":"` + m2 + `"}`), Revision: 3}},
		"a server revoked":  {as(identity.KindServer, m3), store.Entry{Key: cluster.RevokedKey("machine", m3), Value: []byte(`{"kind":"machine","name":"` + m3 + `"}`), Revision: 3}},
		"a user removed":    {as(identity.KindUser, "ada"), store.Entry{Key: cluster.UserKey("ada"), Revision: 3}},
	} {
		t.Run(what, func(t *testing.T) {
			view := store.NewView(testLog)
			view.Load(store.Picture{Revision: 2, Entries: []store.Entry{{Key: cluster.UserKey("ada"), Value: cluster.Encode(cluster.User{Name: "ada", Role: cluster.Viewer}), Revision: 2}}})
			a := New(Config{View: view, Now: time.Now, Log: testLog})
			a.Guard = viewGuard{view}
			if err := a.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			rt := route{summary: "look", rule: members}
			r := c.by.Clone(t.Context())
			r.TLS = &tls.ConnectionState{PeerCertificates: c.by.TLS.PeerCertificates}
			r.TLS.PeerCertificates[0].NotAfter = time.Now().Add(time.Hour)
			if _, err := a.admit(rt, r); err != nil {
				t.Fatal(err)
			}
			stream, end := a.whileAllowed(rt, r)
			defer end()
			view.Apply(store.Batch{Revision: 3, Entries: []store.Entry{c.gone}})
			if _, err := a.admit(rt, r); err == nil {
				t.Error("the next call is let in")
			}
			if err := a.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), recheck/2)
			defer cancel()
			select {
			case <-stream.Context().Done():
			case <-ctx.Done():
				t.Error("the stream goes on")
			}
		})
	}
}

// TestStreamEndsWithItsCertificate: a stream does not outlive the certificate it was opened with.
func TestStreamEndsWithItsCertificate(t *testing.T) {
	view := store.NewView(testLog)
	view.Load(store.Picture{Revision: 1})
	now := at0
	a := New(Config{View: view, Now: func() time.Time { return now }, Log: testLog})
	a.Guard = viewGuard{view}
	r := as(identity.KindMachine, m2)
	r.TLS.PeerCertificates[0].NotAfter = at0.Add(time.Minute)
	if !a.stillAllowed(route{rule: members, summary: "look"}, r) {
		t.Error("a good certificate is refused")
	}
	now = at0.Add(2 * time.Minute)
	if a.stillAllowed(route{rule: members, summary: "look"}, r) {
		t.Error("a stream goes on with a certificate that has ended")
	}
}
