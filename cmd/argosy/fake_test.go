package main

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// fakeDoor is a cluster that answers as the test says. Applied changes are kept; a watch gives script's events, then waits.
type fakeDoor struct {
	mu       sync.Mutex
	units    map[string]cluster.Answer
	texts    map[string]string
	machines []wire.MachineDetail
	events   []wire.Event
	lines    map[string][]cluster.Line
	why      map[string]wire.Why
	applied  []wire.Change
	asked    [][]string // Names of Units calls.
	respond  func(wire.ApplyRequest) (wire.ApplyResponse, error)
	script   func(ctx context.Context, send func(client.Update))
	down     error
}

func (f *fakeDoor) Apply(_ context.Context, req wire.ApplyRequest) (wire.ApplyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = append(f.applied, req.Changes...)
	if f.respond != nil {
		return f.respond(req)
	}
	resp := wire.ApplyResponse{Revision: 7}
	for _, c := range req.Changes {
		resp.Units = append(resp.Units, wire.Applied{Name: c.Name, Revision: 7, Created: true, Changed: true})
	}
	return resp, f.down
}

func (f *fakeDoor) Units(_ context.Context, names ...string) (wire.UnitList, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, slices.Clone(names))
	list := wire.UnitList{Revision: 7}
	for _, n := range sortedNames(f.units) {
		take := len(names) == 0
		for _, want := range names {
			take = take || want == n || unit.MatchGlob(want, n)
		}
		if take {
			list.Units = append(list.Units, f.units[n])
		}
	}
	return list, f.down
}

func (f *fakeDoor) Unit(_ context.Context, name string) (wire.UnitDetail, error) {
	a, ok := f.units[name]
	if !ok {
		return wire.UnitDetail{}, noSuchUnit(name)
	}
	return wire.UnitDetail{Answer: a, Text: f.texts[name], Canonical: "[Service]\n", Hash: strings.Repeat("ab", 16), By: "anna", At: testNow.Add(-time.Minute)}, f.down
}

func (f *fakeDoor) Watch(ctx context.Context, _ int64, _ ...string) (<-chan client.Update, error) {
	out := make(chan client.Update)
	go func() {
		defer close(out)
		if f.script != nil {
			f.script(ctx, func(u client.Update) {
				select {
				case out <- u:
				case <-ctx.Done():
				}
			})
		}
		<-ctx.Done()
	}()
	return out, f.down
}

func (f *fakeDoor) Journal(_ context.Context, name string, q journalQuery, each func(cluster.Line) error) error {
	lines := f.lines[name]
	if q.Lines > 0 {
		lines = lines[max(0, len(lines)-q.Lines):]
	}
	for _, l := range lines {
		if l.At.Before(q.Since) {
			continue
		}
		if err := each(l); err != nil {
			return err
		}
	}
	return f.down
}

func (f *fakeDoor) Why(_ context.Context, name string) (wire.Why, error) { return f.why[name], f.down }

func (f *fakeDoor) Machines(context.Context) (wire.MachineList, error) {
	return wire.MachineList{Machines: f.machines}, f.down
}

func (f *fakeDoor) Events(_ context.Context, q eventQuery, each func(wire.Event) error) error {
	for _, e := range f.events {
		if q.match == nil || q.match(e) {
			if err := each(e); err != nil {
				return err
			}
		}
	}
	return f.down
}

func (f *fakeDoor) Verify(_ context.Context, req wire.VerifyRequest) (wire.VerifyResponse, error) {
	resp := wire.VerifyResponse{OK: true}
	for _, u := range req.Units {
		resp.Units = append(resp.Units, wire.Verified{Name: u.Name, Machine: "m1"})
	}
	return resp, f.down
}

func (f *fakeDoor) Version(context.Context) (wire.VersionInfo, error) {
	return wire.VersionInfo{Version: "1.2.3", Machine: "m1", Leader: "m1"}, f.down
}

var testNow = time.Date(2026, 11, 22, 14, 8, 7, 0, time.UTC)

// buffer is a writer that several goroutines may use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// call is one run of the program against a fake cluster.
type call struct {
	door    *fakeDoor
	dir     string
	env     map[string]string
	tty     bool // Both streams are a terminal of 80 columns.
	program string
	ctx     context.Context

	out, err buffer
}

func (c *call) run(t *testing.T, args ...string) int {
	t.Helper()
	if c.door == nil {
		c.door = &fakeDoor{}
	}
	if c.ctx == nil {
		c.ctx = t.Context()
	}
	if c.dir == "" {
		c.dir = t.TempDir()
	}
	if c.program == "" {
		c.program = "argosy"
	}
	return run(c.ctx, append([]string{c.program}, args...), system{
		stdin: strings.NewReader(""), stdout: &c.out, stderr: &c.err, dir: c.dir,
		env:      func(k string) string { return c.env[k] },
		termSize: func(io.Writer) (int, int, bool) { return 80, 24, c.tty },
		node:     func(context.Context, upConfig) error { return nil },
		dial:     func(string) (door, error) { return c.door, nil },
	})
}

// answered makes an answer of a unit.
func answered(name string, st cluster.State, final bool, r *reason.Reason) cluster.Answer {
	a := cluster.Answer{
		Unit: name, Machine: "m1", MachineID: "0123456789abcdef0123456789abcdef", State: st, Final: final, Reason: r, Revision: 7,
		Desired: cluster.Launched, Since: testNow.Add(-6 * time.Minute), Status: &cluster.Status{Load: "loaded", Active: "active", Sub: "running", MainPID: 42, For: 7},
	}
	if r != nil {
		a.Message, a.Hint = r.Message(), r.Hint()
	}
	return a
}

func told(a cluster.Answer) client.Update {
	return client.Update{WatchEvent: wire.WatchEvent{Revision: a.Revision, Answer: &a}}
}

func crash() *reason.Reason {
	return reason.Because(reason.CrashLoop, reason.Args{"count": 3, "window": int64(9000), "last": "exit 1 after 20ms"})
}
