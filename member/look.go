package member

import (
	"context"
	"fmt"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/quorum"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
)

// picture is what quorum decides from.
func (k *Keeper) picture(all []etcd.Member, there map[uint64]bool) quorum.Input {
	now := k.cfg.Now()
	in := quorum.Input{Now: now, Patience: k.cfg.Patience}
	seen := map[string]bool{}
	k.cfg.View.Peek(func(p *cluster.Picture) {
		in.Wish = p.Settings.Servers
		for id, m := range p.Machines {
			seen[id] = true
			l := k.life(id, p.Alive[id], now)
			if out := k.bench[id]; out.After(l.since) {
				l.since = out
			}
			in.Machines = append(in.Machines, quorum.Machine{
				ID: id, Name: p.MachineName(id), Zone: p.Metadata(id)["zone"], PeerURL: m.PeerURL, CanServe: m.PeerURL != "",
				Alive: l.alive, Since: l.since, Leaving: p.Revoked["machine/"+id] != nil,
			})
		}
	})
	for _, m := range all {
		name := fmt.Sprintf("member/%016x", m.EtcdID)
		seen[name] = true
		l := k.life(name, there[m.EtcdID], now)
		in.Members = append(in.Members, quorum.Member{
			MachineID: m.MachineID, EtcdID: m.EtcdID, PeerURL: m.PeerURL, Learner: m.Learner, Started: m.Started,
			// The store itself knows how far a learner is, and refuses one that is behind.
			InSync: l.alive, Alive: l.alive, Since: l.since, Leads: m.EtcdID == k.cfg.Store.ID(),
		})
	}
	for name := range k.lives {
		if !seen[name] {
			delete(k.lives, name)
			delete(k.bench, name)
		}
	}
	return in
}

// life remembers since when something is there.
func (k *Keeper) life(name string, alive bool, now time.Time) life {
	l, known := k.lives[name]
	if !known || l.alive != alive {
		l = life{alive: alive, since: now}
		k.lives[name] = l
	}
	return l
}

// records brings members/MACHINE up to what the members are.
func (k *Keeper) records(ctx context.Context, by store.Writer, all []etcd.Member, step quorum.Step) error {
	var changes []store.Change
	k.cfg.View.Peek(func(p *cluster.Picture) {
		wanted := map[string]cluster.Member{}
		for _, m := range all {
			id := m.MachineID
			if id == "" {
				id = machineAt(p, m.PeerURL)
			}
			if id == "" || p.Machines[id] == nil {
				continue // Nobody who could read it.
			}
			r := cluster.Member{Machine: id, Role: cluster.Voter, PeerURL: m.PeerURL}
			if m.Learner {
				r.Role = cluster.Learner
			}
			if !m.Started {
				r.InitialCluster = etcd.InitialCluster(all, id, m.PeerURL)
			}
			wanted[id] = r
			old := p.Members[id]
			if old != nil && old.Role == r.Role && old.PeerURL == r.PeerURL && old.InitialCluster == r.InitialCluster {
				continue
			}
			r.At, r.Reason = k.cfg.Now(), why(step, id)
			changes = append(changes, store.Put(cluster.MemberKey(id), r))
		}
		for id := range p.Members {
			if _, ok := wanted[id]; !ok {
				changes = append(changes, store.Delete(cluster.MemberKey(id)))
			}
		}
	})
	if len(changes) == 0 {
		return nil
	}
	_, err := k.cfg.Store.Write(ctx, by, changes...)
	return err
}

// why is the step's reason, for the machine that it is about.
func why(step quorum.Step, id string) *reason.Reason {
	if step.Kind != quorum.Nothing && step.Machine == id {
		return step.Reason
	}
	return nil
}

func machineAt(p *cluster.Picture, peerURL string) string {
	for id, m := range p.Machines {
		if m.PeerURL == peerURL {
			return id
		}
	}
	return ""
}
