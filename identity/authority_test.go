package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
)

func TestSeal(t *testing.T) {
	a, key := found(t, "prod"), must(NewClusterKey())(t)
	rec := must(a.Seal(key))(t)
	if strings.Contains(string(rec), "PRIVATE") || bytes.Contains(rec, a.api.rootKey.D.Bytes()) { //nolint:staticcheck // Looked for, not used.
		t.Error("a private key stands in clear")
	}
	b := must(OpenAuthority(rec, key))(t)
	if b.Pin() != a.Pin() || !b.api.issuingKey.Equal(a.api.issuingKey) || !b.peer.rootKey.Equal(a.peer.rootKey) {
		t.Error("the authority that comes out is not the one that went in")
	}
	public := must(ReadBundle(rec))(t)
	if want := a.Bundle(); public.Cluster != "prod" || !bytes.Equal(public.Roots, want.Roots) || !bytes.Equal(public.PeerRoots, want.PeerRoots) {
		t.Errorf("the public part is %v", public)
	}
	var spaced bytes.Buffer
	if err := json.Indent(&spaced, rec, "", "  "); err != nil {
		t.Fatal(err)
	}
	must(OpenAuthority(spaced.Bytes(), key))(t)

	swapped := func(change func(*record)) []byte {
		var r record
		if err := json.Unmarshal(rec, &r); err != nil {
			t.Fatal(err)
		}
		change(&r)
		return must(json.Marshal(r))(t)
	}
	var evil record
	if err := json.Unmarshal(must(found(t, "prod").Seal(key))(t), &evil); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ rec, key []byte }{
		"another key":     {rec, must(NewClusterKey())(t)},
		"a short key":     {rec, key[:16]},
		"no key":          {rec, nil},
		"other roots":     {swapped(func(r *record) { r.Public = evil.Public }), key},
		"another cluster": {swapped(func(r *record) { r.Public = bytes.Replace(r.Public, []byte(`"prod"`), []byte(`"evil"`), 1) }), key},
		"a changed key":   {swapped(func(r *record) { r.Keys[len(r.Keys)-1] ^= 1 }), key},
		"no keys":         {swapped(func(r *record) { r.Keys = nil }), key},
		"a later version": {swapped(func(r *record) { r.Version++ }), key},
		"nothing":         {nil, key},
		"an empty record": {[]byte("{}"), key},
		"not JSON":        {[]byte("hello"), key},
	} {
		_, err := OpenAuthority(c.rec, c.key)
		wantCode(t, what, err, reason.ClusterKeyWrong)
	}
	_, err := ReadBundle([]byte(`{"version":1,"public":{"cluster":"prod"}}`))
	wantCode(t, "a bundle without roots", err, reason.ClusterKeyWrong)
}

func TestIssue(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	a := must(Found("prod", now))(t)
	key := must(NewKey())(t).Public()
	hosts := []string{"10.0.0.1", "fd00::1", "m1.example.net"}
	certs := must(parsePEM(must(a.Issue(ID{"prod", KindServer, m1}, key, hosts, now))(t)))(t)
	leaf, issuing, root := certs[0], certs[1], certs[2]
	if len(certs) != 3 || pinOf(root) != a.Pin() || !selfSigned(root) || issuing.MaxPathLen != 0 || !issuing.MaxPathLenZero {
		t.Errorf("the chain is %d long, ends in %v", len(certs), root.Subject)
	}
	if !leaf.NotBefore.Equal(now.Add(-time.Hour)) || !leaf.NotAfter.Equal(now.Add(MachineLife)) || leaf.IsCA || len(leaf.IPAddresses) != 2 || !slices.Equal(leaf.DNSNames, hosts[2:]) {
		t.Errorf("leaf from %v to %v, CA %v, for %v %v", leaf.NotBefore, leaf.NotAfter, leaf.IsCA, leaf.IPAddresses, leaf.DNSNames)
	}
	user := must(parsePEM(must(a.Issue(ID{"prod", KindUser, "ann"}, key, nil, now))(t)))(t)[0]
	if !user.NotAfter.Equal(now.Add(UserLife)) || !slices.Equal(user.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || user.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("a user's until %v for %v", user.NotAfter, user.ExtKeyUsage)
	}
	late := must(parsePEM(must(a.Issue(ID{"prod", KindUser, "ann"}, key, nil, now.Add(issuingLife-time.Hour)))(t)))(t)[0]
	if late.NotAfter.After(issuing.NotAfter) {
		t.Error("a certificate outlives its CA")
	}
	p521 := &tls.Certificate{}
	for what, c := range map[string]struct {
		id    ID
		pub   any
		hosts []string
	}{
		"another cluster": {ID{"evil", KindServer, m1}, key, nil}, "no kind": {ID{"prod", "", m1}, key, nil}, "a path": {ID{"prod", KindUser, "../x"}, key, nil},
		"a user's host": {ID{"prod", KindUser, "ann"}, key, hosts}, "not a host": {ID{"prod", KindServer, m1}, key, []string{"a b"}}, "a wildcard": {ID{"prod", KindServer, m1}, key, []string{"*.net"}},
		"all addresses": {ID{"prod", KindServer, m1}, key, []string{"0.0.0.0"}}, "too many": {ID{"prod", KindServer, m1}, key, slices.Repeat(hosts, 11)}, "another key": {ID{"prod", KindServer, m1}, p521, nil},
	} {
		if _, err := a.Issue(c.id, c.pub, c.hosts, now); err == nil {
			t.Errorf("%s: issued", what)
		}
	}
	if _, err := a.IssuePeer(ID{"prod", KindMachine, m1}, key, nil, now); err == nil {
		t.Error("a machine became a peer of the store")
	}
	if _, err := Found("Prod/x", now); err == nil {
		t.Error("a cluster with a bad name")
	}
}

// TestTwoCAs proves that neither CA's certificates count before the other.
func TestTwoCAs(t *testing.T) {
	a := found(t, "prod")
	id, key, b := ID{"prod", KindServer, m1}, must(NewKey())(t), a.Bundle()
	api, peer := must(a.Issue(id, key.Public(), nil, time.Now()))(t), must(a.IssuePeer(id, key.Public(), nil, time.Now()))(t)
	for _, c := range []struct {
		chain, roots []byte
		code         reason.Code
	}{{api, b.Roots, ""}, {peer, b.PeerRoots, ""}, {api, b.PeerRoots, reason.CAUnknown}, {peer, b.Roots, reason.CAUnknown}} {
		_, err := verify(must(parsePEM(c.chain))(t), must(readRoots(c.roots))(t), x509.ExtKeyUsageServerAuth, time.Now())
		wantCode(t, "chain against roots", err, c.code)
	}
}

func TestLate(t *testing.T) {
	a := must(Found("prod", time.Now().Add(-100*24*time.Hour)))(t)
	key, b := must(NewKey())(t), a.Bundle()
	chain := func(kind Kind, name string, ago time.Duration) []byte {
		return must(a.Issue(ID{"prod", kind, name}, key.Public(), nil, time.Now().Add(-ago)))(t)
	}
	other := must(found(t, "prod").Issue(ID{"prod", KindMachine, m1}, key.Public(), nil, time.Now()))(t)
	for what, c := range map[string]struct {
		chain []byte
		code  reason.Code
	}{
		"in time": {chain(KindMachine, m1, 0), ""}, "29 days late": {chain(KindServer, m1, MachineLife+29*24*time.Hour), ""},
		"31 days late": {chain(KindMachine, m1, MachineLife+31*24*time.Hour), reason.CertificateExpired}, "not begun": {chain(KindMachine, m1, -2*time.Hour), reason.CertificateEarly},
		"a user": {chain(KindUser, "ann", 0), reason.CertificateInvalid}, "another CA": {other, reason.CAUnknown}, "nothing": {nil, reason.CertificateInvalid},
	} {
		id, pub, err := b.Late(c.chain, time.Now())
		wantCode(t, what, err, c.code)
		if err == nil && (id.Name != m1 || !key.PublicKey.Equal(pub)) {
			t.Errorf("%s: %v", what, id)
		}
	}
}

// fleet is some keepers of one cluster, of which the first serves.
type fleet struct {
	a       *Authority
	keepers []*Keeper
	chains  [][]byte
	roots   [][]byte
}

func (f *fleet) renew(t *testing.T, i int) {
	f.chains[i] = must(f.a.Issue(f.keepers[i].ID(), f.keepers[i].key.Public(), nil, time.Now()))(t)
	f.replace(t, i)
}

func (f *fleet) trust(t *testing.T, i int) {
	f.roots[i] = f.a.Bundle().Roots
	f.replace(t, i)
}

func (f *fleet) replace(t *testing.T, i int) {
	t.Helper()
	if err := f.keepers[i].Replace(f.chains[i], f.roots[i]); err != nil {
		t.Fatalf("keeper %d: %v", i, err)
	}
}

// TestRotation rotates the CA twice, in different orders, and renews the issuing CA under continuous connections: none fails.
func TestRotation(t *testing.T) {
	a := found(t, "prod")
	f := &fleet{a: a}
	for i := range 3 {
		kind := KindMachine
		if i == 0 {
			kind = KindServer
		}
		key := must(NewKey())(t)
		chain := must(a.Issue(ID{"prod", kind, strings.Repeat(fmt.Sprint(i), 32)}, key.Public(), nil, time.Now()))(t)
		f.keepers = append(f.keepers, must(NewKeeper(KeeperOptions{Key: key, Chain: chain, Roots: a.Bundle().Roots}))(t))
		f.chains, f.roots = append(f.chains, chain), append(f.roots, a.Bundle().Roots)
	}
	ctx, stop := context.WithCancel(t.Context())
	calls := callForever(ctx, t, f.keepers)
	wait := func(step string) { // Each caller gets through at least five times from one step to the next.
		need := map[int]int{1: 5, 2: 5}
		for len(need) > 0 {
			c := <-calls
			if c.err != nil {
				t.Errorf("%s: caller %d: %v", step, c.who, c.err)
			}
			if need[c.who]--; need[c.who] <= 0 {
				delete(need, c.who)
			}
		}
	}
	pins := [][32]byte{a.Pin()}
	wait("before")
	for round, order := range [][]int{{0, 1, 2}, {2, 1, 0}} {
		step := func(s string) { wait(fmt.Sprintf("round %d, %s", round, s)) }
		must(0, a.Rotate(time.Now()))(t)
		wantCode(t, "a second rotation", a.Rotate(time.Now()), reason.CARotating)
		f.renew(t, order[0]) // Before anybody, itself included, has the new root.
		step("a certificate before the roots")
		for _, i := range order {
			f.trust(t, i)
			step("roots")
		}
		if _, err := call(t, f.keepers[0].ServerTLS(), PinnedTLS(pins[0])); err != nil && order[0] == 0 {
			t.Errorf("a token of before the rotation: %v", err)
		}
		for _, i := range order[1:] {
			f.renew(t, i)
			step("certificates")
		}
		pins = append([][32]byte{a.Pin()}, pins...)
		must(0, a.Retire())(t)
		for _, i := range order {
			f.trust(t, i)
			step("one root")
		}
		f.renew(t, 0)
		must(0, a.RenewIssuing(time.Now()))(t)
		for _, i := range order {
			f.renew(t, i)
			step("another issuing CA")
		}
	}
	stop()
	for range calls { // Callers end when they see the context.
	}
	for i, pin := range pins {
		_, err := call(t, f.keepers[0].ServerTLS(), PinnedTLS(pin))
		wantCode(t, fmt.Sprint("pin ", i), err, map[bool]reason.Code{true: "", false: reason.CAMismatch}[i == 0])
	}
	wantCode(t, "nothing to retire", a.Retire(), reason.CARotating)
}

type called struct {
	who int
	err error
}

// callForever has every keeper but the first call the first, one connection after another. The channel ends with ctx.
func callForever(ctx context.Context, t *testing.T, keepers []*Keeper) <-chan called {
	t.Helper()
	l := must((&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"))(t)
	tl := tls.NewListener(l, keepers[0].ServerTLS())
	var all sync.WaitGroup
	out := make(chan called)
	all.Go(func() {
		for {
			conn, err := tl.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = io.CopyN(conn, conn, 1)
			})
		}
	})
	for i, k := range keepers[1:] {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := echo(ctx, l.Addr().String(), k.ClientTLS(KindServer, "")); ctx.Err() == nil {
					select {
					case out <- called{i + 1, err}:
					case <-ctx.Done():
					}
				}
			}
		})
	}
	context.AfterFunc(ctx, func() { _ = l.Close(); all.Wait(); close(out) })
	return out
}

func echo(ctx context.Context, address string, config *tls.Config) error {
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

func TestRenewal(t *testing.T) {
	a := found(t, "prod")
	lo, hi := 1.0, 0.0
	for range 100 {
		k := keeper(t, a, KindMachine, m1, nil)
		at, c := k.RenewAt(time.Now()), k.Leaf()
		if !at.Equal(k.RenewAt(time.Now().Add(time.Second))) {
			t.Fatal("the moment changes when it is asked for again")
		}
		part := float64(at.Sub(c.NotBefore)) / float64(c.NotAfter.Sub(c.NotBefore))
		lo, hi = min(lo, part), max(hi, part)
		if later := c.NotAfter.Add(time.Hour); !k.RenewAt(later).Equal(later) {
			t.Fatal("an ended certificate is not renewed now")
		}
	}
	if lo < 0.5 || lo > 0.55 || hi > 0.8 || hi < 0.75 {
		t.Errorf("renewed between %.2f and %.2f of life", lo, hi)
	}
	old := must(Found("prod", time.Now().Add(-issuingLife+time.Minute)))(t) // Its issuing CA ends in a minute.
	if at := keeper(t, old, KindMachine, m1, nil).RenewAt(time.Now()); time.Until(at) < 50*time.Second {
		t.Errorf("a certificate of a dying CA is renewed at %v: without a pause", at)
	}
	if a.IssuingDue(time.Now()) || !a.IssuingDue(time.Now().Add(issuingLife/2+time.Hour)) {
		t.Error("the issuing CA is renewed at a wrong time")
	}
}

func TestReplaceRefuses(t *testing.T) {
	a, other := found(t, "prod"), found(t, "prod")
	k := keeper(t, a, KindMachine, m1, nil)
	leaf := k.Leaf()
	issue := func(a *Authority, kind Kind, name string) []byte {
		return must(a.Issue(ID{"prod", kind, name}, k.key.Public(), nil, time.Now()))(t)
	}
	strange := must(a.Issue(k.ID(), must(NewKey())(t).Public(), nil, time.Now()))(t)
	roots, good := a.Bundle().Roots, issue(a, KindMachine, m1)
	broken := bytes.Replace(roots, []byte("MII"), []byte("M!!"), 1)
	for what, c := range map[string]struct {
		chain, roots []byte
		code         reason.Code
	}{
		"another name":  {issue(a, KindMachine, m2), roots, reason.WrongIdentity},
		"another CA":    {issue(other, KindMachine, m1), roots, reason.CAUnknown},
		"other roots":   {good, other.Bundle().Roots, reason.CAUnknown},
		"another key":   {strange, roots, reason.CertificateInvalid},
		"no roots":      {good, nil, reason.CertificateInvalid},
		"a broken root": {good, append(broken, roots...), reason.CertificateInvalid},
		"no root":       {good, good, reason.CertificateInvalid},
		"text behind":   {good, append(slices.Clone(roots), "x"...), reason.CertificateInvalid},
		"no chain":      {nil, roots, reason.CertificateInvalid},
	} {
		wantCode(t, what, k.Replace(c.chain, c.roots), c.code)
	}
	if k.Leaf() != leaf {
		t.Error("a refused certificate was taken")
	}
	if err := k.Replace(issue(a, KindServer, m1), roots); err != nil || k.ID().Kind != KindServer {
		t.Errorf("a machine could not become a server: %v", err)
	}
}
