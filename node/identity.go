package node

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

// foundingFile holds the sealed authority of a cluster that was founded here, until the store has it.
const foundingFile = "authority.json"

// revocations tell whose certificates count no more; what knows changes with what the machine is.
type revocations struct {
	ask atomic.Pointer[func(identity.ID) bool]
}

func (r *revocations) is(id identity.ID) bool {
	ask := r.ask.Load()
	return ask != nil && (*ask)(id)
}

func (r *revocations) from(ask func(identity.ID) bool) { r.ask.Store(&ask) }

// openIdentity opens who this machine is in its cluster; where it is in none, it founds one.
func (n *node) openIdentity() error {
	n.files = identity.Files{Dir: filepath.Join(n.Data, "identity")}
	if !n.files.Joined() {
		if err := n.found(); err != nil {
			return err
		}
	}
	var err error
	n.keeper, err = n.files.Keeper(n.revoked.is, time.Now)
	return err
}

// found makes a cluster of this machine alone: its authority, and this machine's own certificates. The certificate is
// written last: it is what makes the machine a member.
func (n *node) found() error {
	name := make([]byte, 8)
	if _, err := rand.Read(name); err != nil {
		return err
	}
	a, err := identity.Found(hex.EncodeToString(name), time.Now())
	if err != nil {
		return err
	}
	key, err := identity.NewClusterKey()
	if err != nil {
		return err
	}
	record, err := a.Seal(key)
	if err != nil {
		return err
	}
	if err := n.files.SaveClusterKey(key); err != nil {
		return err
	}
	if err := writeFile(n.files.Path(foundingFile), record); err != nil {
		return err
	}
	return n.issueOwn(a)
}

func publicKeys(f identity.Files) (public, peer crypto.PublicKey, err error) {
	k, err := f.Key()
	if err != nil {
		return nil, nil, err
	}
	p, err := f.PeerKey()
	if err != nil {
		return nil, nil, err
	}
	return k.Public(), p.Public(), nil
}

// hosts are the addresses that the machine's certificates name. Who answers is checked by identity, not by these;
// only the store's own traffic looks at them.
func (n *node) hosts() []string { return hostsOf(n.Listen, n.PeerListen) }

func hostsOf(addresses ...string) []string {
	hosts := []string{"localhost", "127.0.0.1"}
	for _, a := range addresses {
		if a == "" {
			continue
		}
		a, err := advertised(a)
		if err != nil {
			continue
		}
		if host, _, err := net.SplitHostPort(a); err == nil && host != "127.0.0.1" && host != hosts[len(hosts)-1] {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// giveAuthority writes the authority of a cluster that was founded here into the store, once.
func (n *node) giveAuthority(ctx context.Context, s store.Store) error {
	path := n.files.Path(foundingFile)
	record, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	by := store.Writer{Role: store.Person, ID: "argosy"}
	_, err = s.Write(ctx, by, store.Change{Key: cluster.AuthorityKey(), Value: record, Guard: true, If: 0})
	if err != nil && !errors.Is(err, store.ErrStale) { // Stale: the store has it, and we died before this was tidied up.
		return fmt.Errorf("keep the certificate authority in the store: %w", err)
	}
	return os.Remove(path)
}

func (n *node) renewOnce(ctx context.Context, ask func(context.Context, wire.RenewRequest) (*wire.Credentials, error)) error {
	public, peer, err := marshalKeys(n.files)
	if err != nil {
		return err
	}
	c, err := ask(ctx, wire.RenewRequest{PublicKey: public, PeerKey: peer, Hosts: n.hosts()})
	if err != nil {
		return err
	}
	return n.keepFresh(c)
}

// keepFresh takes new certificates into use.
func (n *node) keepFresh(c *wire.Credentials) error {
	if err := keep(n.files, c); err != nil {
		return err
	}
	n.Log.Info("the machine's certificate was renewed")
	return n.keeper.Replace(c.Certificate, c.Roots)
}

// keep writes credentials to disk, the machine's certificate last.
func keep(f identity.Files, c *wire.Credentials) error {
	if len(c.ClusterKey) > 0 {
		if err := f.SaveClusterKey(c.ClusterKey); err != nil {
			return err
		}
	}
	if len(c.PeerCert) > 0 {
		if err := f.SavePeer(c.PeerCert, c.PeerRoots); err != nil {
			return err
		}
	}
	return f.SaveCertificate(c.Certificate, c.Roots)
}

func marshalKeys(f identity.Files) (public, peer []byte, err error) {
	k, p, err := publicKeys(f)
	if err != nil {
		return nil, nil, err
	}
	if public, err = x509.MarshalPKIXPublicKey(k); err != nil {
		return nil, nil, err
	}
	peer, err = x509.MarshalPKIXPublicKey(p)
	return public, peer, err
}

// JoinConfig is what a machine needs to join a cluster.
type JoinConfig struct {
	Token      string
	Data       string
	Name       string // Default: the host name.
	Listen     string // HOST:PORT of this machine's API.
	PeerListen string
	Version    string
}

// Join makes this machine a member of the cluster that the token is of: it gets its certificates and writes them, and
// the list of servers, to Data. Run goes on from there. Nothing is written before the cluster has said yes.
func Join(ctx context.Context, c JoinConfig) error {
	n := &node{Config: Config{Data: c.Data, Name: c.Name, Listen: c.Listen, PeerListen: c.PeerListen}}
	if err := n.openData(); err != nil {
		return err
	}
	n.files = identity.Files{Dir: filepath.Join(n.Data, "identity")}
	if n.files.Joined() {
		return fmt.Errorf("%s belongs to a cluster already: argosy up starts it; argosy leave, or another --data, comes before joining another one", n.Data)
	}
	t, err := identity.ParseToken(c.Token)
	if err != nil {
		return err
	}
	public, peer, err := marshalKeys(n.files)
	if err != nil {
		return err
	}
	q := wire.JoinRequest{Token: c.Token, Machine: n.id, Name: n.Name, PublicKey: public, PeerKey: peer, Hosts: n.hosts(), Version: c.Version}
	got, err := ask(ctx, t, q)
	if err != nil {
		return err
	}
	if err := n.memory.learn(got.Servers); err != nil {
		return err
	}
	return keep(n.files, got)
}

// ask goes through the token's addresses until one answers. A refusal is an answer.
func ask(ctx context.Context, t identity.Token, q wire.JoinRequest) (*wire.Credentials, error) {
	var errs []error
	for _, addr := range t.Addresses {
		c := client.NewTLS(addr, identity.PinnedTLS(t.Pin))
		got, err := c.Join(ctx, q)
		c.Close()
		if err == nil {
			return got, nil
		}
		if told, ok := errors.AsType[*client.Error](err); ok {
			return nil, told
		}
		errs = append(errs, fmt.Errorf("%s: %w", addr, err))
	}
	return nil, errors.Join(errs...)
}
