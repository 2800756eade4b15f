package node

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// issueOwn gives this machine certificates as a server.
func (n *node) issueOwn(a *identity.Authority) error {
	public, peer, err := publicKeys(n.files)
	if err != nil {
		return err
	}
	id, b := identity.ID{Cluster: a.Cluster(), Kind: identity.KindServer, Name: n.id}, a.Bundle()
	peerChain, err := a.IssuePeer(id, peer, n.hosts(), time.Now())
	if err != nil {
		return err
	}
	chain, err := a.Issue(id, public, n.hosts(), time.Now())
	if err != nil {
		return err
	}
	if err := n.files.SavePeer(peerChain, b.PeerRoots); err != nil {
		return err
	}
	return n.files.SaveCertificate(chain, b.Roots)
}

// readAuthority reads the sealed authority of a store.
func readAuthority(ctx context.Context, s store.Store) ([]byte, error) {
	pic, err := s.Read(ctx, cluster.AuthorityKey())
	if err != nil {
		return nil, err
	}
	for _, e := range pic.Entries {
		if e.Key == cluster.AuthorityKey() {
			return e.Value, nil
		}
	}
	return nil, reason.Because(reason.NoCluster, nil)
}

func (n *node) keepAuthority(record []byte) error {
	return n.files.Write(authorityCopy, record)
}

// freshPeer gives a server whose address is not in its certificates new ones: the other members would refuse it.
func (n *node) freshPeer() error {
	if n.Listen == "" {
		return nil
	}
	at, err := advertised(n.PeerListen)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(at)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(n.files.Path(identity.PeerCertFile), n.files.Path(identity.PeerKeyFile))
	if err != nil {
		return fmt.Errorf("the certificate for the store's traffic: %w", err)
	}
	if pair.Leaf.VerifyHostname(host) == nil && time.Now().Before(pair.Leaf.NotAfter) {
		return nil
	}
	record, err := n.files.Read(authorityCopy)
	if errors.Is(err, os.ErrNotExist) {
		record, err = n.files.Read(foundingFile)
	}
	if errors.Is(err, os.ErrNotExist) {
		n.Log.Warn("this machine's certificate does not name its address, and there is no copy of the authority to issue another one", "address", host)
		return nil // It is renewed as usual, when a majority answers.
	}
	if err != nil {
		return err
	}
	key, err := n.files.ClusterKey()
	if err != nil {
		return err
	}
	a, err := identity.OpenAuthority(record, key)
	if err != nil {
		return err
	}
	if err := n.issueOwn(a); err != nil {
		return err
	}
	n.Log.Info("this machine has another address: it gave itself certificates for it", "address", host, "before", slices.Concat(pair.Leaf.DNSNames, addresses(pair.Leaf.IPAddresses)))
	if n.keeper == nil {
		return nil
	}
	chain, err := n.files.Read(identity.CertFile)
	if err != nil {
		return err
	}
	roots, err := n.files.Read(identity.RootsFile)
	if err != nil {
		return err
	}
	return n.keeper.Replace(chain, roots)
}

func addresses(ips []net.IP) []string {
	var out []string
	for _, ip := range ips {
		out = append(out, ip.String())
	}
	return out
}

func parseClusterKey(text []byte) ([]byte, error) {
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != identity.KeySize {
		return nil, fmt.Errorf("this is not a cluster's key of %d hex digits", 2*identity.KeySize)
	}
	return key, nil
}
