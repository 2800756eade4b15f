package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
)

// Bounds of one journal request.
const (
	maxJournalLines = 100000
	maxInvocation   = 64
	// maxJournalMachines bounds the machines that one request names; everyMachine stands for all.
	maxJournalMachines = 256
	everyMachine       = "all"
	lineBatch          = 256 // Lines in one write.
	lineTimeFormat     = "Jan 02 15:04:05.000"
)

// Journals reads the lines that any machine keeps; what stands behind a server's API is one.
type Journals interface {
	Journal
	// JournalOn gives the lines of a unit that machines keep, named by their ids; the unit need not be there any more.
	JournalOn(ctx context.Context, machines []string, name string, q runtime.JournalQuery) (<-chan cluster.Line, error)
}

// journal is GET /v1/units/{name}/journal.
func (a *API) journal(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	q, err := journalQuery(r.URL.Query())
	if err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel() // The runtime stops reading when the reader has gone.
	lines, err := a.openJournal(ctx, string(name), r.URL.Query()["machine"], q)
	if err != nil {
		return err
	}
	kind := wants(r, jsonLinesType, plainType, eventStreamType)
	return pumpLines(ctx, newStream(w, contentType(kind)), kind, lines)
}

// openJournal reads where the unit is, or from the machines that are named: those may have lines of a unit that the
// cluster does not know any more.
func (a *API) openJournal(ctx context.Context, name string, machines []string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	if len(machines) == 0 {
		if _, _, there := a.hub.answer(name); !there {
			return nil, reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
		}
		return a.Journal.Journal(ctx, name, q)
	}
	ids, err := a.journalMachines(machines)
	if err != nil {
		return nil, err
	}
	if all, ok := a.Journal.(Journals); ok {
		return all.JournalOn(ctx, ids, name, q)
	}
	if len(ids) != 1 || ids[0] != a.MachineID {
		return nil, reason.Because(reason.NotServer, reason.Args{"machine": cluster.ShortID(a.MachineID)})
	}
	return a.Journal.Journal(ctx, name, q)
}

// journalMachines are the ids of machines that a query names; "all" names every one.
func (a *API) journalMachines(names []string) ([]string, error) {
	if len(names) > maxJournalMachines {
		return nil, tooLarge("machines in one request", len(names), maxJournalMachines)
	}
	var ids []string
	for _, name := range names {
		if name == a.MachineID { // Also before its record is there.
			ids = append(ids, name)
			continue
		}
		if name == everyMachine {
			for _, m := range a.machineList().Machines {
				ids = append(ids, m.ID)
			}
			continue
		}
		m, err := a.machine(name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func contentType(kind string) string {
	if kind == plainType {
		return plainType + "; charset=utf-8"
	}
	return kind
}

func journalQuery(v url.Values) (runtime.JournalQuery, error) {
	n, err := number(v, "lines")
	if err != nil {
		return runtime.JournalQuery{}, err
	}
	if n > maxJournalLines {
		return runtime.JournalQuery{}, tooLarge("lines in one request", int(n), maxJournalLines)
	}
	q := runtime.JournalQuery{Lines: int(n), Invocation: v.Get("invocation")}
	if len(q.Invocation) > maxInvocation {
		return q, tooLarge("bytes of the invocation", len(q.Invocation), maxInvocation)
	}
	if q.Follow, err = boolean(v, "follow"); err != nil {
		return q, err
	}
	if s := v.Get("since"); s != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return q, badRequest(fmt.Sprintf("since=%q is not a time as in RFC 3339", s))
		}
	}
	return q, nil
}

// boolean reads an optional query parameter that is yes or no.
func boolean(v url.Values, key string) (bool, error) {
	switch s := v.Get(key); s {
	case "":
		return v.Has(key), nil
	case "0", "false", "no":
		return false, nil
	case "1", "true", "yes":
		return true, nil
	default:
		return false, badRequest(fmt.Sprintf("%s=%q is neither true nor false", key, s))
	}
}

// pumpLines writes lines as they come: those that are there at once in one write.
func pumpLines(ctx context.Context, out *stream, kind string, lines <-chan cluster.Line) error {
	end := ended(ctx)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	if err := out.flush(); err != nil { // The headers, so that the reader knows that it is connected.
		return err
	}
	for {
		select {
		case <-end:
			return nil
		case <-beat.C:
			if kind == eventStreamType {
				out.comment("alive")
			}
		case l, more := <-lines:
			if !more {
				return nil
			}
			out.journalLine(kind, l)
			for n := 1; n < lineBatch && more; n++ {
				select {
				case l, more = <-lines:
					if more {
						out.journalLine(kind, l)
					}
				default:
					n = lineBatch
				}
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
	}
}

func (s *stream) journalLine(kind string, l cluster.Line) {
	switch kind {
	case eventStreamType:
		s.event("", encode(l))
	case plainType:
		where := l.Machine
		if where != "" {
			where += " "
		}
		s.line(fmt.Appendf(nil, "%s %s%s[%d]: %s", l.At.UTC().Format(lineTimeFormat), where, l.Unit, l.PID, l.Text))
	default:
		s.line(encode(l))
	}
}
