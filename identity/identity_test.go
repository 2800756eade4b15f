package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
)

var (
	m1 = strings.Repeat("1", 32)
	m2 = strings.Repeat("2", 32)
)

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func found(t *testing.T, cluster string) *Authority {
	t.Helper()
	return must(Found(cluster, time.Now()))(t)
}

// wantCode checks that an error holds a reason of this code; "" wants no error.
func wantCode(t *testing.T, what string, err error, code reason.Code) {
	t.Helper()
	r, _ := errors.AsType[*reason.Reason](err)
	if code == "" && err != nil || code != "" && (r == nil || r.Code != code) {
		t.Errorf("%s: got %v (%T), want %q", what, err, err, code)
	}
}

// keeper makes a member of the cluster with a fresh key.
func keeper(t *testing.T, a *Authority, kind Kind, name string, revoked func(ID) bool) *Keeper {
	t.Helper()
	key := must(NewKey())(t)
	chain := must(a.Issue(ID{a.cluster, kind, name}, key.Public(), nil, time.Now()))(t)
	return must(NewKeeper(KeeperOptions{Key: key, Chain: chain, Roots: a.Bundle().Roots, Revoked: revoked}))(t)
}

// outcome is what a listener saw of one connection.
type outcome struct {
	state tls.ConnectionState
	bytes []byte // Of the application.
	err   error
}

// call opens one connection, sends a text and waits for the answer.
func call(t *testing.T, server, client *tls.Config) (outcome, error) {
	t.Helper()
	l := must((&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	seen := make(chan outcome, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			seen <- outcome{err: err}
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		var o outcome
		if o.err = s.HandshakeContext(t.Context()); o.err == nil {
			o.state = s.ConnectionState()
			b := make([]byte, 64)
			var n int
			n, o.err = s.Read(b)
			o.bytes = b[:n]
			if o.err == nil {
				_, o.err = s.Write([]byte("welcome"))
			}
		}
		seen <- o
		_ = s.Close()
	}()
	err := func() error {
		conn, err := (&tls.Dialer{Config: client}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("the secret")); err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, len("welcome")))
		return err
	}()
	return <-seen, err
}

func TestURI(t *testing.T) {
	for text, ok := range map[string]bool{
		"spiffe://prod/machine/" + m1: true, "spiffe://prod/server/" + m1: true, "spiffe://prod/user/ann": true, "spiffe://a.b-c/user/a.b_c-d": true,
		"spiffe://prod/machine/" + m1[1:]: false, "spiffe://prod/machine/" + strings.Repeat("A", 32): false, "spiffe://prod/root/ann": false,
		"https://prod/user/ann": false, "spiffe://Prod/user/ann": false, "spiffe://prod:1/user/ann": false, "spiffe://x@prod/user/ann": false,
		"spiffe://prod/user/ann?x": false, "spiffe://prod/user/ann#x": false, "spiffe://prod/user/ann/": false, "spiffe://prod//user/ann": false,
		"spiffe://prod/user/%61nn": false, "spiffe://prod/user/../user/ann": false, "spiffe://prod/user/..": false, "spiffe:prod/user/ann": false,
		"spiffe://prod/user/": false, "spiffe:///user/ann": false, "spiffe://prod/user": false, "SPIFFE://prod/user/ann": true, // A scheme has no case (RFC 3986 3.1).
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		id, err := ParseURI(u)
		if (err == nil) != ok || (ok && id.String() != strings.Replace(text, "SPIFFE", "spiffe", 1)) {
			t.Errorf("%s: %v, %v; want ok=%v", text, id, err, ok)
		}
	}
}

// hostile makes a chain from the cluster's own issuing CA, which a sound one would never sign.
func hostile(t *testing.T, c *ca, key *ecdsa.PrivateKey, change func(*x509.Certificate)) []byte {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: must(newSerial())(t), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{{Scheme: "spiffe", Host: "prod", Path: "/machine/" + m1}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	change(tmpl)
	return toPEM(must(sign(tmpl, c.issuing, key.Public(), c.issuingKey))(t), c.issuing, c.root)
}

func pair(t *testing.T, chain []byte, key crypto.Signer) *tls.Certificate {
	t.Helper()
	c := &tls.Certificate{PrivateKey: key}
	for _, x := range must(parsePEM(chain))(t) {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c
}

func uris(list ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.URIs = nil
		for _, s := range list {
			u, _ := url.Parse(s)
			c.URIs = append(c.URIs, u)
		}
	}
}

// TestHostileCertificates shows each bad certificate to a server and, as a server's, to a client: none gets a byte in or out.
func TestHostileCertificates(t *testing.T) {
	a, other := found(t, "prod"), found(t, "evil")
	key := must(NewKey())(t)
	good := "spiffe://prod/server/" + m1
	issue := func(a *Authority, f func(ID, crypto.PublicKey, []string, time.Time) ([]byte, error), kind Kind, name string, at time.Time) []byte {
		return must(f(ID{a.cluster, kind, name}, key.Public(), nil, at))(t)
	}
	userKey := must(NewKey())(t)
	user := must(parsePEM(must(a.Issue(ID{"prod", KindUser, "ann"}, userKey.Public(), nil, time.Now()))(t)))(t)
	byUser := must(sign(&x509.Certificate{SerialNumber: must(newSerial())(t), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{ID{"prod", KindServer, m1}.URI()}}, user[0], key.Public(), userKey))(t)
	self := &x509.Certificate{SerialNumber: must(newSerial())(t), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{ID{"prod", KindServer, m1}.URI()}}
	selfSigned := must(sign(self, self, key.Public(), key))(t)
	const asServer, asClient = 1, 2
	for name, c := range map[string]struct {
		chain []byte
		code  reason.Code // As the client sees it when a server shows this.
		where int
	}{
		"no name":             {hostile(t, a.api, key, uris()), reason.CertificateInvalid, asServer | asClient},
		"two names":           {hostile(t, a.api, key, uris(good, "spiffe://prod/user/ann")), reason.CertificateInvalid, asServer | asClient},
		"the same twice":      {hostile(t, a.api, key, uris(good, good)), reason.CertificateInvalid, asServer | asClient},
		"wrong scheme":        {hostile(t, a.api, key, uris("https://prod/server/"+m1)), reason.CertificateInvalid, asServer | asClient},
		"deep path":           {hostile(t, a.api, key, uris(good+"/x")), reason.CertificateInvalid, asServer | asClient},
		"query":               {hostile(t, a.api, key, uris(good+"?x=y")), reason.CertificateInvalid, asServer | asClient},
		"another cluster":     {hostile(t, a.api, key, uris("spiffe://evil/server/"+m1)), reason.WrongCluster, asServer | asClient},
		"another CA":          {issue(other, other.Issue, KindServer, m1, time.Now()), reason.WrongCluster, asServer | asClient},
		"our root added":      {append(issue(other, other.Issue, KindServer, m1, time.Now()), a.Bundle().Roots...), reason.WrongCluster, asServer | asClient},
		"ended":               {issue(a, a.Issue, KindServer, m1, time.Now().Add(-MachineLife-time.Minute)), reason.CertificateExpired, asServer | asClient},
		"not begun":           {issue(a, a.Issue, KindServer, m1, time.Now().Add(early+time.Minute)), reason.CertificateEarly, asServer | asClient},
		"a store peer's":      {issue(a, a.IssuePeer, KindServer, m1, time.Now()), reason.CAUnknown, asServer | asClient},
		"self-signed":         {toPEM(selfSigned), reason.CAUnknown, asServer | asClient},
		"signed by a user":    {toPEM(append([]*x509.Certificate{byUser}, user...)...), reason.CAUnknown, asServer | asClient},
		"revoked":             {issue(a, a.Issue, KindServer, strings.Repeat("e", 32), time.Now()), reason.CertificateRevoked, asServer | asClient},
		"a CA's":              {hostile(t, a.api, key, func(c *x509.Certificate) { c.IsCA = true }), reason.CertificateInvalid, asServer | asClient},
		"for clients only":    {hostile(t, a.api, key, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:]; uris(good)(c) }), reason.CertificateInvalid, asServer},
		"for servers only":    {hostile(t, a.api, key, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), "", asClient},
		"a user as server":    {issue(a, a.Issue, KindUser, "ann", time.Now()), reason.CertificateInvalid, asServer},
		"a machine as server": {issue(a, a.Issue, KindMachine, m1, time.Now()), reason.WrongIdentity, asServer},
	} {
		t.Run(name, func(t *testing.T) {
			k := keeper(t, a, KindServer, m2, func(id ID) bool { return strings.HasPrefix(id.Name, "ee") })
			bad := pair(t, c.chain, key)
			if c.where&asServer != 0 {
				o, err := call(t, &tls.Config{Certificates: []tls.Certificate{*bad}, MinVersion: tls.VersionTLS13}, k.ClientTLS(KindServer, ""))
				wantCode(t, "as a server", err, c.code)
				if o.err == nil || len(o.bytes) > 0 {
					t.Errorf("it read %q", o.bytes)
				}
			}
			if c.where&asClient != 0 {
				show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return bad, nil }
				o, err := call(t, k.ServerTLS(), &tls.Config{InsecureSkipVerify: true, GetClientCertificate: show})
				if err == nil || o.err == nil || len(o.bytes) > 0 {
					t.Errorf("it was let in: %v, %v, %q", err, o.err, o.bytes)
				}
				wantCode(t, "its own view", Explain(err), reason.CertificateRefused)
			}
		})
	}
}

func TestMembersMeet(t *testing.T) {
	a := found(t, "prod")
	server, machine, user := keeper(t, a, KindServer, m1, nil), keeper(t, a, KindMachine, m2, nil), keeper(t, a, KindUser, "ann", nil)
	for _, c := range []struct {
		what   string
		server *Keeper
		client *tls.Config
		caller ID
		code   reason.Code
	}{
		{"a machine, any server", server, machine.ClientTLS(KindServer, ""), machine.ID(), ""},
		{"a user, this server", server, user.ClientTLS(KindServer, m1), user.ID(), ""},
		{"a user, another server", server, user.ClientTLS(KindServer, m2), ID{}, reason.WrongIdentity},
		{"a server, a machine", machine, server.ClientTLS(KindMachine, m2), server.ID(), ""},
		{"a machine that is a server", server, machine.ClientTLS(KindMachine, m1), machine.ID(), ""},
		{"a machine without a name", machine, server.ClientTLS(KindMachine, ""), ID{}, reason.WrongIdentity},
		{"a server that is a machine only", machine, server.ClientTLS(KindServer, m2), ID{}, reason.WrongIdentity},
		{"a user is no server", server, machine.ClientTLS(KindUser, m1), ID{}, reason.WrongIdentity},
		{"who joins", server, PinnedTLS(a.Pin()), ID{}, ""},
		{"who joins at a machine", machine, PinnedTLS(a.Pin()), ID{}, reason.WrongIdentity},
	} {
		for _, proto := range []string{"h2", "http/1.1"} {
			c.client.NextProtos = []string{proto}
			o, err := call(t, c.server.ServerTLS(), c.client)
			wantCode(t, c.what, err, c.code)
			id, ok := Caller(&o.state)
			if id != c.caller || ok != (c.caller != ID{}) {
				t.Errorf("%s: the caller is %v %v, want %v", c.what, id, ok, c.caller)
			}
			if c.code == "" && (o.state.Version != tls.VersionTLS13 || o.state.NegotiatedProtocol != proto || o.state.DidResume) {
				t.Errorf("%s: TLS %x, %s, resumed %v", c.what, o.state.Version, o.state.NegotiatedProtocol, o.state.DidResume)
			}
		}
	}
	if _, err := call(t, server.ServerTLS(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
}

// TestRevokedAtOnce revokes between two connections of one client, which might resume its session.
func TestRevokedAtOnce(t *testing.T) {
	a := found(t, "prod")
	gone := false
	server, machine := keeper(t, a, KindServer, m1, func(ID) bool { return gone }), keeper(t, a, KindMachine, m2, nil)
	client := machine.ClientTLS(KindServer, "")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range 2 {
		if _, err := call(t, server.ServerTLS(), client); err != nil {
			t.Fatal(err)
		}
	}
	gone = true
	o, err := call(t, server.ServerTLS(), client)
	wantCode(t, "the server's view", o.err, reason.CertificateRevoked)
	wantCode(t, "the client's view", Explain(err), reason.CertificateRefused)
}

// TestPin is A1: who has not the CA that the token names gets no byte, neither with a CA of its own, nor with the
// right root laid beside it, nor with a certificate of the cluster that is not a server's.
func TestPin(t *testing.T) {
	a, other := found(t, "prod"), found(t, "prod")
	key := must(NewKey())(t)
	chain := func(a *Authority, kind Kind, name string, at time.Time) []byte {
		return must(a.Issue(ID{"prod", kind, name}, key.Public(), nil, at))(t)
	}
	now := time.Now()
	leafOnly := toPEM(must(parsePEM(chain(a, KindServer, m1, now)))(t)[0])
	for what, c := range map[string]struct {
		chain []byte
		code  reason.Code
	}{
		"the right one":             {chain(a, KindServer, m1, now), ""},
		"a clock 50 minutes behind": {chain(a, KindServer, m1, now.Add(50*time.Minute)), ""},
		"another CA":                {chain(other, KindServer, m1, now), reason.CAMismatch},
		"the right root beside it":  {append(chain(other, KindServer, m1, now), a.Bundle().Roots...), reason.CAUnknown},
		"the peers' CA":             {must(a.IssuePeer(ID{"prod", KindServer, m1}, key.Public(), nil, now))(t), reason.CAMismatch},
		"no root sent":              {leafOnly, reason.CAMismatch},
		"a machine":                 {chain(a, KindMachine, m1, now), reason.WrongIdentity},
		"a user":                    {chain(a, KindUser, "ann", now), reason.CertificateInvalid},
		"ended":                     {chain(a, KindServer, m1, now.Add(-MachineLife-time.Hour)), reason.CertificateExpired},
	} {
		o, err := call(t, &tls.Config{Certificates: []tls.Certificate{*pair(t, c.chain, key)}, NextProtos: protocols()}, PinnedTLS(a.Pin()))
		wantCode(t, what, err, c.code)
		if c.code != "" && (o.err == nil || len(o.bytes) > 0) || c.code == "" && string(o.bytes) != "the secret" {
			t.Errorf("%s: the server read %q, %v", what, o.bytes, o.err)
		}
	}
	o, err := call(t, keeper(t, a, KindServer, m1, nil).ServerTLS(), PinnedTLS([32]byte{}))
	wantCode(t, "no pin", err, reason.CAMismatch)
	if len(o.bytes) > 0 {
		t.Error("a byte was sent without a pin")
	}
}
