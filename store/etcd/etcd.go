// Package etcd is a store.Store in an etcd member inside this process. It is the only room that knows etcd.
// The member listens on nothing: it is reached by calls in the process alone, and so it is a cluster of one.
// Members that talk to each other, backups and recovery are left to a later room.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/pkg/v3/featuregate"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"

	"argosy.dev/argosy/loop"
	"argosy.dev/argosy/store"
)

// Options says where the store lies.
type Options struct {
	Dir   string       // The data directory; made with mode 0700. One process at a time.
	Quota int64        // Bytes that the store may hold; 0: DefaultQuota.
	Log   *slog.Logger // Warnings and errors of etcd go here.
}

// DefaultQuota is half of what etcd takes by default: Argosy's own keys are small, see performance.md.
const DefaultQuota = 1 << 30

const (
	memberName  = "argosy"
	memberURL   = "http://127.0.0.1:2380" // A name in the member list. Nothing listens there.
	keptHistory = "10000"                 // Revisions, for watches that resume.
	maxOps      = store.MaxChanges + 8    // Room for the fence beside the guards.
	maxRequest  = store.MaxWrite + 1<<20  // Room for etcd's own fields.
	defragMB    = 50                      // Free space in the file from which a start defragments.
	startBound  = 60 * time.Second        // A start with a big write-ahead log takes seconds.
)

// Store is a store.Store. Make it with Open.
type Store struct {
	server *embed.Etcd
	client *clientv3.Client
	lock   *os.File
	log    *slog.Logger
	quota  int64
	ctx    context.Context // Ends with Close.
	cancel context.CancelCauseFunc
	full   chan struct{} // Kicks the loop that makes space.
	space  space
	failed <-chan error // Why etcd cannot go on.
	own    sync.WaitGroup
	once   sync.Once
}

// Open starts the member and returns when it takes requests. A data directory that another process uses, or that
// etcd finds corrupt, is an error that says so.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Quota == 0 {
		o.Quota = DefaultQuota
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the store's directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	server, err := start(ctx, o, failed)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the store in %s: %w", o.Dir, err), lock.Close())
	}
	s := &Store{
		server: server, client: v3client.New(server.Server), lock: lock, log: o.Log, quota: o.Quota,
		full: make(chan struct{}, 1), failed: failed,
	}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.own.Go(s.watchServer)
	s.own.Go(func() {
		loop.Loop{Name: "store space", Every: spaceEvery, Kick: s.full, Pass: s.makeSpace, Log: o.Log}.Run(s.ctx)
	})
	return s, nil
}

// start brings the member up. A member that hangs in its start is left behind: the process is about to end.
func start(ctx context.Context, o Options, failed chan error) (*embed.Etcd, error) {
	cfg, err := config(o, failed)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startBound, fmt.Errorf("etcd was not ready within %v", startBound))
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
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err = <-failed:
		return nil, err
	case err = <-server.Err():
	case <-server.Server.StopNotify(): // A member that may not start stops before it is ready.
		err = errors.New("etcd stopped before it was ready")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	server.Close()
	return nil, err
}

func config(o Options, failed chan<- error) (*embed.Config, error) {
	at, err := url.Parse(memberURL)
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = memberName, filepath.Join(o.Dir, "etcd")
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, nil
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{*at}, []url.URL{*at}
	cfg.InitialCluster = memberName + "=" + memberURL
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModeRevision, keptHistory
	cfg.QuotaBackendBytes = o.Quota
	cfg.BootstrapDefragThresholdMegabytes = defragMB
	cfg.MaxTxnOps, cfg.MaxRequestBytes = maxOps, maxRequest
	cfg.EnableGRPCGateway = false
	cfg.LogLevel = "warn"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLogger(o.Log, failed))
	gates := features.NewDefaultServerFeatureGate(memberName, newLogger(o.Log, failed))
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

var errClosed = errors.New("the store is closed")

// watchServer says when the member cannot go on: a full disk, a broken file. Every call then tells the cause.
func (s *Store) watchServer() {
	var err error
	select {
	case err = <-s.failed:
	case err = <-s.server.Err():
	case <-s.server.Server.StopNotify():
		err = errors.New("etcd stopped by itself")
	case <-s.ctx.Done():
		return
	}
	s.cancel(fmt.Errorf("the store failed: %w", err))
	s.log.Error("the store failed and takes no requests until argosy starts again", "error", err)
}

// Close stops the member. Watches, terms and leases of this process end.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		sound := s.ctx.Err() == nil
		s.cancel(errClosed)
		_ = s.client.Close() // Always context.Canceled: a client without a connection.
		s.own.Wait()
		if sound {
			s.server.Close() // A member that failed hangs here; its files are as after a crash, which is fine.
		}
		err = s.lock.Close()
	})
	return err
}

// away is why no request can be answered any more.
func (s *Store) away() error { return store.Unavailable(context.Cause(s.ctx)) }
