package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"argosy.dev/argosy/wire"
)

// Bounds of what is kept.
const (
	maxFile   = 4 << 20 // Bytes of one file; then a new one is begun.
	maxFiles  = 8       // Older ones are removed.
	maxRecent = 4096    // Events that are also kept in memory.
	maxLine   = 256 << 10
	filePerm  = 0o640
	dirPerm   = 0o750
)

// History is the events on disk. All methods are safe for concurrent use.
type History struct {
	dir   string
	limit int64 // maxFile, smaller in tests.
	log   *slog.Logger

	mu      sync.Mutex
	files   []file // Oldest first; the last one is open for appending.
	out     *os.File
	size    int64
	last    int64        // Number of the newest event; numbers begin with 1.
	recent  []wire.Event // The newest, oldest first.
	changed chan struct{}
	closed  bool
}

// file is one file and the number of its first event.
type file struct {
	path  string
	first int64
}

// Open reads the history in a directory, or begins one. The directory belongs to one process at a time.
func Open(dir string, log *slog.Logger) (*History, error) {
	return open(dir, log, maxFile)
}

func open(dir string, log *slog.Logger, limit int64) (*History, error) {
	if err := os.MkdirAll(dir, dirPerm); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	h := &History{dir: dir, limit: limit, log: log, changed: make(chan struct{})}
	if err := h.list(); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if err := h.load(); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return h, nil
}

const (
	prefix = "events-"
	suffix = ".jsonl"
)

func (h *History) list() error {
	entries, err := os.ReadDir(h.dir)
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
		h.files = append(h.files, file{filepath.Join(h.dir, e.Name()), first})
	}
	slices.SortFunc(h.files, func(a, b file) int { return int(a.first - b.first) })
	return nil
}

// load drops the torn end of the newest file, and takes the newest events to memory.
func (h *History) load() error {
	if len(h.files) == 0 {
		return h.begin()
	}
	newest := h.files[len(h.files)-1]
	size, err := dropTorn(newest.path)
	if err != nil {
		return err
	}
	h.last = newest.first - 1
	for _, f := range h.files[max(0, len(h.files)-2):] {
		err := readFile(f.path, func(e wire.Event) bool {
			h.last = max(h.last, e.Seq)
			h.remember(e)
			return true
		})
		if err != nil {
			return err
		}
	}
	h.out, err = os.OpenFile(newest.path, os.O_WRONLY|os.O_APPEND, filePerm)
	h.size = size
	return err
}

// dropTorn cuts what stands behind the last whole event: a line that a crash tore, also one that the disk
// brought back as zeros.
func dropTorn(path string) (size int64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	keep := text
	for len(keep) > 0 {
		end := bytes.LastIndexByte(keep, '\n')
		keep = keep[:end+1]
		if len(keep) == 0 {
			break
		}
		start := bytes.LastIndexByte(keep[:end], '\n') + 1
		var e wire.Event
		if json.Unmarshal(keep[start:end], &e) == nil && e.Seq > 0 {
			break
		}
		keep = keep[:start]
	}
	if len(keep) == len(text) {
		return int64(len(text)), nil
	}
	return int64(len(keep)), os.Truncate(path, int64(len(keep)))
}

// begin opens a new file for the event after the last one, and removes the oldest.
func (h *History) begin() error {
	f := file{filepath.Join(h.dir, fmt.Sprintf("%s%020d%s", prefix, h.last+1, suffix)), h.last + 1}
	out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, filePerm)
	if err != nil {
		return err
	}
	if h.out != nil {
		err = errors.Join(h.out.Sync(), h.out.Close())
	}
	h.out, h.size = out, 0
	h.files = append(h.files, f)
	for len(h.files) > maxFiles {
		err = errors.Join(err, os.Remove(h.files[0].path))
		h.files = h.files[1:]
	}
	return err
}

func (h *History) remember(e wire.Event) {
	if len(h.recent) >= 2*maxRecent {
		h.recent = slices.Clone(h.recent[len(h.recent)-maxRecent:])
	}
	h.recent = append(h.recent, e)
}

// Append numbers the events and writes them in one write. With an error none of them is kept; after a full
// disk the torn end is cut off again.
func (h *History) Append(events ...wire.Event) error {
	if len(events) == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	var b bytes.Buffer
	for i := range events {
		events[i].Seq = h.last + 1 + int64(i)
		line, err := json.Marshal(events[i])
		if err != nil {
			return fmt.Errorf("history: %w", err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	if _, err := h.out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("history: %w", errors.Join(err, h.out.Truncate(h.size)))
	}
	h.size += int64(b.Len())
	for _, e := range events {
		h.remember(e)
	}
	h.last += int64(len(events))
	close(h.changed)
	h.changed = make(chan struct{})
	if h.size >= h.limit {
		if err := h.begin(); err != nil {
			return fmt.Errorf("history: begin a new file: %w", err)
		}
	}
	return nil
}

// Changed gives a channel that is closed when there is an event with a number greater than seq.
func (h *History) Changed(seq int64) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last > seq {
		done := make(chan struct{})
		close(done)
		return done
	}
	return h.changed
}

// Since lists events with a number greater than seq, oldest first, at most limit; only of one unit if it is named.
// First and last are the numbers of the oldest and the newest event that are kept.
func (h *History) Since(seq int64, unit string, limit int) (events []wire.Event, first, last int64, err error) {
	h.mu.Lock()
	files, last := slices.Clone(h.files), h.last
	first = files[0].first
	recent := h.recent
	h.mu.Unlock()
	if last < first {
		first = 0
	}
	take := func(e wire.Event) bool {
		if e.Seq > seq && e.Seq <= last && (unit == "" || e.Unit == unit) {
			events = append(events, e)
		}
		return len(events) < limit
	}
	if len(recent) > 0 && seq >= recent[0].Seq-1 {
		i, _ := slices.BinarySearchFunc(recent, seq+1, func(e wire.Event, s int64) int { return int(e.Seq - s) })
		for _, e := range recent[i:] {
			if !take(e) {
				break
			}
		}
		return events, first, last, nil
	}
	for i, f := range files {
		if i+1 < len(files) && files[i+1].first <= seq+1 {
			continue // All of it is older.
		}
		if err := readFile(f.path, take); err != nil && !errors.Is(err, os.ErrNotExist) { // Rotated away meanwhile.
			return nil, 0, 0, fmt.Errorf("history: %w", err)
		}
		if len(events) >= limit {
			break
		}
	}
	return events, first, last, nil
}

// Recent lists the last events that match, oldest first, at most limit. It looks at what is in memory only.
func (h *History) Recent(match func(e *wire.Event) bool, limit int) ([]wire.Event, error) {
	h.mu.Lock()
	recent := h.recent
	h.mu.Unlock()
	var out []wire.Event
	for i := len(recent) - 1; i >= 0 && len(out) < limit; i-- {
		if match(&recent[i]) {
			out = append(out, recent[i])
		}
	}
	slices.Reverse(out)
	return out, nil
}

// Close writes all to the disk and closes it.
func (h *History) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	return errors.Join(h.out.Sync(), h.out.Close())
}

// readFile gives the events of one file until f returns false. Lines that cannot be read are left out.
func readFile(path string, f func(wire.Event) bool) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	lines := newLines(in)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e wire.Event
		if json.Unmarshal(line, &e) == nil && e.Seq > 0 && !f(e) {
			return nil
		}
	}
}
