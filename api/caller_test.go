package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// fixedGuard is a Guard from maps.
type fixedGuard struct {
	roles   map[string]cluster.Role
	revoked map[string]bool
}

func (g fixedGuard) IsRevoked(id identity.ID) bool                { return g.revoked[id.Name] }
func (g fixedGuard) RoleOf(name string, _ time.Time) cluster.Role { return g.roles[name] }

// as makes a request of somebody; an empty kind has no certificate.
func as(kind identity.Kind, name string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.TLS = &tls.ConnectionState{}
	if kind != "" {
		id := identity.ID{Cluster: "c1", Kind: kind, Name: name}
		r.TLS.PeerCertificates = []*x509.Certificate{{URIs: []*url.URL{id.URI()}}}
	}
	return r
}

const (
	m1 = "11111111111111111111111111111111"
	m2 = "22222222222222222222222222222222"
	m3 = "33333333333333333333333333333333"
)

// TestMatrix: every route by every kind of caller. Who may is written down here once more, by hand.
func TestMatrix(t *testing.T) {
	a := New(Config{View: loadedView(), Now: time.Now, Log: testLog})
	a.Guard = fixedGuard{
		roles:   map[string]cluster.Role{"vera": cluster.Viewer, "dan": cluster.Deployer, "olga": cluster.Operator, "ada": cluster.Admin, "ghost": "emperor"},
		revoked: map[string]bool{m3: true, "rex": true},
	}
	socket := httptest.NewRequest(http.MethodGet, "/", nil)
	callers := map[string]*http.Request{
		"socket": socket, "nobody": as("", ""), "vera": as(identity.KindUser, "vera"), "dan": as(identity.KindUser, "dan"),
		"olga": as(identity.KindUser, "olga"), "ada": as(identity.KindUser, "ada"), "unknown": as(identity.KindUser, "uma"),
		"ghost": as(identity.KindUser, "ghost"), "machine": as(identity.KindMachine, m1), "server": as(identity.KindServer, m2),
		"revoked machine": as(identity.KindMachine, m3), "revoked server": as(identity.KindServer, m3), "revoked user": as(identity.KindUser, "rex"),
	}
	may := map[rule][]string{
		anyone:     {"socket", "nobody", "vera", "dan", "olga", "ada", "unknown", "ghost", "machine", "server"},
		members:    {"socket", "vera", "dan", "olga", "ada", "machine", "server"},
		viewers:    {"socket", "vera", "dan", "olga", "ada", "server"},
		deployers:  {"socket", "dan", "olga", "ada", "server"},
		operators:  {"socket", "olga", "ada", "server"},
		admins:     {"socket", "ada", "server"},
		themselves: {"machine", "server"},
		holders:    {"vera", "dan", "olga", "ada", "machine", "server"},
	}
	cells := 0
	for _, rt := range a.routes {
		allowed, ok := may[rt.rule]
		if !ok {
			t.Errorf("%s %s has no rule", rt.method, rt.path)
			continue
		}
		for name, r := range callers {
			cells++
			_, err := a.admit(rt, r)
			if want := slices.Contains(allowed, name); want != (err == nil) {
				t.Errorf("%s %s (%s) by %s: %v, want allowed %t", rt.method, rt.path, rt.rule, name, err, want)
			}
			if why, ok := errors.AsType[*reason.Reason](err); err != nil && (!ok || why.Code != reason.NotAllowed && why.Code != reason.CertificateRevoked) {
				t.Errorf("%s %s by %s is refused without a reason: %v", rt.method, rt.path, name, err)
			}
		}
		if rt.write && rt.rule != deployers && rt.rule != operators && rt.rule != admins && rt.id != "join" {
			t.Errorf("%s %s changes the cluster by the rule %q", rt.method, rt.path, rt.rule)
		}
	}
	t.Logf("%d cells", cells)
}

// TestHostileCertificates: a certificate that names nobody, or two, is nobody.
func TestHostileCertificates(t *testing.T) {
	a := New(Config{View: loadedView(), Now: time.Now, Log: testLog})
	a.Guard = fixedGuard{roles: map[string]cluster.Role{"ada": cluster.Admin}}
	ada := identity.ID{Cluster: "c1", Kind: identity.KindUser, Name: "ada"}.URI()
	for name, uris := range map[string][]*url.URL{
		"none":   nil,
		"two":    {ada, ada},
		"scheme": {{Scheme: "https", Host: "c1", Path: "/user/ada"}},
		"more":   {{Scheme: "spiffe", Host: "c1", Path: "/user/ada/x"}},
		"kind":   {{Scheme: "spiffe", Host: "c1", Path: "/root/ada"}},
	} {
		r := as("", "")
		r.TLS.PeerCertificates = []*x509.Certificate{{URIs: uris}}
		if _, err := a.admit(route{rule: members, summary: "look"}, r); err == nil {
			t.Errorf("%s: let in", name)
		}
	}
}

// loadedView is a view that has read an empty store.
func loadedView() *store.View {
	v := store.NewView(testLog)
	v.Load(store.Picture{})
	return v
}

// TestNobodyBeforeTheStoreWasRead: while a server does not know who is revoked, no certificate counts.
func TestNobodyBeforeTheStoreWasRead(t *testing.T) {
	a := New(Config{View: store.NewView(testLog), Now: time.Now, Log: testLog, Guard: fixedGuard{}})
	for _, r := range []*http.Request{as(identity.KindServer, m2), as(identity.KindMachine, m1), as(identity.KindUser, "ada")} {
		_, err := a.admit(route{rule: members, summary: "look"}, r)
		if why, ok := errors.AsType[*reason.Reason](err); !ok || why.Code != reason.StoreUnavailable {
			t.Errorf("%v", err)
		}
	}
}
