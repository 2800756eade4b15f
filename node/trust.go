package node

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"argosy.dev/argosy/audit"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/member"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/trust"
	"argosy.dev/argosy/wire"
)

const (
	renewAgain    = time.Minute     // Until a renewal that failed is tried again.
	renewSpread   = 2 * time.Second // Over which machines that are asked to renew do so.
	authorityCopy = "authority.copy"
)

// closeAudit closes the audit log when a server's life ends: the next life opens it again.
func (l *life) closeAudit(records *audit.Log) {
	l.keeper.Report(func(identity.ID, net.Addr, *reason.Reason) {})
	if err := records.Close(); err != nil {
		l.Log.Error("the audit log was not closed well", "error", err)
	}
}

// toServer is the TLS setting for a call of one server.
func (l *life) toServer(id string) *tls.Config { return l.keeper.ClientTLS(identity.KindServer, id) }

// keepCertificate keeps the machine's certificates fresh, as long as ctx lives: by their age, and when the cluster asks for
// it because its authority has changed. ask gets new ones.
func (l *life) keepCertificate(ctx context.Context, ask func(context.Context, wire.RenewRequest) (*wire.Credentials, error)) {
	view := l.view.Fork()
	var notBefore time.Time
	for ctx.Err() == nil {
		now := time.Now()
		at := l.keeper.RenewAt(now)
		view.Look(func(p *cluster.Picture, _ map[cluster.Touched]struct{}, _ bool) {
			if m := p.Admin[l.id]; m != nil && identity.IssuedAt(l.keeper.Leaf()).Before(m.Renew) {
				at = now
			}
		})
		if at.Before(notBefore) {
			at = notBefore
		}
		if at.After(now) {
			wait(ctx, time.Until(at), view.Kick())
			continue
		}
		pause(ctx, rand.N(renewSpread))
		notBefore = time.Now()
		if err := l.renewOnce(ctx, ask); err != nil && ctx.Err() == nil {
			l.Log.Warn("the machine's certificate could not be renewed, trying again", "valid until", l.keeper.Leaf().NotAfter, "in", renewAgain, "error", err)
			notBefore = time.Now().Add(renewAgain)
		}
	}
}

// leading is what a server does beside the passes while it leads: it keeps the authority and the store's members fit.
func leading(desk *trust.Desk, members *member.Keeper) func(ctx context.Context, by store.Writer) {
	return func(ctx context.Context, by store.Writer) {
		var beside sync.WaitGroup
		beside.Go(func() { desk.Tend(ctx) })
		members.Run(ctx, by)
		beside.Wait()
	}
}

// wait goes on until the time is over, there is a kick, or ctx ends.
func wait(ctx context.Context, d time.Duration, kick <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-kick:
	case <-ctx.Done():
	}
}

// renewHere renews at this server's own desk.
func (l *life) renewHere(ctx context.Context, desk *trust.Desk, q wire.RenewRequest) (*wire.Credentials, error) {
	c, err := desk.Renew(ctx, l.keeper.ID(), q)
	if err != nil {
		return nil, err
	}
	return &c, l.saveAuthority(ctx, desk)
}

// saveAuthority keeps a copy of the sealed authority beside the key that opens it: see renewAlone.
func (l *life) saveAuthority(ctx context.Context, desk *trust.Desk) error {
	record, err := desk.Record(ctx)
	if err != nil {
		return err
	}
	return l.files.Write(authorityCopy, record)
}

// copyAuthority makes that copy when this life begins.
func (l *life) copyAuthority(ctx context.Context, desk *trust.Desk) error {
	for err := l.saveAuthority(ctx, desk); err != nil && ctx.Err() == nil; err = l.saveAuthority(ctx, desk) {
		l.Log.Warn("the certificate authority could not be copied, trying again", "in", renewAgain, "error", err)
		pause(ctx, renewAgain)
	}
	return nil
}

// renewAlone gives a server whose certificates have ended new ones from its own copy of the authority: when all servers were
// off for weeks, no store answers, because no peer believes another, and nobody else could give them.
func (n *node) renewAlone() error {
	now := time.Now()
	if !now.After(n.keeper.Leaf().NotAfter) {
		return nil
	}
	record, err := n.files.Read(authorityCopy)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // The store may be this machine alone: then it answers without.
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
	public, peer, err := publicKeys(n.files)
	if err != nil {
		return err
	}
	id, b := n.keeper.ID(), a.Bundle()
	c := &wire.Credentials{Roots: b.Roots, PeerRoots: b.PeerRoots}
	if c.Certificate, err = a.Issue(id, public, n.hosts(), now); err != nil {
		return err
	}
	if c.PeerCert, err = a.IssuePeer(id, peer, n.hosts(), now); err != nil {
		return err
	}
	n.Log.Warn("this server's certificates had ended: it has made itself new ones from its copy of the authority")
	return n.keepFresh(c)
}
