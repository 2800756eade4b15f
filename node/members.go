package node

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/member"
	"argosy.dev/argosy/quorum"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/wire"
)

const (
	snapshotsDir = "snapshots"
	askOther     = 3 * time.Second // One server is waited for so long.
)

// storeDesk answers for the members of the store: what this server sees, with what the leading one decided.
type storeDesk struct {
	*life
	store  *etcd.Store
	keeper *member.Keeper
}

// Status implements api.StoreDesk.
func (d *storeDesk) Status(ctx context.Context, own bool) (wire.StoreInfo, error) {
	st, err := d.store.Status(ctx)
	if err != nil {
		return wire.StoreInfo{}, err
	}
	out := wire.StoreInfo{Cluster: st.Cluster, Majority: st.Majority, Error: st.Error, Members: []wire.StoreMember{}}
	leads, leader := false, client.Server{}
	d.view.Peek(func(p *cluster.Picture) {
		out.Asked, out.Wish, out.Restored = p.MachineName(d.id), p.Settings.Servers, p.Settings.Restored
		for id, m := range p.Machines {
			if m.PeerURL != "" && p.Alive[id] {
				out.Servers++
			}
			unknown(&out, p.MachineName(id), m.Conditions)
		}
		for _, m := range st.Members {
			out.Members = append(out.Members, memberOf(p, m))
		}
		if p.Reign != nil {
			leads = p.Reign.ID == d.id
			if m := p.Machines[p.Reign.ID]; m != nil && p.Alive[p.Reign.ID] {
				leader = client.Server{ID: m.ID, Name: m.Name, Address: m.Address}
			}
		}
	})
	slices.SortFunc(out.Members, func(a, b wire.StoreMember) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	switch {
	case leads:
		d.report(&out)
	case !own && leader.Address != "":
		if err := d.ask(ctx, leader, func(ctx context.Context, c *client.Client) error {
			told, err := c.Store(ctx)
			if err == nil {
				out.Decision, out.Trouble, out.Snapshot = told.Decision, told.Trouble, told.Snapshot
			}
			return err
		}); err != nil {
			out.Away = append(out.Away, leader.Name)
		}
	}
	out.OK, out.Why = sound(out)
	return out, nil
}

// unknown notes what a machine runs that the store does not know.
func unknown(out *wire.StoreInfo, machine string, conditions []cluster.Condition) {
	for _, c := range conditions {
		if c.Kind != string(reason.UnknownUnits) || c.Reason == nil {
			continue
		}
		if out.Unknown == nil {
			out.Unknown = map[string][]string{}
		}
		out.Unknown[machine] = strings.Fields(c.Reason.Str("names"))
	}
}

func memberOf(p *cluster.Picture, m etcd.MemberStatus) wire.StoreMember {
	out := wire.StoreMember{
		Machine: m.MachineID, ID: fmt.Sprintf("%016x", m.EtcdID), Address: strings.TrimPrefix(m.PeerURL, "https://"), Role: "voter",
		Leads: m.Leads, Started: m.Started, Reached: m.Reached, Answered: m.Answered, TookMS: m.Took.Milliseconds(), Term: m.Term,
		Revision: m.Revision, Applied: m.Applied, Behind: m.Behind, Size: m.Size, InUse: m.InUse, Quota: m.Quota, Version: m.Version,
		Alarms: m.Alarms, Errors: m.Errors,
	}
	if m.Learner {
		out.Role = "learner"
	}
	for id, machine := range p.Machines { // One that has not started is known by its address.
		if out.Machine == "" && machine.PeerURL == m.PeerURL {
			out.Machine = id
		}
	}
	if out.Name = p.MachineName(out.Machine); out.Machine == "" {
		out.Name = out.ID
	}
	return out
}

// report adds what this machine decided as the leading one.
func (d *storeDesk) report(out *wire.StoreInfo) {
	r := d.keeper.Report()
	out.Trouble, out.Snapshot = r.Conditions, &wire.SnapshotState{Last: r.Snapshot, Trouble: r.NoSnapshot}
	if r.At.IsZero() {
		return
	}
	out.Decision = &wire.StoreDecision{At: r.At, By: out.Asked, Step: string(r.Step.Kind), Reason: r.Step.Reason, Trouble: r.Trouble}
	d.view.Peek(func(p *cluster.Picture) {
		if r.Step.Machine != "" {
			out.Decision.Machine = p.MachineName(r.Step.Machine)
		}
	})
}

// sound tells whether all is well with the store, and what is not.
func sound(s wire.StoreInfo) (bool, string) {
	if !s.Majority {
		return false, cmp.Or(s.Error, "no majority of its members answers")
	}
	if s.Error != "" {
		return false, s.Error
	}
	for _, m := range s.Members {
		switch {
		case len(m.Alarms) > 0:
			return false, "etcd raised the alarm " + strings.Join(m.Alarms, ", ") + " on " + m.Name
		case len(m.Errors) > 0:
			return false, m.Name + ": " + m.Errors[0]
		case m.Started && !m.Answered:
			return false, m.Name + " does not answer"
		}
	}
	if s.Decision != nil && s.Decision.Reason != nil && s.Decision.Reason.Code == reason.MembersLost {
		return false, s.Decision.Reason.Message()
	}
	return true, ""
}

// Snapshots implements api.StoreDesk.
func (d *storeDesk) Snapshots(ctx context.Context, own bool) (wire.SnapshotList, error) {
	out := wire.SnapshotList{Snapshots: []wire.SnapshotFile{}}
	files, err := member.Snapshots(filepath.Join(d.Data, snapshotsDir))
	if err != nil {
		return out, err
	}
	for _, f := range files {
		out.Snapshots = append(out.Snapshots, wire.SnapshotFile{Machine: d.id, Name: d.Name, Path: f.Path, At: f.At, Size: f.Size})
	}
	if !own {
		d.askOthers(ctx, &out)
	}
	slices.SortFunc(out.Snapshots, func(a, b wire.SnapshotFile) int { return cmp.Or(b.At.Compare(a.At), strings.Compare(a.Name, b.Name)) })
	return out, nil
}

// askOthers adds the snapshots that the other servers have.
func (d *storeDesk) askOthers(ctx context.Context, out *wire.SnapshotList) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, o := range d.others() {
		wg.Go(func() {
			var theirs *wire.SnapshotList
			err := d.ask(ctx, o, func(ctx context.Context, c *client.Client) (err error) { theirs, err = c.Snapshots(ctx); return err })
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.Away = append(out.Away, o.Name)
				return
			}
			out.Snapshots = append(out.Snapshots, theirs.Snapshots...)
		})
	}
	wg.Wait()
	slices.Sort(out.Away)
}

// others are the other servers.
func (d *storeDesk) others() []client.Server {
	var out []client.Server
	d.view.Peek(func(p *cluster.Picture) {
		for id, m := range p.Machines {
			if m.Server && id != d.id && m.Address != "" {
				out = append(out, client.Server{ID: id, Name: m.Name, Address: m.Address})
			}
		}
	})
	return out
}

// ask puts a question to one server, about what it knows itself.
func (d *storeDesk) ask(ctx context.Context, who client.Server, question func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, askOther)
	defer cancel()
	c := client.NewTLS(who.Address, d.node.keeper.ClientTLS(identity.KindServer, who.ID)).Local()
	defer c.Close()
	return question(ctx, c)
}

// Snapshot implements api.StoreDesk.
func (d *storeDesk) Snapshot(ctx context.Context, w io.Writer) error { return d.store.Snapshot(ctx, w) }

// answering counts the voting members that answer, with the names of those that do.
func answering(s wire.StoreInfo) (alive, voters int, names []string) {
	for _, m := range s.Members {
		if m.Role != "voter" {
			continue
		}
		voters++
		if m.Answered || m.Reached {
			alive++
			names = append(names, m.Name)
		}
	}
	return alive, voters, names
}

// majority tells whether so many voting members are one.
func majority(alive, voters int) bool { return alive >= quorum.Majority(voters) }

// learnPause bounds how often a server looks whether the servers have changed.
const learnPause = 5 * time.Second

// learnServers keeps the list of servers on a server's disk, too: one that is taken out of the members, or that the
// store went on without, has to find the others.
func (l *life) learnServers(ctx context.Context) error {
	view := l.view.Fork()
	for ctx.Err() == nil {
		var servers []string
		view.Look(func(p *cluster.Picture, _ map[cluster.Touched]struct{}, _ bool) { servers = serversIn(p, l.id) })
		if err := l.memory.learn(servers); err != nil {
			l.Log.Warn("the list of servers cannot be kept on disk", "error", err)
		}
		pause(ctx, learnPause)
		select {
		case <-view.Kick():
		case <-ctx.Done():
		}
	}
	return nil
}
