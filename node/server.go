package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"argosy.dev/argosy/api"
	"argosy.dev/argosy/audit"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/leader"
	"argosy.dev/argosy/member"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/store/remote"
	"argosy.dev/argosy/trust"
	"argosy.dev/argosy/wire"
)

func (n *node) storeDir() string { return filepath.Join(n.Data, "etcd") }

// holdsStore tells whether this machine has a part of the store: it has one on disk, founded the cluster, or was
// told to join the others.
func (n *node) holdsStore() bool {
	for _, path := range []string{filepath.Join(n.storeDir(), "etcd", "member"), n.files.Path(foundingFile)} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return n.initialCluster != ""
}

// peer is how the other servers' stores reach this one; zero while this machine listens on no network.
func (n *node) peer() (etcd.Peer, error) {
	if n.Listen == "" {
		return etcd.Peer{}, nil
	}
	at, err := advertised(n.PeerListen)
	return etcd.Peer{
		Listen: n.PeerListen, Advertise: at,
		CertFile: n.files.Path(identity.PeerCertFile), KeyFile: n.files.Path(identity.PeerKeyFile), CAFile: n.files.Path(identity.PeerRootsFile),
	}, err
}

func peerURL(at string) string {
	if at == "" {
		return ""
	}
	return etcd.PeerURL(at)
}

// serve is the life of a server: it holds a part of the store, may lead, and answers for the whole cluster.
func (n *node) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if n.disowned(ctx) {
		return n.leaveStore()
	}
	if err := n.freshPeer(); err != nil {
		return err
	}
	peer, err := n.peer()
	if err != nil {
		return err
	}
	if err := n.renewAlone(); err != nil {
		return err
	}
	s, err := etcd.Open(ctx, etcd.Options{Dir: n.storeDir(), Log: n.Log, Name: n.id, Peer: peer, Join: n.initialCluster})
	if errors.Is(err, etcd.ErrRemoved) {
		return n.leaveStore()
	}
	if errors.Is(err, etcd.ErrJoin) { // The members have changed since: the leader says anew how to join.
		n.initialCluster = ""
		pause(ctx, leasePause)
		return errors.Join(fmt.Errorf("%w: %w", errChange, err), etcd.Wipe(n.storeDir()))
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	n.initialCluster = ""
	l := &life{node: n, store: s, view: store.NewView(n.Log), cancel: cancel, alone: make(chan struct{})}
	err = l.asServer(ctx, s)
	cancel(nil)
	l.wg.Wait()
	removed := errors.Is(s.Failed(), etcd.ErrRemoved)
	if bad := s.Close(); bad != nil && !removed {
		err = errors.Join(err, fmt.Errorf("close the store: %w", bad))
	}
	if removed && ctx.Err() != nil {
		return n.leaveStore()
	}
	return err
}

// leaveStore makes an agent of a server that was taken out of the members of the store.
func (n *node) leaveStore() error {
	if err := etcd.Wipe(n.storeDir()); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return fmt.Errorf("%w: it holds no part of the store any more", errChange)
}

func (l *life) asServer(ctx context.Context, s *etcd.Store) error {
	if err := l.giveAuthority(ctx, s); err != nil {
		return err
	}
	key, err := l.files.ClusterKey()
	if err != nil {
		return err
	}
	desk := &trust.Desk{Store: s, View: l.view.Fork(), Key: key, Now: time.Now, Log: l.Log}
	l.revoked.from(desk.IsRevoked)
	members := member.New(member.Config{
		Store: s, View: l.view.Fork(), Machine: l.id, Log: l.Log, Now: time.Now, Snapshots: filepath.Join(l.Data, snapshotsDir),
	})
	lead := leader.New(leader.Config{Store: s, View: l.view.Fork(), Log: l.Log, Now: time.Now, Seed: 1, During: leading(desk, members)})
	if err := l.describe(true); err != nil {
		return err
	}
	config, err := l.configServer(s)
	if err != nil {
		return err
	}
	l.forwardConfig(ctx, config, l.otherServers)
	records, err := audit.Open(filepath.Join(l.Data, "audit"), audit.Options{}, l.Log)
	if err != nil {
		return err
	}
	defer l.closeAudit(records)
	parts := remote.NewParts(l.Log)
	door := api.New(api.Config{
		Store: s, View: l.view, Journal: l.journals(), History: l.events, Explain: lead.Explain, Leader: l.leaderName,
		Trust: desk, Guard: desk, Machines: remote.Handler(s, parts, l.Log), UserKeys: config.Handler(),
		Audit: records, ToServer: l.toServer, Outdated: l.keeper.Outdated, ToMachine: l.toMachine,
		Members: &storeDesk{life: l, store: s, keeper: members},
		Version: l.Version, MachineID: l.id, Now: time.Now, Log: l.Log,
	})
	l.keeper.Report(func(id identity.ID, from net.Addr, why *reason.Reason) { door.Refused(id, from.String(), why) })
	l.begin(ctx, "store", func(ctx context.Context) error {
		select {
		case <-s.Done():
			return s.Failed()
		case <-ctx.Done():
			return nil
		}
	})
	l.begin(ctx, "view", func(ctx context.Context) error { l.view.Run(ctx, s, ""); return nil })
	l.begin(ctx, "parts", func(ctx context.Context) error { parts.Run(ctx, s); return nil })
	kept := newKeepsake(l.Data, l.id)
	l.begin(ctx, "servers", l.learnServers)
	l.begin(ctx, "part", func(ctx context.Context) error { return l.keepPart(ctx, kept) })
	l.begin(ctx, "machine", l.beat)
	l.begin(ctx, "leader", func(ctx context.Context) error { lead.Run(ctx, l.id); return nil })
	l.begin(ctx, "agent", func(ctx context.Context) error { return l.work(ctx, kept) })
	l.begin(ctx, "follow", func(ctx context.Context) error { door.Loop().Run(ctx); return nil })
	l.begin(ctx, "certificate", func(ctx context.Context) error {
		l.keepCertificate(ctx, func(ctx context.Context, q wire.RenewRequest) (*wire.Credentials, error) {
			return l.renewHere(ctx, desk, q)
		})
		return nil
	})
	l.begin(ctx, "authority", func(ctx context.Context) error { return l.copyAuthority(ctx, desk) })
	l.open(ctx, localDoor{l, door}, door)
	return l.wait(ctx)
}

// open puts this life's API behind the two listeners.
func (l *life) open(ctx context.Context, inside, outside http.Handler) {
	l.inside.Open(ctx, inside)
	l.outside.Open(ctx, outside)
}

// toMachine is the TLS setting for a call of another machine's API.
func (l *life) toMachine(id string) *tls.Config { return l.keeper.ClientTLS(identity.KindMachine, id) }

// leaderName is the name of the machine that leads.
func (l *life) leaderName() string {
	name := ""
	l.view.Peek(func(p *cluster.Picture) {
		if p.Reign != nil {
			name = p.MachineName(p.Reign.ID)
		}
	})
	return name
}
