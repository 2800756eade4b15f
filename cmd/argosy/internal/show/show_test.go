package show

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares lines with testdata/NAME.txt.
func golden(t *testing.T, name string, lines []string) {
	t.Helper()
	got := strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./cmd/argosy/internal/show -update writes it):\n%s\nwant:\n%s", path, got, want)
	}
}

func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"\x1b[31mred\x1b[0m", "red"},
		{"\x1b]0;title\x07text", "text"},
		{"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"},
		{"a\x1b[2Jb\x1bcc", "abc"},
		{"back\b\b\bspace\r", "backspace"},
		{"tab\there", "tab    here"},
		{"two\nlines", "two lines"},
		{"turn\u202eright", "turnright"},
		{"c1\u009b31mx", "c131mx"},
		{"broken\xff", "broken\ufffd"},
		{"\x1b[", ""},
		{"\x1b", ""},
		{"ümläut €", "ümläut €"},
	} {
		if got := Clean(c.in); got != c.want {
			t.Errorf("Clean(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m")
	f.Add("\x1b]0;x\x07\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) {
			t.Errorf("Clean(%q) = %q is no UTF-8", s, got)
		}
		for _, r := range got {
			if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e {
				t.Errorf("Clean(%q) = %q keeps %U", s, got, r)
			}
		}
		for w := range 12 {
			if n := Width((Style{}).Cut(got, w+1)); n > w+1 {
				t.Errorf("Cut(%q, %d) is %d wide", got, w+1, n)
			}
		}
	})
}

func TestWidthAndCut(t *testing.T) {
	if w := Width("\x1b[31m日本\x1b[0mé"); w != 5 {
		t.Errorf("width %d", w)
	}
	s := Style{Color: true}
	got := s.Cut(s.Paint(Bad, "a long text"), 6)
	if got != "\x1b[31ma lon…\x1b[0m" {
		t.Errorf("cut %q", got)
	}
	if got := (Style{}).Cut("日本語", 4); Width(got) > 4 {
		t.Errorf("cut %q", got)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
	}{
		{"web.service", "web"},
		{"web@1.service web@2.service", "web@{1,2}"},
		{"web@10.service web@2.service web@1.service web@3.service", "web@{1..3} web@10"},
		{"web@1.service web@2.service web@3.service web@7.service web@9.service", "web@{1..3} web@{7,9}"},
		{"b.timer a.service", "a b.timer"},
		{"web@a.service web@b.service redis.service", "redis web@{a,b}"},
		{"x@1.timer x@2.timer x@3.timer", "x@{1..3}.timer"},
		{"web@01.service web@02.service web@03.service", "web@{01,02,03}"},
	} {
		if got := Names(strings.Fields(c.in)); got != c.want {
			t.Errorf("Names(%s) = %s, want %s", c.in, got, c.want)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Took(1940 * time.Millisecond), "1.9s"},
		{Took(9999 * time.Millisecond), "10.0s"},
		{Took(14 * time.Second), "14s"},
		{Took(125 * time.Second), "2min 5s"},
		{Ago(6 * time.Minute), "6min"},
		{Ago(26 * time.Hour), "1d 2h"},
		{Ago(-time.Second), "0s"},
		{Elapsed(1950 * time.Millisecond), "+1.9s"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	got := Wrap("    one two three four /a/very/long/path/that/is/not/cut", 16, "      ")
	want := []string{"    one two", "      three four", "      /a/very/long/path/that/is/not/cut"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
}

// answer makes the answer of a unit in a state.
func answer(name, machine string, st cluster.State, r *reason.Reason) cluster.Answer {
	a := cluster.Answer{Unit: name + ".service", Machine: machine, State: st, Reason: r, Status: &cluster.Status{}}
	if r != nil {
		a.Message, a.Hint = r.Message(), r.Hint()
	}
	return a
}

func noRoom() *reason.Reason {
	r := reason.Because(reason.NoRoomMemory, reason.Args{"need": 512 << 20, "have": 301 << 20, "where": "m2", "capacity": 4 << 30, "most": 301 << 20})
	for _, m := range []struct {
		name    string
		have    int64
		holders string
	}{{"m2", 301 << 20, "legacy-api.service 2.9G"}, {"m3", 244 << 20, "search@1.service 900M, web 2G"}, {"m1", 118 << 20, "kong@1.service 1G, web 2G"}} {
		r.Candidates = append(r.Candidates, reason.Candidate{Machine: m.name, Because: []*reason.Reason{
			reason.Because(reason.NoRoomMemory, reason.Args{"need": 512 << 20, "have": m.have, "where": m.name, "capacity": 4 << 30, "holders": m.holders}),
		}})
	}
	return r
}

func oom() cluster.Answer {
	a := answer("web@4", "m2", cluster.Failing, reason.Because(reason.OOMKilled, reason.Args{"limit": 384 << 20, "kills": 2, "peak": 384 << 20}))
	a.Status.Tries = 2
	a.Status.LogTail = []string{"0", "listening on :3300", "GET /orders 200", "\x1b[31mcache grows\x1b[0m", "cache grows " + strings.Repeat("more and ", 12) + "more", "GC pressure"}
	return a
}

var began = time.Date(2026, 11, 22, 14, 2, 0, 0, time.UTC)

// ten is the start of the transcript in feedback.md: eight healthy, one out of memory, one without room.
func ten() *Progress {
	names := make([]string, 10)
	for i := range names {
		names[i] = fmt.Sprintf("web@%d.service", i+1)
	}
	p := NewProgress("start web@{1..10}", "healthy", names, began)
	for i := 1; i <= 10; i++ {
		at := began.Add(1900*time.Millisecond + time.Duration(i)*20*time.Millisecond)
		name := fmt.Sprintf("web@%d", i)
		switch i {
		case 4:
			p.See(oom(), Missed, began.Add(7500*time.Millisecond))
		case 10:
			p.See(answer(name, "", cluster.Unplaced, noRoom()), Missed, began.Add(100*time.Millisecond))
		case 7:
			p.See(answer(name, "m1", cluster.Starting, reason.Because(reason.Settling, reason.Args{"for": 2000, "of": 10000})), Pending, at)
		case 8:
			p.See(answer(name, "m3", cluster.Starting, reason.Because(reason.NotTaken, reason.Args{"machine": "m3"})), Pending, at)
		case 9:
		default:
			p.See(answer(name, []string{"m1", "m3"}[i%2], cluster.Healthy, reason.Because(reason.Healthy, nil)), Met, at)
		}
	}
	return p
}

func TestProgressOnATerminal(t *testing.T) {
	p := ten()
	lines := p.Lines(Style{}, 80, 24, began.Add(8*time.Second))
	golden(t, "instances", lines)
	golden(t, "instances-ascii", p.Lines(Style{ASCII: true}, 80, 24, began.Add(8*time.Second)))
}

func TestProgressOfMany(t *testing.T) {
	names := make([]string, 300)
	for i := range names {
		names[i] = fmt.Sprintf("web@%d.service", i+1)
	}
	p := NewProgress("start web@{1..300}", "healthy", names, began)
	for i := 1; i <= 290; i++ {
		name, m := fmt.Sprintf("web@%d", i), fmt.Sprintf("m%d", i%3+1)
		switch {
		case i%50 == 0:
			p.See(answer(name, m, cluster.Failed, reason.Because(reason.ExecNotFound, reason.Args{"path": "/usr/bin/docker"})), Missed, began)
		case i%7 == 0:
			p.See(answer(name, m, cluster.Starting, nil), Pending, began)
		case i == 3:
			p.See(answer(name, "", cluster.Unplaced, noRoom()), Missed, began)
		default:
			p.See(answer(name, m, cluster.Healthy, nil), Met, began)
		}
	}
	golden(t, "machines", p.Lines(Style{}, 80, 24, began.Add(12*time.Second)))
}

func TestAppendOnlyLines(t *testing.T) {
	p := ten()
	lines := p.NewLines(Style{})
	if again := p.NewLines(Style{}); len(again) > 0 {
		t.Errorf("said twice: %q", again)
	}
	// The same answer again is no news, a new try is.
	p.See(oom(), Missed, began.Add(9*time.Second))
	back := answer("web@7", "m1", cluster.BackingOff, reason.Because(reason.BackingOff, reason.Args{"next": 1000, "last": "exit 1"}))
	back.Status.Tries = 1
	p.See(back, Pending, began.Add(9*time.Second))
	lines = append(lines, p.NewLines(Style{})...)
	more := back
	st := *back.Status
	st.Tries = 2
	more.Status = &st
	p.See(more, Pending, began.Add(10*time.Second))
	lines = append(lines, p.NewLines(Style{})...)
	lines = append(lines, p.Heartbeat(Style{}, began.Add(40*time.Second)))
	golden(t, "append", lines)
}

func TestClosingBlock(t *testing.T) {
	ok := make([]cluster.Answer, 8)
	for i := range ok {
		ok[i] = answer(fmt.Sprintf("ok@%d", i+1), "m1", cluster.Healthy, nil)
		ok[i].Status.Warnings = []unit.Warning{{Message: "MemoryMax=100M is not enforced on this machine: no writable cgroup"}}
	}
	c := Close{Good: "healthy", Wanted: 10, Met: 8, Took: 14 * time.Second, Failed: []cluster.Answer{oom(), answer("web@10", "", cluster.Unplaced, noRoom())}, OK: ok}
	golden(t, "closing", c.Lines(Style{}, 80))
	golden(t, "closing-wide", c.Lines(Style{}, 0))
	golden(t, "closing-github", append(c.Annotations(), strings.Split(c.Markdown("start web@{1..10}"), "\n")...))
	for _, l := range c.Lines(Style{Color: true}, 80) {
		if w := Width(l); w > 80 {
			t.Errorf("%d columns: %q", w, l)
		}
	}
}

func TestClosingGroupsWhatFailsAlike(t *testing.T) {
	c := Close{Good: "healthy", Wanted: 500, Took: 3 * time.Second}
	for i := range 500 {
		a := answer(fmt.Sprintf("web@%d", i+1), fmt.Sprintf("m%d", i%5), cluster.Failed, reason.Because(reason.Exit, reason.Args{"status": 1, "uptime": int64(20 + i)}))
		a.Status.LogTail = []string{fmt.Sprintf("Error %d", i)}
		c.Failed = append(c.Failed, a)
	}
	golden(t, "closing-alike", c.Lines(Style{}, 80))
}

func TestClosingOfATimeout(t *testing.T) {
	c := Close{
		Good: "healthy", Wanted: 2, Met: 1, Took: 5 * time.Minute, End: "no verdict about the others within 5min",
		Pending: []cluster.Answer{answer("slow", "m1", cluster.Starting, reason.Because(reason.Starting, reason.Args{"step": "ExecStartPre="}))},
	}
	golden(t, "closing-timeout", c.Lines(Style{}, 80))
}

func TestClosingOfWhatComplained(t *testing.T) {
	c := Close{Good: "healthy", Wanted: 3, Met: 3, Took: time.Second, Words: []Words{
		{Unit: "env@1.service", Lines: []string{"sh: 1: etcdctl: not found"}},
		{Unit: "env@2.service", Lines: []string{"sh: 1: etcdctl: not found"}},
		{Unit: "loud.service", Lines: []string{"\x1b[31mwarning\x1b[0m: 7", strings.Repeat("long ", 30)}, More: 6},
	}}
	golden(t, "closing-words", c.Lines(Style{}, 80))
}

func TestTable(t *testing.T) {
	tab := Table{Header: []string{"UNIT", "STATE", "WHY"}}
	tab.Add("web@1.service", "healthy", "")
	tab.Add("a-rather-long-name@2.service", "no-room", "needs 512M memory, but the roomiest machine (m2) has 301M free")
	golden(t, "table", tab.Lines(Style{}, 80, true))
	for _, l := range tab.Lines(Style{Color: true}, 60, true) {
		if Width(l) > 60 {
			t.Errorf("%d columns: %q", Width(l), l)
		}
	}
}

func TestLiveRedrawsOnlyWhatChanged(t *testing.T) {
	var out strings.Builder
	l := Live{W: &out}
	draw := func(lines ...string) string {
		out.Reset()
		if err := l.Draw(lines, 20, 10); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := draw("one", "two"); got != "\r\x1b[2Kone\r\n\r\x1b[2Ktwo\r\n" {
		t.Errorf("first %q", got)
	}
	if got := draw("one", "three"); got != "\x1b[2A\r\n\r\x1b[2Kthree\r\n" {
		t.Errorf("second %q", got)
	}
	if got := draw("one"); got != "\x1b[2A\r\n\x1b[J" {
		t.Errorf("third %q", got)
	}
	many := make([]string, 30)
	for i := range many {
		many[i] = strings.Repeat("x", 40)
	}
	got := draw(many...)
	if n := strings.Count(got, "\n"); n != 9 {
		t.Errorf("%d lines on a terminal of 10", n)
	}
	for line := range strings.SplitSeq(got, "\r\n") {
		if line = strings.ReplaceAll(line, "\r", ""); Width(line) > 19 {
			t.Errorf("%d columns on a terminal of 20", Width(line))
		}
	}
}
