package trust

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/wire"
)

const (
	m1 = "11111111111111111111111111111111"
	m2 = "22222222222222222222222222222222"
	m3 = "33333333333333333333333333333333"
)

var begin = time.Date(2026, 3, 1, 14, 2, 7, 300_000_000, time.UTC)

// office is a desk over a store in memory, with a clock of its own. m1 is a server, m2 an agent; both are there.
type office struct {
	*testing.T
	*Desk
	now time.Time
}

func newOffice(t *testing.T) *office {
	t.Helper()
	key, err := identity.NewClusterKey()
	if err != nil {
		t.Fatal(err)
	}
	o := &office{T: t, now: begin}
	log := slog.New(slog.DiscardHandler)
	o.Desk = &Desk{Store: memory.New(), View: store.NewView(log), Key: key, Now: func() time.Time { return o.now }, Log: log}
	t.Cleanup(func() { _ = o.Store.Close() })
	if err := o.Found(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	for id, m := range map[string]cluster.Machine{m1: {Name: "one", Server: true}, m2: {Name: "two"}} {
		m.ID, m.Address = id, "10.0.0.1:7443"
		o.put(store.Writer{Role: store.Machine, ID: id}, store.Put(cluster.MachineKey(id), m), store.Put(cluster.AliveKey(id), struct{}{}))
	}
	return o
}

func (o *office) put(by store.Writer, changes ...store.Change) {
	o.Helper()
	if _, err := o.Store.Write(o.Context(), by, changes...); err != nil {
		o.Fatal(err)
	}
	o.look()
}

// look brings the view to what the store holds.
func (o *office) look() {
	o.Helper()
	pic, err := o.Store.Read(o.Context(), "")
	if err != nil {
		o.Fatal(err)
	}
	o.View.Load(pic)
}

func newKey(t *testing.T) (crypto.Signer, []byte) {
	t.Helper()
	k, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return k, der
}

func leafOf(t *testing.T, chain []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(chain)
	if block == nil {
		t.Fatal("no certificate")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantCode(t *testing.T, what string, err error, code reason.Code) {
	t.Helper()
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// TestOneUse: a token for one machine admits one of many that come at once, and who was not admitted was given nothing.
func TestOneUse(t *testing.T) {
	o := newOffice(t)
	made, err := o.CreateToken(t.Context(), wire.TokenRequest{}, "ada")
	if err != nil {
		t.Fatal(err)
	}
	_, public := newKey(t)
	var mu sync.Mutex
	var wg sync.WaitGroup
	in, out := 0, 0
	for i := range 8 {
		wg.Go(func() {
			got, err := o.Join(context.WithoutCancel(t.Context()), wire.JoinRequest{Token: made.Token, Machine: strings.Repeat(string(rune('a'+i%6)), 32), Name: "n", PublicKey: public})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				in++
				return
			}
			if out++; len(got.Certificate) > 0 || len(got.ClusterKey) > 0 {
				t.Error("who was refused was given something")
			}
		})
	}
	wg.Wait()
	if in != 1 || out != 7 {
		t.Errorf("%d let in, %d refused", in, out)
	}
}

// TestUsersSince: who was taken out and let in again has nothing from the certificates of before.
func TestUsersSince(t *testing.T) {
	o := newOffice(t)
	add := func() time.Time {
		t.Helper()
		_, public := newKey(t)
		got, err := o.AddUser(t.Context(), wire.UserRequest{Name: "ada", Role: cluster.Admin, PublicKey: public}, "root")
		if err != nil {
			t.Fatal(err)
		}
		o.look()
		return identity.IssuedAt(leafOf(t, got.Credentials.Certificate))
	}
	may := func(what string, issued time.Time, want cluster.Role) {
		t.Helper()
		if got := o.RoleOf("ada", issued); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	first := add()
	may("the first", first, cluster.Admin)
	o.now = o.now.Add(time.Hour)
	second := add() // A second laptop.
	may("the first beside the second", first, cluster.Admin)
	may("the second", second, cluster.Admin)
	o.now = o.now.Add(time.Hour)
	if err := o.RemoveUser(t.Context(), "ada", "root"); err != nil {
		t.Fatal(err)
	}
	o.look()
	may("after the removal", second, "")
	o.now = o.now.Add(100 * time.Millisecond)
	third := add()
	may("the first again", first, "")
	may("the second again", second, "")
	may("the third", third, cluster.Admin)
	o.now = o.now.Add(-10 * time.Minute) // The server that renews has a clock that is behind.
	_, public := newKey(t)
	got, err := o.Renew(t.Context(), identity.ID{Kind: identity.KindUser, Name: "ada"}, wire.RenewRequest{PublicKey: public, Hosts: []string{"evil.example"}})
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, got.Certificate)
	may("a renewal by a clock behind", identity.IssuedAt(leaf), cluster.Admin)
	if len(leaf.DNSNames) > 0 {
		t.Errorf("a user's certificate names hosts: %v", leaf.DNSNames)
	}
}

// TestLate: only a machine that is known and not revoked, for the same key, and nothing beside it.
func TestLate(t *testing.T) {
	o := newOffice(t)
	k, public := newKey(t)
	_, peer := newKey(t)
	chains := map[string][]byte{}
	for id, kind := range map[string]identity.Kind{m1: identity.KindServer, m2: identity.KindMachine, m3: identity.KindMachine} {
		got, err := o.Renew(t.Context(), identity.ID{Kind: kind, Name: id}, wire.RenewRequest{PublicKey: public, PeerKey: peer, Hosts: []string{"10.0.0.1"}})
		if err != nil {
			t.Fatal(err)
		}
		chains[id] = got.Certificate
	}
	o.now = o.now.Add(identity.MachineLife + 20*24*time.Hour)
	for _, id := range []string{m1, m2} {
		got, err := o.RenewLate(t.Context(), wire.LateRequest{Certificate: chains[id]})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		leaf := leafOf(t, got.Certificate)
		if !leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) || !leaf.NotAfter.After(o.now) || len(got.PeerCert) > 0 || len(got.ClusterKey) > 0 || len(leaf.IPAddresses) > 0 {
			t.Errorf("%s: until %v, peer %d bytes, key %d bytes", id, leaf.NotAfter, len(got.PeerCert), len(got.ClusterKey))
		}
	}
	_, err := o.RenewLate(t.Context(), wire.LateRequest{Certificate: chains[m3]})
	wantCode(t, "a machine that is not known", err, reason.CertificateRevoked)
	if err := o.Revoke(t.Context(), identity.KindMachine, m2, "stolen", "ada"); err != nil {
		t.Fatal(err)
	}
	o.look()
	_, err = o.RenewLate(t.Context(), wire.LateRequest{Certificate: chains[m2]})
	wantCode(t, "a revoked machine", err, reason.CertificateRevoked)
	o.View.Peek(func(p *cluster.Picture) {
		if p.Alive[m2] || !p.Alive[m1] {
			t.Errorf("alive: %v", p.Alive)
		}
	})
	o.now = o.now.Add(11 * 24 * time.Hour)
	_, err = o.RenewLate(t.Context(), wire.LateRequest{Certificate: chains[m1]})
	wantCode(t, "31 days late", err, reason.CertificateExpired)
}

// TestRotation: who has not renewed is named and keeps the old root; when all have, it goes.
func TestRotation(t *testing.T) {
	o := newOffice(t)
	_, public := newKey(t)
	renew := func(kind identity.Kind, name string) {
		t.Helper()
		if _, err := o.Renew(t.Context(), identity.ID{Kind: kind, Name: name}, wire.RenewRequest{PublicKey: public, PeerKey: public}); err != nil {
			t.Fatal(err)
		}
		o.look()
	}
	if _, err := o.AddUser(t.Context(), wire.UserRequest{Name: "ada", Role: cluster.Admin, PublicKey: public}, "root"); err != nil {
		t.Fatal(err)
	}
	renew(identity.KindMachine, m2)
	o.put(person("ada"), store.Put(cluster.AdminKey(m2), cluster.MachineAdmin{ID: m2, Cordoned: true})) // Not to be lost.
	_, err := o.Retire(t.Context(), false, "ada")
	wantCode(t, "retiring before a rotation", err, reason.CARotating)
	s, err := o.Rotate(t.Context(), "ada")
	if err != nil || !s.Rotating || len(s.Pending) != 3 || s.OldRoot == "" || s.OldRoot == s.Root {
		t.Fatalf("%v, %+v", err, s)
	}
	o.look()
	o.View.Peek(func(p *cluster.Picture) {
		for _, id := range []string{m1, m2} {
			if a := p.Admin[id]; a == nil || !a.Renew.After(o.now) || a.Cordoned != (id == m2) {
				t.Errorf("%s was not asked: %+v", id, a)
			}
		}
	})
	for _, step := range []struct {
		kind  identity.Kind
		name  string
		left  int
		names string
	}{{identity.KindServer, m1, 2, "machine two"}, {identity.KindMachine, m2, 1, "user ada"}} {
		renew(step.kind, step.name)
		_, err = o.Retire(t.Context(), false, "ada")
		wantCode(t, "retiring too early", err, reason.CARotating)
		if s, bad := o.CA(t.Context()); bad != nil || len(s.Pending) != step.left || !strings.Contains(err.Error(), step.names) {
			t.Errorf("%v, %+v: %v", bad, s.Pending, err)
		}
	}
	renew(identity.KindUser, "ada")
	if s, err = o.Retire(t.Context(), false, "ada"); err != nil || s.Rotating || len(s.Pending) > 0 {
		t.Errorf("%v, %+v", err, s)
	}
	if _, err := o.Rotate(t.Context(), "ada"); err != nil {
		t.Error(err)
	}
	if s, err = o.Retire(t.Context(), true, "ada"); err != nil || s.Rotating {
		t.Errorf("forced: %v, %+v", err, s)
	}
}

// TestRetireIgnoresTheGone: a revoked machine, a user who is none any more or whose certificate has ended keeps no root.
func TestRetireIgnoresTheGone(t *testing.T) {
	o := newOffice(t)
	_, public := newKey(t)
	for _, name := range []string{"ada", "bob"} {
		if _, err := o.AddUser(t.Context(), wire.UserRequest{Name: name, Role: cluster.Viewer, PublicKey: public}, "root"); err != nil {
			t.Fatal(err)
		}
		o.look()
	}
	if err := o.RemoveUser(t.Context(), "bob", "root"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{m1, m2} {
		if err := o.Revoke(t.Context(), identity.KindMachine, id, "", "root"); err != nil {
			t.Fatal(err)
		}
	}
	o.now = o.now.Add(identity.UserLife + time.Hour) // Ada's has ended.
	o.look()
	if _, err := o.Rotate(t.Context(), "root"); err != nil {
		t.Fatal(err)
	}
	if s, err := o.Retire(t.Context(), false, "root"); err != nil {
		t.Errorf("%v, %+v", err, s.Pending)
	}
}

// TestIssuing: the CAs that sign are replaced in the second half of their life, and what they signed stays good.
func TestIssuing(t *testing.T) {
	o := newOffice(t)
	before, err := o.CA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		fresh bool
	}{{0, false}, {11 * 30 * 24 * time.Hour, false}, {13 * 30 * 24 * time.Hour, true}} {
		o.now = begin.Add(c.after)
		if err := o.TendOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, err := o.CA(t.Context())
		if err != nil || s.Issuing.After(before.Issuing) != c.fresh || s.PeerIssuing.After(before.PeerIssuing) != c.fresh || s.Root != before.Root {
			t.Errorf("after %v: %v, issuing until %v (%v)", c.after, err, s.Issuing, before.Issuing)
		}
	}
}

// TestHostileRequests: what comes from outside is checked before anything is done.
func TestHostileRequests(t *testing.T) {
	o := newOffice(t)
	_, public := newKey(t)
	made, err := o.CreateToken(t.Context(), wire.TokenRequest{Uses: -1}, "ada")
	if err != nil {
		t.Fatal(err)
	}
	for what, q := range map[string]wire.JoinRequest{
		"no id":          {Machine: "x"},
		"a path as id":   {Machine: "../../../../../../../../../../etc"},
		"a clone":        {Machine: m2, Name: "two"},
		"another's name": {Machine: m3, Name: "one"},
		"no key":         {Machine: m3, Name: "three", PublicKey: []byte("x")},
		"a bad host":     {Machine: m3, Name: "three", PublicKey: public, Hosts: []string{"a b"}},
		"many hosts":     {Machine: m3, Name: "three", PublicKey: public, Hosts: make([]string, maxHosts+1)},
	} {
		q.Token = made.Token
		if _, err := o.Join(t.Context(), q); err == nil {
			t.Errorf("%s: let in", what)
		} else if _, ok := errors.AsType[*reason.Reason](err); !ok {
			t.Errorf("%s: refused without a reason: %v", what, err)
		}
	}
	for what, q := range map[string]wire.UserRequest{
		"a path": {Name: "../x", Role: cluster.Admin}, "no role": {Name: "x"}, "an odd role": {Name: "x", Role: "root"}, "long": {Name: strings.Repeat("x", 65), Role: cluster.Viewer},
		"a bad key": {Name: "x", Role: cluster.Viewer, PublicKey: []byte("x")},
	} {
		if _, err := o.AddUser(t.Context(), q, "ada"); err == nil {
			t.Errorf("%s: let in", what)
		}
	}
	o.look()
	if len(o.Users().Users) > 0 {
		t.Errorf("%+v", o.Users())
	}
}
