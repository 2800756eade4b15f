package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// Between tries of a follow to reach the cluster again.
const (
	firstAgain = 200 * time.Millisecond
	lastAgain  = 5 * time.Second
)

// transient tells whether an error passes by itself: nobody there, no leader.
func transient(err error) bool {
	all := reasonsOf(err)
	return len(all) > 0 && !slices.ContainsFunc(all, func(r *reason.Reason) bool { return r.Cure() != reason.Transient })
}

// journalFollower follows several units; what keeps it from the cluster is said once for all of them.
type journalFollower struct {
	door    door
	query   journalQuery
	printer *journalPrinter
	lines   chan cluster.Line

	mu   sync.Mutex
	lost int // Units whose stream is broken.
}

// followAll merges the lines of several units as they come, each unit's from behind its mark, until ctx ends. It goes on
// with another server, or the same one, when the one that answered goes away.
func followAll(ctx context.Context, d door, units []cluster.Answer, until map[string]mark, q journalQuery, p *journalPrinter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &journalFollower{door: d, query: journalQuery{Follow: true, Machines: q.Machines}, printer: p, lines: make(chan cluster.Line, linesAhead)}
	errs := make(chan error, len(units))
	var running sync.WaitGroup
	for _, u := range units {
		running.Go(func() {
			err := f.unit(ctx, u.Unit, until[u.Unit], q.Since)
			if err != nil && ctx.Err() == nil {
				f.say(ctx, u.Unit, "is not followed any more: "+err.Error())
			}
			errs <- err
		})
	}
	go func() {
		running.Wait()
		close(f.lines)
	}()
	var failed error
	for l := range f.lines {
		if failed == nil {
			if failed = p.line(l); failed != nil {
				cancel()
			}
		}
	}
	close(errs)
	for err := range errs {
		if failed == nil {
			failed = err
		}
	}
	return failed
}

// unit follows one unit until ctx ends, or for as long as its stream breaks for reasons that pass.
func (f *journalFollower) unit(ctx context.Context, name string, told mark, since time.Time) error {
	pause, broken := firstAgain, false
	for {
		q := f.query
		if q.Since = told.since(); q.Since.IsZero() {
			q.Since = since
		}
		q.Opened = func() {
			pause = firstAgain
			if broken {
				broken = false
				f.found(ctx)
			}
		}
		before := maps.Clone(told)
		err := f.door.Journal(ctx, name, q, func(l cluster.Line) error {
			if before.has(l) {
				return nil
			}
			told.take(l)
			return f.send(ctx, l)
		})
		if err == nil || ctx.Err() != nil || !transient(err) {
			return err
		}
		if !broken {
			broken = true
			f.lose(ctx, name, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, lastAgain)
	}
}

func (f *journalFollower) send(ctx context.Context, l cluster.Line) error {
	select {
	case f.lines <- l:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *journalFollower) say(ctx context.Context, name, text string) {
	_ = f.send(ctx, cluster.Line{At: time.Now(), Unit: name, Stream: cluster.StreamJournal, Text: text}) // Fails only with ctx.
}

// lose says that the cluster does not answer, once until it does.
func (f *journalFollower) lose(ctx context.Context, name string, err error) {
	f.mu.Lock()
	f.lost++
	first := f.lost == 1
	f.mu.Unlock()
	if first {
		f.say(ctx, name, "connection lost, trying again: "+err.Error())
	}
}

// found says that it answers again.
func (f *journalFollower) found(ctx context.Context) {
	f.mu.Lock()
	f.lost--
	last := f.lost == 0
	f.mu.Unlock()
	if last {
		f.say(ctx, "", "connected again")
	}
}
