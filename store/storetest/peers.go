package storetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Peers gives members of a store that talk to each other loopback addresses and throw-away certificates of one
// authority.
type Peers struct {
	dir  string
	net  string // The first three parts of the addresses: another one for each test, as they run side by side.
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	mu   sync.Mutex
	next int
}

// Peer is one member's address, which was free a moment ago, with the PEM files for it.
type Peer struct{ Address, CertFile, KeyFile, CAFile string }

// NewPeers makes an authority.
func NewPeers(t *testing.T) *Peers {
	t.Helper()
	h := sha256.Sum256([]byte(t.Name()))
	p := &Peers{dir: t.TempDir(), net: fmt.Sprintf("127.%d.%d", 1+h[0]%254, h[1]), next: 1}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peers"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	p.key = key
	p.file(t, "ca.pem", "CERTIFICATE", der)
	return p
}

func (p *Peers) file(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// New gives the next loopback address, with a port of its own.
func (p *Peers) New(t *testing.T) Peer {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	ip := fmt.Sprintf("%s.%d", p.net, p.next)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(int64(p.next)), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, p.ca, key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Peer{
		Address: at, CAFile: filepath.Join(p.dir, "ca.pem"),
		CertFile: p.file(t, ip+".pem", "CERTIFICATE", der), KeyFile: p.file(t, ip+".key", "PRIVATE KEY", pkcs),
	}
}
