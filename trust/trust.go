// Package trust is the desk at the cluster's door, on every server: it founds the certificate authority, turns join
// tokens into certificates, renews those, keeps users and roles, and says whose certificates count no more.
// What it knows lies in the store; the cryptography is package identity's; who may call what is package api's.
package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

// The roles that a token can give, in people's words.
const (
	RoleAgent  = "agent"
	RoleServer = "server"
)

// Bounds of what is asked for.
const (
	defaultTTL = time.Hour
	maxTTL     = 30 * 24 * time.Hour
	maxUses    = 10_000
	maxTokens  = 1000
	maxUsers   = 10_000
	maxHosts   = 16
	tries      = 5 // Of a write that others may be faster with.
)

// Desk answers at one server. Its methods are safe for concurrent use.
type Desk struct {
	Store store.Store
	View  *store.View // Of the whole store; read only.
	Key   []byte      // The cluster key: opens the authority.
	Now   func() time.Time
	Log   *slog.Logger
}

// Found makes the cluster's certificate authority, unless there is one.
func (d *Desk) Found(ctx context.Context, clusterID string) error {
	a, err := identity.Found(clusterID, d.Now())
	if err != nil {
		return err
	}
	record, err := a.Seal(d.Key)
	if err != nil {
		return err
	}
	_, err = d.Store.Write(ctx, founder, store.Change{Key: cluster.AuthorityKey(), Value: record, Guard: true, If: 0})
	if errors.Is(err, store.ErrStale) {
		return nil // Somebody founded it before.
	}
	return err
}

// founder writes what no person asked for by name: the authority at the beginning.
var founder = store.Writer{Role: store.Person, ID: "argosy"}

// authority reads and opens the certificate authority.
func (d *Desk) authority(ctx context.Context) (*identity.Authority, int64, error) {
	pic, err := d.Store.Read(ctx, cluster.AuthorityKey())
	if err != nil {
		return nil, 0, err
	}
	if len(pic.Entries) == 0 {
		return nil, 0, reason.Because(reason.NoCluster, nil)
	}
	a, err := identity.OpenAuthority(pic.Entries[0].Value, d.Key)
	return a, pic.Entries[0].Revision, err
}

// Servers lists the API addresses of the servers, the living first.
func (d *Desk) Servers() []string {
	var alive, silent []string
	d.View.Peek(func(p *cluster.Picture) {
		for id, m := range p.Machines {
			switch {
			case !m.Server || m.Address == "":
			case p.Alive[id]:
				alive = append(alive, m.Address)
			default:
				silent = append(silent, m.Address)
			}
		}
	})
	slices.Sort(alive)
	slices.Sort(silent)
	return append(alive, silent...)
}

// CreateToken makes a join token; addrs are where a joining machine finds servers.
func (d *Desk) CreateToken(ctx context.Context, q wire.TokenRequest, by string) (wire.TokenAnswer, error) {
	kind, ttl, uses, err := tokenTerms(q)
	if err != nil {
		return wire.TokenAnswer{}, err
	}
	addrs := d.Servers()
	if len(addrs) == 0 {
		return wire.TokenAnswer{}, reason.Because(reason.NotListening, nil)
	}
	a, _, err := d.authority(ctx)
	if err != nil {
		return wire.TokenAnswer{}, err
	}
	old, err := d.grants(ctx)
	if err != nil {
		return wire.TokenAnswer{}, err
	}
	changes := d.expired(old)
	if len(old)-len(changes) >= maxTokens {
		return wire.TokenAnswer{}, reason.Because(reason.TooLarge, reason.Args{"what": "join tokens", "need": len(old) + 1, "have": maxTokens})
	}
	t, g, err := identity.NewToken(a.Pin(), addrs, kind, ttl, uses, by, d.Now())
	if err != nil {
		return wire.TokenAnswer{}, err
	}
	if _, err := d.Store.Write(ctx, person(by), append(changes, store.PutIf(cluster.TokenKey(g.ID), g, 0))...); err != nil {
		return wire.TokenAnswer{}, err
	}
	return wire.TokenAnswer{Token: t.String(), TokenInfo: info(g)}, nil
}

func tokenTerms(q wire.TokenRequest) (kind identity.Kind, ttl time.Duration, uses int, err error) {
	if q.Role != "" && q.Role != RoleAgent && q.Role != RoleServer {
		return kind, 0, 0, bad("%q is not a role of a machine: agent or server", q.Role)
	}
	kind = kindOf(q.Role)
	ttl, uses = time.Duration(q.TTL)*time.Second, q.Uses
	if ttl == 0 {
		ttl = defaultTTL
	}
	if uses == 0 {
		uses = 1
	}
	if ttl < 0 || ttl > maxTTL {
		return kind, 0, 0, bad("a token lives up to %v, not %v", maxTTL, ttl)
	}
	if uses < -1 || uses > maxUses {
		return kind, 0, 0, bad("a token is used 1 to %d times, or -1 for no limit, not %d", maxUses, uses)
	}
	return kind, ttl, uses, nil
}

// grants are the tokens that the store knows.
func (d *Desk) grants(ctx context.Context) (map[string]grant, error) {
	pic, err := d.Store.Read(ctx, cluster.TokensPrefix)
	if err != nil {
		return nil, err
	}
	out := map[string]grant{}
	for _, e := range pic.Entries {
		g, err := identity.ReadGrant(e.Value)
		if err != nil {
			return nil, fmt.Errorf("store key %s: %w", e.Key, err)
		}
		out[g.ID] = grant{g, e.Revision}
	}
	return out, nil
}

type grant struct {
	identity.Grant
	revision int64
}

// expired are the changes that take tokens away that nobody can use any more.
func (d *Desk) expired(all map[string]grant) []store.Change {
	var out []store.Change
	for id, g := range all {
		if g.Uses == 0 || g.Expires.Before(d.Now().Add(-maxTTL)) {
			out = append(out, store.Delete(cluster.TokenKey(id)))
		}
	}
	return out
}

// Tokens lists the tokens.
func (d *Desk) Tokens(ctx context.Context) (wire.TokenList, error) {
	all, err := d.grants(ctx)
	if err != nil {
		return wire.TokenList{}, err
	}
	out := wire.TokenList{Tokens: []wire.TokenInfo{}}
	for _, g := range all {
		out.Tokens = append(out.Tokens, info(g.Grant))
	}
	slices.SortFunc(out.Tokens, func(a, b wire.TokenInfo) int { return a.At.Compare(b.At) })
	return out, nil
}

func info(g identity.Grant) wire.TokenInfo {
	role := RoleAgent
	if g.Role == identity.KindServer {
		role = RoleServer
	}
	return wire.TokenInfo{ID: g.ID, Role: role, Expires: g.Expires, Uses: g.Uses, By: g.By, At: g.At}
}

// RevokeToken takes a token away.
func (d *Desk) RevokeToken(ctx context.Context, id, by string) error {
	all, err := d.grants(ctx)
	if err != nil {
		return err
	}
	if _, ok := all[id]; !ok {
		return reason.Because(reason.TokenUnknown, reason.Args{"id": id})
	}
	_, err = d.Store.Write(ctx, person(by), store.Delete(cluster.TokenKey(id)))
	return err
}

// Join turns a token into certificates. They are kept to ourselves until the token is used up by the same write that it
// is checked against.
func (d *Desk) Join(ctx context.Context, q wire.JoinRequest) (wire.Credentials, error) {
	t, err := identity.ParseToken(q.Token)
	if err != nil {
		return wire.Credentials{}, err
	}
	if err := d.checkJoin(q); err != nil {
		return wire.Credentials{}, err
	}
	for range tries {
		out, err := d.admit(ctx, t, q)
		if errors.Is(err, store.ErrStale) {
			continue // Somebody used it at the same moment.
		}
		return out, err
	}
	return wire.Credentials{}, reason.Because(reason.Stale, reason.Args{"unit": "the token", "expected": "the one it was", "found": "a newer one"})
}

// admit takes one use of a token, for one machine.
func (d *Desk) admit(ctx context.Context, t identity.Token, q wire.JoinRequest) (wire.Credentials, error) {
	all, err := d.grants(ctx)
	if err != nil {
		return wire.Credentials{}, err
	}
	g := all[t.ID] // The zero grant admits nobody, in the same words.
	left, err := g.Admit(t, d.Now())
	if err != nil {
		return wire.Credentials{}, err
	}
	if q.Role != "" {
		if err := g.Permit(kindOf(q.Role)); err != nil {
			return wire.Credentials{}, err
		}
	}
	out, note, err := d.issue(ctx, order{id: identity.ID{Kind: g.Role, Name: q.Machine}, public: q.PublicKey, peer: q.PeerKey, hosts: q.Hosts})
	if err != nil {
		return wire.Credentials{}, err
	}
	if _, err = d.Store.Write(ctx, person("token:"+g.ID), store.PutIf(cluster.TokenKey(g.ID), left, g.revision), note); err != nil {
		return wire.Credentials{}, err
	}
	d.Log.Info("a machine joins", "machine", q.Machine, "name", q.Name, "token", g.ID, "role", g.Role)
	if g.Role == identity.KindServer {
		out.ClusterKey = d.Key
	}
	return out, nil
}

// kindOf is the kind of identity that a role of a machine has.
func kindOf(role string) identity.Kind {
	if role == RoleServer {
		return identity.KindServer
	}
	return identity.KindMachine
}

var machineID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// checkJoin refuses what would take another machine's place.
func (d *Desk) checkJoin(q wire.JoinRequest) error {
	if !machineID.MatchString(q.Machine) {
		return bad("%q is not a machine id (32 hex digits)", q.Machine)
	}
	if len(q.Hosts) > maxHosts {
		return reason.Because(reason.TooLarge, reason.Args{"what": "addresses of a machine", "need": len(q.Hosts), "have": maxHosts})
	}
	var err error
	d.View.Peek(func(p *cluster.Picture) {
		for id, m := range p.Machines {
			switch {
			case id == q.Machine && p.Alive[id]:
				err = reason.Because(reason.MachineCloned, reason.Args{"machine": m.Name, "id": cluster.ShortID(id), "address": m.Address})
			case m.Name == q.Name && id != q.Machine:
				err = reason.Because(reason.NameInUse, reason.Args{"name": q.Name, "id": cluster.ShortID(id), "address": m.Address})
			}
		}
		if p.Revoked[string(identity.KindMachine)+"/"+q.Machine] != nil {
			err = reason.Because(reason.CertificateRevoked, reason.Args{"who": "machine " + cluster.ShortID(q.Machine)})
		}
	})
	return err
}

func person(name string) store.Writer { return store.Writer{Role: store.Person, ID: name} }

func bad(format string, args ...any) error {
	return reason.Because(reason.BadRequest, reason.Args{"error": fmt.Sprintf(format, args...)})
}
