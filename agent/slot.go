package agent

import (
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// slot is all that the agent knows of one unit: the wish, what it did about it, what the runtime saw, what it said of it.
type slot struct {
	name string

	// The wish.
	placed    bool
	epoch     int64
	wanted    *cluster.Wanted // nil: there is no such wish (any more).
	destroyed bool            // Somebody deleted the wish: seen, not concluded from its absence.
	elsewhere bool            // A later placement on another machine is committed.

	// What was made of it.
	textOf     int64 // Revision of the wish whose text unit is.
	unit       *unit.Unit
	refused    *reason.Reason  // Why the runtime does not have it, or did not take the last order.
	unloaded   bool            // It was the load that was refused…
	refusedFor int64           // …of this revision.
	retry      bool            // The runtime was away: again in the next pass.
	warnings   []unit.Warning  // Of the unit and of the runtime; nil: as in status.
	done       cluster.Orders  // Orders carried out.
	desired    cluster.Desired // The wish that was last carried out; "": none.
	known      bool            // There is or was a status, or an order was carried out.
	removing   bool            // It is on its way out.
	stopped    time.Time       // When it was last stopped as asked.

	// What the runtime says.
	evidence *cluster.Evidence
	pending  *pending  // An order that the evidence does not show yet.
	up       time.Time // When this run came up, with the monotonic clock of this process.
	upRun    string
	tail     tail
	whys     map[string]*reason.Reason // Why runs ended, by invocation.

	// What was said.
	status  cluster.Status // As the store has it.
	stored  bool
	written time.Time
	unsure  bool // A write got no answer: the store has status or what was to replace it.
	held    bool // The brake holds it back.

	dirty bool      // The wish, the runtime or a check has news.
	due   time.Time // Look again then; zero: when something happens.

	admitAt time.Time // An exclusive unit without leave to run: ask for it again then.
}

// pending is an order that was handed over, and what the runtime showed at that time.
type pending struct {
	at         time.Time
	invocation string
	since      time.Time
	refusal    *reason.Reason
}

// tail is the end of a failed run's log.
type tail struct {
	of      string // Invocation, with a mark when it is that of a run that goes on.
	at      time.Time
	lines   []string
	holders map[uint16]judge.Holder
	port    uint16    // The port in the lines, or the one that they mean.
	awaited time.Time // Since when lines that do not come are waited for.
}

// learn keeps what was judged of an ended run, for as long as the runtime keeps its exits.
func (s *slot) learn(run string, why *reason.Reason) {
	if run == "" || s.whys[run] != nil {
		return
	}
	kept := map[string]*reason.Reason{run: why}
	for _, x := range s.evidence.Exits {
		if r := s.whys[x.Invocation]; r != nil {
			kept[x.Invocation] = r
		}
	}
	s.whys = kept
}

func (s *slot) want() cluster.Desired {
	switch {
	case !s.placed:
		return cluster.Inactive
	case s.wanted == nil:
		return s.desired // The wish cannot be read: what runs goes on.
	}
	return s.wanted.Desired
}

func (s *slot) orders() cluster.Orders {
	if s.wanted == nil {
		return s.done
	}
	return s.wanted.Orders
}

func (s *slot) revision() int64 {
	if s.wanted == nil {
		return s.status.For
	}
	return s.wanted.Revision
}

// isUp tells whether the runtime has it anything but down.
func (s *slot) isUp() bool {
	return s.evidence != nil && s.evidence.Active != "inactive" && s.evidence.Active != "failed" && s.evidence.Active != ""
}

// runs tells whether a process of it lives or is about to, so that a start would change nothing.
func (s *slot) runs() bool {
	return s.isUp() && s.evidence.Active != "deactivating" && s.evidence.Sub != "auto-restart"
}

// adopt takes over what an agent before us wrote.
func (s *slot) adopt(st cluster.Status) {
	s.status, s.stored, s.known = st, true, true
	s.done, s.desired = st.Done, st.Desired
	if st.State == cluster.Stopped {
		s.stopped = st.Since
	}
	if len(st.LogTail) > 0 {
		s.tail = tail{of: st.Invocation, lines: st.LogTail}
	}
}

// see takes new evidence. It tells whether there is news in it.
func (s *slot) see(e *cluster.Evidence, now time.Time) bool {
	was := s.evidence
	s.evidence = e
	if e == nil {
		return was != nil
	}
	if e.Invocation != s.upRun || e.Active != "active" && e.Active != "reloading" {
		s.upRun, s.up = "", time.Time{}
	}
	if s.up.IsZero() && (e.Active == "active" || e.Active == "reloading") {
		s.upRun, s.up = e.Invocation, now
		if age := now.Sub(e.ActiveSince); age > 0 && !e.ActiveSince.IsZero() {
			s.up = now.Add(-age) // Keeps the monotonic reading: a clock that is set later does not age the run.
		}
	}
	return was == nil || news(was, e)
}

// news tells whether two pieces of evidence differ in more than usage.
func news(a, b *cluster.Evidence) bool {
	return a.Active != b.Active || a.Sub != b.Sub || a.Result != b.Result || a.MainPID != b.MainPID || a.Invocation != b.Invocation ||
		a.NRestarts != b.NRestarts || a.Hash != b.Hash || a.Load != b.Load || a.StatusText != b.StatusText || a.OOMKills != b.OOMKills ||
		!a.StateSince.Equal(b.StateSince) || !a.ActiveSince.Equal(b.ActiveSince) || !a.NextTry.Equal(b.NextTry) ||
		!a.NextElapse.Equal(b.NextElapse) || !a.LastTrigger.Equal(b.LastTrigger) ||
		len(a.Exits) != len(b.Exits) || len(a.Exits) > 0 && a.Exits[len(a.Exits)-1] != b.Exits[len(b.Exits)-1] ||
		!slices.Equal(a.WaitingFor, b.WaitingFor) || !reason.Equal(a.Error, b.Error)
}

// ordered remembers what the runtime showed when an order was handed over.
func (s *slot) ordered(now time.Time) {
	p := &pending{at: now}
	if s.evidence != nil {
		p.invocation, p.since, p.refusal = s.evidence.Invocation, s.evidence.StateSince, s.evidence.Error
	}
	s.pending = p
}

// isPending tells whether the evidence is still from before the last order; it forgets orders that show, or that are old.
func (s *slot) isPending(now time.Time) bool {
	p := s.pending
	if p == nil {
		return false
	}
	e := s.evidence
	// A start that was refused for a dependency's sake changes no state and begins no run: the refusal itself shows it.
	shows := e != nil && (e.Invocation != p.invocation || !e.StateSince.Equal(p.since) || e.Error != nil && !reason.Equal(e.Error, p.refusal))
	if shows || now.Sub(p.at) >= pendingGrace {
		s.pending = nil
		return false
	}
	return true
}
