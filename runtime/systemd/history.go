package systemd

import (
	"slices"
	"strconv"
	"time"

	"argosy.dev/argosy/cluster"
)

// PID 1's messages that make history (sd-messages.h). Their text is for people, their ids and fields are API.
const (
	msgStarting    = "7d4958e842da4a758f6c1cdc7b36dcc5"
	msgStarted     = "39f53479d3a045ac8e11786248231fbf"
	msgStopping    = "de5b426a63be47a7b6ac3eaac82e2f6f"
	msgProcessExit = "98e322203f7a4ed290d09fe03c09fe15"
	msgSuccess     = "7ad2d189f7e94e70a38c781354912448"
	msgRestart     = "5eb03494b6584870a536b337290809b3"
	msgJobFailed   = "be02cf6855d2428ba40df7e9d022f03d"
	msgOOM         = "fe6faa94e7774663a0da52717891d8ef"
)

// maxRuns bounds the runs that are remembered of one unit.
const maxRuns = 2 * cluster.MaxExits

// mergeWithin is how far the time of an exit in PID 1's properties may be from that of its words in the journal.
const mergeWithin = 2 * time.Second

// run is one invocation of a unit.
type run struct {
	id        string
	at        time.Time // First heard of.
	askedAt   time.Time // When its stop was asked for; zero: it was not.
	oomKills  int
	peak      int64 // Bytes of memory, when known.
	rescheded bool  // Restart= was about to begin the next one.
	refused   bool  // …and the next one was refused: the start limit.
}

// askedBy tells whether the run's stop was asked for before a time.
func (r *run) askedBy(at time.Time) bool { return !r.askedAt.IsZero() && !at.Before(r.askedAt) }

// history is what is known of a unit's runs, from the journal, from signals and from its properties. Each source
// has gaps: the journal does not tell clean exits' status, properties only know the last run, and signals only
// what happens while an agent listens.
type history struct {
	runs    []run // Oldest first.
	exits   []cluster.Exit
	pending *cluster.Exit // The main process's end as a signal told it, without the run (see signalled).
	depFail time.Time     // When a start was last refused because of a dependency.
}

// find gives the run of an invocation, made when it is new.
func (h *history) find(id string, at time.Time) *run {
	for i := range slices.Backward(h.runs) {
		if h.runs[i].id == id {
			return &h.runs[i]
		}
	}
	h.runs = append(h.runs, run{id: id, at: at})
	if n := len(h.runs); n > maxRuns {
		h.runs = slices.Clone(h.runs[n-maxRuns:])
	}
	return &h.runs[len(h.runs)-1]
}

// previous is the run before the last; a text that no run has when there is none.
func (h *history) previous() string {
	if n := len(h.runs); n > 1 {
		return h.runs[n-2].id
	}
	return "none"
}

// take adds an entry of the journal; it tells whether that was news.
func (h *history) take(e entry) bool {
	at := e.at()
	id := string(e.Invocation)
	if e.MessageID == msgJobFailed && e.JobResult == "dependency" {
		h.depFail = at
		return true
	}
	if id == "" {
		return false
	}
	r := h.find(id, at)
	switch string(e.MessageID) {
	case msgStopping:
		h.markAsked(id, at)
	case msgRestart:
		r.rescheded = true
	case msgJobFailed:
		r.refused = r.rescheded
	case msgOOM:
		r.oomKills++
		h.markOOM(id)
	case msgProcessExit:
		h.addExit(exitOfEntry(e, r))
	case msgSuccess:
		if h.mainExit(id) == nil {
			h.addExit(cluster.Exit{At: at, Directive: "ExecStart", Uptime: at.Sub(r.at), Success: true, Asked: r.askedBy(at), Invocation: id})
		}
	}
	return true
}

func exitOfEntry(e entry, r *run) cluster.Exit {
	x := cluster.Exit{At: e.at(), Directive: string(e.Command), Uptime: e.at().Sub(r.at), Asked: r.askedBy(e.at()), Invocation: r.id}
	n, err := strconv.Atoi(string(e.ExitStatus))
	if err != nil {
		n = 0 // Seen only when somebody has damaged the journal.
	}
	setEnd(&x, exitCodeOf(string(e.ExitCode)), n)
	x.OOM = x.Signal == sigKILL && r.oomKills > 0
	return x
}

// The values of CLD_… in waitid(2), which systemd uses in ExecMainCode, and the signal of the OOM killer.
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
	sigKILL   = 9
)

func exitCodeOf(word string) int {
	return map[string]int{"exited": cldExited, "killed": cldKilled, "dumped": cldDumped}[word]
}

func setEnd(x *cluster.Exit, code, status int) {
	switch code {
	case cldKilled, cldDumped:
		x.Signal, x.CoreDumped = status, code == cldDumped
	default:
		x.Status = status
	}
}

// mainExit is the last end of a run's main process.
func (h *history) mainExit(id string) *cluster.Exit {
	for i := range slices.Backward(h.exits) {
		if h.exits[i].Invocation == id && h.exits[i].Directive == "ExecStart" {
			return &h.exits[i]
		}
	}
	return nil
}

// addExit puts an exit in its place by time. One that is known already is made more exact: of two reports the one
// with the path comes from PID 1's properties, which know the process's own times.
func (h *history) addExit(x cluster.Exit) {
	x.Asked = x.Asked || h.find(x.Invocation, x.At.Add(-x.Uptime)).askedBy(x.At)
	for i := range h.exits {
		o := &h.exits[i]
		if o.Invocation != x.Invocation || o.Directive != x.Directive || x.At.Sub(o.At).Abs() > mergeWithin {
			continue
		}
		same := o.Status == x.Status && o.Signal == x.Signal
		if !same && o.Path != "" && x.Path != "" {
			continue // Two processes of one run.
		}
		x.Asked, x.OOM = x.Asked || o.Asked, x.OOM || o.OOM
		if x.Path == "" {
			o.Asked, o.OOM = x.Asked, x.OOM
			return
		}
		*o = x
		return
	}
	i, _ := slices.BinarySearchFunc(h.exits, x.At, func(e cluster.Exit, t time.Time) int { return e.At.Compare(t) })
	h.exits = slices.Insert(h.exits, i, x)
	if n := len(h.exits); n > cluster.MaxExits {
		h.exits = slices.Clone(h.exits[n-cluster.MaxExits:])
	}
}

// markAsked marks the exits of a run that came after its stop was asked for: the words may come after the deed.
func (h *history) markAsked(id string, since time.Time) {
	r := h.find(id, since)
	if r.askedAt.IsZero() || since.Before(r.askedAt) {
		r.askedAt = since
	}
	for i := range h.exits {
		if x := &h.exits[i]; x.Invocation == id && !x.At.Before(since) {
			x.Asked = true
		}
	}
}

func (h *history) markOOM(id string) {
	for i := range h.exits {
		if x := &h.exits[i]; x.Invocation == id && x.Signal == sigKILL {
			x.OOM = true
		}
	}
}

// oomSince counts kills in the runs since a time, and gives the highest known peak among those that had one.
func (h *history) oomSince(since time.Time) (kills int, peak int64) {
	for i := range h.runs {
		if r := &h.runs[i]; !r.at.Before(since) {
			kills += r.oomKills
			peak = max(peak, r.peak)
		}
	}
	return kills, peak
}

// oomOf is how many memory kills of one run are noted.
func (h *history) oomOf(id string) int {
	for i := range h.runs {
		if h.runs[i].id == id {
			return h.runs[i].oomKills
		}
	}
	return 0
}

// signalled takes a change signal. PID 1 sends them in pairs with all properties that tell of changes: first those of
// the service, with the last end of its main process, then those of the unit, with the run that it belongs to. So
// the ends of runs that follow one another faster than anybody asks are known, too.
func (h *history) signalled(iface string, p props) {
	switch iface {
	case serviceIface:
		h.pending = nil
		if x, ok := mainEnd(p); ok {
			x.OOM = x.Signal == sigKILL && p.text("Result") == "oom-kill"
			x.Success = cleanEnd(x, p.text("Result"))
			h.pending = &x
		}
	case unitIface:
		id := p.hex("InvocationID")
		if h.pending == nil || id == "" {
			return
		}
		x := *h.pending
		x.Invocation = id
		h.pending = nil
		if h.mainExit(id) == nil {
			h.addExit(x)
		}
	}
}

// cleanEnd: PID 1's result is success when the end was a clean one by SuccessExitStatus= and the "-" prefix.
func cleanEnd(x cluster.Exit, result string) bool {
	return x.Status == 0 && x.Signal == 0 || result == "success"
}
