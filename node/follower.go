package node

import (
	"context"
	"fmt"
	"time"

	"argosy.dev/argosy/api"
	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/remote"
	"argosy.dev/argosy/wire"
)

// follow is the life of an agent: it reaches the store through servers, and sees its own part of it.
func (n *node) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	toServers := n.keeper.ClientTLS(identity.KindServer, "")
	s, err := remote.New(remote.Options{Servers: n.memory.servers, TLS: toServers, Machine: n.id, Log: n.Log})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	l := &life{node: n, store: s, view: store.NewView(n.Log), cancel: cancel, alone: make(chan struct{})}
	err = l.asAgent(ctx)
	cancel(nil)
	l.wg.Wait()
	if bad := s.Close(); bad != nil && err == nil {
		err = fmt.Errorf("close the connection to the servers: %w", bad)
	}
	return err
}

func (l *life) asAgent(ctx context.Context) error {
	if err := l.describe(false); err != nil {
		return err
	}
	l.revoked.from(func(identity.ID) bool { return false }) // Who calls an agent is a server; it is asked itself.
	own := api.New(api.Config{
		Store: l.store, View: l.view, Journal: l.units, History: l.events, Guard: serversOnly{},
		Version: l.Version, MachineID: l.id, Now: time.Now, Log: l.Log,
	})
	l.begin(ctx, "view", func(ctx context.Context) error { l.view.Run(ctx, l.store, store.PartPrefix(l.id)); return nil })
	kept := newKeepsake(l.Data, l.id)
	l.begin(ctx, "part", func(ctx context.Context) error { return l.keepPart(ctx, kept) })
	l.begin(ctx, "machine", l.beat)
	l.begin(ctx, "agent", func(ctx context.Context) error { return l.work(ctx, kept) })
	l.begin(ctx, "follow", func(ctx context.Context) error { own.Loop().Run(ctx); return nil })
	l.begin(ctx, "servers", l.watchServers)
	l.forwardConfig(ctx, nil, l.memory.servers)
	l.begin(ctx, "certificate", func(ctx context.Context) error { l.keepCertificate(ctx, l.askRenew); return nil })
	l.open(ctx, api.NewForward(own, l.memory.servers, l.keeper.ClientTLS(identity.KindServer, ""), l.Log), own)
	return l.wait(ctx)
}

// serversOnly lets nobody in by name: a server's certificate is enough, and nobody else has business here.
type serversOnly struct{}

func (serversOnly) IsRevoked(identity.ID) bool            { return false }
func (serversOnly) RoleOf(string, time.Time) cluster.Role { return "" }

// askRenew asks the first server that answers. A certificate that has ended is replaced first by one for the same key, which
// is all that a machine gets that cannot prove any more who it is; with that one it asks for the rest.
func (l *life) askRenew(ctx context.Context, q wire.RenewRequest) (*wire.Credentials, error) {
	if time.Now().After(l.keeper.Leaf().NotAfter) {
		chain, err := l.files.Read(identity.CertFile)
		if err != nil {
			return nil, err
		}
		late := client.NewServers("the cluster", l.memory.servers, l.keeper.LateTLS())
		got, err := late.RenewLate(ctx, chain)
		late.Close()
		if err != nil {
			return nil, err
		}
		if err := l.keepFresh(got); err != nil {
			return nil, err
		}
	}
	c := client.NewServers("the cluster", l.memory.servers, l.keeper.ClientTLS(identity.KindServer, ""))
	defer c.Close()
	return c.Renew(ctx, q)
}

// watchServers keeps the list of servers fresh, and ends this life when the machine is to hold a part of the store.
func (l *life) watchServers(ctx context.Context) error {
	view := l.view.Fork()
	for {
		var servers []string
		var member *cluster.Member
		view.Look(func(p *cluster.Picture, _ map[cluster.Touched]struct{}, _ bool) {
			servers, member = serversIn(p, l.id), p.Members[l.id]
		})
		if err := l.memory.learn(servers); err != nil {
			l.Log.Warn("the list of servers cannot be kept on disk", "error", err)
		}
		if member != nil && member.InitialCluster != "" && l.keeper.ID().Kind == identity.KindServer {
			l.initialCluster = member.InitialCluster
			return fmt.Errorf("%w: it is to hold a part of the store", errChange)
		}
		select {
		case <-view.Kick():
		case <-ctx.Done():
			return nil
		}
	}
}
