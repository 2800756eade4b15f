package identity

import (
	"crypto/x509"
	"time"

	"argosy.dev/argosy/reason"
)

// A rotation replaces both roots without a failed call, in this order:
//
//  1. Rotate; store the record. Everybody reads Bundle: old and new root are trusted.
//  2. Everybody gets a certificate from the new root. Its chain also leads to the old root, for those who have not
//     read the bundle yet; certificates of the old root are good with those who have.
//  3. Retire, when nobody holds an old certificate any more; store the record. Everybody reads Bundle: one root.
//
// With a stolen CA, Retire follows Rotate at once: who has no new certificate then has to join again.

// Rotate makes new roots and issuing CAs, cross-signed by the old roots. It refuses while a rotation is under way.
func (a *Authority) Rotate(now time.Time) error {
	if a.Rotating() {
		return reason.Because(reason.CARotating, reason.Args{"error": "a rotation is under way: retire the old root first"})
	}
	api, err := a.api.next(a.cluster, useAPI, now)
	if err != nil {
		return err
	}
	peer, err := a.peer.next(a.cluster, usePeer, now)
	if err != nil {
		return err
	}
	a.api, a.peer = api, peer
	return nil
}

// next makes the CA after this one, and the link from this one to it.
func (c *ca) next(cluster, use string, now time.Time) (*ca, error) {
	n, err := newCA(cluster, use, now)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	cross, err := sign(&x509.Certificate{
		SerialNumber: serial, Subject: n.root.Subject, SubjectKeyId: n.root.SubjectKeyId, NotBefore: n.root.NotBefore, NotAfter: n.root.NotAfter,
		KeyUsage: n.root.KeyUsage, BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1,
	}, c.root, n.root.PublicKey, c.rootKey)
	if err != nil {
		return nil, err
	}
	n.old, n.cross = c.root, cross
	return n, nil
}

// Rotating tells whether an old root is still trusted.
func (a *Authority) Rotating() bool { return a.api.old != nil }

// Retire ends the trust in the old roots. Tokens that pin the old root end with it. Certificates of the store's peers go
// on naming the link from the old root to the new one: etcd reads its roots once, when it starts, so a peer that has
// run since before the rotation knows the new ones by that link only.
func (a *Authority) Retire() error {
	if !a.Rotating() {
		return reason.Because(reason.CARotating, reason.Args{"error": "no rotation is under way: there is no old root to retire"})
	}
	a.api.old, a.api.cross = nil, nil
	a.peer.old = nil
	return nil
}

// Description tells of an authority what may be seen.
type Description struct {
	Pin, OldPin                   [32]byte // SHA-256 of the API's root, and of the one that it replaces.
	Rotating                      bool
	Begun                         time.Time // When the present root was made.
	RootEnds, IssuingEnds         time.Time
	PeerRootEnds, PeerIssuingEnds time.Time
}

// Describe tells what may be seen of the authority.
func (a *Authority) Describe() Description {
	d := Description{
		Pin: a.Pin(), Rotating: a.Rotating(), Begun: IssuedAt(a.api.root), RootEnds: a.api.root.NotAfter, IssuingEnds: a.api.issuing.NotAfter,
		PeerRootEnds: a.peer.root.NotAfter, PeerIssuingEnds: a.peer.issuing.NotAfter,
	}
	if d.Rotating {
		d.OldPin = pinOf(a.api.old)
	}
	return d
}

// IssuingDue tells whether the issuing CAs are in the second half of their life: RenewIssuing is due. The roots, with
// ten years, are rotated by a person.
func (a *Authority) IssuingDue(now time.Time) bool {
	return now.After(a.api.issuing.NotAfter.Add(-issuingLife/2)) || now.After(a.peer.issuing.NotAfter.Add(-issuingLife/2))
}

// RenewIssuing makes new issuing CAs below the present roots. Nobody has to do anything: what the CAs before issued
// stays good, and so do tokens.
func (a *Authority) RenewIssuing(now time.Time) error {
	api, peer := *a.api, *a.peer
	if err := api.renewIssuing(a.cluster, useAPI, now); err != nil {
		return err
	}
	if err := peer.renewIssuing(a.cluster, usePeer, now); err != nil {
		return err
	}
	a.api, a.peer = &api, &peer
	return nil
}
