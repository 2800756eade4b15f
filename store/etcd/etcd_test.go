package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/store/storetest"
)

func open(t *testing.T, o etcd.Options) *etcd.Store {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := etcd.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, etcd.Options{Dir: t.TempDir()}) })
}

var ann = store.Writer{Role: store.Person, ID: "ann"}

func put(t *testing.T, s store.Store, key, value string) (int64, error) {
	return s.Write(t.Context(), ann, store.Change{Key: key, Value: []byte(value)})
}

func TestRestartKeepsFactsAndRevision(t *testing.T) {
	dir := t.TempDir()
	s := open(t, etcd.Options{Dir: dir})
	rev, err := put(t, s, "units/a.service", "A")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lead(t.Context(), "m1"); err != nil { // Its lease outlives this process.
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	s = open(t, etcd.Options{Dir: dir})
	t.Logf("a start over kept data took %v", time.Since(begin))
	pic, err := s.Read(t.Context(), "")
	if err != nil || len(pic.Entries) != 1 || pic.Entries[0].Revision != rev || string(pic.Entries[0].Value) != "A" {
		t.Fatalf("after a restart: %+v, %v", pic, err)
	}
	if b := <-s.Watch(t.Context(), "", rev-1); b.Err != nil || b.Revision != rev {
		t.Errorf("a watch over a restart tells %+v", b)
	}
	begin = time.Now()
	if _, err := s.Lead(t.Context(), "m1"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("leading again took %v: it waited for the lease of its own past", took)
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, etcd.Options{Dir: dir})
	_, err := etcd.Open(t.Context(), etcd.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use by another process (pid "+strconv.Itoa(os.Getpid())+")") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second process in one directory: %v", err)
	}
}

func TestBrokenFileIsNamed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, etcd.Options{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db := filepath.Join(dir, "etcd", "member", "snap", "db")
	if err := os.WriteFile(db, bytes.Repeat([]byte("rotten"), 1<<14), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := etcd.Open(t.Context(), etcd.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		_ = s.Close()
		t.Fatal("a broken directory was opened")
	}
	t.Log(err)
	if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "invalid database") {
		t.Errorf("the error does not name the directory: %v", err)
	}
}

// TestFull fills the store to its quota: writes are refused with the numbers, everything else goes on, and when
// the space is needed no more writes are taken again without anybody's help.
func TestFull(t *testing.T) {
	s := open(t, etcd.Options{Dir: t.TempDir(), Quota: 16 << 20})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m1 := store.Writer{Role: store.Machine, ID: "m1"}
	kept := make(chan error, 1)
	keepCtx, letGo := context.WithCancel(ctx)
	go func() { kept <- s.KeepAlive(keepCtx, m1, cluster.AliveKey("m1"), []byte("x"), 5*time.Second) }()
	var err error
	var n int
	for n = 0; err == nil && n < 100; n++ {
		_, err = put(t, s, fmt.Sprintf("units/u@%d.service", n), strings.Repeat("x", 1<<19))
	}
	r, ok := errors.AsType[*reason.Reason](err)
	if !ok || r.Code != reason.StoreFull || r.Int("quota") != 16<<20 || r.Int("size") <= 0 {
		t.Fatalf("after %d writes: %v, want store-full with its numbers", n, err)
	}
	t.Logf("full after %d writes: %v", n, r)
	if err := s.Health(ctx); err == nil || reason.From(err).Code != reason.StoreFull {
		t.Errorf("health of a full store: %v", err)
	}
	pic, err := s.Read(ctx, "")
	if err != nil || len(pic.Entries) != n { // n-1 units and the kept key.
		var keys []string
		for _, e := range pic.Entries {
			keys = append(keys, e.Key)
		}
		t.Fatalf("a full store reads %d entries: %q, %v", len(pic.Entries), keys, err)
	}
	if len(kept) != 0 {
		t.Errorf("the lease was lost: %v", <-kept)
	}
	for i := range n - 1 { // A person destroys units: deletions are taken by a full store.
		if _, err := s.Write(ctx, ann, store.Delete(fmt.Sprintf("units/u@%d.service", i))); err != nil {
			t.Fatalf("a deletion: %v", err)
		}
	}
	for err = s.Health(ctx); err != nil && ctx.Err() == nil; err = s.Health(ctx) {
		<-time.After(20 * time.Millisecond) // Each look kicks the loop that makes space.
	}
	if _, err := put(t, s, "units/a.service", "A"); err != nil {
		t.Fatalf("a write after space was made: %v", err)
	}
	letGo()
	if err := <-kept; err != nil {
		t.Errorf("the keeper: %v", err)
	}
}

// TestNothingListens compares this process's listening sockets before and after a start.
func TestNothingListens(t *testing.T) {
	before := listening(t)
	s := open(t, etcd.Options{Dir: t.TempDir()})
	if err := s.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := listening(t); after != before {
		t.Errorf("%d sockets listened before the start and %d after it", before, after)
	}
}

func listening(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	n := 0
	for _, fd := range fds {
		num, err := strconv.Atoi(fd.Name())
		if err != nil {
			continue
		}
		if v, err := unix.GetsockoptInt(num, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && v == 1 {
			n++
		}
	}
	return n
}

func TestStartIsQuiet(t *testing.T) {
	var out lockedBuffer
	s, err := etcd.Open(t.Context(), etcd.Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, s, "units/a.service", "A"); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(out.String()) {
		// A loaded machine, and a stop in the very second of the start.
		if !strings.Contains(line, "took too long") && !strings.Contains(line, "request cancelled") {
			t.Errorf("a start and a stop say: %s", line)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// BenchmarkStart measures a fresh start until the first write is done, and the memory of this process after it.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := etcd.Open(b.Context(), etcd.Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write(b.Context(), ann, store.Change{Key: "units/a.service", Value: []byte("x")}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(rss(b), "MB-RSS")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkWrite measures one small durable write.
func BenchmarkWrite(b *testing.B) {
	s, err := etcd.Open(b.Context(), etcd.Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	for b.Loop() {
		if _, err := s.Write(b.Context(), ann, store.Change{Key: "units/a.service", Value: []byte("x")}); err != nil {
			b.Fatal(err)
		}
	}
}

func rss(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("no /proc here")
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return float64(resident*int64(os.Getpagesize())) / 1e6
}
