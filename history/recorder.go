package history

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Bounds of the recorder.
const (
	maxQueue  = 100000           // Events that wait for the disk; beyond, the oldest are dropped and counted.
	maxBlames = 1000             // Deletions whose author is remembered until they are seen.
	burst     = 30               // State events of one unit at once; then one every refill.
	refill    = 10 * time.Second // So a crash loop cannot push everything else out of the history.
)

// Recorder finds events in the picture of a store.View and writes them to a History.
type Recorder struct {
	*History
	now func() time.Time
	log *slog.Logger

	mu      sync.Mutex
	units   map[string]*seen
	queue   []wire.Event
	dropped int
	blames  map[string]string // Unit -> who destroys it.
	primed  bool
}

// seen is what was last recorded of a unit.
type seen struct {
	wish    *cluster.Wanted // Never changed, only replaced.
	placed  string          // Machine ids.
	refused string          // Signature of the reason why it is nowhere.
	state   cluster.State
	code    reason.Code
	said    time.Time // Of the last event of its state: the next one is not before it.
	tokens  float64
	at      time.Time // When tokens was counted.
	skipped int       // State events that were left out since the last one that was written.
}

// NewRecorder records into a history. The state of the units as the history last knew it is taken over,
// so a restart of Argosy records what changed meanwhile, and nothing twice.
func NewRecorder(h *History, now func() time.Time, log *slog.Logger) *Recorder {
	r := &Recorder{History: h, now: now, log: log, units: map[string]*seen{}, blames: map[string]string{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.recent {
		r.recall(e)
	}
	return r
}

func (r *Recorder) recall(e wire.Event) {
	s := r.units[e.Unit]
	if s == nil {
		s = r.fresh()
		r.units[e.Unit] = s
	}
	if e.Kind == wire.EventState {
		s.state, s.code, s.said = e.State, "", e.At
		if e.Reason != nil {
			s.code = e.Reason.Code
		}
	}
}

func (r *Recorder) fresh() *seen { return &seen{tokens: burst, at: r.now()} }

// Blame tells who destroys a unit: the store does not keep it.
func (r *Recorder) Blame(unit, who string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.blames) < maxBlames {
		r.blames[unit] = who
	}
}

// See looks at what was touched, as store.View.Look gives it. It writes nothing: Flush does.
func (r *Recorder) See(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.names(p, touched, all) {
		r.look(p, name)
	}
	r.primed = true
	if over := len(r.queue) - maxQueue; over > 0 {
		r.queue = slices.Delete(r.queue, 0, over)
		r.dropped += over
	}
}

func (r *Recorder) names(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) []string {
	set := map[string]struct{}{}
	lost := map[string]bool{}
	for t := range touched {
		if t.Unit != "" {
			set[t.Unit] = struct{}{}
		}
		if t.Prefix == cluster.AlivePrefix {
			lost[t.Machine] = true
		}
	}
	if len(lost) > 0 {
		for on := range p.Placements {
			if lost[on.Machine] {
				set[on.Unit] = struct{}{}
			}
		}
	}
	if all {
		for n := range p.Units {
			set[n] = struct{}{}
		}
		for n := range r.units {
			set[n] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// look compares one unit with what was recorded of it.
func (r *Recorder) look(p *cluster.Picture, name string) {
	s, w := r.units[name], p.Units[name]
	if w == nil {
		if s != nil {
			r.gone(name, s)
		}
		return
	}
	known := s != nil
	if !known {
		s = r.fresh()
		r.units[name] = s
	}
	// What the store held before the recorder looked for the first time is no news.
	news := r.primed || known
	r.wish(s, w, news && r.primed)
	r.place(p, s, name, r.primed)
	r.state(p, s, name)
}

func (r *Recorder) gone(name string, s *seen) {
	who := r.blames[name]
	delete(r.blames, name)
	delete(r.units, name)
	if s.wish == nil && !r.primed {
		return // Recalled from the files, destroyed long ago.
	}
	r.add(wire.Event{At: r.now(), Kind: wire.EventWish, Unit: name, From: s.state, Message: "destroyed", Who: who})
}

func (r *Recorder) wish(s *seen, w *cluster.Wanted, news bool) {
	before := s.wish
	s.wish = w
	if !news || (before != nil && before.Revision == w.Revision) {
		return
	}
	at := w.At
	if at.IsZero() {
		at = r.now()
	}
	message := strings.Join(differences(before, w), ", ")
	r.add(wire.Event{At: at, Kind: wire.EventWish, Unit: w.Name, Message: message, Who: w.By})
}

// differences says what a person changed.
func differences(a, b *cluster.Wanted) []string {
	var out []string
	if a == nil {
		a = &cluster.Wanted{Text: b.Text, DropIns: b.DropIns, Desired: cluster.Inactive}
		out = append(out, "submitted")
	}
	if a.Text != b.Text || !slices.Equal(a.DropIns, b.DropIns) {
		out = append(out, "unit file replaced")
	}
	if a.Desired != b.Desired {
		out = append(out, map[cluster.Desired]string{cluster.Launched: "start", cluster.Loaded: "load", cluster.Inactive: "stop"}[b.Desired])
		if a.Desired == cluster.Launched && b.Desired == cluster.Loaded {
			out[len(out)-1] = "stop"
		}
	} else if a.Orders.Start != b.Orders.Start {
		out = append(out, "start again")
	}
	for _, o := range []struct {
		word string
		is   bool
	}{
		{"restart", a.Orders.Restart != b.Orders.Restart},
		{"reload", a.Orders.Reload != b.Orders.Reload},
		{"kill", a.Orders.Kill != b.Orders.Kill},
		{"run now", a.Orders.Trigger != b.Orders.Trigger},
	} {
		if o.is {
			out = append(out, o.word)
		}
	}
	if len(out) == 0 {
		out = append(out, "asked again")
	}
	return out
}

func (r *Recorder) place(p *cluster.Picture, s *seen, name string, news bool) {
	on := p.PlacedOn(name)
	placed, before := strings.Join(on, " "), s.placed
	s.placed = placed
	var why *reason.Reason
	at, refused := r.now(), ""
	if pl := p.Unplaced[name]; pl != nil && len(on) == 0 && pl.Reason != nil {
		why, at, refused = pl.Reason, pl.At, string(pl.Reason.Code)
	}
	was := s.refused
	s.refused = refused
	if !news || (placed == before && refused == was) {
		return
	}
	e := wire.Event{At: at, Kind: wire.EventPlace, Unit: name, Reason: why}
	switch {
	case why != nil:
		e.Message = "not placed: " + why.Message()
	case placed == "":
		e.Message = "on no machine any more"
	default:
		pl := p.Placements[cluster.On{Machine: on[len(on)-1], Unit: name}]
		e.At, e.Machine, e.Reason = pl.At, machines(p, on), pl.Reason
		e.Message = "placed on " + e.Machine
		if before != "" {
			e.Message = "moved from " + machines(p, strings.Fields(before)) + " to " + e.Machine
		}
	}
	r.add(e)
}

func machines(p *cluster.Picture, ids []string) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = p.MachineName(id)
	}
	return strings.Join(names, ", ")
}

func (r *Recorder) state(p *cluster.Picture, s *seen, name string) {
	a, ok := p.Answer(name)
	if !ok {
		return
	}
	code := reason.Code("")
	if a.Reason != nil {
		code = a.Reason.Code
	}
	if a.State == s.state && code == s.code {
		return
	}
	from := s.state
	s.state, s.code = a.State, code
	if !r.allow(s) {
		s.skipped++
		return
	}
	e := wire.Event{At: r.now(), Kind: wire.EventState, Unit: name, Machine: a.Machine, From: from, State: a.State, Message: a.Message}
	if a.Reason != nil {
		e.Reason = &reason.Reason{Code: a.Reason.Code, Args: a.Reason.Args} // Candidates are not kept: they are long.
	}
	if a.Since.Before(e.At) && a.Since.After(s.said) { // Else nobody noted when, as when a machine falls silent.
		e.At = a.Since
	}
	s.said = e.At
	e.Skipped, s.skipped = s.skipped, 0
	r.add(e)
}

// allow is a bucket of tokens for each unit.
func (r *Recorder) allow(s *seen) bool {
	now := r.now()
	s.tokens = min(burst, s.tokens+now.Sub(s.at).Seconds()/refill.Seconds())
	s.at = now
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

func (r *Recorder) add(e wire.Event) { r.queue = append(r.queue, e) }

// Flush writes down what was seen. After an error it is tried again with the next Flush.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	queue, dropped := r.queue, r.dropped
	r.queue, r.dropped = nil, 0
	r.mu.Unlock()
	if dropped > 0 {
		r.log.Warn("events were dropped: the disk took none for too long", "count", dropped)
	}
	err := r.Append(queue...)
	if err != nil {
		r.mu.Lock()
		r.queue = append(queue, r.queue...)
		r.mu.Unlock()
	}
	return err
}
