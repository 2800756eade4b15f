package fake

import (
	"strconv"
	"strings"
	"time"

	"argosy.dev/argosy/unit"
)

// Program is how the main process of a unit behaves. It is read from ExecStart=:
//
//	/fake/run                         runs until it is told to stop; so does every path that is not under /fake/
//	/fake/exit status=3 after=2s      ends by itself
//	/fake/signal signal=11 after=1s   is ended by a signal that nobody sent
//	/fake/oom after=2s                is killed by the kernel at its memory limit
//	/fake/missing, /fake/denied       is not there; may not be executed
//
// with any of: say=TEXT (a line on stdout at the start), err=TEXT (on stderr), ready=2s and ready=never (Type=notify and
// forking), term=5s and term=never (how long SIGTERM is ignored), fails=2 (only the first so many runs end by themselves).
// In TEXT "_" stands for a space.
type Program struct {
	Missing, Denied bool
	Ends            bool // By itself, After so long, with Status or Signal.
	After           time.Duration
	Status, Signal  int
	OOM             bool
	Ready           time.Duration
	NeverReady      bool
	Term            time.Duration
	Stubborn        bool // Ignores SIGTERM for ever.
	Fails           int
	Says, Errs      []string
}

// parseProgram reads the behaviour from a command; unknown options are ignored.
func parseProgram(c unit.Command) Program {
	var p Program
	kind, ours := strings.CutPrefix(c.Path, "/fake/")
	if !ours {
		return p
	}
	p.Missing, p.Denied = kind == "missing", kind == "denied"
	switch kind {
	case "exit":
		p.Ends = true
	case "signal":
		p.Ends, p.Signal = true, 11
	case "oom":
		p.Ends, p.OOM, p.Signal = true, true, sigKILL
	}
	for _, word := range c.Argv[min(1, len(c.Argv)):] {
		key, value, _ := strings.Cut(word, "=")
		p.option(key, value)
	}
	return p
}

func (p *Program) option(key, value string) {
	d, _ := time.ParseDuration(value) // Not a span: 0.
	n, _ := strconv.Atoi(value)       // Not a number: 0.
	text := strings.ReplaceAll(value, "_", " ")
	switch key {
	case "after":
		p.After = d
	case "status":
		p.Status = n
	case "signal":
		p.Signal = n
	case "fails":
		p.Fails = n
	case "ready":
		p.Ready, p.NeverReady = d, value == "never"
	case "term":
		p.Term, p.Stubborn = d, value == "never"
	case "say":
		p.Says = append(p.Says, text)
	case "err":
		p.Errs = append(p.Errs, text)
	}
}
