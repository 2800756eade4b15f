package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"argosy.dev/argosy/agent"
	"argosy.dev/argosy/api"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/store"
)

// errChange ends a life as agent or server: the machine has to be the other one from now on.
var errChange = errors.New("this machine changes what it is")

// listen opens the network's listener, when there is to be one.
func (n *node) listen(ctx context.Context) error {
	if n.Listen == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", n.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	n.network = l
	n.later("network listener", func() error { return ignoreClosed(l.Close()) })
	return nil
}

// run serves both listeners, and lives as agent or server until ctx ends or a part fails.
func (n *node) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	start := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	start("api", func(ctx context.Context) error { return api.Serve(ctx, n.socket, n.inside, n.Log) })
	if n.network != nil {
		start("api", func(ctx context.Context) error {
			return api.ServeTLS(ctx, n.network, n.keeper.ServerTLS(), n.outside, n.Log)
		})
	}
	start("configuration", n.openConfig)
	err := n.live(ctx)
	for errors.Is(err, errChange) {
		n.Log.Info("this machine changes what it is", "why", err)
		err = n.live(ctx)
	}
	fail(err)
	wg.Wait()
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return errors.Join(err, n.end()) //nolint:contextcheck // ctx has ended; what is left to do has its own deadline.
}

// live is one life: as a server or as an agent. It ends with nil when ctx does, or with errChange.
func (n *node) live(ctx context.Context) error {
	n.recoverIfAsked(ctx)
	if n.keeper.ID().Kind == identity.KindServer && n.holdsStore() {
		return n.serve(ctx)
	}
	return n.follow(ctx)
}

// life is what is open during one life.
type life struct {
	*node
	store  store.Store
	view   *store.View
	record cluster.Machine
	alone  chan struct{} // Closed when the machine goes on without the store.
	wg     sync.WaitGroup
	cancel context.CancelCauseFunc
	// ownPart answers for this machine alone while a server has not read the store; nil: nothing was kept.
	ownPart atomic.Pointer[api.API]
}

// begin starts a loop of this life; one that fails ends it.
func (l *life) begin(ctx context.Context, what string, f func(context.Context) error) {
	l.wg.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			l.cancel(fmt.Errorf("%s: %w", what, err))
		}
	})
}

// wait goes on until the life ends, and says why it did.
func (l *life) wait(ctx context.Context) error {
	if l.seen(ctx, l.view.Fork()) && l.Ready != nil && !l.wasReady {
		l.wasReady = true
		l.Ready()
	}
	<-ctx.Done()
	l.wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// describe measures this machine for its record.
func (l *life) describe(server bool) error {
	m := agent.Machine{
		ID: l.id, Name: l.Name, Metadata: l.Metadata, Capacity: l.Capacity, Runtime: l.units.Name(), Types: l.units.Types(),
		Version: l.Version, DataDir: l.Data,
	}
	var peer string
	if l.Listen != "" {
		var err error
		if m.Address, err = advertised(l.Listen); err != nil {
			return err
		}
		if peer, err = advertised(l.PeerListen); err != nil {
			return err
		}
	}
	record := agent.Measure(m)
	record.Server = server
	if l.keeper.ID().Kind == identity.KindServer {
		record.PeerURL = peerURL(peer)
	}
	l.record = record
	return nil
}

// newAgent makes this machine's agent over a view.
func (l *life) newAgent(view *store.View) *agent.Agent {
	sockets := agent.ProcSockets("/proc")
	return agent.New(agent.Config{
		Machine: l.id, Store: ownWords{l.store, view}, View: view, Runtime: l.units, Prober: agent.NewChecks(sockets, l.Log), Sockets: sockets,
		Host: agent.HostFacts(hostID(l.id)), Record: &l.record, Ledger: agent.FileLedger(filepath.Join(l.Data, "orders")), Now: time.Now, Log: l.Log,
		Part: l.part(), BootClock: agent.BootClock, Sensors: &agent.Sensors{Machine: l.Name, Dir: l.Data, Skew: l.clockSkew},
	})
}

// beat says that this machine is there, for as long as it lives. A daemon that ends says nothing: its units go on, and it
// may be back before it is missed. One that ends its units says goodbye, and they move at once.
func (l *life) beat(ctx context.Context) error {
	leases, ok := l.store.(agent.BeatStore)
	if !ok {
		return errors.New("the store has no leases")
	}
	fencer, _ := l.units.(runtime.Fencer)
	b := &agent.Beat{Machine: l.id, Store: leases, Part: l.part(), Fencer: fencer, BootClock: agent.BootClock, Log: l.Log}
	b.Run(ctx)
	if !l.StopUnits || errors.Is(context.Cause(ctx), errChange) {
		return nil
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), byeWithin)
	defer cancel()
	if err := b.Leave(bye, l.store.Write); err != nil {
		l.Log.Warn("the cluster could not be told that this machine leaves: it will be missed", "error", err)
	}
	return nil
}

// part is where this machine reads its own placements: a server in the store, an agent by its part of it.
func (l *life) part() string {
	if l.record.Server {
		return cluster.PlacementsPrefix + l.id + "/"
	}
	return store.PartPrefix(l.id)
}

// work runs the agent once the picture is there: an empty picture is not a wish to stop everything. While the store
// does not answer at all, what was wanted of this machine when it was last heard of is done: an agent's view begins with
// it; a server's view, from which it answers for the whole cluster, does not, so another agent does the work meanwhile.
func (l *life) work(ctx context.Context, k *keepsake) error {
	pic := l.kept(ctx, k)
	if pic != nil {
		close(l.alone)
	}
	switch {
	case pic == nil:
	case !l.record.Server:
		l.view.Begin(*pic)
	default:
		old := store.NewView(l.Log)
		old.Load(*pic)
		l.showPart(ctx, old)
		until, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-l.view.Ready():
			case <-ctx.Done():
			}
			cancel()
		}()
		l.newAgent(old).Run(until)
	}
	select {
	case <-l.view.Ready():
		l.newAgent(l.view.Fork()).Run(ctx)
	case <-ctx.Done():
	}
	return nil
}

// seen waits until the store shows this machine, from when on units can be placed here; or until it goes on without.
func (l *life) seen(ctx context.Context, view *store.View) bool {
	for {
		there := false
		view.Look(func(p *cluster.Picture, _ map[cluster.Touched]struct{}, _ bool) {
			there = p.Alive[l.id] && p.Machines[l.id] != nil
		})
		if there {
			return true
		}
		select {
		case <-view.Kick():
		case <-l.alone:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// pause waits unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
