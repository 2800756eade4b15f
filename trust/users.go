package trust

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

// userName is what a user may be called: it stands in a certificate and in keys of the store.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

// AddUser makes a user, or changes the role of one. With a key in the request it issues a certificate.
func (d *Desk) AddUser(ctx context.Context, q wire.UserRequest, by string) (wire.UserAnswer, error) {
	if !userName.MatchString(q.Name) {
		return wire.UserAnswer{}, bad("%q is not a user's name: a letter, then letters, digits, _ . -, at most 64, all small", q.Name)
	}
	if !q.Role.May(cluster.Viewer) {
		return wire.UserAnswer{}, bad("%q is not a role: viewer, deployer, operator or admin", q.Role)
	}
	u := cluster.User{Name: q.Name, Role: q.Role, By: by, At: d.Now()}
	full := false
	d.View.Peek(func(p *cluster.Picture) {
		if before := p.Users[q.Name]; before != nil {
			u.Since = before.Since
			return
		}
		u.Since, full = nextSecond(u.At), len(p.Users) >= maxUsers
	})
	if full {
		return wire.UserAnswer{}, reason.Because(reason.TooLarge, reason.Args{"what": "users", "need": maxUsers + 1, "have": maxUsers})
	}
	out, changes := wire.UserAnswer{User: u}, []store.Change{store.Put(cluster.UserKey(u.Name), u)}
	if len(q.PublicKey) > 0 {
		if len(d.Servers()) == 0 {
			return wire.UserAnswer{}, reason.Because(reason.NotListening, nil)
		}
		c, note, err := d.issue(ctx, order{id: identity.ID{Kind: identity.KindUser, Name: u.Name}, public: q.PublicKey, after: u.Since})
		if err != nil {
			return wire.UserAnswer{}, err
		}
		out.Credentials, changes = &c, append(changes, note)
	}
	_, err := d.Store.Write(ctx, person(by), changes...)
	return out, err
}

// Users lists the users by name.
func (d *Desk) Users() wire.UserList {
	out := wire.UserList{Users: []cluster.User{}}
	d.View.Peek(func(p *cluster.Picture) {
		for _, u := range p.Users {
			out.Users = append(out.Users, *u)
		}
	})
	slices.SortFunc(out.Users, func(a, b cluster.User) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// RemoveUser takes a user's rights away; the certificate is good for nothing from then on.
func (d *Desk) RemoveUser(ctx context.Context, name, by string) error {
	known := false
	d.View.Peek(func(p *cluster.Picture) { known = p.Users[name] != nil })
	if !known {
		return reason.Because(reason.NoSuchUser, reason.Args{"user": name})
	}
	_, err := d.Store.Write(ctx, person(by), store.Delete(cluster.UserKey(name)), store.Delete(cluster.IssuedKey(string(identity.KindUser), name)))
	return err
}

// Revoke makes every certificate of a machine or user count no more, and ends a machine's lease: it is not waited for.
func (d *Desk) Revoke(ctx context.Context, kind identity.Kind, name, why, by string) error {
	r := cluster.Revoked{Kind: string(kind), Name: name, By: by, Why: why, At: d.Now()}
	if _, err := d.Store.Write(ctx, person(by), store.Put(cluster.RevokedKey(r.Kind, name), r)); err != nil || kind != identity.KindMachine {
		return err
	}
	// In the machine's name, which may not say anything itself any more. Without it the lease ends by itself, in seconds.
	if _, err := d.Store.Write(ctx, store.Writer{Role: store.Machine, ID: name}, store.Delete(cluster.AliveKey(name))); err != nil {
		d.Log.Warn("the lease of a machine that was revoked was not ended, it ends by itself", "machine", name, "error", err)
	}
	return nil
}

// IsRevoked tells whether an identity counts no more. Servers are machines.
func (d *Desk) IsRevoked(id identity.ID) bool {
	kind := id.Kind
	if kind == identity.KindServer {
		kind = identity.KindMachine
	}
	gone := false
	d.View.Peek(func(p *cluster.Picture) { gone = p.Revoked[string(kind)+"/"+id.Name] != nil })
	return gone
}

// RoleOf is what a user may do with a certificate that was issued at a moment; empty: nothing. A user who was taken out
// and let in again has nothing from the certificates of before.
func (d *Desk) RoleOf(name string, issued time.Time) cluster.Role {
	var r cluster.Role
	d.View.Peek(func(p *cluster.Picture) {
		if u := p.Users[name]; u != nil && !issued.Before(u.Since) {
			r = u.Role
		}
	})
	return r
}
