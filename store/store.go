// Package store is the meeting place: leader, agents and people never call each other, they write facts here
// and look again when something changed. It defines the seam (Store), who may write what (Writer), and a
// View that keeps a cluster.Picture current. Its implementations are store/memory, store/etcd, and store/remote for
// machines that hold no store; store/storetest is the conformance suite that all pass.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// Store is a linearizable map from keys to small values with revisions, leases, watches and one election.
// All methods are safe for concurrent use.
type Store interface {
	// Read gives all entries under a prefix at one revision, sorted by key.
	Read(ctx context.Context, prefix string) (Picture, error)
	// Write applies all changes in one transaction or none, and returns its revision.
	// Errors: ErrStale (an IfRevision did not hold, or the writer leads no more), ErrForbidden (not the writer's
	// facts), a *reason.Reason with code store-full or store-unavailable. Whether a write that ended with
	// store-unavailable was done is not known: look again.
	Write(ctx context.Context, by Writer, changes ...Change) (revision int64, err error)
	// Watch sends every change under a prefix after the revision since, in order, without gaps: one Batch for
	// each revision. The channel is closed when ctx ends or after a Batch with Err (ErrCompacted: read again).
	Watch(ctx context.Context, prefix string, since int64) <-chan Batch
	// KeepAlive writes a key of the writer bound to a lease of ttl and renews it until ctx ends; then it lets
	// the lease go. It returns when the lease is lost (error) or ctx ended (nil). See WithRenewed.
	KeepAlive(ctx context.Context, by Writer, key string, value []byte, ttl time.Duration) error
	// Lead blocks until the caller is leader, or ctx ends. The term's writer may write the leader's facts
	// until the term is over; after that its writes fail with ErrStale. An id leads once: Lead ends what an
	// earlier Lead of the same id holds, as by a process of this machine that was killed.
	Lead(ctx context.Context, id string) (*Term, error)
	// Health says whether the store takes writes; nil when it does.
	Health(ctx context.Context) error
	Close() error
}

// Picture is what Read returns.
type Picture struct {
	Revision int64
	Entries  []Entry
}

// Entry is one key. A deleted one (in a Batch) has a nil Value.
type Entry struct {
	Key      string
	Value    []byte
	Revision int64 // When it was last changed.
}

// Batch is what changed in one revision, or the error that ended the watch.
type Batch struct {
	Revision int64
	Entries  []Entry
	Err      error
}

// Change sets (Value) or deletes (nil Value) one key.
type Change struct {
	Key   string
	Value []byte
	// Guard makes the whole write depend on the key's revision being If: 0 means that it must not exist.
	Guard bool
	If    int64
}

// Put sets a key.
func Put(key string, v any) Change { return Change{Key: key, Value: cluster.Encode(v)} }

// PutIf sets a key if its revision is still the one given; 0: if it does not exist.
func PutIf(key string, v any, revision int64) Change {
	return Change{Key: key, Value: cluster.Encode(v), Guard: true, If: revision}
}

// Delete deletes a key; deleting what is not there is no error.
func Delete(key string) Change { return Change{Key: key} }

// Term is a time of leadership.
type Term struct {
	Writer Writer
	// Done is closed when the leadership is lost or resigned.
	Done <-chan struct{}
	// Resign gives it up.
	Resign func()
}

// Role is who writes.
type Role string

// The writers of facts.
const (
	Person  Role = "person"  // Through api: units, machine admin, who may come in, settings.
	Leader  Role = "leader"  // Placements and why not.
	Machine Role = "machine" // Its own record, its own statuses, its own lease.
)

// Writer is who writes, with the proof where one is needed.
type Writer struct {
	Role Role
	ID   string // Person: name. Machine: machine id. Leader: machine id.
	// Fence is the implementation's proof of leadership (etcd: the election key and its create revision).
	Fence         string
	FenceRevision int64
}

// The errors of a Store, for errors.Is.
var (
	ErrStale     = errors.New("the store has changed meanwhile")
	ErrForbidden = errors.New("not a fact of this writer")
	ErrCompacted = errors.New("the history before the wanted revision is gone")
)

// May is the table of writers: one writer for each fact. Every implementation calls it in Write and KeepAlive.
func (w Writer) May(changes ...Change) error {
	for _, c := range changes {
		if !w.owns(c.Key) && !w.mayEnd(c) {
			return fmt.Errorf("%w: %s %q may not write %s", ErrForbidden, w.Role, w.ID, c.Key)
		}
	}
	return nil
}

// mayEnd: the leader takes a machine's sign of life away together with condemning its epoch, and a person takes all that a
// machine said away with the machine.
func (w Writer) mayEnd(c Change) bool {
	switch w.Role {
	case Leader:
		return c.Value == nil && strings.HasPrefix(c.Key, cluster.AlivePrefix)
	case Person:
		return c.Value == nil && hasPrefix(c.Key, cluster.MachinesPrefix, cluster.AlivePrefix, cluster.StatusesPrefix)
	case Machine:
	}
	return false
}

func (w Writer) owns(key string) bool {
	switch w.Role {
	case Person:
		return hasPrefix(key, cluster.UnitsPrefix, cluster.AdminPrefix, cluster.TokensPrefix, cluster.UsersPrefix,
			cluster.RevokedPrefix, cluster.TrustPrefix, cluster.SettingsPrefix)
	case Leader:
		return strings.HasPrefix(key, cluster.PlacementsPrefix) || strings.HasPrefix(key, cluster.UnplacedPrefix) ||
			strings.HasPrefix(key, cluster.LeaderPrefix) || strings.HasPrefix(key, cluster.CondemnedPrefix) || strings.HasPrefix(key, cluster.MembersPrefix)
	case Machine:
		return w.ID != "" && (strings.HasPrefix(key, cluster.StatusesPrefix+w.ID+"/") ||
			key == cluster.MachineKey(w.ID) || key == cluster.AliveKey(w.ID))
	}
	return false
}

func hasPrefix(key string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// Unavailable wraps an implementation's error that means "no answer".
func Unavailable(err error) error {
	return reason.Because(reason.StoreUnavailable, reason.Args{"error": err.Error()})
}
