package systemd

import (
	"context"
	"os/exec"
	"strconv"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
)

// journalBuffer is how many lines may wait for a slow reader; journald keeps the rest.
const journalBuffer = 256

// readJournal gives a unit's lines: its own output, and PID 1's words about it (stream argosy). journald does not
// keep standard output and standard error apart: both come as stdout.
func readJournal(ctx context.Context, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	if _, err := exec.LookPath("journalctl"); err != nil {
		return nil, reason.Because(reason.Unsupported, reason.Args{"what": "the journal cannot be read: " + err.Error()})
	}
	args := []string{}
	if q.Follow {
		args = append(args, "--follow")
	}
	switch {
	case q.Lines > 0:
		args = append(args, "--lines="+strconv.Itoa(q.Lines))
	case q.Follow:
		args = append(args, "--no-tail") // Otherwise --follow begins with the last ten lines.
	}
	if !q.Since.IsZero() {
		args = append(args, "--since=@"+strconv.FormatInt(q.Since.Unix(), 10))
	}
	args = append(args, "--output-fields=MESSAGE,_PID,_TRANSPORT,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID,INVOCATION_ID")
	own, about := []string{"_SYSTEMD_UNIT=" + name}, []string{"_PID=1", "UNIT=" + name}
	if q.Invocation != "" {
		own = append(own, "_SYSTEMD_INVOCATION_ID="+q.Invocation)
		about = append(about, "INVOCATION_ID="+q.Invocation)
	}
	args = append(append(append(args, own...), "+"), about...)

	out := make(chan cluster.Line, journalBuffer)
	go func() {
		defer close(out)
		_ = journalctl(ctx, args, func(e entry) bool { // What it cannot read ends the stream.
			at := e.at()
			if at.Before(q.Since) {
				return true // --since has whole seconds only.
			}
			select {
			case out <- line(name, e):
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	return out, nil
}

func line(name string, e entry) cluster.Line {
	l := cluster.Line{At: e.at(), Unit: name, Stream: "stdout", Invocation: string(e.OwnInvocation), Text: strings.TrimSuffix(string(e.Message), "\n")}
	l.PID, _ = strconv.Atoi(string(e.PID)) // 0 when it is not known.
	if e.OwnUnit != field(name) {
		l.Stream, l.Invocation = "argosy", string(e.Invocation)
	}
	return l
}
