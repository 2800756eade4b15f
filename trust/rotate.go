package trust

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

const (
	renewBatch = 64        // Machines that are asked to renew in one write.
	tendEvery  = time.Hour // How often the leader looks whether the authority needs something.
	maxNamed   = 10        // Of those who keep a root from being retired, in one sentence.
)

// CA tells how the authority is, and who has which certificate.
func (d *Desk) CA(ctx context.Context) (wire.CAStatus, error) {
	a, _, err := d.authority(ctx)
	if err != nil {
		return wire.CAStatus{}, err
	}
	return d.status(ctx, a)
}

func (d *Desk) status(ctx context.Context, a *identity.Authority) (wire.CAStatus, error) {
	x := a.Describe()
	out := wire.CAStatus{
		Cluster: a.Cluster(), Root: hex.EncodeToString(x.Pin[:]), RootUntil: x.RootEnds, Issuing: x.IssuingEnds, PeerUntil: x.PeerRootEnds,
		PeerIssuing: x.PeerIssuingEnds, Rotating: x.Rotating, Since: x.Begun,
	}
	if x.Rotating {
		out.OldRoot = hex.EncodeToString(x.OldPin[:])
	}
	var err error
	if out.Certificates, err = d.certificates(ctx); err != nil {
		return out, err
	}
	if out.Rotating {
		for _, c := range out.Certificates {
			if c.Root != out.Root {
				out.Pending = append(out.Pending, c)
			}
		}
	}
	return out, nil
}

// certificates lists those that count: of machines that are known, and of users. One that is not noted was issued before
// there were notes, or to the machine that founded the cluster.
func (d *Desk) certificates(ctx context.Context) ([]wire.Certificate, error) {
	pic, err := d.Store.Read(ctx, cluster.IssuedPrefix)
	if err != nil {
		return nil, err
	}
	notes := map[string]Issued{}
	for _, e := range pic.Entries {
		var n Issued
		if err := json.Unmarshal(e.Value, &n); err != nil {
			return nil, fmt.Errorf("store key %s: %w", e.Key, err)
		}
		notes[e.Key] = n
	}
	out := []wire.Certificate{}
	add := func(kind, id, name string, alive bool) {
		c := wire.Certificate{Kind: kind, ID: id, Name: name, Alive: alive}
		n, ok := notes[cluster.IssuedKey(kind, id)]
		if ok {
			c.Kind, c.Serial, c.Root, c.At, c.Until = string(n.Kind), n.Serial, n.Root, n.At, n.Until
		}
		out = append(out, c)
	}
	now := d.Now()
	d.View.Peek(func(p *cluster.Picture) {
		for id, m := range p.Machines {
			if p.Revoked[string(identity.KindMachine)+"/"+id] == nil {
				add(string(identity.KindMachine), id, m.Name, p.Alive[id])
			}
		}
		for name := range p.Users {
			if n, ok := notes[cluster.IssuedKey(string(identity.KindUser), name)]; ok && n.Until.After(now) {
				add(string(identity.KindUser), name, name, false)
			}
		}
	})
	slices.SortFunc(out, func(a, b wire.Certificate) int {
		if c := strings.Compare(b.Kind, a.Kind); c != 0 { // Users, servers, machines.
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, nil
}

// Rotate makes new roots and asks every machine to renew: the servers in the same write, then the others. Nobody who has
// not done so yet is refused: see identity.Authority.Rotate.
func (d *Desk) Rotate(ctx context.Context, by string) (wire.CAStatus, error) {
	a, err := d.change(ctx, by, func(a *identity.Authority, now time.Time) ([]store.Change, error) {
		if err := a.Rotate(now); err != nil {
			return nil, err
		}
		return d.askToRenew(ctx, true, now)
	})
	if err != nil {
		return wire.CAStatus{}, err
	}
	return d.askOthers(ctx, a, by)
}

// askOthers asks the machines that are no servers to renew, and tells how the authority is.
func (d *Desk) askOthers(ctx context.Context, a *identity.Authority, by string) (wire.CAStatus, error) {
	changes, err := d.askToRenew(ctx, false, d.Now())
	if err != nil {
		return wire.CAStatus{}, err
	}
	for some := range slices.Chunk(changes, renewBatch) {
		if err := d.askSome(ctx, by, some); err != nil {
			return wire.CAStatus{}, err
		}
	}
	return d.status(ctx, a)
}

// askSome asks machines to renew, one by one where another write came between.
func (d *Desk) askSome(ctx context.Context, by string, changes []store.Change) error {
	_, err := d.Store.Write(ctx, person(by), changes...)
	if !errors.Is(err, store.ErrStale) {
		return err
	}
	for _, c := range changes {
		for range tries {
			if _, err = d.Store.Write(ctx, person(by), c); !errors.Is(err, store.ErrStale) {
				break
			}
			if c, err = d.renewChange(ctx, strings.TrimPrefix(c.Key, cluster.AdminPrefix), d.Now()); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// askToRenew are the changes that ask servers, or the other machines, for new certificates.
func (d *Desk) askToRenew(ctx context.Context, servers bool, now time.Time) ([]store.Change, error) {
	var ids []string
	d.View.Peek(func(p *cluster.Picture) {
		for id, m := range p.Machines {
			if m.Server == servers {
				ids = append(ids, id)
			}
		}
	})
	slices.Sort(ids)
	var out []store.Change
	for _, id := range ids {
		c, err := d.renewChange(ctx, id, now)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (d *Desk) renewChange(ctx context.Context, id string, now time.Time) (store.Change, error) {
	pic, err := d.Store.Read(ctx, cluster.AdminKey(id))
	if err != nil {
		return store.Change{}, err
	}
	m, revision := cluster.MachineAdmin{ID: id}, int64(0)
	for _, e := range pic.Entries {
		if e.Key != cluster.AdminKey(id) {
			continue // Another machine, whose id begins with this one.
		}
		if err := json.Unmarshal(e.Value, &m); err != nil {
			return store.Change{}, fmt.Errorf("store key %s: %w", e.Key, err)
		}
		revision = e.Revision
	}
	m.Renew = nextSecond(now)
	return store.PutIf(cluster.AdminKey(id), m, revision), nil
}

// Retire ends the trust in the old root. While somebody has a certificate of it and nothing newer, it is refused, unless
// that is wanted: they will be strangers then.
func (d *Desk) Retire(ctx context.Context, force bool, by string) (wire.CAStatus, error) {
	a, err := d.change(ctx, by, func(a *identity.Authority, now time.Time) ([]store.Change, error) {
		if !a.Rotating() {
			return nil, a.Retire()
		}
		s, err := d.status(ctx, a)
		if err != nil {
			return nil, err
		}
		if len(s.Pending) > 0 && !force {
			return nil, reason.Because(reason.CARotating, reason.Args{
				"error": "the old root cannot go yet: " + named(s.Pending), "cure": "machines renew by themselves as soon as they are there, users when they call next; " +
					"--force goes on without them: they have to be let in again",
			})
		}
		if err := a.Retire(); err != nil {
			return nil, err
		}
		return d.askToRenew(ctx, true, now)
	})
	if err != nil {
		return wire.CAStatus{}, err
	}
	return d.askOthers(ctx, a, by)
}

// named says who keeps a root from being retired.
func named(pending []wire.Certificate) string {
	var names []string
	for _, c := range pending[:min(len(pending), maxNamed)] {
		away := ""
		if c.Kind != string(identity.KindUser) && !c.Alive {
			away = " (away)"
		}
		names = append(names, c.Kind+" "+c.Name+away)
	}
	text := strings.Join(names, ", ")
	if more := len(pending) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(pending) == 1 {
		return text + " has no certificate of the new one"
	}
	return text + " have no certificate of the new one"
}

// change does something to the authority, with what belongs to it, in one write or not at all.
func (d *Desk) change(ctx context.Context, by string, f func(a *identity.Authority, now time.Time) ([]store.Change, error)) (*identity.Authority, error) {
	for range tries {
		a, revision, err := d.authority(ctx)
		if err != nil {
			return nil, err
		}
		more, err := f(a, d.Now())
		if err != nil {
			return nil, err
		}
		record, err := a.Seal(d.Key)
		if err != nil {
			return nil, err
		}
		own := store.Change{Key: cluster.AuthorityKey(), Value: record, Guard: true, If: revision}
		_, err = d.Store.Write(ctx, person(by), append([]store.Change{own}, more...)...)
		if errors.Is(err, store.ErrStale) {
			continue
		}
		return a, err
	}
	return nil, reason.Because(reason.Stale, reason.Args{"unit": "the certificate authority", "expected": "the one it was", "found": "a newer one"})
}

// Tend keeps the authority fit while ctx lives: the CAs that sign are replaced in the second half of their life. One of
// the servers does it, the one that leads.
func (d *Desk) Tend(ctx context.Context) {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	for {
		if err := d.TendOnce(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("the certificate authority needs new issuing CAs, and cannot have them yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// TendOnce looks once.
func (d *Desk) TendOnce(ctx context.Context) error {
	a, _, err := d.authority(ctx)
	if err != nil || !a.IssuingDue(d.Now()) {
		return err
	}
	_, err = d.change(ctx, founder.ID, func(a *identity.Authority, now time.Time) ([]store.Change, error) { return nil, a.RenewIssuing(now) })
	if err == nil {
		d.Log.Info("the certificate authority has new issuing CAs")
	}
	return err
}

// Record is the authority as it is stored, sealed: a server keeps a copy, for the day when no store answers because every
// certificate of its peers has ended.
func (d *Desk) Record(ctx context.Context) ([]byte, error) {
	pic, err := d.Store.Read(ctx, cluster.AuthorityKey())
	if err != nil {
		return nil, err
	}
	if len(pic.Entries) == 0 {
		return nil, reason.Because(reason.NoCluster, nil)
	}
	return pic.Entries[0].Value, nil
}
