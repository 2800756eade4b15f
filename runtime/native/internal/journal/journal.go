// Package journal keeps the lines of units in files: per unit a folder of numbered files, rotated and bounded,
// the run before kept. The init process writes them, whoever may read the folder reads them without it.
// It knows nothing of processes but the pipes that their lines come from.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
)

// The bounds of one unit's journal.
const (
	maxFile  = 2 << 20   // Bytes of one file.
	maxFiles = 4         // Files of one unit.
	runFile  = 128 << 10 // A new run begins a new file when the present one is larger: so the run before survives a flood.
	maxLine  = 48 << 10  // Longer lines are split.
)

// entry is one line as it lies in a file; short names, for there are many.
type entry struct {
	At         int64  `json:"t"` // Unix nanoseconds.
	Stream     string `json:"s"`
	PID        int    `json:"p,omitempty"`
	Invocation string `json:"i,omitempty"`
	Text       string `json:"m"`
}

func (e *entry) line(unit string) cluster.Line {
	return cluster.Line{At: time.Unix(0, e.At).UTC(), Unit: unit, Stream: e.Stream, PID: e.PID, Invocation: e.Invocation, Text: e.Text}
}

// Log is the journal of one unit, for its one writer.
type Log struct {
	mu   sync.Mutex
	dir  string
	file *os.File
	size int64
	seqs []int // Numbers of the files, oldest first; the last one is open.
	// The present run, and the file in which the run before it ended; that file goes last.
	run     string
	pid     int
	prevSeq int
	failed  error // The last write error, told once until a write works again.
	onError func(error)
}

// Open opens the journal of a unit in dir, which is made with mode 0700.
// onError hears of a disk that takes no more lines, once.
func Open(dir string, onError func(error)) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	seqs, err := numbers(dir)
	if err != nil {
		return nil, err
	}
	return &Log{dir: dir, seqs: seqs, onError: onError}, nil
}

// numbers lists the files of a journal, oldest first.
func numbers(dir string) ([]int, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, n := range names {
		if base, ok := strings.CutSuffix(n.Name(), ".log"); ok {
			if i, err := strconv.Atoi(base); err == nil && i > 0 {
				out = append(out, i)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func fileName(dir string, seq int) string { return filepath.Join(dir, fmt.Sprintf("%08d.log", seq)) }

// SetRun names the run and the process that following lines belong to.
func (l *Log) SetRun(invocation string, pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pid = pid
	if invocation == l.run {
		return
	}
	if l.run != "" && len(l.seqs) > 0 {
		l.prevSeq = l.seqs[len(l.seqs)-1]
	}
	l.run = invocation
	if l.size > runFile {
		l.rotate()
	}
}

// Append writes a line of the present run.
func (l *Log) Append(at time.Time, stream, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pid := l.pid
	if stream == "argosy" {
		pid = 0
	}
	raw, err := json.Marshal(&entry{At: at.UnixNano(), Stream: stream, PID: pid, Invocation: l.run, Text: strings.ToValidUTF8(text, "\uFFFD")})
	if err == nil {
		err = l.write(append(raw, '\n'))
	}
	if err != nil && l.failed == nil {
		l.onError(err)
	}
	l.failed = err
}

func (l *Log) write(raw []byte) error {
	if l.file == nil || l.size+int64(len(raw)) > maxFile {
		l.rotateIfFull(len(raw))
		if err := l.open(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(raw)
	l.size += int64(n)
	if err != nil && n > 0 {
		// A torn line would swallow the next one.
		if e := l.file.Truncate(l.size - int64(n)); e == nil {
			l.size -= int64(n)
		}
	}
	return err
}

func (l *Log) rotateIfFull(n int) {
	if l.file != nil && l.size+int64(n) > maxFile {
		l.rotate()
	}
}

// rotate closes the present file; the next line begins another one.
func (l *Log) rotate() {
	if l.file != nil {
		_ = l.file.Close() // Lines were written one by one: there is nothing to lose.
		l.file = nil
	}
	last := 0
	if n := len(l.seqs); n > 0 {
		last = l.seqs[n-1]
	}
	l.seqs = append(l.seqs, last+1)
	l.size = 0
	for len(l.seqs) > maxFiles {
		victim := 0
		if l.seqs[0] == l.prevSeq {
			victim = 1 // The end of the run before stays.
		}
		_ = os.Remove(fileName(l.dir, l.seqs[victim]))
		l.seqs = slices.Delete(l.seqs, victim, victim+1)
	}
}

func (l *Log) open() error {
	if l.file != nil {
		return nil
	}
	if len(l.seqs) == 0 {
		l.seqs = []int{1}
	}
	f, err := os.OpenFile(fileName(l.dir, l.seqs[len(l.seqs)-1]), os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	if err := l.mend(); err != nil {
		return err
	}
	if l.size >= maxFile {
		l.rotate()
		return l.open()
	}
	return nil
}

// mend ends a line that a killed writer left half written.
func (l *Log) mend() error {
	if l.size == 0 {
		return nil
	}
	r, err := os.Open(l.file.Name())
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	last := make([]byte, 1)
	if _, err := r.ReadAt(last, l.size-1); err != nil || last[0] == '\n' {
		return err
	}
	n, err := l.file.Write([]byte{'\n'})
	l.size += int64(n)
	return err
}

// Close closes the file.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}
