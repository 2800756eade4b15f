package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
)

// Bounds of reading journals over machines.
const (
	linesAhead    = 256
	reachWithin   = 3 * time.Second  // For a machine to begin to answer.
	rememberAway  = 5 * time.Second  // For so long a machine that did not is not asked again by another reader.
	whereEvery    = time.Second      // How often a follow looks where its unit is.
	firstReattend = time.Second      // Until a follow asks a machine again that went away,
	lastReattend  = 10 * time.Second // and at most.
)

// journals gives a unit's lines from the machines where it is, merged by time, each line with its machine's name. A machine
// that does not answer costs its own lines, and a line of cluster.StreamJournal says so.
type journals struct {
	*life
	mu      sync.Mutex
	clients map[string]*client.Client // By machine id and address.
	away    map[string]awaySince      // By machine id.
}

// awaySince remembers for a short while that a machine did not answer.
type awaySince struct {
	at  time.Time
	why error
}

func (l *life) journals() *journals {
	return &journals{life: l, clients: map[string]*client.Client{}, away: map[string]awaySince{}}
}

// Journal is runtime.Runtime's, over all machines: with Follow it goes where the unit goes.
func (j *journals) Journal(ctx context.Context, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	return j.open(ctx, nil, name, q)
}

// JournalOn reads what machines keep, by their ids.
func (j *journals) JournalOn(ctx context.Context, machines []string, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	return j.open(ctx, machines, name, q)
}

func (j *journals) open(ctx context.Context, fixed []string, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	r := &reading{
		journals: j, name: name, q: q, fixed: fixed, begun: time.Now(),
		out: make(chan cluster.Line), last: map[string]time.Time{}, at: map[string]*attendance{}, events: make(chan lineEvent),
	}
	ids := fixed
	if ids == nil {
		ids = j.everOn(name)
	}
	sources, failed := r.openPast(ctx, ids)
	if len(sources) == 0 && len(failed) > 0 && !q.Follow {
		return nil, failed[0].err
	}
	go func() {
		defer close(r.out)
		if r.past(ctx, sources, failed) && q.Follow {
			r.follow(ctx, ids)
		}
	}()
	return r.out, nil
}

// everOn lists the machines that a unit is on, and those that were last heard of it.
func (j *journals) everOn(name string) []string {
	var ids []string
	j.view.Peek(func(p *cluster.Picture) {
		ids = slices.Clone(p.PlacedOn(name))
		for id := range p.Machines {
			if p.Statuses[cluster.On{Machine: id, Unit: name}] != nil {
				ids = append(ids, id)
			}
		}
	})
	slices.Sort(ids)
	return slices.Compact(ids)
}

// where lists the machines that a unit is placed on now, else those that still speak of it.
func (j *journals) where(name string) []string {
	var ids []string
	j.view.Peek(func(p *cluster.Picture) { ids = slices.Clone(p.PlacedOn(name)) })
	if len(ids) == 0 {
		ids = j.everOn(name)
	}
	return ids
}

// machine gives a machine's record; one that is not known has its id only.
func (j *journals) machine(id string) (m cluster.Machine, alive bool) {
	m = cluster.Machine{ID: id, Name: cluster.ShortID(id)}
	j.view.Peek(func(p *cluster.Picture) {
		if known := p.Machines[id]; known != nil {
			m = *known
		}
		m.Name = p.MachineName(id)
		alive = p.Alive[id]
	})
	return m, alive
}

// client gives the one client of a machine; its connections close by themselves when nobody reads.
func (j *journals) client(m cluster.Machine) *client.Client {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := m.ID + " " + m.Address
	c := j.clients[key]
	if c == nil {
		c = client.NewTLS(m.Address, j.keeper.ClientTLS(identity.KindMachine, m.ID))
		j.clients[key] = c
	}
	return c
}

// note remembers whether a machine answered.
func (j *journals) note(id string, why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if why == nil {
		delete(j.away, id)
	} else {
		j.away[id] = awaySince{time.Now(), why}
	}
}

// lately is why a machine did not answer a moment ago; nil: nothing is known against it.
func (j *journals) lately(id string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if a, ok := j.away[id]; ok && time.Since(a.at) < rememberAway {
		return a.why
	}
	return nil
}

// source gives the lines of one machine.
type source struct {
	id, name string
	lines    <-chan cluster.Line
	err      error // How it ended; to be read when lines is closed.
}

// attend asks a machine for a unit's lines.
func (j *journals) attend(ctx context.Context, id, unit string, q runtime.JournalQuery) (*source, error) {
	m, _ := j.machine(id)
	if id == j.id {
		lines, err := j.units.Journal(ctx, unit, q)
		return &source{id: id, name: m.Name, lines: lines}, err
	}
	if m.Address == "" {
		return nil, reason.Because(reason.NotReachable, reason.Args{"address": m.Name, "error": "it listens on no network"})
	}
	if err := j.lately(id); err != nil {
		return nil, err
	}
	s, err := j.dial(ctx, m, unit, q)
	if ctx.Err() == nil {
		j.note(id, err)
	}
	return s, err
}

// dial opens the stream of another machine's own lines, and returns when it answers or fails.
func (j *journals) dial(ctx context.Context, m cluster.Machine, unit string, q runtime.JournalQuery) (*source, error) {
	ctx, cancel := context.WithCancel(ctx)
	lines, opened := make(chan cluster.Line, linesAhead), make(chan struct{})
	s := &source{id: m.ID, name: m.Name, lines: lines}
	over := make(chan struct{})
	ask := client.LinesQuery{JournalQuery: q, Machines: []string{m.ID}, Opened: func() { close(opened) }}
	go func() {
		defer cancel()
		defer close(lines)
		defer close(over)
		s.err = j.client(m).Lines(ctx, unit, ask, func(l cluster.Line) error {
			select {
			case lines <- l:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	late := time.NewTimer(reachWithin)
	defer late.Stop()
	select {
	case <-opened:
		return s, nil
	case <-over:
		select {
		case <-opened: // There was little to say.
			return s, nil
		default:
			return nil, s.err
		}
	case <-late.C:
		cancel()
		return nil, reason.Because(reason.NotReachable, reason.Args{"address": m.Address, "error": fmt.Sprintf("no answer within %v", reachWithin)})
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reading is one person's reading of one unit's lines.
type reading struct {
	*journals
	name   string
	q      runtime.JournalQuery
	fixed  []string // Only these machines; nil: where the unit is.
	begun  time.Time
	out    chan cluster.Line
	last   map[string]time.Time // Of each machine's last line.
	at     map[string]*attendance
	events chan lineEvent
}

// failure is why a machine's lines are missing.
type failure struct {
	id  string
	err error
}

// openPast asks all machines at once for what they have.
func (r *reading) openPast(ctx context.Context, ids []string) (sources []*source, failed []failure) {
	q := r.q
	q.Follow = false
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			s, err := r.attend(ctx, id, r.name, q)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, failure{id, err})
			} else {
				sources = append(sources, s)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(sources, func(a, b *source) int { return cmp.Compare(a.id, b.id) })
	slices.SortFunc(failed, func(a, b failure) int { return cmp.Compare(a.id, b.id) })
	return sources, failed
}

// past tells what the sources have in the order of time, then whose lines are missing. It is false when nobody reads.
func (r *reading) past(ctx context.Context, sources []*source, failed []failure) bool {
	next := func(s *source) *cluster.Line {
		l, more := <-s.lines // Ends with ctx: each source does.
		if !more {
			return nil
		}
		l.Machine = s.name
		r.last[s.id] = l.At
		return &l
	}
	var tail []cluster.Line // Of the last lines, when only so many are wanted of several machines.
	tell := func(l cluster.Line) bool { return r.tell(ctx, l) }
	if r.q.Lines > 0 && len(sources) > 1 {
		tell = func(l cluster.Line) bool {
			if tail = append(tail, l); len(tail) >= 2*r.q.Lines {
				tail = slices.Clone(tail[len(tail)-r.q.Lines:])
			}
			return true
		}
	}
	heads := make([]*cluster.Line, len(sources))
	for i, s := range sources {
		heads[i] = next(s)
	}
	for i := oldest(heads); i >= 0; i = oldest(heads) {
		if !tell(*heads[i]) {
			return false
		}
		heads[i] = next(sources[i])
	}
	for _, l := range tail[max(0, len(tail)-r.q.Lines):] {
		if !r.tell(ctx, l) {
			return false
		}
	}
	for _, s := range sources {
		if s.err != nil && ctx.Err() == nil {
			failed = append(failed, failure{s.id, s.err})
		} else if _, ok := r.last[s.id]; !ok {
			r.last[s.id] = r.q.Since // It has nothing yet: a follow wants all that comes, whatever the clocks say.
		}
	}
	for _, f := range failed {
		m, _ := r.machine(f.id)
		if !r.say(ctx, m.Name, missing(f.err)) {
			return false
		}
	}
	return ctx.Err() == nil
}

// oldest is the index of the line that comes first; -1: there is none.
func oldest(heads []*cluster.Line) int {
	first := -1
	for i, l := range heads {
		if l != nil && (first < 0 || l.At.Before(heads[first].At)) {
			first = i
		}
	}
	return first
}

func missing(err error) string { return "does not answer, its lines are missing: " + err.Error() }

// tell hands a line to the reader; false: it has gone.
func (r *reading) tell(ctx context.Context, l cluster.Line) bool {
	select {
	case r.out <- l:
		return true
	case <-ctx.Done():
		return false
	}
}

// say tells the reader something about the journal itself.
func (r *reading) say(ctx context.Context, machine, text string) bool {
	return r.tell(ctx, cluster.Line{At: time.Now(), Unit: r.name, Machine: machine, Stream: cluster.StreamJournal, Text: text})
}
