// Package audit keeps who did what to the cluster, and who was refused, on the server that took the call: JSON lines in
// bounded, rotated files, each line with the hash of the line before it, so that a line that was changed, taken out or
// put between is found. It is pure file work: what is written is decided by api, and that it can be read on all
// servers at once is api's work too.
//
// What the chain cannot tell, once the process that wrote it has ended, is that lines were cut off at its end or that the
// last one was changed, or that the oldest file was taken away: Verify gives the hash of the last line, which somebody who
// does not trust the server keeps elsewhere.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/wire"
)

// Bounds of what is kept.
const (
	defaultBytes = 1 << 30             // Of all files.
	defaultAge   = 90 * 24 * time.Hour // Of a file's newest record.
	fileBytes    = 8 << 20             // Then a new file is begun.
	maxLine      = 64 << 10
	sweepEvery   = time.Hour
	syncAfter    = time.Second // A line is on the disk this long after it was written, at the latest.
	filePerm     = 0o600
	dirPerm      = 0o700
	prefix       = "audit-"
	suffix       = ".jsonl"
)

// Options of a log. What is zero gets its default.
type Options struct {
	MaxBytes  int64
	MaxAge    time.Duration
	FileBytes int64
	Now       func() time.Time
}

// Log is the audit log of one server. All methods are safe for concurrent use.
type Log struct {
	dir string
	o   Options
	log *slog.Logger

	mu     sync.Mutex
	files  []file // Oldest first; the last one is open for appending.
	out    *os.File
	last   int64  // Number of the newest record.
	head   string // Hash of its line.
	swept  time.Time
	syncer *time.Timer // Nil: all is on the disk.
	closed bool
}

// file is one file of the log.
type file struct {
	path  string
	first int64     // Number of its first record.
	since time.Time // Time of its first record; zero: it has none yet.
	size  int64
}

// Open opens the log in a directory, or begins one. The directory belongs to one process at a time.
func Open(dir string, o Options, log *slog.Logger) (*Log, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultBytes
	}
	if o.MaxAge == 0 {
		o.MaxAge = defaultAge
	}
	if o.FileBytes == 0 {
		o.FileBytes = fileBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{dir: dir, o: o, log: log}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	if err := os.MkdirAll(l.dir, dirPerm); err != nil {
		return err
	}
	if err := l.list(); err != nil {
		return err
	}
	for len(l.files) > 0 {
		newest := &l.files[len(l.files)-1]
		line, err := l.mend(newest)
		if err != nil {
			return err
		}
		if line != nil {
			var r wire.AuditRecord
			_ = json.Unmarshal(line, &r) // mend took a line that is one.
			l.last, l.head = r.Seq, hash(line)
			l.out, err = os.OpenFile(newest.path, os.O_WRONLY|os.O_APPEND, filePerm)
			return err
		}
		// Nothing of it reached the disk: the file before it goes on.
		if err := os.Remove(newest.path); err != nil {
			return err
		}
		l.files = l.files[:len(l.files)-1]
	}
	return l.begin()
}

func (l *Log) list() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), prefix)
		digits, ok2 := strings.CutSuffix(digits, suffix)
		first, err := strconv.ParseInt(digits, 10, 64)
		if !ok || !ok2 || err != nil || !e.Type().IsRegular() {
			continue // Not ours.
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		f := file{path: filepath.Join(l.dir, e.Name()), first: first, size: info.Size()}
		_ = readFile(f.path, func(line []byte) bool {
			var r wire.AuditRecord
			if json.Unmarshal(line, &r) == nil {
				f.since = r.At
			}
			return false
		})
		l.files = append(l.files, f)
	}
	slices.SortFunc(l.files, func(a, b file) int { return int(a.first - b.first) })
	return nil
}

// mend cuts what a crash tore off the end of the newest file, and gives its last line; nil: there is none.
// Only what is no record is cut: a record that was tampered with stays, for Verify to find.
func (l *Log) mend(f *file) ([]byte, error) {
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	keep := text[:bytes.LastIndexByte(text, '\n')+1]
	var line []byte
	for len(keep) > 0 {
		start := bytes.LastIndexByte(keep[:len(keep)-1], '\n') + 1
		var r wire.AuditRecord
		if line = keep[start : len(keep)-1]; json.Unmarshal(line, &r) == nil && r.Seq > 0 {
			break
		}
		keep, line = keep[:start], nil
	}
	if len(keep) < len(text) {
		l.log.Warn("the end of the audit log was torn and is cut off", "file", f.path, "bytes", len(text)-len(keep))
		f.size = int64(len(keep))
		err = os.Truncate(f.path, f.size)
	}
	return line, err
}

func hash(line []byte) string {
	h := sha256.Sum256(line)
	return hex.EncodeToString(h[:])
}

// begin opens a new file for the record after the last one.
func (l *Log) begin() error {
	f := file{path: filepath.Join(l.dir, fmt.Sprintf("%s%020d%s", prefix, l.last+1, suffix)), first: l.last + 1}
	out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return err
	}
	if l.out != nil {
		err = errors.Join(l.out.Sync(), l.out.Close())
	}
	l.out = out
	l.files = append(l.files, f)
	dir, bad := os.Open(l.dir)
	if bad == nil {
		bad = errors.Join(dir.Sync(), dir.Close())
	}
	return errors.Join(err, bad, l.sweep())
}

// sweep removes the oldest files, as far as size and age ask for it; never the one that is written.
func (l *Log) sweep() error {
	now := l.o.Now()
	l.swept = now
	var total int64
	for _, f := range l.files {
		total += f.size
	}
	var err error
	for len(l.files) > 1 {
		next := l.files[1].since // All of the first file is older.
		if total <= l.o.MaxBytes && (next.IsZero() || now.Sub(next) <= l.o.MaxAge) {
			break
		}
		err = errors.Join(err, os.Remove(l.files[0].path))
		total -= l.files[0].size
		l.files = l.files[1:]
	}
	return err
}

// Append numbers a record, ties it to the one before it and writes it. With an error it is not kept; after a full disk the
// torn end is cut off again.
func (l *Log) Append(r wire.AuditRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return os.ErrClosed
	}
	r.Seq, r.Prev = l.last+1, l.head
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if len(line) > maxLine {
		return fmt.Errorf("audit log: a record of %d bytes is larger than %d", len(line), maxLine)
	}
	f := &l.files[len(l.files)-1]
	if f.size >= l.o.FileBytes {
		if err := l.begin(); err != nil {
			return fmt.Errorf("audit log: begin a new file: %w", err)
		}
		f = &l.files[len(l.files)-1]
	}
	if _, err := l.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("audit log: %w", errors.Join(err, l.out.Truncate(f.size)))
	}
	if f.size == 0 {
		f.since = r.At
	}
	f.size += int64(len(line)) + 1
	l.last, l.head = r.Seq, hash(line)
	if l.syncer == nil {
		l.syncer = time.AfterFunc(syncAfter, l.sync)
	}
	if l.o.Now().Sub(l.swept) >= sweepEvery {
		return l.sweep()
	}
	return nil
}

// sync brings what was written to the disk.
func (l *Log) sync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncer = nil
	if l.closed {
		return
	}
	if err := l.out.Sync(); err != nil {
		l.log.Error("the audit log cannot be brought to the disk", "error", err)
	}
}

// Close writes all to the disk and closes it.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.syncer != nil {
		l.syncer.Stop()
	}
	return errors.Join(l.out.Sync(), l.out.Close())
}
