package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/pkg/v3/featuregate"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/storage/wal"

	"argosy.dev/argosy/store"
)

const (
	memberName  = "argosy"                // Of a lone member without a name.
	memberURL   = "http://127.0.0.1:2380" // Of a lone member in the member list. Nothing listens there.
	keptHistory = "10000"                 // Revisions, for watches that resume.
	maxOps      = store.MaxChanges + 8    // Room for the fence beside the guards.
	maxRequest  = store.MaxWrite + 1<<20  // Room for etcd's own fields.
	defragMB    = 50                      // Free space in the file from which a start defragments.
	answerPause = 50 * time.Millisecond   // Between the tries of a start that waits for the others.
	maxLearners = 2                       // One that joins, and one that a change of mind left behind.
)

// URL is how a member's HOST:PORT stands in the member list.
func (p Peer) URL() string {
	if p.Advertise == "" {
		return memberURL
	}
	return PeerURL(p.Advertise)
}

// PeerURL makes the URL of a member's HOST:PORT. What is a URL already stays as it is.
func PeerURL(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	return "https://" + address
}

func (p Peer) check() error {
	if p == (Peer{}) {
		return nil
	}
	for what, at := range map[string]string{"listen": p.Listen, "advertise": p.Advertise} {
		if _, _, err := net.SplitHostPort(at); err != nil {
			return fmt.Errorf("the store's address to %s, %q: %w", what, at, err)
		}
	}
	if p.CertFile == "" || p.KeyFile == "" || p.CAFile == "" {
		return errors.New("members of the store talk to each other by TLS only: certificate, key and roots are needed")
	}
	return nil
}

// start brings the member up, so that it talks to the others. A member that hangs in its start is left behind: the
// process is about to end.
func start(ctx context.Context, o Options, failed chan error) (*embed.Etcd, error) {
	cfg, err := config(o, failed)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startBound, fmt.Errorf("etcd was not started within %v", startBound))
	defer cancel()
	started := make(chan error, 1)
	var server *embed.Etcd
	go func() {
		var err error
		server, err = embed.StartEtcd(cfg)
		started <- err
	}()
	select {
	case err = <-started:
	case err = <-failed:
		if errors.Is(err, ErrRemoved) { // It stops by itself, and cleanly.
			err = errors.Join(err, <-started)
			server.Close()
		}
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	if n := len(server.Server.Cluster().Members()); n > 1 && o.Peer == (Peer{}) {
		server.Close()
		return nil, fmt.Errorf("this is one of %d members of a store and needs an address for the others", n)
	}
	return server, nil
}

// ready waits until a started member takes requests. The caller closes it after an error.
func ready(ctx context.Context, server *embed.Etcd, failed <-chan error, o Options) error {
	bound, several := startBound, len(server.Server.Cluster().Members()) > 1
	if several {
		bound = readyBound
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-server.Server.ReadyNotify():
		return nil
	case <-answers(ctx, server, several):
		return nil
	case err := <-failed:
		return err
	case <-server.Server.StopNotify(): // A member that may not start stops before it is ready.
		return stopped(failed)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	if !several {
		return fmt.Errorf("etcd was not ready within %v", bound)
	}
	o.Log.Warn("the store waits for its other members", "members", len(server.Server.Cluster().Members()), "waited", bound)
	return nil
}

// answers is closed when one of several members answers. Such a member calls itself ready when the others have its
// name; a joining one loses the first message with it now and then, and sends the next one seven seconds later.
func answers(ctx context.Context, server *embed.Etcd, several bool) <-chan struct{} {
	out := make(chan struct{})
	if !several {
		return out
	}
	go func() {
		for ctx.Err() == nil {
			one, cancel := context.WithTimeout(ctx, tryTimeout)
			err := server.Server.LinearizableReadNotify(one)
			cancel()
			if err == nil {
				close(out)
				return
			}
			select {
			case <-server.Server.StopNotify():
				return
			case <-time.After(answerPause):
			}
		}
	}()
	return out
}

func config(o Options, failed chan<- error) (*embed.Config, error) {
	if err := o.Peer.check(); err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = memberName, filepath.Join(o.Dir, "etcd")
	if o.Name != "" {
		cfg.Name = o.Name
	}
	if err := addresses(cfg, o); err != nil {
		return nil, err
	}
	cfg.ForceNewCluster = o.ForceNew
	cfg.MaxLearners = maxLearners
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModeRevision, keptHistory
	cfg.QuotaBackendBytes = o.Quota
	cfg.BootstrapDefragThresholdMegabytes = defragMB
	cfg.MaxTxnOps, cfg.MaxRequestBytes = maxOps, maxRequest
	cfg.EnableGRPCGateway = false
	cfg.LogLevel = "warn"
	log := newLogger(o.Log, failed)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	gates := features.NewDefaultServerFeatureGate(memberName, log)
	mutable, ok := gates.(featuregate.MutableFeatureGate)
	if !ok {
		return nil, errors.New("etcd's feature gates cannot be set")
	}
	// Both are off by default, and both only ever find what is wrong already.
	if err := mutable.Set(string(features.InitialCorruptCheck) + "=true," + string(features.CompactHashCheck) + "=true"); err != nil {
		return nil, fmt.Errorf("etcd's corruption checks: %w", err)
	}
	cfg.ServerFeatureGate = mutable
	return cfg, nil
}

// joins tells whether the member is to join others, and has not done so before.
func (o Options) joins() bool {
	return o.Join != "" && !wal.Exist(filepath.Join(o.Dir, "etcd", "member", "wal"))
}

// addresses says where the member listens, what it is called by the others, and whom it begins with.
func addresses(cfg *embed.Config, o Options) error {
	at, err := url.Parse(o.Peer.URL())
	if err != nil {
		return fmt.Errorf("the store's address: %w", err)
	}
	client, err := url.Parse(memberURL) // Every member has to name one. Nothing listens there.
	if err != nil {
		return err
	}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, nil
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{*at}, []url.URL{*client}
	if o.Peer != (Peer{}) {
		cfg.ListenPeerUrls = []url.URL{{Scheme: "https", Host: o.Peer.Listen}}
		tls := &cfg.PeerTLSInfo
		tls.CertFile, tls.KeyFile, tls.TrustedCAFile, tls.ClientCertAuth = o.Peer.CertFile, o.Peer.KeyFile, o.Peer.CAFile, true
		// Who holds a certificate of the members' own authority is a member, from whatever address it calls.
		tls.SkipClientSANVerify = true
		cfg.TlsMinVersion = "TLS1.3"
	}
	cfg.InitialCluster = cfg.Name + "=" + at.String()
	cfg.InitialClusterToken = rand.Text() // No two clusters have an id in common.
	if o.joins() {
		cfg.InitialCluster, cfg.ClusterState = o.Join, embed.ClusterStateFlagExisting
	}
	return nil
}
