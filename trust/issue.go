package trust

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

// Issued notes the last certificate that an identity was given: who still has one of an old root is known from it.
// ca/issued/KIND/NAME in the store, servers under the kind machine.
type Issued struct {
	Kind   identity.Kind `json:"kind"`
	Name   string        `json:"name"`
	Serial string        `json:"serial"`
	Root   string        `json:"root"` // SHA-256 of the root, hex.
	At     time.Time     `json:"at"`
	Until  time.Time     `json:"until"`
}

// order is one certificate that is asked for.
type order struct {
	id           identity.ID // Without the cluster.
	public, peer []byte      // PKIX, DER. peer: servers only.
	hosts        []string
	after        time.Time // Not issued before; for clocks that differ.
	late         bool      // For the key that is known alone, and nothing beside it.
}

// issue signs certificates, and gives the change that notes it: they may be handed out when that was written.
func (d *Desk) issue(ctx context.Context, o order) (wire.Credentials, store.Change, error) {
	var note store.Change
	if len(o.hosts) > maxHosts {
		return wire.Credentials{}, note, reason.Because(reason.TooLarge, reason.Args{"what": "addresses of a machine", "need": len(o.hosts), "have": maxHosts})
	}
	a, _, err := d.authority(ctx)
	if err != nil {
		return wire.Credentials{}, note, err
	}
	now := d.Now()
	if now.Before(o.after) {
		now = o.after
	}
	b := a.Bundle()
	o.id.Cluster = b.Cluster
	key, err := x509.ParsePKIXPublicKey(o.public)
	if err != nil {
		return wire.Credentials{}, note, bad("the public key cannot be read: %v", err)
	}
	out := wire.Credentials{Cluster: b.Cluster, Kind: string(o.id.Kind), Roots: b.Roots, Servers: d.Servers()}
	if out.Certificate, err = a.Issue(o.id, key, o.hosts, now); err != nil {
		return wire.Credentials{}, note, bad("%v", err)
	}
	if note, err = noteOf(o.id, out.Certificate, a.Pin(), now); err != nil || o.id.Kind != identity.KindServer || o.late {
		return out, note, err
	}
	if key, err = x509.ParsePKIXPublicKey(o.peer); err != nil {
		return wire.Credentials{}, note, bad("the public key for the store's traffic cannot be read: %v", err)
	}
	out.PeerRoots = b.PeerRoots
	if out.PeerCert, err = a.IssuePeer(o.id, key, o.hosts, now); err != nil {
		return wire.Credentials{}, note, bad("%v", err)
	}
	return out, note, nil
}

func noteOf(id identity.ID, chain []byte, root [32]byte, now time.Time) (store.Change, error) {
	block, _ := pem.Decode(chain)
	if block == nil {
		return store.Change{}, errors.New("the certificate that was issued cannot be read")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return store.Change{}, err
	}
	n := Issued{Kind: id.Kind, Name: id.Name, Serial: leaf.SerialNumber.Text(16), Root: hex.EncodeToString(root[:]), At: now, Until: leaf.NotAfter}
	return store.Put(cluster.IssuedKey(string(recordKind(id.Kind)), id.Name), n), nil
}

// recordKind is the kind under which records about an identity stand: a server is a machine.
func recordKind(k identity.Kind) identity.Kind {
	if k == identity.KindServer {
		return identity.KindMachine
	}
	return k
}

// Renew gives who is known a new certificate: a machine, or a user as long as the user has a role.
func (d *Desk) Renew(ctx context.Context, id identity.ID, q wire.RenewRequest) (wire.Credentials, error) {
	o := order{id: id, public: q.PublicKey, peer: q.PeerKey, hosts: q.Hosts}
	if id.Kind == identity.KindUser {
		o.peer, o.hosts = nil, nil
	}
	d.View.Peek(func(p *cluster.Picture) {
		if u := p.Users[id.Name]; u != nil && id.Kind == identity.KindUser {
			o.after = u.Since
		}
		if m := p.Admin[id.Name]; m != nil && id.Kind != identity.KindUser {
			o.after = m.Renew
		}
	})
	return d.give(ctx, o)
}

// RenewLate gives a machine whose certificate has ended another one, for the same key: a cluster that was off for weeks
// comes back by itself. The machine has to be known and not revoked. It has not proved to hold the key: with what it
// gets it asks for the rest (Renew).
func (d *Desk) RenewLate(ctx context.Context, q wire.LateRequest) (wire.Credentials, error) {
	a, _, err := d.authority(ctx)
	if err != nil {
		return wire.Credentials{}, err
	}
	id, pub, err := a.Bundle().Late(q.Certificate, d.Now())
	if err != nil {
		return wire.Credentials{}, err
	}
	known := false
	d.View.Peek(func(p *cluster.Picture) { known = p.Machines[id.Name] != nil })
	if !known || d.IsRevoked(id) {
		return wire.Credentials{}, reason.Because(reason.CertificateRevoked, reason.Args{"who": "machine " + cluster.ShortID(id.Name)})
	}
	public, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return wire.Credentials{}, err
	}
	return d.give(ctx, order{id: id, public: public, late: true})
}

// give issues what is asked for and notes it.
func (d *Desk) give(ctx context.Context, o order) (wire.Credentials, error) {
	out, note, err := d.issue(ctx, o)
	if err != nil {
		return wire.Credentials{}, err
	}
	if _, err := d.Store.Write(ctx, founder, note); err != nil {
		return wire.Credentials{}, err
	}
	return out, nil
}

// nextSecond is the moment from which certificates are told from those of before: they know whole seconds only.
func nextSecond(t time.Time) time.Time { return t.Truncate(time.Second).Add(time.Second) }
