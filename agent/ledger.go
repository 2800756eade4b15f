package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"

	"argosy.dev/argosy/cluster"
)

// Intent is a start or restart that is about to be handed to the runtime: which order, and the run that was there before
// it. An agent that finds it after the death of the one before knows from the run whether it was carried out: another run
// has begun since, by the order or after it, and the order is done; the same run is there still, and it is not.
type Intent struct {
	Start      int64  `json:"start"`
	Restart    int64  `json:"restart"`
	For        int64  `json:"for"` // Revision of the wish.
	Invocation string `json:"invocation,omitempty"`
}

// Ledger keeps the last Intent of each unit over the agent's death. The status in the store comes too late for that: it is
// written when the order is done, and may be lost.
type Ledger interface {
	// Read gives the last intents, by unit.
	Read() (map[string]Intent, error)
	// Note keeps an intent, or forgets that of a unit that is gone (nil).
	Note(unit string, i *Intent) error
}

// maxLedger is the size in bytes above which the file is written anew with the last word on each unit.
const maxLedger = 1 << 20

// fileLedger appends a line for each intent. It is not forced to the disk: when the machine itself dies, so do the runs.
type fileLedger struct {
	path string
	last map[string]Intent
	size int64
}

type ledgerLine struct {
	Unit   string  `json:"unit"`
	Intent *Intent `json:"intent"`
}

// FileLedger keeps intents in a file. The directory has to exist.
func FileLedger(path string) Ledger { return &fileLedger{path: path, last: map[string]Intent{}} }

// Read leaves out lines that cannot be read: half a line is what a machine that lost its power leaves.
func (l *fileLedger) Read() (map[string]Intent, error) {
	text, err := os.ReadFile(l.path) // Little above maxLedger: see Note.
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the orders under way: %w", err)
	}
	clear(l.last)
	for row := range bytes.Lines(text) {
		var line ledgerLine
		if json.Unmarshal(row, &line) == nil {
			l.take(line)
		}
	}
	return l.last, l.compact()
}

func (l *fileLedger) take(line ledgerLine) {
	if line.Intent == nil {
		delete(l.last, line.Unit)
	} else {
		l.last[line.Unit] = *line.Intent
	}
}

func (l *fileLedger) Note(unit string, i *Intent) error {
	line := ledgerLine{unit, i}
	l.take(line)
	if l.size > maxLedger {
		return l.compact()
	}
	return l.put(line, os.O_APPEND)
}

func (l *fileLedger) put(line ledgerLine, how int) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, how|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("note an order: %w", err)
	}
	n, err := f.Write(append(b, '\n'))
	l.size += int64(n)
	return errors.Join(err, f.Close())
}

// compact writes the file anew, and puts it in the old one's place.
func (l *fileLedger) compact() error {
	var all []byte
	for unit, i := range l.last { // Order does not matter: each unit once.
		b, err := json.Marshal(ledgerLine{unit, &i})
		if err != nil {
			return err
		}
		all = append(append(all, b...), '\n')
	}
	if err := os.WriteFile(l.path+".new", all, 0o600); err != nil {
		return fmt.Errorf("note the orders under way: %w", err)
	}
	l.size = int64(len(all))
	return os.Rename(l.path+".new", l.path)
}

// intend notes an order before it is carried out. One that cannot be noted is carried out all the same.
func (a *Agent) intend(s *slot) {
	if a.Ledger == nil || s.wanted == nil {
		return
	}
	i := &Intent{Start: s.wanted.Orders.Start, Restart: s.wanted.Orders.Restart, For: s.wanted.Revision}
	if s.evidence != nil {
		i.Invocation = s.evidence.Invocation
	}
	if err := a.Ledger.Note(s.name, i); err != nil {
		a.Log.Warn("an order that this agent may not live to tell of could be carried out again", "unit", s.name, "error", err)
	}
	a.intents[s.name] = *i
}

// forget drops the intent of a unit that has left.
func (a *Agent) forget(name string) {
	if _, noted := a.intents[name]; !noted {
		return
	}
	delete(a.intents, name)
	if err := a.Ledger.Note(name, nil); err != nil {
		a.Log.Warn("cannot forget an order", "unit", name, "error", err)
	}
}

// readLedger takes over what an agent before us was about to do.
func (a *Agent) readLedger() {
	a.intents = map[string]Intent{}
	if a.Ledger == nil {
		return
	}
	last, err := a.Ledger.Read()
	if err != nil {
		a.Log.Warn("cannot read which orders were under way; one may be carried out again", "error", err)
	}
	maps.Copy(a.intents, last)
}

// carried gives the orders that an intent of an agent before us and the run that is there now prove to be done.
func (i Intent) carried(s *slot, want cluster.Orders) (done cluster.Orders, yes bool) {
	if i.For <= s.status.For && s.stored && i.Start <= s.done.Start && i.Restart <= s.done.Restart {
		return done, false // It was told.
	}
	if i.Start > want.Start || i.Restart > want.Restart || s.evidence.Invocation == i.Invocation {
		return done, false // Of another life of the name, or not carried out.
	}
	return cluster.Orders{Start: max(i.Start, s.done.Start), Restart: max(i.Restart, s.done.Restart)}, true
}
