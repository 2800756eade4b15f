package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"argosy.dev/argosy/reason"
)

// How long certificates live. Each begins an hour early, for clocks that differ.
const (
	rootLife    = 10 * 365 * 24 * time.Hour
	issuingLife = 2 * 365 * 24 * time.Hour
	MachineLife = 14 * 24 * time.Hour // Of machines and servers.
	UserLife    = 30 * 24 * time.Hour
	early       = time.Hour
)

// Authority is the cluster's CA with its private keys: two roots, one for the API and one for the peers of the store,
// each with an issuing CA that signs. A certificate of the one is worth nothing before the other.
// It is not for use by several goroutines while it rotates.
type Authority struct {
	cluster   string
	api, peer *ca
}

// ca is one root and what issues in its name. While it is being replaced, the root before it is trusted too:
// cross is the new root signed by the old one, for those who do not know the new one yet.
type ca struct {
	root, issuing       *x509.Certificate
	rootKey, issuingKey *ecdsa.PrivateKey
	old, cross          *x509.Certificate
}

// What each CA is for, in its name.
const (
	useAPI  = "API"
	usePeer = "peer"
)

// Found makes the authority of a new cluster.
func Found(cluster string, now time.Time) (*Authority, error) {
	if !clusterName.MatchString(cluster) {
		return nil, fmt.Errorf("%q is not a cluster's name: up to 63 lower-case letters, digits, dots and dashes", cluster)
	}
	api, err := newCA(cluster, useAPI, now)
	if err != nil {
		return nil, err
	}
	peer, err := newCA(cluster, usePeer, now)
	if err != nil {
		return nil, err
	}
	return &Authority{cluster: cluster, api: api, peer: peer}, nil
}

// NewKey makes a private key as certificates here have them: ECDSA P-256.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newCA(cluster, use string, now time.Time) (*ca, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	t, err := caTemplate("Argosy "+cluster+" "+use+" root", now, now.Add(rootLife), 2) // 2: the cross-signed root and its issuing CA.
	if err != nil {
		return nil, err
	}
	root, err := sign(t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	c := &ca{root: root, rootKey: key}
	return c, c.renewIssuing(cluster, use, now)
}

// renewIssuing makes a new issuing CA below the root; certificates of the one before stay good.
func (c *ca) renewIssuing(cluster, use string, now time.Time) error {
	key, err := NewKey()
	if err != nil {
		return err
	}
	t, err := caTemplate("Argosy "+cluster+" "+use+" issuing", now, now.Add(issuingLife), 0)
	if err != nil {
		return err
	}
	cert, err := sign(t, c.root, &key.PublicKey, c.rootKey)
	if err != nil {
		return err
	}
	c.issuing, c.issuingKey = cert, key
	return nil
}

// caTemplate is a CA's certificate before it is signed. The serial in the name keeps generations apart.
func caTemplate(name string, now, until time.Time, depth int) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name + " " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore: now.Add(-early), NotAfter: until,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLen: depth, MaxPathLenZero: depth == 0,
	}, nil
}

// newSerial is 128 random bits, never zero (RFC 5280 4.1.2.2).
func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] |= 1
	return new(big.Int).SetBytes(b), nil
}

// sign makes a certificate that ends no later than its signer's does.
func sign(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	if t.NotAfter.After(parent.NotAfter) {
		t.NotAfter = parent.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Cluster is the name of the cluster that the authority is of.
func (a *Authority) Cluster() string { return a.cluster }

// Pin is the hash of the API's root, which join tokens carry.
func (a *Authority) Pin() [32]byte { return pinOf(a.api.root) }

// Bundle is the public part: whom to trust.
type Bundle struct {
	Cluster          string
	Roots, PeerRoots []byte // PEM; the newest first. Two while a rotation is under way.
}

// Bundle gives the authority's public part.
func (a *Authority) Bundle() Bundle {
	return Bundle{Cluster: a.cluster, Roots: toPEM(a.api.roots()...), PeerRoots: toPEM(a.peer.roots()...)}
}

func (c *ca) roots() []*x509.Certificate {
	if c.old != nil {
		return []*x509.Certificate{c.root, c.old}
	}
	return []*x509.Certificate{c.root}
}

// record is the stored form. Keys is Public's four private keys, sealed with Public as the associated data,
// so that nobody who may write the record can put another root beside the keys.
type record struct {
	Version int             `json:"version"`
	Public  json.RawMessage `json:"public"`
	Keys    []byte          `json:"keys"` // Nonce and XChaCha20-Poly1305 text of a JSON list of PKCS #8 keys.
}

type publicRecord struct {
	Cluster string   `json:"cluster"`
	API     publicCA `json:"api"`
	Peer    publicCA `json:"peer"`
}

// publicCA holds one CA's certificates as PEM.
type publicCA struct {
	Root    string `json:"root"`
	Issuing string `json:"issuing"`
	Old     string `json:"old,omitempty"`
	Cross   string `json:"cross,omitempty"`
}

const recordVersion = 1

// KeySize is the length of a cluster key in bytes.
const KeySize = chacha20poly1305.KeySize

// NewClusterKey makes the key that seals an authority.
func NewClusterKey() ([]byte, error) {
	key := make([]byte, KeySize)
	_, err := rand.Read(key)
	return key, err
}

// Seal makes the record that is stored: the certificates in clear, the private keys sealed with the cluster key.
func (a *Authority) Seal(key []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, k := range []*ecdsa.PrivateKey{a.api.rootKey, a.api.issuingKey, a.peer.rootKey, a.peer.issuingKey} {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			return nil, err
		}
		keys = append(keys, der)
	}
	plain, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	public, err := json.Marshal(publicRecord{Cluster: a.cluster, API: a.api.public(), Peer: a.peer.public()})
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return json.Marshal(record{Version: recordVersion, Public: public, Keys: aead.Seal(nonce, nonce, plain, public)})
}

func (c *ca) public() publicCA {
	p := publicCA{Root: string(toPEM(c.root)), Issuing: string(toPEM(c.issuing))}
	if c.old != nil {
		p.Old = string(toPEM(c.old))
	}
	if c.cross != nil {
		p.Cross = string(toPEM(c.cross))
	}
	return p
}

// OpenAuthority opens a stored record. The error is a *reason.Reason cluster-key-wrong.
func OpenAuthority(rec, key []byte) (*Authority, error) {
	a, err := openAuthority(rec, key)
	if err != nil {
		return nil, reason.Because(reason.ClusterKeyWrong, reason.Args{"error": err.Error()})
	}
	return a, nil
}

func openAuthority(rec, key []byte) (*Authority, error) {
	r, a, err := readRecord(rec)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	if len(r.Keys) < aead.NonceSize() {
		return nil, errors.New("it holds no keys")
	}
	var public bytes.Buffer
	if err := json.Compact(&public, r.Public); err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, r.Keys[:aead.NonceSize()], r.Keys[aead.NonceSize():], public.Bytes())
	if err != nil {
		return nil, errors.New("this key does not fit it, or it was changed")
	}
	var keys [][]byte
	if err := json.Unmarshal(plain, &keys); err != nil {
		return nil, err
	}
	slots := []struct {
		of  *x509.Certificate
		key **ecdsa.PrivateKey
	}{{a.api.root, &a.api.rootKey}, {a.api.issuing, &a.api.issuingKey}, {a.peer.root, &a.peer.rootKey}, {a.peer.issuing, &a.peer.issuingKey}}
	if len(keys) != len(slots) {
		return nil, fmt.Errorf("it holds %d keys, not %d", len(keys), len(slots))
	}
	for i, s := range slots {
		k, err := x509.ParsePKCS8PrivateKey(keys[i])
		if err != nil {
			return nil, err
		}
		ec, ok := k.(*ecdsa.PrivateKey)
		if !ok || !ec.PublicKey.Equal(s.of.PublicKey) {
			return nil, fmt.Errorf("key %d is not that of its certificate", i)
		}
		*s.key = ec
	}
	return a, nil
}

// ReadBundle reads the public part of a stored record, for which no key is needed. Whoever may write the record may
// change what this reads; only OpenAuthority proves it.
func ReadBundle(rec []byte) (Bundle, error) {
	_, a, err := readRecord(rec)
	if err != nil {
		return Bundle{}, reason.Because(reason.ClusterKeyWrong, reason.Args{"error": err.Error()})
	}
	return a.Bundle(), nil
}

func readRecord(rec []byte) (record, *Authority, error) {
	var r record
	if err := json.Unmarshal(rec, &r); err != nil {
		return r, nil, err
	}
	if r.Version != recordVersion {
		return r, nil, fmt.Errorf("it has version %d, this program knows %d", r.Version, recordVersion)
	}
	var p publicRecord
	if err := json.Unmarshal(r.Public, &p); err != nil {
		return r, nil, err
	}
	api, err := p.API.read()
	if err != nil {
		return r, nil, err
	}
	peer, err := p.Peer.read()
	return r, &Authority{cluster: p.Cluster, api: api, peer: peer}, err
}

func (p publicCA) read() (*ca, error) {
	c := &ca{}
	for _, f := range []struct {
		pem      string
		to       **x509.Certificate
		optional bool
	}{{p.Root, &c.root, false}, {p.Issuing, &c.issuing, false}, {p.Old, &c.old, true}, {p.Cross, &c.cross, true}} {
		if f.pem == "" && f.optional {
			continue
		}
		certs, err := parsePEM([]byte(f.pem))
		if err != nil {
			return nil, err
		}
		if len(certs) != 1 || !certs[0].IsCA {
			return nil, errors.New("it does not hold one CA certificate where one belongs")
		}
		*f.to = certs[0]
	}
	if c.old != nil && c.cross == nil {
		return nil, errors.New("it holds half a rotation")
	}
	return c, nil
}

// The most certificates in one chain or bundle: leaf, issuing, root, cross-signed root, old root, and some to spare.
const maxCertificates = 8

const certificateBlock = "CERTIFICATE"

func toPEM(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw}))
	}
	return b.Bytes()
}

// parsePEM reads one to maxCertificates certificates and nothing else.
func parsePEM(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, errors.New("something stands between the certificates")
		}
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != certificateBlock || len(block.Headers) > 0 {
			return nil, errors.New("this is not a certificate in PEM")
		}
		if len(out) == maxCertificates {
			return nil, fmt.Errorf("more than %d certificates", maxCertificates)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	if bytes.Count(text, []byte("-----BEGIN ")) != len(out) { // pem.Decode passes over a broken block.
		return nil, errors.New("one of the certificates is broken")
	}
	return out, nil
}
