package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/wire"
)

const (
	answerFirst = 200 * time.Millisecond // The caller hears what is done before it is.
	// raised is by how much the revision grows in a recovery. The members that were lost may have had writes that this
	// one had not; machines have seen them. After that no revision comes a second time with another meaning.
	raised    = 2000
	raisers   = 64 // Writers at once: etcd writes what comes together in one go.
	fixWithin = time.Minute
	// candidates bounds the leases on the lead that are ended: every server has one.
	candidates = 64
	// disownWithin bounds how much later a server starts for asking the others.
	disownWithin = time.Second
)

// recovery is what a person asked for.
type recovery struct {
	from string // A snapshot; empty: with the member that is here.
	by   string
}

// Recovered tells what a recovery did.
type Recovered struct {
	Keys     int
	Revision int64
	Took     time.Duration
	Lost     []string // Machine ids of the members that were dropped.
	Aside    string   // Where the store lies now that was here before a restore; empty: there was none.
}

// Recover implements api.StoreDesk: the server's life ends, and begins anew as the only member.
func (d *storeDesk) Recover(ctx context.Context, q wire.RecoverRequest, by string) (wire.RecoverAnswer, error) {
	out := wire.RecoverAnswer{Machine: d.Name}
	alive, voters, names := d.there(ctx, &out)
	if majority(alive, voters) && !q.Force {
		return out, notLost(alive, voters, names)
	}
	if q.From != "" {
		if !filepath.IsAbs(q.From) {
			return out, reason.Because(reason.BadRequest, reason.Args{"error": "the snapshot has to be named by its whole path on " + d.Name})
		}
		if _, err := etcd.Verify(q.From); err != nil {
			return out, reason.Because(reason.BadRequest, reason.Args{"error": err.Error()})
		}
	}
	d.Log.Warn("this machine becomes the only one that holds the store", "by", by, "from", q.From, "lost", out.Lost)
	d.recovery.Store(&recovery{q.From, by})
	time.AfterFunc(answerFirst, func() { d.cancel(fmt.Errorf("%w: it becomes the only one that holds the store", errChange)) })
	return out, nil
}

// there counts the voting members that can be reached, and notes the others' names as those that are dropped. It asks
// them nothing that takes a majority.
func (d *storeDesk) there(ctx context.Context, out *wire.RecoverAnswer) (alive, voters int, names []string) {
	reached := d.store.Reachable(ctx)
	d.view.Peek(func(p *cluster.Picture) {
		for _, m := range d.store.Known() {
			name := p.MachineName(m.MachineID)
			if m.EtcdID != d.store.ID() {
				out.Lost = append(out.Lost, name)
			}
			if m.Learner {
				continue
			}
			voters++
			if m.EtcdID == d.store.ID() || reached[m.EtcdID] {
				alive++
				names = append(names, name)
			}
		}
	})
	return alive, voters, names
}

func notLost(alive, voters int, names []string) error {
	return reason.Because(reason.MajorityThere, reason.Args{"alive": alive, "voters": voters, "servers": fmt.Sprint(names)})
}

// recoverIfAsked does what a person asked the life before to do. One that fails leaves the machine as it was.
func (n *node) recoverIfAsked(ctx context.Context) {
	r := n.recovery.Swap(nil)
	if r == nil {
		return
	}
	done, err := n.recoverStore(ctx, *r)
	if err != nil {
		n.Log.Error("the recovery failed", "error", err)
		return
	}
	n.Log.Warn("the store was recovered: this machine alone holds it", "keys", done.Keys, "took", done.Took, "aside", done.Aside)
}

// recoverStore makes this machine's store a store of its own: from its member, or from a snapshot. The store is closed
// before and after.
func (n *node) recoverStore(ctx context.Context, r recovery) (out Recovered, err error) {
	begin := time.Now()
	if err := n.freshPeer(); err != nil {
		return out, err
	}
	peer, err := n.peer()
	if err != nil {
		return out, err
	}
	o := etcd.Options{Dir: n.storeDir(), Log: n.Log, Name: n.id, Peer: peer}
	if r.from != "" {
		if out.Aside, err = n.setAside(); err != nil {
			return out, err
		}
		if err := etcd.Restore(r.from, o); err != nil {
			return out, errors.Join(err, n.putBack(out.Aside))
		}
	} else {
		if !n.hasStore() {
			return out, reason.Because(reason.NoStoreHere, reason.Args{"machine": n.Name, "what": "it holds no part of the store, and no snapshot was named"})
		}
		o.ForceNew = true
	}
	s, err := etcd.Open(ctx, o)
	if err != nil {
		return out, fmt.Errorf("store: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fixWithin)
	defer cancel()
	err = n.settle(ctx, s, r, &out)
	err = errors.Join(err, s.Close())
	out.Took = time.Since(begin)
	return out, err
}

// settle makes the store one that the machines of the cluster take: nobody leads by an old lease, no revision comes
// twice, and after a restore nothing is stopped that the snapshot does not know.
func (n *node) settle(ctx context.Context, s *etcd.Store, r recovery, out *Recovered) error {
	pic, err := s.Read(ctx, "")
	if err != nil {
		return err
	}
	out.Keys, out.Revision = len(pic.Entries), pic.Revision
	p := cluster.NewPicture()
	for _, e := range pic.Entries {
		if _, err := p.Apply(e.Key, e.Value, e.Revision); err != nil {
			n.Log.Warn("a record of the store cannot be read", "error", err)
		}
	}
	for id := range p.Members {
		if id != n.id {
			out.Lost = append(out.Lost, id)
		}
	}
	slices.Sort(out.Lost)
	for _, id := range out.Lost { // Else they count as there for a while, and are taken for members again.
		if err := s.Expire(ctx, cluster.AliveKey(id)); err != nil {
			n.Log.Debug("no lease of a lost machine to end", "machine", id, "error", err)
		}
	}
	for range candidates { // Who led, and who waited to lead: all of them hold leases.
		if err := s.Depose(ctx); err != nil {
			break // Nobody is left.
		}
	}
	by := store.Writer{Role: store.Person, ID: r.by}
	if r.from == "" {
		return raise(ctx, s, by, p.Settings)
	}
	p.Settings.Restored = &cluster.Restored{At: time.Now(), From: filepath.Base(r.from), By: r.by, Revision: pic.Revision}
	_, err = s.Write(ctx, by, store.Put(cluster.SettingsKey(), p.Settings))
	return err
}

// raise lets the revision grow: each write of the same settings makes one more.
func raise(ctx context.Context, s store.Store, by store.Writer, same cluster.Settings) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range raisers {
		wg.Go(func() {
			for range raised / raisers {
				if _, err := s.Write(ctx, by, store.Put(cluster.SettingsKey(), same)); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (n *node) memberDir() string { return filepath.Join(n.storeDir(), "etcd") }

// hasStore tells whether a part of the store lies on this machine's disk.
func (n *node) hasStore() bool {
	_, err := os.Stat(filepath.Join(n.memberDir(), "member"))
	return err == nil
}

// setAside moves the store that is here out of the way, and keeps it. It gives its new place; empty: there was none.
func (n *node) setAside() (string, error) {
	if _, err := os.Stat(n.memberDir()); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	aside := filepath.Join(n.storeDir(), "etcd.before-"+time.Now().UTC().Format("20060102T150405.000Z"))
	if err := os.Rename(n.memberDir(), aside); err != nil {
		return "", fmt.Errorf("set the store aside: %w", err)
	}
	return aside, nil
}

func (n *node) putBack(aside string) error {
	if aside == "" {
		return nil
	}
	return os.Rename(aside, n.memberDir())
}

// RecoverConfig is what a recovery of a machine needs that does not run.
type RecoverConfig struct {
	Data string
	From string // A snapshot; empty: with the part of the store that is there.
	// Over: a store that is there is set aside for the snapshot; else it is refused.
	Over  bool
	Force bool   // Also when other servers say that the store has a majority.
	Key   string // File with the cluster's key, for a machine that is not a server of it; empty: it has it.
	Log   *slog.Logger
}

// Recover makes a machine that does not run the only one that holds the store; Run goes on from there.
func Recover(ctx context.Context, c RecoverConfig) (Recovered, error) {
	n := &node{Config: Config{Data: c.Data, Log: c.Log}}
	if err := n.openData(); err != nil {
		return Recovered{}, err
	}
	n.files = identity.Files{Dir: filepath.Join(n.Data, "identity")}
	if c.From != "" {
		if _, err := etcd.Verify(c.From); err != nil {
			return Recovered{}, err
		}
		if n.hasStore() && !c.Over {
			return Recovered{}, fmt.Errorf("%s holds a store already: --force keeps it aside and takes the snapshot instead", n.Data)
		}
	}
	if n.files.Joined() {
		if _, err := n.files.ClusterKey(); err != nil {
			return Recovered{}, reason.Because(reason.NoStoreHere, reason.Args{"machine": n.Name, "what": "it has not the cluster's key, as it was no server"})
		}
		if err := n.checkLost(ctx, c.Force); err != nil {
			return Recovered{}, err
		}
		return n.recoverStore(ctx, recovery{from: c.From, by: "argosy recover"})
	}
	if c.From == "" || c.Key == "" {
		return Recovered{}, reason.Because(reason.NoStoreHere, reason.Args{
			"machine": n.Name, "what": n.Data + " is in no cluster; a snapshot, and --cluster-key with a copy of a server's identity/cluster.key, make it the first server of the old one",
		})
	}
	return n.refound(ctx, c)
}

// checkLost refuses when another server says that the store has a majority.
func (n *node) checkLost(ctx context.Context, force bool) error {
	if force {
		return nil
	}
	if s := n.askMajority(ctx); s != nil {
		alive, voters, names := answering(*s)
		return notLost(alive, voters, names)
	}
	return nil
}

// askMajority asks the servers that this machine knows how the store does, all at once, and gives the word of one that
// has a majority; nil: nobody said so.
func (n *node) askMajority(ctx context.Context) *wire.StoreInfo {
	k, err := n.files.Keeper(func(identity.ID) bool { return false }, time.Now)
	if err != nil {
		n.Log.Warn("the other servers cannot be asked", "error", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askOther)
	defer cancel()
	own, _ := advertised(n.Listen) // Where there is none, nobody else has it.
	answers := make(chan *wire.StoreInfo)
	asked := 0
	for _, address := range n.memory.servers() {
		if address == own {
			continue
		}
		asked++
		go func() {
			c := client.NewTLS(address, k.ClientTLS(identity.KindServer, "")).Local()
			defer c.Close()
			s, err := c.Store(ctx)
			if err != nil || !s.Majority {
				s = nil
			}
			select {
			case answers <- s:
			case <-ctx.Done():
			}
		}()
	}
	for range asked {
		select {
		case s := <-answers:
			if s != nil {
				return s
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// disowned tells whether another server says that the store has a majority and this machine is none of its members,
// while a part of a store lies here: it was lost for a time, and the store went on without it, perhaps from a snapshot.
func (n *node) disowned(ctx context.Context) bool {
	if !n.hasStore() || n.initialCluster != "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, disownWithin)
	defer cancel()
	s := n.askMajority(ctx)
	if s == nil || slices.ContainsFunc(s.Members, func(m wire.StoreMember) bool { return m.Machine == n.id }) {
		return false
	}
	aside, err := n.setAside()
	n.Log.Warn("the store went on without this machine: its part is set aside, and it begins anew", "says", s.Asked, "aside", aside, "error", err)
	return err == nil
}

// refound makes a machine that was in no cluster the first server of the one that a snapshot is of.
func (n *node) refound(ctx context.Context, c RecoverConfig) (out Recovered, err error) {
	text, err := os.ReadFile(c.Key)
	if err != nil {
		return out, err
	}
	key, err := parseClusterKey(text)
	if err != nil {
		return out, fmt.Errorf("%s: %w", c.Key, err)
	}
	lone := etcd.Options{Dir: n.storeDir(), Log: n.Log, Name: n.id}
	begin := time.Now()
	if out.Aside, err = n.setAside(); err != nil {
		return out, err
	}
	if err := etcd.Restore(c.From, lone); err != nil {
		return out, errors.Join(err, n.putBack(out.Aside))
	}
	s, err := etcd.Open(ctx, lone)
	if err != nil {
		return out, fmt.Errorf("store: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fixWithin)
	defer cancel()
	err = n.settle(ctx, s, recovery{from: c.From, by: "argosy snapshot restore"}, &out)
	if err == nil {
		err = n.takeAuthority(ctx, s, key)
	}
	out.Took = time.Since(begin)
	return out, errors.Join(err, s.Close())
}

// takeAuthority gives this machine certificates by the authority in a store, with the cluster's key.
func (n *node) takeAuthority(ctx context.Context, s store.Store, key []byte) error {
	record, err := readAuthority(ctx, s)
	if err != nil {
		return err
	}
	a, err := identity.OpenAuthority(record, key)
	if err != nil {
		return err
	}
	if err := n.files.SaveClusterKey(key); err != nil {
		return err
	}
	if err := n.issueOwn(a); err != nil {
		return err
	}
	return n.keepAuthority(record)
}
