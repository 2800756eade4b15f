package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

const (
	s1 = "11111111111111111111111111111111"
	s2 = "22222222222222222222222222222222"
)

// authority is a cluster's CA for a test.
func authority(t *testing.T, name string) *identity.Authority {
	t.Helper()
	a, err := identity.Found(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// server answers over TLS as a server of the cluster.
func server(t *testing.T, a *identity.Authority, id string, h http.Handler) *httptest.Server {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.Issue(identity.ID{Cluster: a.Cluster(), Kind: identity.KindServer, Name: id}, &key.PublicKey, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k, err := identity.NewKeeper(identity.KeeperOptions{Key: key, Chain: chain, Roots: a.Bundle().Roots})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.TLS = k.ServerTLS()
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// personal is ada's context of the cluster.
func personal(t *testing.T, a *identity.Authority, at time.Time, servers ...string) *client.Context {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := identity.KeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.Issue(identity.ID{Cluster: a.Cluster(), Kind: identity.KindUser, Name: "ada"}, &key.PublicKey, nil, at)
	if err != nil {
		t.Fatal(err)
	}
	return client.NewContext("prod", "ada", private, &wire.Credentials{Cluster: a.Cluster(), Certificate: chain, Roots: a.Bundle().Roots, Servers: servers})
}

// says answers every call with a server's name, as its version.
func says(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := identity.Caller(r.TLS)
		_, _ = w.Write([]byte(`{"version":"` + name + ` ` + id.Name + ` ` + r.Proto + `"}`))
	})
}

func address(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "https://") }

func open(t *testing.T, x *client.Context) *client.Session {
	t.Helper()
	s, err := x.Open(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func wantCode(t *testing.T, err error, code reason.Code) {
	t.Helper()
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// TestFailOver: any server of the context will do, a dead, silent or deposed one costs no call.
func TestFailOver(t *testing.T) {
	a := authority(t, "c1")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // Takes connections and says nothing.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	dead := server(t, a, s1, says("dead"))
	dead.Close()
	var lost atomic.Bool // The first server has no quorum.
	first := server(t, a, s1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lost.Load() {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"code":"store-unavailable","args":{"error":"no quorum"}}`))
			return
		}
		says("first").ServeHTTP(w, r)
	}))
	second := server(t, a, s2, says("second"))
	s := open(t, personal(t, a, time.Now(), address(dead), silent.Addr().String(), address(first), address(second)))
	want := func(text string) {
		t.Helper()
		if v, err := s.Version(deadline(t)); err != nil || v.Version != text {
			t.Fatalf("%v, %v; want %q", v, err, text)
		}
	}
	want("first ada HTTP/2.0")
	lost.Store(true)
	want("second ada HTTP/2.0")
	if _, err := s.CreateToken(deadline(t), wire.TokenRequest{}); err != nil { // It stays with the one that works.
		t.Error(err)
	}
	second.CloseClientConnections()
	second.Close()
	lost.Store(false)
	want("first ada HTTP/2.0")
	first.CloseClientConnections()
	first.Close()
	_ = silent.Close()
	_, err = s.Version(deadline(t))
	wantCode(t, err, reason.NotReachable)
	for _, s := range []*httptest.Server{dead, first, second} {
		if !strings.Contains(err.Error(), address(s)) {
			t.Errorf("%v does not name %s", err, address(s))
		}
	}
}

// TestContextsSpeak: what is wrong with a context is said by its name.
func TestContextsSpeak(t *testing.T) {
	a, other := authority(t, "c1"), authority(t, "c2")
	srv := server(t, other, s1, says("other"))
	_, err := open(t, personal(t, a, time.Now(), address(srv))).Version(deadline(t))
	wantCode(t, err, reason.WrongCluster)
	_, err = personal(t, a, time.Now().Add(-identity.UserLife-time.Hour), address(srv)).Open(time.Now())
	wantCode(t, err, reason.CertificateExpired)
	// A server that does not know the root ends the handshake after ours: only the alert tells.
	strict := httptest.NewUnstartedServer(says("strict"))
	ours := server(t, a, s1, says("ours"))
	cert, err := ours.TLS.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	strict.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), Certificates: []tls.Certificate{*cert}}
	strict.Config.ErrorLog = ours.Config.ErrorLog
	strict.StartTLS()
	t.Cleanup(strict.Close)
	_, err = open(t, personal(t, a, time.Now(), address(strict))).Version(deadline(t))
	wantCode(t, err, reason.CertificateRefused)
}

// TestContextsOnDisk: kept for their owner alone, one current, never half.
func TestContextsOnDisk(t *testing.T) {
	a := authority(t, "c1")
	d := client.Contexts{Dir: filepath.Join(t.TempDir(), "argosy")}
	x := personal(t, a, time.Now(), "127.0.0.1:1")
	if err := d.Put(x); err != nil {
		t.Fatal(err)
	}
	if err := d.Use("prod"); err != nil || d.Current() != "prod" {
		t.Errorf("%v, current %q", err, d.Current())
	}
	for _, name := range []string{"prod", ".current"} {
		info, err := os.Stat(filepath.Join(d.Dir, "contexts", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	names, err := d.Names()
	if err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
	for _, bad := range []string{"../x", "a/b", ".current", "", strings.Repeat("x", 65)} {
		y := *x
		y.Name = bad
		if err := d.Put(&y); err == nil {
			t.Errorf("%q was taken as a name", bad)
		}
		if _, err := d.Get(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	stolen := *x
	stolen.Key = personal(t, a, time.Now(), "127.0.0.1:1").Key
	if err := d.Put(&stolen); err == nil {
		t.Error("a key that does not fit was kept")
	}
	if err := os.Chmod(filepath.Join(d.Dir, "contexts", "prod"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = d.Get("prod")
	wantCode(t, err, reason.IdentityExposed)
	if err := d.Remove("prod"); err != nil || d.Current() != "" {
		t.Errorf("%v, current %q", err, d.Current())
	}
	_, err = d.Get("prod")
	wantCode(t, err, reason.NoSuchContext)
}

// TestRenewal: a session that is due gets a certificate for the same key and keeps it.
func TestRenewal(t *testing.T) {
	a := authority(t, "c1")
	later := make(chan string, 1)
	srv := server(t, a, s1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaf := r.TLS.PeerCertificates[0]
		id, _ := identity.Caller(r.TLS)
		chain, err := a.Issue(id, leaf.PublicKey, nil, time.Now())
		if err != nil {
			t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(wire.Credentials{Cluster: "c1", Certificate: chain, Roots: a.Bundle().Roots, Servers: []string{<-later, "127.0.0.1:9"}})
	}))
	later <- address(srv)
	d := client.Contexts{Dir: filepath.Join(t.TempDir(), "argosy")}
	s := open(t, personal(t, a, time.Now().Add(-27*24*time.Hour), address(srv)))
	before := s.Until()
	if !s.Due(time.Now()) {
		t.Fatal("27 of 30 days, and it is not due")
	}
	if err := s.Renew(deadline(t), d); err != nil {
		t.Fatal(err)
	}
	kept, err := d.Get("prod")
	if err != nil || len(kept.Servers) != 2 || !s.Until().After(before) || s.Due(time.Now()) {
		t.Errorf("%v, servers %v, until %v", err, kept.Servers, s.Until())
	}
}
