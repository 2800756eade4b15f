package node_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/node"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// files are a machine's identity on its disk.
func (m *machine) files() identity.Files {
	return identity.Files{Dir: filepath.Join(m.dir, m.name, "identity")}
}

// thief is who has copied a machine's identity.
func (m *machine) thief() *identity.Keeper {
	m.Helper()
	k, err := m.files().Keeper(nil, time.Now)
	if err != nil {
		m.Fatal(err)
	}
	return k
}

func (m *machine) id() string { return m.thief().ID().Name }

// person lets somebody in and gives the session of their laptop.
func (m *machine) person(name string, role cluster.Role) *client.Session {
	m.Helper()
	key, err := identity.NewKey()
	if err != nil {
		m.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		m.Fatal(err)
	}
	private, err := identity.KeyPEM(key)
	if err != nil {
		m.Fatal(err)
	}
	got, err := m.client.AddUser(m.Context(), wire.UserRequest{Name: name, Role: role, PublicKey: public})
	if err != nil {
		m.Fatal(err)
	}
	s, err := client.NewContext("test", name, private, got.Credentials).Open(time.Now())
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(s.Close)
	return s
}

func wantCode(t *testing.T, what string, err error, code reason.Code) {
	t.Helper()
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// soon asks again and again until it is so.
func (b *bed) soon(what string, ok func() bool) {
	b.Helper()
	tick, late := time.NewTicker(20*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer late.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			b.Fatalf("waited in vain for %s", what)
		}
	}
}

// refused waits for a refusal in the audit log.
func (m *machine) refused(verb string, code reason.Code) {
	m.Helper()
	m.soon("a record that "+verb+" was refused with "+string(code), func() bool {
		got, err := m.client.Audit(m.Context(), client.AuditQuery{Refused: true})
		if err != nil {
			m.Fatal(err)
		}
		for _, r := range got.Records {
			if r.Verb == verb && r.Code == code {
				return true
			}
		}
		return false
	})
}

// TestA1WrongCA: an address of the token has another CA. The machine that joins sends it nothing.
func TestA1WrongCA(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	text, err := m1.client.CreateToken(t.Context(), wire.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := identity.ParseToken(text.Token)
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.Found("evil", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := other.Issue(identity.ID{Cluster: "evil", Kind: identity.KindServer, Name: m1.id()}, &key.PublicKey, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k, err := identity.NewKeeper(identity.KeeperOptions{Key: key, Chain: chain, Roots: other.Bundle().Roots})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", k.ServerTLS())
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan int, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			heard <- -1
			return
		}
		b, _ := io.ReadAll(c)
		heard <- len(b)
	}()
	token.Addresses = []string{l.Addr().String()}
	err = node.Join(t.Context(), node.JoinConfig{Token: token.String(), Data: filepath.Join(b.dir, "m2"), Name: "m2", Listen: b.address(2)})
	wantCode(t, "joining at an impostor", err, reason.CAMismatch)
	if n := <-heard; n != 0 {
		t.Errorf("the impostor heard %d bytes", n)
	}
	_ = l.Close()
	list, err := m1.client.Tokens(t.Context())
	if err != nil || len(list.Tokens) != 1 || list.Tokens[0].Uses != 1 {
		t.Errorf("the token is not what it was: %+v, %v", list, err)
	}
}

// TestA2Tokens: used, revoked, expired, forged or for another role: refused, and written down.
func TestA2Tokens(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	public := func() []byte {
		key, err := identity.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}()
	join := func(text string, change func(*identity.Token, *wire.JoinRequest)) error {
		token, err := identity.ParseToken(text)
		if err != nil {
			t.Fatal(err)
		}
		q := wire.JoinRequest{Machine: strings.Repeat("7", 32), Name: "m7", PublicKey: public, PeerKey: public}
		if change != nil {
			change(&token, &q)
		}
		q.Token = token.String()
		c := client.NewTLS(m1.address, identity.PinnedTLS(token.Pin))
		defer c.Close()
		_, err = c.Join(t.Context(), q)
		return err
	}
	create := func(q wire.TokenRequest) *wire.TokenAnswer {
		a, err := m1.client.CreateToken(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	once := create(wire.TokenRequest{})
	wantCode(t, "a server by an agent's token", join(once.Token, func(_ *identity.Token, q *wire.JoinRequest) { q.Role = "server" }), reason.TokenRole)
	wantCode(t, "a wrong secret", join(once.Token, func(k *identity.Token, _ *wire.JoinRequest) { k.Secret[3] ^= 1 }), reason.TokenUnknown)
	if err := join(once.Token, nil); err != nil {
		t.Errorf("the right one: %v", err)
	}
	wantCode(t, "again", join(once.Token, nil), reason.TokenUsed)
	short := create(wire.TokenRequest{TTL: 1})
	gone := create(wire.TokenRequest{})
	if err := m1.client.RevokeToken(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "revoked", join(gone.Token, nil), reason.TokenUnknown)
	b.soon("the end of the token", func() bool { return time.Now().After(short.Expires) })
	wantCode(t, "expired", join(short.Token, nil), reason.TokenExpired)
	wantCode(t, "the sixth failure from one address", join(once.Token, nil), reason.TooMany)
	for _, code := range []reason.Code{reason.TokenRole, reason.TokenUnknown, reason.TokenUsed, reason.TokenExpired} {
		m1.refused("join", code)
	}
	if check, err := m1.client.VerifyAudit(t.Context()); err != nil || len(check.Servers) != 1 || check.Servers[0].Fault != "" {
		t.Errorf("%v, %+v", err, check)
	}
}

// TestA3Revoked: a machine that is revoked is refused by every server as soon as that has seen it, its streams end, its
// lease too, and what ran there runs elsewhere.
func TestA3Revoked(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "agent")
	m1.template("w@.service", sleeper)
	m1.start("w@1.service", "w@2.service")
	if n := on(m1.await("two healthy", healthy(2))); n["m2"] == 0 {
		t.Fatalf("placed on %v", n)
	}
	thief, id := m2.thief(), m2.id()
	c := client.NewTLS(m1.address, thief.ClientTLS(identity.KindServer, ""))
	defer c.Close()
	stream := (&http.Client{Transport: &http.Transport{TLSClientConfig: thief.ClientTLS(identity.KindServer, ""), ForceAttemptHTTP2: true}})
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+m1.address+"/v1/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Do(q)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := m1.client.RevokeMachine(t.Context(), "m2", "stolen"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil && t.Context().Err() != nil {
		t.Error("the stream goes on")
	}
	cut := time.Since(begun)
	_, err = c.Version(t.Context()) // On the connection that stands, or on a new one.
	if r := identity.Explain(err); r == nil || (r.Code != reason.CertificateRevoked && r.Code != reason.CertificateRefused) {
		t.Errorf("a call on the old connection: %v", err)
	}
	fresh := client.NewTLS(m1.address, thief.ClientTLS(identity.KindServer, ""))
	defer fresh.Close()
	_, err = fresh.Version(t.Context())
	wantCode(t, "a new connection", err, reason.CertificateRefused)
	refused := time.Since(begun)
	if _, err := fresh.RenewLate(t.Context(), mustRead(t, m2.files(), identity.CertFile)); err == nil {
		t.Error("a revoked machine renews")
	}
	detail, err := m1.client.Machine(t.Context(), id)
	if err != nil || detail.Alive {
		t.Errorf("its lease goes on: %+v, %v", detail, err)
	}
	m1.await("both elsewhere", func(all map[string]cluster.Answer) bool { return on(all)["m1"] == 2 })
	t.Logf("stream cut after %v, refused everywhere after %v, units moved after %v", cut, refused, time.Since(begun))
	if cut > 5*time.Second {
		t.Errorf("the stream was cut after %v", cut)
	}
	m1.refused("connect", reason.CertificateRevoked)
}

func mustRead(t *testing.T, f identity.Files, name string) []byte {
	t.Helper()
	text, err := f.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestA4Rotation: the CA is replaced while somebody calls without a pause, each call on a connection of its own: none
// fails. Then the old root goes, and servers that know only the new one still make a store with those that have run on.
func TestA4Rotation(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "server")
	b.join(m1, "m3", "server")
	m1.servers(3)
	m4 := b.join(m1, "m4", "agent")
	ada := m1.person("ada", cluster.Admin)
	for _, m := range []*machine{m1, m2, b.machines["m3"]} {
		b.soon("ada to be known at "+m.name, func() bool {
			c := client.NewTLS(m.address, ada.TLS())
			defer c.Close()
			_, err := c.Version(t.Context())
			return err == nil
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	var calls, failed atomic.Int64
	var wg sync.WaitGroup
	hammer := func(who string, one func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := one(); err != nil && ctx.Err() == nil {
					failed.Add(1)
					t.Errorf("%s: %v", who, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for _, m := range []*machine{m1, m2, b.machines["m3"]} {
		hammer("ada at "+m.name, func() error {
			c := client.NewTLS(m.address, ada.TLS())
			defer c.Close()
			_, err := c.Version(ctx)
			return err
		})
	}
	hammer("somebody at the agent", func() error { _, err := m4.client.Units(ctx); return err })
	old, err := m1.client.CreateToken(t.Context(), wire.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	before, err := m2.client.RotateCA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = m1.client.RetireCA(t.Context(), false)
	wantCode(t, "retiring at once", err, reason.CARotating)
	if err != nil && !strings.Contains(err.Error(), "user ada") {
		t.Errorf("%v does not name who has not renewed", err)
	}
	_, err = m1.client.RotateCA(t.Context())
	wantCode(t, "rotating twice", err, reason.CARotating)
	b.soon("the machines' renewals", func() bool {
		s, err := m1.client.CA(t.Context())
		return err == nil && len(s.Pending) == 1 && s.Pending[0].Kind == "user"
	})
	if _, err := ada.Version(t.Context()); err != nil || !ada.Due(time.Now()) {
		t.Errorf("ada was not asked to renew: %v", err)
	}
	if err := ada.Renew(t.Context(), client.Contexts{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	renewed := time.Since(begun)
	if _, err := ada.Version(t.Context()); err != nil || ada.Due(time.Now()) {
		t.Errorf("ada is asked to renew again: %v", err)
	}
	b.soon("the old root's retirement", func() bool {
		_, err := m1.client.RetireCA(t.Context(), false)
		return err == nil
	})
	b.soon("everybody's new bundle", func() bool {
		for _, m := range b.machines {
			if strings.Count(string(mustRead(t, m.files(), identity.RootsFile)), "BEGIN") != 1 {
				return false
			}
		}
		return true
	})
	stop()
	wg.Wait()
	t.Logf("%d calls, %d failed; all had new certificates after %v", calls.Load(), failed.Load(), renewed)
	if calls.Load() < 100 {
		t.Errorf("only %d calls were made meanwhile", calls.Load())
	}
	after, err := m1.client.CA(t.Context())
	if err != nil || after.Rotating || after.Root != before.Root || after.Root == "" {
		t.Errorf("%v, %+v", err, after)
	}
	token, err := identity.ParseToken(old.Token)
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewTLS(m1.address, identity.PinnedTLS(token.Pin))
	_, err = c.Version(t.Context())
	wantCode(t, "a token of the old root", err, reason.CAMismatch)
	c.Close()
	m2.down() // Knows the new roots only when it is back.
	m2.run()
	m1.down()
	if _, err := m2.client.CreateToken(t.Context(), wire.TokenRequest{}); err != nil {
		t.Errorf("m2 and m3 make no store: %v", err)
	}
}

// TestA5Machine: a machine's certificate gives states, its own part, and nothing else, call by call of the API's document.
func TestA5Machine(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "agent")
	thief := m2.thief()
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: thief.ClientTLS(identity.KindServer, ""), ForceAttemptHTTP2: true}, Timeout: patience}
	send := func(method, path, body string) (int, string) {
		q, err := http.NewRequestWithContext(t.Context(), method, "https://"+m1.address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			return resp.StatusCode, "" // A stream would not end.
		}
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return resp.StatusCode, string(text)
	}
	_, text := send(http.MethodGet, "/v1/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]struct {
			ID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Paths) < 20 {
		t.Fatalf("%d paths: %v", len(doc.Paths), err)
	}
	open := map[string]bool{ // What every machine may do; all else is refused.
		"listUnits": true, "watchUnits": true, "listMachines": true, "getMachine": true, "events": true, "version": true, "health": true, "openapi": true,
		"renew": true, "renewLate": true, "join": true, "settings": true,
		"fleetStates": true, "fleetState": true, "fleetMachines": true, "fleetDiscovery": true,
	}
	refused, allowed := 0, 0
	for path, ops := range doc.Paths {
		for method, op := range ops {
			op.ID = strings.TrimSuffix(op.ID, "Alpha")
			real := strings.NewReplacer("{name}", "web.service", "{id}", m1.id()).Replace(path)
			status, body := send(strings.ToUpper(method), real, "{}")
			switch {
			case status == http.StatusForbidden:
				refused++
				if open[op.ID] && op.ID != "join" && op.ID != "renewLate" {
					t.Errorf("%s %s is refused: %s", method, path, body)
				}
			case !open[op.ID]:
				t.Errorf("%s %s (%s): HTTP %d by a machine: %.200s", method, path, op.ID, status, body)
			default:
				allowed++
			}
		}
	}
	t.Logf("%d calls refused, %d allowed", refused, allowed)
	for _, c := range [][3]string{
		{http.MethodPost, "/v1/store/read", `{"prefix":""}`},
		{http.MethodPost, "/v1/store/read", `{"prefix":"ca/"}`},
		{http.MethodPost, "/v1/store/read", `{"prefix":"part/` + m1.id() + `/"}`},
		{http.MethodPost, "/v1/store/write", `{"changes":[{"key":"statuses/` + m1.id() + `/x.service","value":"e30="}]}`},
		{http.MethodPost, "/v1/store/write", `{"changes":[{"key":"placements/` + m2.id() + `/x.service","value":"e30="}]}`},
		{http.MethodPost, "/v1/store/write", `{"changes":[{"key":"users/eve","value":"e30="}]}`},
		{http.MethodPost, "/v1/store/lease/grant", `{"key":"alive/` + m1.id() + `","value":"e30=","ttl":10000}`},
		{http.MethodGet, "/v1/store/watch?prefix=part/" + m1.id() + "/&since=0", ""},
	} {
		if status, body := send(c[0], c[1], c[2]); status < 400 || status == http.StatusNotFound {
			t.Errorf("%s %s %s: HTTP %d %.200s", c[0], c[1], c[2], status, body)
		}
	}
	// A renewal is for whom the certificate names, whatever is asked.
	got, err := client.NewTLS(m1.address, thief.ClientTLS(identity.KindServer, "")).Renew(t.Context(), wire.RenewRequest{PublicKey: publicOf(t, thief), PeerKey: publicOf(t, thief)})
	if err != nil || got.Kind != "machine" || len(got.PeerCert) > 0 || len(got.ClusterKey) > 0 {
		t.Errorf("%v, %+v", err, got)
	}
	// The store's own port lets no API certificate in.
	host, port, err := net.SplitHostPort(m1.address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(n+1)), &tls.Config{InsecureSkipVerify: true, GetClientCertificate: thief.ClientTLS(identity.KindServer, "").GetClientCertificate})
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // TLS 1.3: the refusal comes after the handshake.
		_ = conn.Close()
	}
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "remote error" {
		t.Errorf("the store's port takes an API certificate: %v", err)
	}
}

func publicOf(t *testing.T, k *identity.Keeper) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Leaf().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestA7Names: names that mean something to a path, a shell or an eye are refused, for units, users and machines.
func TestA7Names(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	ada := m1.person("ada", cluster.Admin)
	text := "[Service]\nExecStart=/bin/true\n"
	for _, name := range []string{
		"../x.service", "a/b.service", "/etc/passwd.service", "..", ".service", strings.Repeat("x", 300) + ".service", "a\x00b.service", "a\nb.service",
		"wеb.service" /* a Cyrillic е */, "web.service\u200b", "web .service", "web;rm.service", "$(id).service", "web.exe", "",
	} {
		_, err := ada.Apply(t.Context(), wire.ApplyRequest{Changes: []wire.Change{{Name: name, Text: &text}}})
		wantCode(t, "unit "+name, err, reason.NameInvalid)
		if name == "web.exe" {
			continue // A user may be called that.
		}
		if _, err := ada.AddUser(t.Context(), wire.UserRequest{Name: name, Role: cluster.Viewer}); err == nil {
			t.Errorf("user %q was let in", name)
		}
	}
	for _, path := range []string{"/v1/units/..%2f..%2fetc%2fpasswd", "/v1/units/a%00b.service", "/v1/machines/..%2f", "/v1/users/..%2fca", "/v1/tokens/..%2fusers"} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			q, err := http.NewRequestWithContext(t.Context(), method, "https://"+m1.address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: ada.TLS(), ForceAttemptHTTP2: true}}).Do(q)
			if err != nil {
				t.Fatal(err)
			}
			if _ = resp.Body.Close(); resp.StatusCode < 400 {
				t.Errorf("%s %s: HTTP %d", method, path, resp.StatusCode)
			}
		}
	}
	list, err := m1.client.Units(t.Context())
	if err != nil || len(list.Units) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	users, err := m1.client.Users(t.Context())
	if err != nil || len(users.Users) != 1 {
		t.Errorf("%+v, %v", users, err)
	}
}

// TestLate: machines whose certificates have ended while all was off come back by themselves.
func TestLate(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "agent")
	record := func() []byte {
		var text []byte
		b.soon("the copy of the authority", func() bool {
			var err error
			text, err = m1.files().Read("authority.copy")
			return err == nil
		})
		return text
	}()
	key, err := m1.files().ClusterKey()
	if err != nil {
		t.Fatal(err)
	}
	a, err := identity.OpenAuthority(record, key)
	if err != nil {
		t.Fatal(err)
	}
	m2.down()
	m1.down()
	ended := time.Now().Add(-identity.MachineLife - 30*time.Minute) // Not before the CA began, an hour ago.
	for _, m := range []*machine{m1, m2} {
		k, err := m.files().Key()
		if err != nil {
			t.Fatal(err)
		}
		id := m.thief().ID()
		chain, err := a.Issue(id, k.Public(), nil, ended)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.files().SaveCertificate(chain, a.Bundle().Roots); err != nil {
			t.Fatal(err)
		}
		if id.Kind != identity.KindServer {
			continue
		}
		if k, err = m.files().PeerKey(); err != nil {
			t.Fatal(err)
		}
		if chain, err = a.IssuePeer(id, k.Public(), []string{"127.0.0.1"}, ended); err != nil {
			t.Fatal(err)
		}
		if err := m.files().SavePeer(chain, a.Bundle().PeerRoots); err != nil {
			t.Fatal(err)
		}
	}
	m1.run()
	m2.run()
	for _, m := range []*machine{m1, m2} {
		if until := m.thief().Leaf().NotAfter; until.Before(time.Now()) {
			t.Errorf("%s has a certificate until %v", m.name, until)
		}
	}
	if list, err := m2.client.Machines(t.Context()); err != nil || len(list.Machines) != 2 || !list.Machines[0].Alive || !list.Machines[1].Alive {
		t.Errorf("%+v, %v", list, err)
	}
}
