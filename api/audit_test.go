package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/audit"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/wire"
)

// secretive is a desk whose answers are full of secrets.
type secretive struct{ Trust }

const secret = "tops3cret"

func (secretive) CreateToken(context.Context, wire.TokenRequest, string) (wire.TokenAnswer, error) {
	return wire.TokenAnswer{Token: secret, TokenInfo: wire.TokenInfo{ID: "abcd"}}, nil
}

func (secretive) AddUser(_ context.Context, q wire.UserRequest, _ string) (wire.UserAnswer, error) {
	return wire.UserAnswer{User: cluster.User{Name: q.Name, Role: q.Role}, Credentials: &wire.Credentials{Certificate: []byte(secret)}}, nil
}

func (secretive) Join(context.Context, wire.JoinRequest) (wire.Credentials, error) {
	return wire.Credentials{ClusterKey: []byte(secret)}, reason.Because(reason.TokenUsed, reason.Args{"id": "abcd"})
}

// auditing is an API with an audit log, over a store in memory.
func auditing(t *testing.T) (*API, *audit.Log, string) {
	t.Helper()
	dir := t.TempDir()
	l, err := audit.Open(dir, audit.Options{}, testLog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	view := store.NewView(testLog)
	view.Load(store.Picture{Revision: 1})
	a := New(Config{Store: memory.New(), View: view, Now: time.Now, Log: testLog, Audit: l, Trust: secretive{}, MachineID: m1})
	a.Guard = fixedGuard{roles: map[string]cluster.Role{"vera": cluster.Viewer, "ada": cluster.Admin}, revoked: map[string]bool{m3: true}}
	if err := a.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, l, dir
}

func send(a *API, r *http.Request, method, path string, body any) *httptest.ResponseRecorder {
	var b bytes.Buffer
	if body != nil {
		_ = json.NewEncoder(&b).Encode(body)
	}
	q := httptest.NewRequest(method, path, &b)
	q.TLS, q.RemoteAddr = r.TLS, "192.0.2.7:4242"
	maps.Copy(q.Header, r.Header)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, q)
	return w
}

// TestAudit: what changes something and what is refused is written down, with who and why, and no secret ever.
func TestAudit(t *testing.T) {
	a, l, dir := auditing(t)
	ada, vera, nobody := as(identity.KindUser, "ada"), as(identity.KindUser, "vera"), as("", "")
	machine := as(identity.KindMachine, m2)
	machine.Header.Set(wire.ForHeader, "eve")
	forged := as(identity.KindMachine, m2)
	forged.Header.Set(wire.ForHeader, "eve\x1b[31m")
	token := mustToken(t)
	text := "[Service]\nExecStart=/bin/true " + secret + "\n"
	for _, c := range []struct {
		what         string
		by           *http.Request
		method, path string
		body         any
		want         string // Empty: nothing is written down.
	}{
		{"a look", ada, "GET", "/v1/units", nil, ""},
		{"health", vera, "GET", "/v1/version", nil, ""},
		{"a token", ada, "POST", "/v1/tokens", wire.TokenRequest{TTL: 60}, "user ada  admin createToken done 201 [token abcd, role agent, ttl 60s, uses 0]"},
		{"a user", ada, "POST", "/v1/users", wire.UserRequest{Name: "bob", Role: "viewer", PublicKey: []byte(secret)}, "user ada  admin addUser done 200 [bob role viewer]"},
		{"a viewer's token", vera, "POST", "/v1/tokens", wire.TokenRequest{}, "user vera  viewer createToken refused 403 not-allowed []"},
		{"a viewer's look at tokens", vera, "GET", "/v1/tokens", nil, "user vera  viewer listTokens refused 403 not-allowed []"},
		{"nobody", nobody, "GET", "/v1/units", nil, "nobody   listUnits refused 403 not-allowed []"},
		{"a used token", nobody, "POST", "/v1/join", wire.JoinRequest{Token: token.String(), Name: "m9", Machine: m2}, "token " + token.ID + "   join refused 403 token-used [m9 22222222]"},
		{"a revoked machine", as(identity.KindMachine, m3), "GET", "/v1/version", nil, "machine " + m3 + "   version refused 403 certificate-revoked []"},
		{"somebody at a machine", machine, "DELETE", "/v1/units/web.service", nil, "machine " + m2 + " eve  deleteUnit refused 403 not-allowed [web.service]"},
		{"a forged name", forged, "DELETE", "/v1/units/web.service", nil, "machine " + m2 + "   deleteUnit refused 403 not-allowed [web.service]"},
		{"a bad unit", ada, "DELETE", "/v1/units/web.service", nil, "user ada  admin deleteUnit failed 404 no-such-unit [web.service]"},
		{"a dry run", ada, "POST", "/v1/units", wire.ApplyRequest{DryRun: true, Changes: []wire.Change{{Name: "web.service", Text: &text}}}, ""},
		{"units", ada, "POST", "/v1/units", wire.ApplyRequest{Changes: []wire.Change{{Name: "web.service", Text: &text, Desired: cluster.Launched}}}, "user ada  admin applyUnits done 200 rev [web.service submit launched]"},
	} {
		before, err := l.Read(audit.Query{})
		if err != nil {
			t.Fatal(err)
		}
		w := send(a, c.by, c.method, c.path, c.body)
		after, err := l.Read(audit.Query{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(after) > len(before) {
			r := after[len(after)-1]
			words := []string{r.Kind, r.Who, r.For, r.Role, r.Verb, string(r.Result), fmt.Sprint(r.Status)}
			if r.Code != "" {
				words = append(words, string(r.Code))
			}
			if r.Store > 0 {
				words = append(words, "rev")
			}
			got = strings.TrimPrefix(strings.Join(append(words, "["+r.Object+"]"), " "), " ")
			if r.From != "192.0.2.7:4242" || r.Machine != m1 || len(after) != len(before)+1 {
				t.Errorf("%s: %+v", c.what, r)
			}
		}
		if got != strings.TrimPrefix(c.want, " ") && strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(c.want), " ") {
			t.Errorf("%s (%d %s): wrote %q, want %q", c.what, w.Code, strings.TrimSpace(w.Body.String()), got, c.want)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{secret, token.String(), "ExecStart"} {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s holds %.12s…", f, s)
			}
		}
	}
}

func mustToken(t *testing.T) identity.Token {
	t.Helper()
	tok, _, err := identity.NewToken([32]byte{1}, []string{"127.0.0.1:1"}, identity.KindMachine, time.Hour, 1, "x", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestAuditFlood: who is refused all the time does not push out what was done, and is counted.
func TestAuditFlood(t *testing.T) {
	a, l, _ := auditing(t)
	now := at0
	a.Now = func() time.Time { return now }
	for range 1000 {
		send(a, as("", ""), "GET", "/v1/units", nil)
	}
	got, err := l.Read(audit.Query{})
	if err != nil || len(got) != refusalsEach {
		t.Errorf("%d records, %v", len(got), err)
	}
	now = now.Add(refusalsPeriod)
	send(a, as("", ""), "GET", "/v1/units", nil)
	got, err = l.Read(audit.Query{Limit: 1})
	if err != nil || got[0].More != 1000-refusalsEach {
		t.Errorf("%+v, %v", got, err)
	}
}

var at0 = time.Date(2026, 3, 1, 14, 2, 7, 0, time.UTC)

// TestAuditOfAllServers: one server's answer holds the records of the others, in the order of time, and names who is away.
func TestAuditOfAllServers(t *testing.T) {
	a, _, _ := auditing(t)
	b, _, _ := auditing(t)
	b.MachineID = m2
	b.Guard = nil // A server's certificate is made up below.
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.TLS = nil // As over its socket: what is tested is the merging.
		b.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	gone := httptest.NewTLSServer(nil)
	gone.Close()
	a.View.Load(store.Picture{Revision: 2, Entries: []store.Entry{
		{Key: cluster.MachineKey(m1), Value: cluster.Encode(cluster.Machine{ID: m1, Name: "one", Server: true, Address: "127.0.0.1:1"}), Revision: 2},
		{Key: cluster.MachineKey(m2), Value: cluster.Encode(cluster.Machine{ID: m2, Name: "two", Server: true, Address: strings.TrimPrefix(srv.URL, "https://")}), Revision: 2},
		{Key: cluster.MachineKey(m3), Value: cluster.Encode(cluster.Machine{ID: m3, Name: "three", Server: true, Address: strings.TrimPrefix(gone.URL, "https://")}), Revision: 2},
	}})
	a.ToServer = func(string) *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
	ada := as(identity.KindUser, "ada")
	for i, x := range []*API{a, b, a, b} {
		now := at0.Add(time.Duration(i) * time.Second)
		x.Now = func() time.Time { return now }
		x.Guard = a.Guard
		send(x, ada, "POST", "/v1/tokens", wire.TokenRequest{TTL: int64(i)})
	}
	var got wire.AuditAnswer
	w := send(a, ada, "GET", "/v1/audit", nil)
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var order []string
	for i, r := range got.Records {
		order = append(order, r.Machine[:1])
		if !r.At.Equal(at0.Add(time.Duration(i) * time.Second)) {
			t.Errorf("record %d is of %v", i, r.At)
		}
	}
	if strings.Join(order, "") != "1212" || len(got.Away) != 1 || got.Away[0].Name != "three" || got.Away[0].Error == "" {
		t.Errorf("order %v, away %+v", order, got.Away)
	}
	var check wire.AuditCheck
	w = send(a, ada, "GET", "/v1/audit/verify", nil)
	if err := json.Unmarshal(w.Body.Bytes(), &check); err != nil || len(check.Servers) != 2 || len(check.Away) != 1 || check.Servers[0].Fault != "" {
		t.Errorf("%v, %+v", err, check)
	}
	if w := send(a, ada, "GET", "/v1/audit?since=gestern", nil); w.Code != http.StatusBadRequest {
		t.Errorf("a bad time: %d", w.Code)
	}
}

// fullDisk is an audit log on a full disk.
type fullDisk struct{ Audit }

func (fullDisk) Append(wire.AuditRecord) error { return errors.New("no space left on device") }

// TestAuditCannotWrite: a log that cannot be written stops nobody, and is said.
func TestAuditCannotWrite(t *testing.T) {
	a, _, _ := auditing(t)
	var said bytes.Buffer
	a.Audit, a.Log = fullDisk{}, slog.New(slog.NewTextHandler(&said, nil))
	if w := send(a, as(identity.KindUser, "ada"), "POST", "/v1/tokens", wire.TokenRequest{}); w.Code != http.StatusCreated {
		t.Errorf("%d", w.Code)
	}
	if !strings.Contains(said.String(), "no space left") {
		t.Errorf("said %q", said.String())
	}
}
