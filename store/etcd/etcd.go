// Package etcd is a store.Store in an etcd member inside this process. Besides kv, which shows etcd to users,
// it is the only room that knows etcd.
// A lone member listens on nothing and is reached by calls in the process alone. With a Peer it listens for the
// other members, and for nobody else: every connection between members is TLS with a certificate on both sides.
// Who is to be a member is decided by quorum and carried out by member; this room makes the calls.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"argosy.dev/argosy/loop"
	"argosy.dev/argosy/store"
)

// Options says where the store lies, and how its members reach each other.
type Options struct {
	Dir   string       // The data directory; made with mode 0700. One process at a time.
	Quota int64        // Bytes that the store may hold; 0: DefaultQuota.
	Log   *slog.Logger // Warnings and errors of etcd go here.
	Name  string       // The machine id; empty: a lone member that needs no name.
	Peer  Peer         // Where the other members reach this one; zero: nowhere, nothing listens.
	// Join is the initial cluster (what AddLearner returned for this machine) of the cluster to join. It counts
	// only while the directory holds no member: one that is there keeps its membership.
	Join string
	// ForceNew makes this member the only one of its cluster and keeps all keys: after the others are lost for
	// good. For one start only; the other members' directories have to be wiped.
	ForceNew bool
}

// Peer is how members reach each other.
type Peer struct {
	Listen    string // HOST:PORT, HOST an address of this machine.
	Advertise string // HOST:PORT that the other members dial.
	// PEM files. The certificate is for both sides of a connection and names the host of Advertise. Certificate
	// and key are read again for each connection, the roots at the start only.
	CertFile, KeyFile, CAFile string
}

// DefaultQuota is half of what etcd takes by default: Argosy's own keys are small, see performance.md.
const DefaultQuota = 1 << 30

// ErrRemoved says that this machine is a member of the store no more. Its directory is of no use: wipe it and go
// on without.
var ErrRemoved = errors.New("this machine was removed from the members of the store")

const (
	startBound = 60 * time.Second // A start with a big write-ahead log takes seconds.
	// One of several members may wait for the others to start as well. It takes part from the first moment on, so
	// nobody has to wait for it longer than this.
	readyBound = 10 * time.Second
)

// ErrJoin says that the machine could not join with Options.Join: the members have changed since that was written, or
// none of them answers. Nothing is broken: look at the machine's record again and try anew.
var ErrJoin = errors.New("the members of the store could not be joined")

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
	peer   Peer
	peers  *http.Client // Asks the other members whether they are there.
	own    sync.WaitGroup
	once   sync.Once
}

// Open starts the member and returns when it takes requests; one of several members that waits for the others also
// returns after a while, and its requests end with store-unavailable until they are there. A data directory that
// another process uses, or that etcd finds corrupt, is an error that says so; ErrRemoved: a member no more; ErrJoin: not
// yet one.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Quota == 0 {
		o.Quota = DefaultQuota
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the store's directory: %w", err)
	}
	peers, err := peerClient(o.Peer)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	joins := o.joins()
	server, err := start(ctx, o, failed)
	if err != nil && joins && !errors.Is(err, ErrRemoved) {
		err = fmt.Errorf("%w: %w", ErrJoin, err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the store in %s: %w", o.Dir, err), lock.Close())
	}
	if err := ready(ctx, server, failed, o); err != nil {
		server.Close()
		return nil, errors.Join(fmt.Errorf("start the store in %s: %w", o.Dir, err), lock.Close())
	}
	s := &Store{
		server: server, client: v3client.New(server.Server), lock: lock, log: o.Log, quota: o.Quota,
		full: make(chan struct{}, 1), failed: failed, peer: o.Peer, peers: peers,
	}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if len(server.Server.Cluster().Members()) == 1 { // From here on another one may be added.
		if err := s.readvertise(s.ctx); err != nil {
			o.Log.Warn("the store's address is not told yet", "error", err)
		}
	}
	s.own.Go(s.watchServer)
	s.own.Go(func() {
		loop.Loop{Name: "store space", Every: spaceEvery, Kick: s.full, Pass: s.makeSpace, Log: o.Log}.Run(s.ctx)
	})
	s.own.Go(s.keepAddress)
	s.own.Go(s.answerRolls)
	return s, nil
}

var errClosed = errors.New("the store is closed")

// watchServer says when the member cannot go on: a full disk, a broken file, removed by the others. Every call then
// tells the cause.
func (s *Store) watchServer() {
	var err error
	select {
	case err = <-s.failed:
	case <-s.server.Server.StopNotify():
		err = stopped(s.failed)
	case <-s.ctx.Done():
		return
	}
	s.cancel(fmt.Errorf("the store failed: %w", err))
	if errors.Is(err, ErrRemoved) {
		s.log.Warn("the other members of the store removed this one")
		return
	}
	s.log.Error("the store failed and takes no requests until argosy starts again", "error", err)
}

// stopped is why a member stopped by itself. It says so just before it stops.
func stopped(failed <-chan error) error {
	select {
	case err := <-failed:
		return err
	default:
		return errors.New("etcd stopped by itself")
	}
}

// Done is closed when the store failed or is closed.
func (s *Store) Done() <-chan struct{} { return s.ctx.Done() }

// Failed is why the store takes no requests any more; nil while it does, and after Close. ErrRemoved: the other
// members removed this one.
func (s *Store) Failed() error {
	if err := context.Cause(s.ctx); !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// Close stops the member. Watches, terms and leases of this process end. When it leads the members it hands that
// over first.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		sound := s.ctx.Err() == nil || errors.Is(s.Failed(), ErrRemoved)
		s.cancel(errClosed)
		_ = s.client.Close() // Always context.Canceled: a client without a connection.
		s.own.Wait()
		s.peers.CloseIdleConnections()
		if sound {
			s.server.Close()
		} else { // A member that failed hangs in its close; its files are as after a crash, which is fine.
			for _, p := range s.server.Peers {
				_ = p.Close() // Only to give the port back.
			}
		}
		err = s.lock.Close()
	})
	return err
}

// away is why no request can be answered any more.
func (s *Store) away() error { return store.Unavailable(context.Cause(s.ctx)) }
