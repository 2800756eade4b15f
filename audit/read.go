package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/wire"
)

// Query says which records are wanted. What is zero does not choose.
type Query struct {
	Since   time.Time // Not older.
	Who     string    // Of this caller: the name, or a part of it, of who called or for whom.
	Refused bool      // Only refusals.
	Limit   int       // At most so many: the newest.
}

func (q Query) takes(r wire.AuditRecord) bool {
	return !r.At.Before(q.Since) && (!q.Refused || r.Result == wire.AuditRefused) &&
		(q.Who == "" || strings.Contains(r.Who, q.Who) || strings.Contains(r.For, q.Who))
}

// Read lists records, oldest first. Lines that are no records are left out: Verify tells of them.
func (l *Log) Read(q Query) ([]wire.AuditRecord, error) {
	l.mu.Lock()
	files := slices.Clone(l.files)
	l.mu.Unlock()
	var out []wire.AuditRecord
	for i, f := range slices.Backward(files) { // The newest file first: it often is enough.
		if i+1 < len(files) && !files[i+1].since.IsZero() && files[i+1].since.Before(q.Since) {
			break // All that is left is older.
		}
		var some []wire.AuditRecord
		err := readFile(f.path, func(line []byte) bool {
			var r wire.AuditRecord
			if json.Unmarshal(line, &r) == nil && r.Seq > 0 && q.takes(r) {
				some = append(some, r)
			}
			return true
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // Rotated away meanwhile.
			return nil, fmt.Errorf("audit log: %w", err)
		}
		out = append(some, out...)
		if q.Limit > 0 && len(out) >= q.Limit {
			return out[len(out)-q.Limit:], nil
		}
	}
	return out, nil
}

// Verify checks every line that is kept against the one before it. A fault of the log is told in the state; the error
// is that the files cannot be read.
func (l *Log) Verify() (wire.AuditState, error) {
	l.mu.Lock()
	files, last, head := slices.Clone(l.files), l.last, l.head
	l.mu.Unlock()
	var s wire.AuditState
	first := true
	for _, f := range files {
		n := 0
		err := readFile(f.path, func(line []byte) bool {
			if s.Last == last && !first {
				return false // Written since.
			}
			n++
			var r wire.AuditRecord
			err := json.Unmarshal(line, &r)
			switch {
			case err != nil:
				s.Fault = "it is no record"
			case first:
				s.First, s.Since = r.Seq, r.At
				if r.Seq != f.first {
					s.Fault = fmt.Sprintf("record %d stands where %d was", r.Seq, f.first)
				}
			case r.Prev != s.Head || r.Seq != s.Last+1:
				s.Fault = fmt.Sprintf("record %d does not follow record %d: a line was changed, taken out or put between", r.Seq, s.Last)
			}
			if s.Fault != "" {
				s.Fault = fmt.Sprintf("%s, line %d: %s", filepath.Base(f.path), n, s.Fault)
				return false
			}
			first = false
			s.Last, s.Head = r.Seq, hash(line)
			s.Records++
			return true
		})
		if err != nil {
			return s, fmt.Errorf("audit log: %w", err)
		}
		if s.Fault != "" {
			return s, nil
		}
	}
	if s.Last != last || s.Head != head {
		s.Fault = fmt.Sprintf("it ends with record %d, and record %d was written last", s.Last, last)
	}
	return s, nil
}

// readFile gives the lines of a file until f returns false. A line without an end is not given.
func readFile(path string, f func(line []byte) bool) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	r := bufio.NewReaderSize(in, maxLine+1)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // Also a line longer than any that is written.
		}
		if !f(line[:len(line)-1]) {
			return nil
		}
	}
}
