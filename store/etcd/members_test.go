package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
)

// patience bounds every wait; only a failing test waits so long.
const patience = 30 * time.Second

// hosts is a group of machines on loopback addresses, with throw-away certificates.
type hosts struct {
	t    *testing.T
	dir  string
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	mu   sync.Mutex
	next int
}

func newHosts(t *testing.T) *hosts {
	t.Helper()
	h := &hosts{t: t, dir: t.TempDir(), next: 1}
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
	if h.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	h.key = key
	h.file("ca.pem", "CERTIFICATE", der)
	return h
}

func (h *hosts) file(name, kind string, der []byte) string {
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// peer is a new loopback address with a free port and a certificate for it.
func (h *hosts) peer() etcd.Peer {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	ip := fmt.Sprintf("127.0.0.%d", h.next)
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		h.t.Fatal(err)
	}
	at := l.Addr().String()
	if err := l.Close(); err != nil {
		h.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(int64(h.next)), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, h.ca, key.Public(), h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		h.t.Fatal(err)
	}
	return etcd.Peer{
		Listen: at, Advertise: at, CAFile: filepath.Join(h.dir, "ca.pem"),
		CertFile: h.file(ip+".pem", "CERTIFICATE", der), KeyFile: h.file(ip+".key", "PRIVATE KEY", pkcs),
	}
}

// host is one machine with its store.
type host struct {
	*etcd.Store
	id   string
	opts etcd.Options
}

func (h *hosts) options(id string) etcd.Options {
	return etcd.Options{Dir: filepath.Join(h.dir, id), Name: id, Peer: h.peer()}
}

func (h *hosts) open(o etcd.Options) *host {
	h.t.Helper()
	o.Log = slog.New(slog.NewTextHandler(h.t.Output(), nil)).With("member", o.Name)
	s, err := etcd.Open(h.t.Context(), o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return &host{Store: s, id: o.Name, opts: o}
}

// retry calls f until it gives nil or an error that time does not cure.
func retry(t *testing.T, what string, f func(ctx context.Context) error) time.Duration {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return time.Since(begin)
		}
		if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Cure() != reason.Transient || ctx.Err() != nil {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// grow adds a machine to the members that via belongs to, starts it and gives it its vote.
func (h *hosts) grow(via *host, id string) *host {
	h.t.Helper()
	o := h.options(id)
	retry(h.t, "add "+id, func(ctx context.Context) (err error) {
		o.Join, err = via.AddLearner(ctx, id, o.Peer.URL())
		return err
	})
	n := h.open(o)
	retry(h.t, "promote "+id, func(ctx context.Context) error { return via.Promote(ctx, n.ID()) })
	return n
}

func (h *host) voters(t *testing.T) []string {
	t.Helper()
	all, err := h.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range all {
		if !m.Learner {
			out = append(out, m.MachineID)
		}
	}
	slices.Sort(out)
	return out
}

// writers write numbered keys until they are stopped, and remember what was acknowledged.
type writers struct {
	stop chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	done map[string]string
	fail int
}

// write begins to write through all the members that each gives.
func write(t *testing.T, each func() []*host) *writers {
	w := &writers{stop: make(chan struct{}), done: map[string]string{}}
	for n := range 4 {
		w.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-w.stop:
					return
				case <-time.After(20 * time.Millisecond): // Four writers: 200 writes in a second.
				}
				via := each()
				key, value := fmt.Sprintf("units/w%d@%d.service", n, i), fmt.Sprint(i)
				_, err := via[i%len(via)].Write(t.Context(), ann, store.Change{Key: key, Value: []byte(value)})
				w.mu.Lock()
				if err == nil {
					w.done[key] = value
				} else {
					w.fail++
				}
				w.mu.Unlock()
			}
		})
	}
	return w
}

// check ends the writing and compares what was acknowledged with what each member reads.
func (w *writers) check(t *testing.T, each ...*host) {
	t.Helper()
	close(w.stop)
	w.wg.Wait()
	t.Logf("%d writes acknowledged, %d without an answer", len(w.done), w.fail)
	if len(w.done) == 0 {
		t.Fatal("nothing was written")
	}
	for _, h := range each {
		pic, err := h.Read(t.Context(), "units/")
		if err != nil {
			t.Fatalf("%s: %v", h.id, err)
		}
		got := map[string]string{}
		for _, e := range pic.Entries {
			got[e.Key] = string(e.Value)
		}
		for k, v := range w.done {
			if got[k] != v {
				t.Fatalf("%s lost %s=%s, which was acknowledged", h.id, k, v)
			}
		}
	}
}

// TestGrowFromAlone: a lone member that listened on nothing gets an address, then two more members.
func TestGrowFromAlone(t *testing.T) {
	hs := newHosts(t)
	a := hs.options("aaaa")
	alone := open(t, etcd.Options{Dir: a.Dir})
	if _, err := put(t, alone, "units/a.service", "A"); err != nil {
		t.Fatal(err)
	}
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	first := hs.open(a)
	all, err := first.Members(t.Context())
	if err != nil || len(all) != 1 || all[0].PeerURL != a.Peer.URL() || all[0].MachineID != "aaaa" {
		t.Fatalf("with an address: %+v, %v", all, err)
	}
	begin := time.Now()
	second := hs.grow(first, "bbbb")
	t.Logf("two after %v", time.Since(begin))
	third := hs.grow(second, "cccc")
	t.Logf("three after %v", time.Since(begin))
	if got := third.voters(t); !slices.Equal(got, []string{"aaaa", "bbbb", "cccc"}) {
		t.Errorf("voters: %v", got)
	}
	pic, err := third.Read(t.Context(), "")
	if err != nil || len(pic.Entries) != 1 || string(pic.Entries[0].Value) != "A" {
		t.Errorf("the third reads %+v, %v", pic, err)
	}
}
