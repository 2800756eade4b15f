package audit

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

var at = time.Date(2026, 3, 1, 14, 2, 7, 0, time.UTC)

func open(t *testing.T, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func add(t *testing.T, l *Log, n int, at time.Time) {
	t.Helper()
	for i := range n {
		r := wire.AuditRecord{At: at.Add(time.Duration(i) * time.Second), Who: fmt.Sprintf("user%d", i%3), Verb: "applyUnits", Result: wire.AuditDone}
		if i%2 == 1 {
			r.Result, r.Code = wire.AuditRefused, reason.NotAllowed
		}
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, l *Log) wire.AuditState {
	t.Helper()
	s, err := l.Verify()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func logs(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestChain: what is written is found again, over restarts and files, and the chain holds.
func TestChain(t *testing.T) {
	dir, now := t.TempDir(), func() time.Time { return at }
	for i := range 3 {
		l := open(t, dir, Options{FileBytes: 2000, Now: now})
		add(t, l, 20, at.Add(time.Duration(i)*time.Minute))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir, Options{FileBytes: 2000, Now: now})
	if s := verify(t, l); s.Fault != "" || s.Records != 60 || s.First != 1 || s.Last != 60 || len(s.Head) != 64 {
		t.Errorf("%+v", s)
	}
	if n := len(logs(t, dir)); n < 4 {
		t.Errorf("%d files", n)
	}
	for _, c := range []struct {
		q    Query
		want int
	}{
		{Query{}, 60},
		{Query{Limit: 7}, 7},
		{Query{Refused: true}, 30},
		{Query{Who: "user1"}, 21},
		{Query{Since: at.Add(2 * time.Minute)}, 20},
		{Query{Since: at.Add(time.Hour)}, 0},
		{Query{Since: at.Add(time.Minute), Refused: true, Limit: 3}, 3},
	} {
		got, err := l.Read(c.q)
		if err != nil || len(got) != c.want {
			t.Errorf("%+v: %d records, want %d (%v)", c.q, len(got), c.want, err)
		}
		for i := 1; i < len(got); i++ {
			if got[i].Seq <= got[i-1].Seq {
				t.Fatalf("%+v: record %d after %d", c.q, got[i].Seq, got[i-1].Seq)
			}
		}
		if c.want > 0 && c.q.Limit > 0 && got[len(got)-1].Seq != 60 {
			t.Errorf("%+v: the newest is %d", c.q, got[len(got)-1].Seq)
		}
	}
	info, err := os.Stat(logs(t, dir)[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestTampering: every change but the cutting of the end is found, also after a restart.
func TestTampering(t *testing.T) {
	for name, spoil := range map[string]func(lines []string) []string{
		"a word":        func(l []string) []string { l[5] = strings.Replace(l[5], `"user`, `"usex`, 1); return l },
		"a line out":    func(l []string) []string { return append(l[:5], l[6:]...) },
		"the first out": func(l []string) []string { return l[1:] },
		"two swapped":   func(l []string) []string { l[5], l[6] = l[6], l[5]; return l },
		"a line twice":  func(l []string) []string { return append(l[:6], l[5:]...) },
		"noise":         func(l []string) []string { l[5] = "noise"; return l },
		"a file out":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, Options{FileBytes: 2000, Now: func() time.Time { return at }})
			add(t, l, 40, at)
			if s := verify(t, l); s.Fault != "" {
				t.Fatal(s.Fault)
			}
			file := logs(t, dir)[1]
			if spoil == nil {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			} else {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				lines := spoil(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
				if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, Options{})
			if s := verify(t, l); s.Fault == "" {
				t.Errorf("it was not found: %+v", s)
			}
		})
	}
}

// TestCutWhileOpen: as long as the process lives, it knows its last line.
func TestCutWhileOpen(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	add(t, l, 5, at)
	file := logs(t, dir)[0]
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, int64(bytes.LastIndexByte(text[:len(text)-1], '\n')+1)); err != nil {
		t.Fatal(err)
	}
	if s := verify(t, l); s.Fault == "" {
		t.Errorf("%+v", s)
	}
}

// TestTornEnd: a crash in the middle of a line, or one that left zeros, costs that line and nothing else.
func TestTornEnd(t *testing.T) {
	for _, torn := range []string{`{"seq":6,"at`, "\x00\x00\x00\x00", "\x00\x00\n\x00\x00\n"} {
		dir := t.TempDir()
		l := open(t, dir, Options{})
		add(t, l, 5, at)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(logs(t, dir)[0], os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(torn); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		l = open(t, dir, Options{})
		add(t, l, 1, at)
		if s := verify(t, l); s.Fault != "" || s.Records != 6 {
			t.Errorf("%q: %+v", torn, s)
		}
	}
}

// TestBounds: the oldest files go, by size and by age; what stays holds together.
func TestBounds(t *testing.T) {
	dir, now := t.TempDir(), at
	l := open(t, dir, Options{FileBytes: 2000, MaxBytes: 10_000, MaxAge: 24 * time.Hour, Now: func() time.Time { return now }})
	add(t, l, 200, at)
	var total int64
	for _, f := range logs(t, dir) {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	s := verify(t, l)
	if total > 13_000 || s.Fault != "" || s.First < 100 || s.Last != 200 {
		t.Errorf("%d bytes, %+v", total, s)
	}
	now = at.Add(48 * time.Hour)
	add(t, l, 20, now)
	now = now.Add(25 * time.Hour)
	add(t, l, 1, now)
	if s := verify(t, l); s.Fault != "" || s.Since.Before(at.Add(47*time.Hour)) && len(logs(t, dir)) > 4 {
		t.Errorf("%+v in %d files", s, len(logs(t, dir)))
	}
}

// TestAtOnce: many write and read at once.
func TestAtOnce(t *testing.T) {
	l := open(t, t.TempDir(), Options{FileBytes: 4000, Now: func() time.Time { return at }})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := l.Append(wire.AuditRecord{At: at, Who: "x", Result: wire.AuditDone}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			if _, err := l.Read(Query{Limit: 10}); err != nil {
				t.Error(err)
			}
			if s, err := l.Verify(); err != nil || s.Fault != "" {
				t.Errorf("%v, %+v", err, s)
			}
		})
	}
	wg.Wait()
	if s := verify(t, l); s.Fault != "" || s.Records != 400 {
		t.Errorf("%+v", s)
	}
}
