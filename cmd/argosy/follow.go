package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// The rhythm of waiting.
const (
	drawEvery = 100 * time.Millisecond // Changes that come together are told together.
	heartbeat = 30 * time.Second       // Without a terminal: a word after so long without news.
	retryFor  = 30 * time.Second       // A daemon that is replaced is back within seconds.
)

// errTimeout ends a wait when --timeout was reached.
var errTimeout = errors.New("timeout")

// wait is what somebody waits for.
type wait struct {
	title string // "start web@{1..10}"
	good  string // "healthy"
	units []string
	since int64 // Revision of the wish.
	// revisions are those of the units' own records: an answer about an older one says nothing about this wish.
	revisions map[string]int64
	goal      judge.Goal
	// stand judges an answer for the screen; gone says what it means when the unit is no longer there.
	stand func(cluster.Answer) show.Standing
	gone  show.Standing
	limit time.Duration // 0: for ever.
	began time.Time     // When it was asked for; zero: now.
}

// outcome is what became of it.
type outcome struct {
	took   time.Duration
	wanted int
	met    []cluster.Answer
	missed []cluster.Answer
	open   []cluster.Answer // Neither, when the wait ended.
	words  []show.Words     // What of the met ones people should read.
	// verdict is the closing word for programs, with the exit code.
	verdict judge.Verdict
	end     error // Why it ended early: errTimeout, interrupted, or the connection's error.
}

// follower waits for units and tells what it sees.
type follower struct {
	wait
	began    time.Time
	answers  map[string]cluster.Answer
	standing map[string]show.Standing
	deploy   *judge.Deploy
	progress *show.Progress
	screen   *screen
	each     func(cluster.Answer) error // For -o jsonl.
	lost     time.Time                  // Since when the connection is broken.
	lostBy   error
}

// follow waits on one watch until every unit is as asked or will not become so, the time is over, or somebody interrupts.
func (a *app) follow(ctx context.Context, d door, w wait) (outcome, error) {
	began := w.began
	if began.IsZero() {
		began = a.now()
	}
	f := &follower{
		wait: w, began: began, answers: map[string]cluster.Answer{}, standing: map[string]show.Standing{},
		deploy: judge.NewGoal(w.goal, w.units), progress: show.NewProgress(w.title, w.good, w.units, began),
	}
	f.deploy.Begin(began)
	for u, rev := range w.revisions {
		f.deploy.Expect(u, rev)
	}
	f.screen = a.newScreen(f.progress, began)
	if a.output == formatJSONL {
		f.each = func(an cluster.Answer) error { return a.emitStream(an) }
	}
	for _, u := range w.units {
		f.standing[u] = show.Pending
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	updates, err := d.Watch(watching, w.since, watchNames(w.units)...)
	if err != nil && ctx.Err() != nil { // Interrupted between asking and watching: the wish is stored.
		return f.outcome(context.Cause(ctx), a.now()), nil
	}
	if err != nil {
		return outcome{}, err
	}
	end, err := f.loop(ctx, a, updates)
	f.screen.finish(a.now())
	return f.outcome(end, a.now()), err
}

// loop runs until there is nothing more to wait for; end says why it was early.
func (f *follower) loop(ctx context.Context, a *app, updates <-chan client.Update) (end, err error) {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	var over <-chan time.Time
	if f.limit > 0 {
		t := time.NewTimer(f.limit)
		defer t.Stop()
		over = t.C
	}
	f.screen.draw(a.now())
	for !f.done() {
		select {
		case u, more := <-updates:
			if !more {
				return f.closed(ctx), nil
			}
			if end := f.broken(u, a.now()); end != nil {
				return end, nil
			}
			if err := f.see(u.WatchEvent, a.now()); err != nil {
				return nil, err
			}
		case now := <-tick.C:
			f.screen.draw(now)
			if !f.lost.IsZero() && now.Sub(f.lost) > retryFor {
				return f.lostBy, nil
			}
		case <-over:
			return errTimeout, nil
		case <-ctx.Done():
			return context.Cause(ctx), nil
		}
	}
	return nil, nil
}

func (f *follower) closed(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.New("the watch has ended")
}

// broken takes note of a connection that broke: it is made again by itself, because a daemon that is replaced stops
// no unit and is back within seconds; after a while it counts as gone.
func (f *follower) broken(u client.Update, now time.Time) error {
	switch {
	case u.Err == nil:
		f.lost, f.lostBy = time.Time{}, nil
	case !u.Retrying:
		return u.Err
	case f.lost.IsZero():
		f.lost, f.lostBy = now, u.Err
		f.screen.say(now, "the connection broke, trying again for "+show.Took(retryFor))
	}
	return nil
}

func (f *follower) see(e wire.WatchEvent, now time.Time) error {
	if e.Gone != "" {
		return f.lose(e.Gone, now)
	}
	if e.Synced && e.Complete {
		return f.missing(now)
	}
	if e.Answer == nil {
		return nil
	}
	if _, ours := f.standing[e.Answer.Unit]; !ours || e.Answer.Revision < f.revisions[e.Answer.Unit] {
		return nil
	}
	f.deploy.See(*e.Answer, now)
	return f.take(*e.Answer, f.stand(*e.Answer), now)
}

// lose takes in that a unit is no longer there.
func (f *follower) lose(unit string, now time.Time) error {
	if _, ours := f.standing[unit]; !ours {
		return nil
	}
	f.deploy.Gone(unit, now)
	an := f.answers[unit]
	an.Unit, an.State, an.Reason, an.Message, an.Hint = unit, cluster.Stopped, nil, "destroyed", ""
	return f.take(an, f.gone, now)
}

// missing: all that is there was sent; a unit without an answer had gone before we looked.
func (f *follower) missing(now time.Time) error {
	for _, u := range f.units {
		if _, seen := f.answers[u]; !seen {
			if err := f.lose(u, now); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *follower) take(an cluster.Answer, st show.Standing, now time.Time) error {
	f.answers[an.Unit], f.standing[an.Unit] = an, st
	f.progress.See(an, st, now)
	f.screen.dirty = true
	if f.each != nil {
		return f.each(an)
	}
	return nil
}

func (f *follower) done() bool {
	for _, st := range f.standing {
		if st == show.Pending {
			return false
		}
	}
	return true
}

func (f *follower) outcome(end error, now time.Time) outcome {
	o := outcome{took: now.Sub(f.began), wanted: len(f.units), end: end}
	for _, u := range f.units {
		an, seen := f.answers[u]
		if !seen {
			an = cluster.Answer{Unit: u, State: cluster.Starting, Message: "no word about it yet"}
		}
		switch f.standing[u] {
		case show.Met:
			o.met = append(o.met, an)
		case show.Missed:
			o.missed = append(o.missed, an)
		case show.Pending:
			o.open = append(o.open, an)
		}
	}
	if isInterrupt(end) {
		f.deploy.Interrupt()
	}
	o.verdict = f.deploy.Verdict(now)
	return o
}

// watchNames are the names that a watch asks for: many instances become the glob of their template.
func watchNames(units []string) []string {
	const most = 20
	if len(units) <= most {
		return units
	}
	var out []string
	seen := map[string]bool{}
	for _, u := range units {
		n := u
		if name := unit.Name(u); name.IsInstance() {
			n = name.Prefix() + "@*." + name.Type()
		}
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	if len(out) > most*10 {
		return nil
	}
	return out
}

// screen tells progress on stderr: redrawn in place on a terminal, lines elsewhere, nothing with -q.
type screen struct {
	app      *app
	progress *show.Progress
	style    show.Style
	live     *show.Live
	dirty    bool
	began    time.Time
	drawn    time.Time
	told     time.Time
}

func (a *app) newScreen(p *show.Progress, began time.Time) *screen {
	s := &screen{app: a, progress: p, style: a.errStyle(), dirty: true, began: began, told: began}
	if _, _, tty := a.termSize(a.stderr); tty && a.env("TERM") != "dumb" {
		s.live = &show.Live{W: a.stderr, Style: s.style}
	}
	return s
}

// draw tells what is new.
func (s *screen) draw(now time.Time) {
	if s.app.quiet {
		return
	}
	if s.live != nil {
		if !s.dirty && now.Sub(s.drawn) < time.Second {
			return
		}
		width, height, _ := s.app.termSize(s.app.stderr)
		s.drawn, s.dirty = now, false
		_ = s.live.Draw(s.progress.Lines(s.style, width, height, now), width, height) // A terminal that has gone shows nothing.
		return
	}
	lines := s.progress.NewLines(s.style)
	for _, l := range lines {
		s.app.note("%s", l)
	}
	switch {
	case len(lines) > 0:
		s.told = now
	case now.Sub(s.told) >= heartbeat:
		s.told = now
		s.app.note("%s", s.progress.Heartbeat(s.style, now))
	}
}

// say tells something that is about no unit.
func (s *screen) say(now time.Time, text string) {
	if s.app.quiet {
		return
	}
	if s.live != nil {
		_ = s.live.Erase()
		s.dirty = true
	}
	s.told = now
	s.app.note("%s  %s", show.Elapsed(now.Sub(s.began)), text)
}

// finish draws the end; on a terminal the block is left as it stands.
func (s *screen) finish(now time.Time) {
	s.dirty = true
	s.draw(now)
	if s.live != nil {
		s.live.Forget()
		if !s.app.quiet {
			fmt.Fprintln(s.app.stderr)
		}
	}
}
