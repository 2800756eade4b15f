package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"time"

	"argosy.dev/argosy/reason"
)

// MaxHosts bounds the addresses and DNS names in one certificate.
const MaxHosts = 32

var dnsName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// Issue makes an API certificate for an identity and the public key that its holder has shown: the chain leaf,
// issuing CA, root (while the root is being replaced: the cross-signed root and the old root too), as PEM. Machines and
// servers get MachineLife, users UserLife. hosts are the IP addresses and DNS names of a machine or server, as the caller knows them and never as a client
// asks for them; Argosy itself goes by the identity, they are for other programs.
func (a *Authority) Issue(id ID, pub crypto.PublicKey, hosts []string, now time.Time) ([]byte, error) {
	return a.issue(a.api, id, pub, hosts, now)
}

// IssuePeer makes a server's certificate for the store's peers, from the peers' own CA. etcd does go by hosts:
// they must hold the address in the peer URL.
func (a *Authority) IssuePeer(id ID, pub crypto.PublicKey, hosts []string, now time.Time) ([]byte, error) {
	if id.Kind != KindServer {
		return nil, fmt.Errorf("%s is not a server: it has no place among the store's peers", id)
	}
	return a.issue(a.peer, id, pub, hosts, now)
}

func (a *Authority) issue(c *ca, id ID, pub crypto.PublicKey, hosts []string, now time.Time) ([]byte, error) {
	if err := id.Check(); err != nil {
		return nil, err
	}
	if id.Cluster != a.cluster {
		return nil, fmt.Errorf("%s is not of cluster %s", id, a.cluster)
	}
	if err := checkKey(pub); err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: id.Name, OrganizationalUnit: []string{string(id.Kind)}},
		NotBefore: now.Add(-early), NotAfter: now.Add(MachineLife), URIs: []*url.URL{id.URI()},
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if id.Kind == KindUser {
		t.NotAfter, t.ExtKeyUsage = now.Add(UserLife), []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if err := addHosts(t, id.Kind, hosts); err != nil {
		return nil, err
	}
	leaf, err := sign(t, c.issuing, pub, c.issuingKey)
	if err != nil {
		return nil, err
	}
	chain := []*x509.Certificate{leaf, c.issuing, c.root}
	if c.cross != nil {
		chain = append(chain, c.cross)
	}
	if c.old != nil {
		chain = append(chain, c.old)
	}
	return toPEM(chain...), nil
}

func addHosts(t *x509.Certificate, kind Kind, hosts []string) error {
	if kind == KindUser && len(hosts) > 0 {
		return errors.New("a user has no hosts")
	}
	if len(hosts) > MaxHosts {
		return fmt.Errorf("%d hosts are more than the limit of %d", len(hosts), MaxHosts)
	}
	for _, h := range hosts {
		switch ip := net.ParseIP(h); {
		case ip != nil && !ip.IsUnspecified():
			t.IPAddresses = append(t.IPAddresses, ip)
		case ip == nil && len(h) <= 253 && dnsName.MatchString(h):
			t.DNSNames = append(t.DNSNames, h)
		default:
			return fmt.Errorf("%.100q is neither an IP address nor a DNS name", h)
		}
	}
	return nil
}

// IssuedAt is when a certificate was issued, to the second: certificates begin earlier, for clocks that differ.
func IssuedAt(c *x509.Certificate) time.Time { return c.NotBefore.Add(early) }

// checkKey takes one kind of key only, so that nothing weaker slips in.
func checkKey(pub crypto.PublicKey) error {
	k, ok := pub.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return errors.New("the key is not an ECDSA P-256 key")
	}
	return nil
}

// LateLimit is how long after its end a machine's certificate still serves to ask for a new one and for nothing else:
// a cluster that was off for weeks comes back by itself.
const LateLimit = 30 * 24 * time.Hour

// Late tells who asks for a renewal with a certificate that may have ended, and for which key to issue the next: a
// machine or server whose chain was good when it ended, at most LateLimit ago. The caller does not prove to hold the
// key, and need not: a certificate is of no use without it. For the same reason the caller must issue for this key
// only, and nothing else beside it; and has to look up that the identity is known and not revoked.
// Errors are *reason.Reason.
func (b Bundle) Late(chain []byte, now time.Time) (ID, crypto.PublicKey, error) {
	refuse := func(who string, err error) (ID, crypto.PublicKey, error) {
		return ID{}, nil, reason.Because(reason.CertificateInvalid, reason.Args{"who": who, "error": err.Error()})
	}
	certs, err := parsePEM(chain)
	if err != nil {
		return refuse("the caller", err)
	}
	roots, err := readRoots(b.Roots)
	if err != nil {
		return refuse("the caller", err)
	}
	at := now
	if end := certs[0].NotAfter; end.Before(now) && now.Sub(end) <= LateLimit {
		at = end
	}
	id, err := verify(certs, roots, x509.ExtKeyUsageClientAuth, at)
	if err != nil {
		return ID{}, nil, err
	}
	if id.Cluster != b.Cluster || id.Kind == KindUser {
		return refuse(id.String(), errors.New("only machines of this cluster renew late"))
	}
	return id, certs[0].PublicKey, nil
}

// readRoots reads a bundle's roots. An empty or broken bundle is an error, never an empty pool.
func readRoots(text []byte) (*x509.CertPool, error) {
	certs, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		if !selfSigned(c) {
			return nil, fmt.Errorf("%.80q is not a root", c.Subject.CommonName)
		}
		pool.AddCert(c)
	}
	return pool, nil
}

func selfSigned(c *x509.Certificate) bool {
	return c.IsCA && c.BasicConstraintsValid && c.CheckSignatureFrom(c) == nil
}

// verify proves a chain up to the roots and reads whose it is. Errors are *reason.Reason.
func verify(chain []*x509.Certificate, roots *x509.CertPool, use x509.ExtKeyUsage, now time.Time) (ID, error) {
	if len(chain) == 0 {
		return ID{}, reason.Because(reason.CertificateInvalid, reason.Args{"who": "the other side", "error": "it showed none"})
	}
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
	if err != nil {
		return ID{}, explain(err, leaf, now)
	}
	return FromCertificate(leaf)
}

// explain turns a verification's error into a reason.
func explain(err error, leaf *x509.Certificate, now time.Time) *reason.Reason {
	name, at := who(leaf), now.UTC().Format(time.RFC3339)
	switch {
	case now.After(leaf.NotAfter):
		return reason.Because(reason.CertificateExpired, reason.Args{"who": name, "after": now.Sub(leaf.NotAfter).Milliseconds(), "now": at})
	case now.Before(leaf.NotBefore):
		return reason.Because(reason.CertificateEarly, reason.Args{"who": name, "next": leaf.NotBefore.Sub(now).Milliseconds(), "now": at})
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return reason.Because(reason.CAUnknown, reason.Args{"who": name})
	}
	return reason.Because(reason.CertificateInvalid, reason.Args{"who": name, "error": err.Error()})
}

// pinOf is the hash by which tokens name a root.
func pinOf(c *x509.Certificate) [32]byte { return sha256.Sum256(c.Raw) }
