package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"argosy.dev/argosy/reason"
)

// KeeperOptions are what a Keeper begins with.
type KeeperOptions struct {
	Key          crypto.Signer
	Chain, Roots []byte           // PEM.
	Revoked      func(ID) bool    // Asked in every handshake; must not wait. Nil: nobody is revoked.
	Now          func() time.Time // Nil: time.Now.
}

// Keeper holds this machine's or user's certificate and the roots it trusts, and makes TLS settings from them.
// Both are replaced while connections come and go: a handshake sees either the old or the new pair.
// There is no session resumption: each handshake proves everything anew. It is safe for several goroutines.
type Keeper struct {
	key     crypto.Signer
	revoked func(ID) bool
	now     func() time.Time
	held    atomic.Pointer[held]
	report  atomic.Pointer[func(id ID, from net.Addr, why *reason.Reason)]
}

// held is one generation of what a keeper holds; it is not changed once made.
type held struct {
	id     ID
	cert   *tls.Certificate
	roots  *x509.CertPool
	newest *x509.Certificate // Of the roots.
	server *tls.Config
}

// NewKeeper makes a keeper. A missing or broken certificate or set of roots is an error, a *reason.Reason:
// nothing is served with half an identity. A certificate that has ended is not an error, since with it a machine
// can still ask for another (Bundle.Late).
func NewKeeper(o KeeperOptions) (*Keeper, error) {
	k := &Keeper{key: o.Key, revoked: o.Revoked, now: o.Now}
	if k.revoked == nil {
		k.revoked = func(ID) bool { return false }
	}
	if k.now == nil {
		k.now = time.Now
	}
	return k, k.Replace(o.Chain, o.Roots)
}

// Replace gives the keeper another certificate for the same key and name, or other roots, or both. Connections
// that stand are not touched. The certificate has to come from one of the roots, or nothing is changed.
func (k *Keeper) Replace(chain, roots []byte) error {
	h, err := k.read(chain, roots)
	if err != nil {
		if _, ok := errors.AsType[*reason.Reason](err); ok {
			return err
		}
		return reason.Because(reason.CertificateInvalid, reason.Args{"who": "this machine", "error": err.Error()})
	}
	if before := k.held.Load(); before != nil && (before.id.Cluster != h.id.Cluster || before.id.Name != h.id.Name) {
		return reason.Because(reason.WrongIdentity, reason.Args{"who": h.id.String(), "want": before.id.String()})
	}
	h.server = k.serverTLS(h)
	k.held.Store(h)
	return nil
}

func (k *Keeper) read(chain, roots []byte) (*held, error) {
	certs, err := parsePEM(chain)
	if err != nil {
		return nil, err
	}
	pool, err := readRoots(roots)
	if err != nil {
		return nil, fmt.Errorf("the CA's certificates: %w", err)
	}
	id, err := verify(certs, pool, x509.ExtKeyUsageClientAuth, certs[0].NotAfter)
	if err != nil {
		return nil, err
	}
	pub, ok := certs[0].PublicKey.(*ecdsa.PublicKey)
	if !ok || k.key == nil || !pub.Equal(k.key.Public()) {
		return nil, errors.New("the certificate is not for this machine's key")
	}
	c := &tls.Certificate{PrivateKey: k.key, Leaf: certs[0]}
	for _, x := range certs {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	all, err := parsePEM(roots)
	if err != nil {
		return nil, err
	}
	return &held{id: id, cert: c, roots: pool, newest: all[0]}, nil
}

// ID is whose certificate the keeper holds.
func (k *Keeper) ID() ID { return k.held.Load().id }

// Leaf is the certificate that the keeper shows; not to be changed.
func (k *Keeper) Leaf() *x509.Certificate { return k.held.Load().cert.Leaf }

// RenewAt tells when to ask for another certificate: a moment between 50 % and 80 % of the present one's life, which
// its random serial number decides, so that it stays the same over restarts and machines that were made together
// do not ask together. It is now when that moment is over, but never within a minute of the certificate's issue: a CA that
// is about to end gives certificates so short that a machine would ask without a pause.
func (k *Keeper) RenewAt(now time.Time) time.Time {
	c := k.Leaf()
	var b [16]byte
	c.SerialNumber.FillBytes(b[:])
	dice := float64(binary.BigEndian.Uint32(b[12:])) / (1 << 32)
	at := c.NotBefore.Add(time.Duration((0.5 + 0.3*dice) * float64(c.NotAfter.Sub(c.NotBefore))))
	if first := c.NotBefore.Add(early + time.Minute); at.Before(first) {
		at = first
	}
	if at.Before(now) {
		return now
	}
	return at
}

func protocols() []string { return []string{"h2", "http/1.1"} }

// ServerTLS is the setting for a listener. It asks for the caller's certificate and verifies it where one is given;
// a machine that joins has none yet (see Caller). What the keeper is given later holds for the next handshake.
func (k *Keeper) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols(), SessionTicketsDisabled: true, ClientAuth: tls.VerifyClientCertIfGiven,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.held.Load().cert, nil },
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			conf, report := k.held.Load().server, k.report.Load()
			if report == nil {
				return conf, nil
			}
			conf = conf.Clone()
			verify := conf.VerifyConnection
			conf.VerifyConnection = func(s tls.ConnectionState) error {
				err := verify(s)
				if r, ok := errors.AsType[*reason.Reason](err); ok {
					id, _ := FromCertificate(s.PeerCertificates[0])
					(*report)(id, h.Conn.RemoteAddr(), r)
				}
				return err
			}
			return conf, nil
		},
	}
}

// Outdated tells whether the other side of a connection has a certificate of a root that is being replaced, and none of
// the newest one that the keeper knows.
func (k *Keeper) Outdated(s *tls.ConnectionState) bool {
	if s == nil || len(s.VerifiedChains) == 0 {
		return false
	}
	newest := k.held.Load().newest
	for _, chain := range s.VerifiedChains {
		if chain[len(chain)-1].Equal(newest) {
			return false
		}
	}
	return true
}

// Report has f called for every caller whose certificate comes from a root of ours and who is refused all the same:
// revoked, or of another cluster. f must not wait.
func (k *Keeper) Report(f func(id ID, from net.Addr, why *reason.Reason)) { k.report.Store(&f) }

// serverTLS is the setting of one generation. It never looks at the name that the client asks for.
func (k *Keeper) serverTLS(h *held) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols(), SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{*h.cert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: h.roots, Time: k.now,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			id, err := FromCertificate(s.PeerCertificates[0])
			if err != nil {
				return err
			}
			return k.member(h, id)
		},
	}
}

// member refuses who is not of this cluster or no longer.
func (k *Keeper) member(h *held, id ID) error {
	if id.Cluster != h.id.Cluster {
		return reason.Because(reason.WrongCluster, reason.Args{"who": id.String(), "found": id.Cluster, "want": h.id.Cluster})
	}
	if k.revoked(id) {
		return reason.Because(reason.CertificateRevoked, reason.Args{"who": id.String()})
	}
	return nil
}

// ClientTLS is the setting for calls. The other side has to be who was called, by its identity and never by host name:
// KindServer is any server, or the one with a name; KindMachine is the machine with that name, which may be a server.
// With http.Transport set ForceAttemptHTTP2. The handshake's errors are *reason.Reason (errors.As finds them).
func (k *Keeper) ClientTLS(want Kind, name string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols(),
		InsecureSkipVerify:   true, // VerifyConnection does all of it, by identity instead of host name.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return k.held.Load().cert, nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			h := k.held.Load()
			id, err := verify(s.PeerCertificates, h.roots, x509.ExtKeyUsageServerAuth, k.now())
			if err != nil {
				return otherCluster(err, s.PeerCertificates, h.id)
			}
			if err := k.member(h, id); err != nil {
				return err
			}
			return answers(id, want, name)
		},
	}
}

// LateTLS is ClientTLS of any server without the keeper's own certificate, which has ended: only to ask for another one.
func (k *Keeper) LateTLS() *tls.Config {
	c := k.ClientTLS(KindServer, "")
	c.GetClientCertificate = nil
	return c
}

// otherCluster says of who cannot prove anything that it claims to be of another cluster, which tells a person more.
func otherCluster(err error, chain []*x509.Certificate, us ID) error {
	r, ok := errors.AsType[*reason.Reason](err)
	if !ok || r.Code != reason.CAUnknown {
		return err
	}
	if id, bad := fromCertificate(chain[0]); bad == nil && id.Cluster != us.Cluster {
		return reason.Because(reason.WrongCluster, reason.Args{"who": id.String(), "found": id.Cluster, "want": us.Cluster})
	}
	return err
}

func answers(id ID, want Kind, name string) error {
	kind := id.Kind == KindServer || (id.Kind == KindMachine && want == KindMachine)
	called := name == id.Name || (name == "" && want == KindServer)
	if kind && called && (want == KindServer || want == KindMachine) {
		return nil
	}
	return reason.Because(reason.WrongIdentity, reason.Args{"who": id.String(), "want": strings.TrimSpace(string(want) + " " + name)})
}

// PinnedTLS is the setting for a machine that joins: it knows nothing of the cluster but the hash of its root. The
// server has to send its whole chain and that root. If it does not, the handshake fails before anything is sent,
// with a *reason.Reason ca-mismatch.
func PinnedTLS(pin [32]byte) *tls.Config { return pinnedTLS(pin, time.Now) }

func pinnedTLS(pin [32]byte, now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols(),
		InsecureSkipVerify: true, // VerifyConnection does all of it, from the pin.
		VerifyConnection: func(s tls.ConnectionState) error {
			root := x509.NewCertPool()
			found := false
			for _, c := range s.PeerCertificates {
				if pinOf(c) == pin && selfSigned(c) {
					root.AddCert(c)
					found = true
				}
			}
			if !found {
				return reason.Because(reason.CAMismatch, reason.Args{"want": hex.EncodeToString(pin[:])})
			}
			id, err := verify(s.PeerCertificates, root, x509.ExtKeyUsageServerAuth, now())
			if err != nil {
				return err
			}
			return answers(id, KindServer, "")
		},
	}
}

// Explain finds the reason in the error of a call over TLS: our own refusal of the other side, or that the other side
// refused us, of which TLS tells no more than an alert (RFC 8446 6.2). It is nil for any other error.
func Explain(err error) *reason.Reason {
	if r, ok := errors.AsType[*reason.Reason](err); ok {
		return r
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return reason.Because(reason.CertificateRefused, reason.Args{"error": op.Err.Error()})
	}
	return nil
}
