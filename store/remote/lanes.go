package remote

import (
	"context"
	"sync"
	"time"

	"argosy.dev/argosy/reason"
)

// Each kind of call has a lane of its own, so that a flood of one never holds up another: the renewals of leases pass
// whatever else happens, and writes pass a herd of readers. Within a lane no machine takes more than its share.
const (
	leaseSlots = 128
	writeSlots = 64
	readSlots  = 32
	leaseEach  = 4
	writeEach  = 4
	readEach   = 4
	laneWait   = time.Second // For a slot; less than a caller's patience, so that it hears why and asks another server.
)

// lane bounds how many calls of a kind are served at once, in all and for each machine.
type lane struct {
	what  string
	each  int
	slots chan struct{} // Those who wait are served first come, first served.
	mu    sync.Mutex
	open  map[string]int // By machine, with those who wait.
}

func newLane(what string, slots, each int) *lane {
	return &lane{what: what, each: each, slots: make(chan struct{}, slots), open: map[string]int{}}
}

// admit counts a call of a machine, before its body is read: so a machine holds no more bodies here than its share.
func (l *lane) admit(machine string) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[machine] >= l.each {
		return nil, awayError{reason.Because(reason.TooMany, reason.Args{"what": l.what + " at once of one machine", "have": l.each})}
	}
	l.open[machine]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open[machine]--; l.open[machine] == 0 {
			delete(l.open, machine)
		}
	}, nil
}

// enter takes a slot, once the body is there: so slow senders hold up only themselves.
func (l *lane) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-l.slots }
	select {
	case l.slots <- struct{}{}:
		return leave, nil
	default:
	}
	t := time.NewTimer(laneWait)
	defer t.Stop()
	select {
	case l.slots <- struct{}{}:
		return leave, nil
	case <-t.C:
	case <-ctx.Done():
	}
	return nil, awayError{reason.Because(reason.TooMany, reason.Args{"what": l.what + " at once", "have": cap(l.slots)})}
}
