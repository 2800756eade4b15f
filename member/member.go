// Package member keeps the machines that hold the store as they are wished, while this machine leads the cluster: it
// looks at machines and members, has package quorum decide, does the one step with store/etcd, and tells the machine
// concerned by its record members/MACHINE. Beside that it has the members' files defragmented and takes snapshots.
//
// It leaves to others: deciding (quorum), starting and wiping a member on its machine (node), electing (leader, whose
// During runs it), recovery after the majority is lost (a person).
package member

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/loop"
	"argosy.dev/argosy/quorum"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
)

// Store is what of store/etcd is used.
type Store interface {
	ID() uint64
	LeaderID() uint64
	Members(ctx context.Context) ([]etcd.Member, error)
	Reachable(ctx context.Context) map[uint64]bool
	AddLearner(ctx context.Context, machineID, peerURL string) (initialCluster string, err error)
	Promote(ctx context.Context, etcdID uint64) error
	Remove(ctx context.Context, etcdID uint64) error
	UpdatePeer(ctx context.Context, etcdID uint64, peerURL string) error
	TakeLead(ctx context.Context) error
	Status(ctx context.Context) (etcd.Status, error)
	Defragment(ctx context.Context, etcdID uint64) (size int64, err error)
	Snapshot(ctx context.Context, w io.Writer) error
	Write(ctx context.Context, by store.Writer, changes ...store.Change) (revision int64, err error)
}

// Config is what a Keeper needs.
type Config struct {
	Store    Store
	View     *store.View // Of the whole store, for this loop alone: Fork one.
	Machine  string      // This machine's id.
	Log      *slog.Logger
	Now      func() time.Time
	Patience time.Duration // How long a voter that is away has to come back; 0: quorum.DefaultPatience.
	// Snapshots is the directory of this machine's snapshots; empty: none are taken.
	Snapshots string
	Every     time.Duration // Between snapshots; 0: DefaultEvery.
	Keep      int           // Snapshots that are kept; 0: DefaultKeep.
}

const (
	lookEvery = 10 * time.Second
	soon      = time.Second // After a step that is to be tried again.
)

// Keeper cares for the members of the store while this machine leads. Make it with New.
type Keeper struct {
	cfg   Config
	snaps *snapshots
	next  time.Duration // Only the passes touch these.
	due   time.Time
	lives map[string]life      // By machine id, and by member.
	bench map[string]time.Time // Machines whose member was taken out, since when: others go first.

	mu     sync.Mutex
	report Report
}

// life is since when something is there, or is not.
type life struct {
	alive bool
	since time.Time
}

// Report is how it goes.
type Report struct {
	At         time.Time // Of the last look; zero: this machine does not lead.
	Step       quorum.Step
	Trouble    *reason.Reason      // Why the last step was not done yet.
	Conditions []cluster.Condition // Alarms, members that do not answer; from the last hourly roll.
	Snapshot   time.Time           // Of the newest snapshot here.
	NoSnapshot string              // Why the last snapshot failed.
	NoCare     string              // Why the members' files were not looked after.
}

// New makes a keeper that has not looked yet.
func New(cfg Config) *Keeper {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	k := &Keeper{cfg: cfg}
	if cfg.Snapshots != "" {
		k.snaps = newSnapshots(cfg)
	}
	k.begin()
	return k
}

func (k *Keeper) begin() {
	k.lives, k.bench, k.due, k.next = map[string]life{}, map[string]time.Time{}, time.Time{}, 0
}

// Report tells what was decided last and how it went.
func (k *Keeper) Report() Report {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.report
}

func (k *Keeper) say(change func(r *Report)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.report)
}

// Run cares for the members for one term of leadership, until ctx ends: it is made for leader.Config.During.
func (k *Keeper) Run(ctx context.Context, by store.Writer) {
	k.begin() // A new leader gives silent members their time anew.
	k.cfg.View.Forget()
	defer k.say(func(r *Report) { *r = Report{} })
	var beside sync.WaitGroup
	beside.Go(func() {
		loop.Loop{Name: "store care", Every: careEvery, Pass: k.care, Log: k.cfg.Log}.Run(ctx)
	})
	if k.snaps != nil {
		beside.Go(func() {
			loop.Loop{Name: "store snapshots", Every: time.Minute, Pass: k.snapshotPass, Log: k.cfg.Log}.Run(ctx)
		})
	}
	loop.Loop{
		Name: "members", Every: lookEvery, Kick: k.cfg.View.Kick(), Next: k.Next, Log: k.cfg.Log,
		Pass: func(ctx context.Context) error { return k.Pass(ctx, by) },
	}.Run(ctx)
	beside.Wait()
}

// Next tells how soon a Pass is needed without a kick. 0: no hurry.
func (k *Keeper) Next() time.Duration { return k.next }

// Pass looks, decides, does one step and brings the records up to it. A step that the store refuses for now is no
// error: the next Pass tries again.
func (k *Keeper) Pass(ctx context.Context, by store.Writer) error {
	now := k.cfg.Now()
	if !k.concerned() && now.Before(k.due) {
		k.next = k.due.Sub(now) // The kick was about something else.
		return nil
	}
	k.due, k.next = now.Add(lookEvery), 0
	all, err := k.cfg.Store.Members(ctx)
	if err != nil {
		return err
	}
	step := quorum.Decide(k.picture(all, k.cfg.Store.Reachable(ctx)))
	k.tell(step)
	err = k.do(ctx, step)
	trouble := reason.From(err)
	if err != nil && trouble.Cure() != reason.Transient {
		return err
	}
	k.say(func(r *Report) { r.At, r.Step, r.Trouble = now, step, trouble })
	if step.After > 0 {
		k.look(step.After)
	}
	if err != nil {
		k.look(soon)
	}
	if step.Kind != quorum.Nothing {
		if all, err = k.cfg.Store.Members(ctx); err != nil {
			return err
		}
	}
	return k.records(ctx, by, all, step)
}

func (k *Keeper) look(after time.Duration) {
	k.next = after
	if at := k.cfg.Now().Add(after); at.Before(k.due) {
		k.due = at
	}
}

// concerned tells whether something changed that members depend on. Most of what changes in the store is about units.
func (k *Keeper) concerned() bool {
	yes := false
	k.cfg.View.Look(func(_ *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
		yes = all
		for t := range touched {
			switch t.Prefix {
			case cluster.MachinesPrefix, cluster.AdminPrefix, cluster.AlivePrefix, cluster.SettingsPrefix,
				cluster.RevokedPrefix, cluster.MembersPrefix:
				yes = true
			}
		}
	})
	return yes
}

// tell logs a decision once.
func (k *Keeper) tell(step quorum.Step) {
	if last := k.Report().Step; last.Kind == step.Kind && last.Machine == step.Machine && last.EtcdID == step.EtcdID {
		return
	}
	if step.Kind != quorum.Nothing {
		k.cfg.Log.Info("the members of the store change", "step", step.Kind, "machine", step.Machine, "why", step.Reason.Message())
	}
}

// do carries one step out.
func (k *Keeper) do(ctx context.Context, step quorum.Step) error {
	s := k.cfg.Store
	switch step.Kind {
	case quorum.Nothing:
		return nil
	case quorum.AddLearner:
		k.before(ctx)
		_, err := s.AddLearner(ctx, step.Machine, step.PeerURL)
		return err
	case quorum.Promote:
		return s.Promote(ctx, step.EtcdID)
	case quorum.UpdatePeer:
		return s.UpdatePeer(ctx, step.EtcdID, step.PeerURL)
	case quorum.Remove:
		k.before(ctx)
		k.bench[step.Machine] = k.cfg.Now()
		if step.EtcdID == s.LeaderID() && step.EtcdID != s.ID() {
			if err := s.TakeLead(ctx); err != nil {
				return err
			}
		}
		return s.Remove(ctx, step.EtcdID)
	}
	return errors.New("quorum decided on an unknown step " + string(step.Kind))
}

// before takes a snapshot before a change of the members, if there is none of a moment ago.
func (k *Keeper) before(ctx context.Context) {
	if k.snaps == nil {
		return
	}
	if err := k.snaps.take(ctx, freshEnough); err != nil {
		k.cfg.Log.Warn("no snapshot before a change of the members", "error", err)
	}
}
