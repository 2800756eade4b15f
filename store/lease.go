package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// Leaser is a Store whose leases are known by a number, so that whoever has it can renew them through any server:
// a lease outlives the death of the server that granted it. All implementations have it; KeepAlive is Keep over it.
type Leaser interface {
	// Grant writes a key of the writer bound to a new lease of ttl, and takes the key off the lease it had.
	// A Grant whose answer was lost leaves at most a lease that ends by itself.
	Grant(ctx context.Context, by Writer, key string, value []byte, ttl time.Duration) (lease int64, err error)
	// Renew gives the lease its whole ttl again, if the key is still bound to it by a linearizable look; else
	// ErrLeaseLost. It tells Renewed when its request was sent, as does Grant.
	Renew(ctx context.Context, by Writer, key string, lease int64) error
	// Revoke ends the lease and deletes the key, if the key is still bound to it; else it does nothing.
	Revoke(ctx context.Context, by Writer, key string, lease int64) error
}

// Follower is a Store whose watch can say how far it is. A cache that answers in the store's name needs that: after a
// quiet time nothing else tells whether a watch is late or nothing happened.
type Follower interface {
	// Follow is Watch that also sends batches without entries: all changes up to their revision were sent.
	Follow(ctx context.Context, prefix string, since int64) <-chan Batch
	// Progress asks for such a batch on every Follow of this process. It may be answered late or, while a
	// follower is behind, not at all: ask again.
	Progress(ctx context.Context) error
}

// ErrLeaseLost says that a key is no longer bound to a lease: it ran out, or another keeper took the key over.
var ErrLeaseLost = errors.New("the lease is lost")

// Epoch gives the epoch that a Grant of a machine's sign of life is for, and the key of the record that may have ended it:
// the Grant is to be done only if that record is not newer than the epoch, in one transaction, else ErrCondemned. ok is
// false for what has no epoch. (A renewal needs no such look: who condemns deletes the key.)
func Epoch(key string, value []byte) (epoch int64, condemned string, ok bool) {
	id, alive := strings.CutPrefix(key, cluster.AlivePrefix)
	var s cluster.Sign
	if !alive || json.Unmarshal(value, &s) != nil || s.Epoch == 0 {
		return 0, "", false
	}
	return s.Epoch, cluster.CondemnedKey(id), true
}

// ErrCondemned says that the machine's epoch was ended by the leader: it is an ErrStale.
var ErrCondemned = fmt.Errorf("%w: the machine's epoch was condemned", ErrStale)

// How Keep renews.
const (
	keepShare    = 4                      // Renewals in a ttl while all is well: three may be lost.
	keepAgain    = 200 * time.Millisecond // Pause after a renewal without an answer,
	keepAgainMax = 2 * time.Second        // doubling up to this.
	revokeBound  = 3 * time.Second        // Of letting go at the end.
)

// Keep is KeepAlive over a Leaser. A time without answers does not end it, however long: only the store knows whether
// the lease ran out, and says so when it is back (etcd lets no lease run out while it has no leader). Who must be
// sure that it still holds the key counts from what WithRenewed tells.
func Keep(ctx context.Context, l Leaser, by Writer, key string, value []byte, ttl time.Duration) error {
	lease, err := l.Grant(ctx, by, key, value, ttl)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, ErrForbidden) {
			return nil // Who ended ctx asks for no last word.
		}
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeBound)
		defer cancel()
		_ = l.Revoke(end, by, key, lease) // Else it ends by itself.
	}()
	every := ttl / keepShare
	timer, again := time.NewTimer(every), keepAgain
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := l.Renew(ctx, by, key, lease)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			again = keepAgain
			timer.Reset(every)
		case errors.Is(err, ErrLeaseLost):
			return Unavailable(err)
		case !away(err):
			return err
		default:
			timer.Reset(min(again, every))
			again = min(2*again, keepAgainMax)
		}
	}
}

// away tells an error that a later request may not meet.
func away(err error) bool {
	r, ok := errors.AsType[*reason.Reason](err)
	return ok && (r.Code == reason.StoreUnavailable || r.Code == reason.StoreFull || r.Code == reason.TooMany)
}

type (
	renewedKey   struct{}
	sendClockKey struct{}
)

// WithRenewed makes Grant, Renew and KeepAlive call f after every renewal that the store acknowledged, with the time at
// which its request was sent: from then on, not from the answer, a fencing deadline counts. f must not block.
func WithRenewed(ctx context.Context, f func(sent time.Time)) context.Context {
	return context.WithValue(ctx, renewedKey{}, f)
}

// WithSendClock replaces the clock that those send times are read from, right before each request: by one that also
// runs while the machine is suspended (CLOCK_BOOTTIME), which no later calculation on time.Now can make up for.
func WithSendClock(ctx context.Context, now func() time.Time) context.Context {
	return context.WithValue(ctx, sendClockKey{}, now)
}

// SendTime is for implementations: the time, right before a request is sent.
func SendTime(ctx context.Context) time.Time {
	if now, ok := ctx.Value(sendClockKey{}).(func() time.Time); ok {
		return now()
	}
	return time.Now()
}

// Renewed is for implementations: a request sent at that time granted or renewed a lease.
func Renewed(ctx context.Context, sent time.Time) {
	if f, ok := ctx.Value(renewedKey{}).(func(time.Time)); ok {
		f(sent)
	}
}
