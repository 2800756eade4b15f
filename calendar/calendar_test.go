package calendar

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "write testdata/systemd.txt anew from systemd-analyze")
	seed   = flag.Uint64("seed", 0, "seed of the differential test; 0: from the clock")
	rounds = flag.Int("rounds", 20, "rounds of the differential test, 40 expressions each")
)

const (
	goldens    = "testdata/systemd.txt"
	iterations = 4
	stamp      = "Mon 2006-01-02 15:04:05 MST"
)

// bases are the times from which the goldens were asked: plain ones, and both sides of changes of the clocks.
var bases = []string{
	"2026-01-01 00:00:00", "2024-02-28 23:59:59", "2026-03-28 23:50:00", "2025-10-25 23:40:00",
	"2025-10-26 01:10:00", "1999-12-31 23:00:00", "2198-06-01 12:00:00", "2011-12-29 09:30:00",
}

// oracle asks systemd-analyze about several expressions at once. An expression that it refuses is missing.
func oracle(t *testing.T, base string, exprs []string) map[string][]string {
	t.Helper()
	cmd := exec.Command("systemd-analyze", append([]string{"calendar", fmt.Sprintf("--iterations=%d", iterations), "--base-time=" + base + " UTC", "--"}, exprs...)...)
	cmd.Env = []string{"TZ=UTC", "LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	if _, refused := errors.AsType[*exec.ExitError](err); err != nil && !refused {
		t.Fatal(err)
	}
	answers := map[string][]string{}
	var cur string
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		key, value, ok := strings.Cut(strings.TrimLeft(sc.Text(), " "), ": ")
		switch {
		case !ok:
			cur = "" // A blank line ends an answer.
		case key == "Original form":
			cur = value
		case key == "Normalized form":
			if cur == "" {
				cur = value // No original form is printed when it is normal.
			}
			answers[cur] = []string{value}
		case (key == "Next elapse" || strings.HasPrefix(key, "Iter")) && value != "never":
			answers[cur] = append(answers[cur], strings.TrimSpace(value))
		}
	}
	return answers
}

// mine answers as the oracle does; nil for a refused expression.
func mine(base, expr string) []string {
	e, err := Parse(expr)
	if err != nil {
		return nil
	}
	at, err := time.Parse("2006-01-02 15:04:05", base)
	if err != nil {
		panic(err)
	}
	out := []string{e.String()}
	for range iterations {
		next, ok := e.Next(at)
		if !ok {
			break
		}
		out = append(out, next.UTC().Format(stamp))
		at = next
	}
	return out
}

func same2(a, b []string) bool { return strings.Join(a, "|") == strings.Join(b, "|") }

// TestGoldens compares with what systemd 252 answered.
func TestGoldens(t *testing.T) {
	if *update {
		writeGoldens(t)
	}
	f, err := os.Open(goldens)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for sc := bufio.NewScanner(f); sc.Scan(); n++ {
		parts := strings.Split(sc.Text(), "|")
		base, expr, want := parts[0], parts[1], parts[2:]
		if want[0] == "refused" {
			want = nil
		}
		if got := mine(base, expr); !same2(got, want) {
			t.Errorf("%q from %s:\n got  %q\n want %q", expr, base, got, want)
		}
	}
	if n < 500 {
		t.Fatalf("only %d goldens", n)
	}
}

func writeGoldens(t *testing.T) {
	var b strings.Builder
	exprs := strings.Split(strings.TrimSpace(handwritten), "\n")
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		exprs = append(exprs, randomExpr(r))
	}
	for _, base := range bases {
		answers := oracle(t, base, exprs)
		for _, e := range exprs {
			a := answers[e]
			if a == nil {
				a = []string{"refused"}
			}
			fmt.Fprintf(&b, "%s|%s|%s\n", base, e, strings.Join(a, "|"))
		}
	}
	if err := os.WriteFile(goldens, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDifferential compares random expressions with systemd-analyze where it is installed.
func TestDifferential(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze here: only the goldens were compared")
	}
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", s)
	r := rand.New(rand.NewPCG(s, 2))
	for range *rounds {
		base := bases[r.IntN(len(bases))]
		if r.IntN(2) == 0 {
			base = time.Unix(r.Int64N(7_000_000_000), 0).UTC().Format("2006-01-02 15:04:05")
		}
		var exprs []string
		for range 40 {
			exprs = append(exprs, randomExpr(r))
		}
		answers := oracle(t, base, exprs)
		for _, e := range exprs {
			if got := mine(base, e); !same2(got, answers[e]) {
				t.Errorf("seed %d: %q from %s:\n got  %q\n want %q", s, e, base, got, answers[e])
			}
		}
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomChain(r *rand.Rand, from, to int) string {
	if r.IntN(3) == 0 {
		return "*"
	}
	var items []string
	for n := pick(r, 1, 1, 1, 2, 3); n > 0; n-- {
		s := fmt.Sprint(from + r.IntN(to-from+1))
		if r.IntN(4) == 0 {
			s += fmt.Sprintf("..%d", from+r.IntN(to-from+2))
		}
		if r.IntN(4) == 0 {
			if !strings.Contains(s, "..") && (to == 23 || to == 59 || to == 28) {
				s += fmt.Sprintf("..%d", to) // See TestRepetitionEndsWithItsField.
			}
			s += fmt.Sprintf("/%d", 1+r.IntN(max(2, (to-from)/3)))
		}
		items = append(items, s)
	}
	return strings.Join(items, ",")
}

func randomExpr(r *rand.Rand) string {
	var parts []string
	if r.IntN(3) == 0 {
		days := pick(r, "Mon", "tue,thu", "Sat..Sun", "Mon..Fri", "Wed,Fri..Sun", "Monday..Tuesday,Thursday", "Sun,")
		parts = append(parts, days)
	}
	if r.IntN(4) != 0 {
		d := randomChain(r, 1, 12) + pick(r, "-", "-", "~") + randomChain(r, 1, 28)
		if r.IntN(3) != 0 {
			d = pick(r, "*", "*", randomChain(r, 2020, 2040), randomChain(r, 0, 99)) + "-" + d
		}
		parts = append(parts, d)
	}
	if r.IntN(4) != 0 {
		c := randomChain(r, 0, 23) + ":" + randomChain(r, 0, 59)
		if r.IntN(2) == 0 {
			c += ":" + randomChain(r, 0, 59)
			c += pick(r, "", "", "", ".5", ".1234567", "/2.25", "..59.5/0.75")
		}
		parts = append(parts, c)
	}
	if r.IntN(3) == 0 {
		parts = append(parts, pick(r, "UTC", "utc", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "Asia/Kolkata", "Nowhere/Here"))
	}
	e := strings.Join(parts, " ")
	if e == "" {
		e = pick(r, "daily", "weekly", "monthly", "yearly", "hourly")
	}
	if r.IntN(10) == 0 { // Break it somewhere.
		i := r.IntN(len(e))
		e = e[:i] + pick(r, "", ",", "..", "-", "~", "/", ":", "x", " ", "*", "9") + e[i+1:]
	}
	return strings.TrimSpace(e)
}

// TestRepetitionEndsWithItsField: a repetition without an end starts anew with each hour. systemd 252 carries what is
// left of it over midnight (from 23:56 it goes on at 00:07); we do what systemd.time(7) says.
func TestRepetitionEndsWithItsField(t *testing.T) {
	got := mine("2024-02-28 23:50:58", "*:0/7:30")
	want := []string{"*-*-* *:00/7:30", "Wed 2024-02-28 23:56:30 UTC", "Thu 2024-02-29 00:00:30 UTC", "Thu 2024-02-29 00:07:30 UTC", "Thu 2024-02-29 00:14:30 UTC"}
	if !same2(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestZoneOfAfterCounts(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Parse("daily")
	if err != nil {
		t.Fatal(err)
	}
	got, ok := e.Next(time.Date(2026, 7, 1, 12, 0, 0, 0, berlin))
	if want := time.Date(2026, 7, 2, 0, 0, 0, 0, berlin); !ok || !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	for _, s := range []string{"", "UTC", " UTC", "25:00", "Fri..Mon", "*-*-* 1:2:3:4", "*-*~29", "1,", "1..", "12:00 Local", "12:00 ../../etc/passwd", strings.Repeat("1,", 3000) + "1:00", strings.Repeat("1,", 250) + "1:00"} {
		if _, err := Parse(s); err == nil || len(err.Error()) < 20 || len(err.Error()) > 2*maxLength {
			t.Errorf("%.60q: %v", s, err)
		}
	}
}

// FuzzParse: what is taken is written so that it reads back the same, and its next times rise and end.
func FuzzParse(f *testing.F) {
	for s := range strings.SplitSeq(strings.TrimSpace(handwritten), "\n") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(e.String())
		if err != nil || again.String() != e.String() {
			t.Fatalf("%q was written as %q, which reads as %q, %v", s, e, again, err)
		}
		at := time.Date(2024, 2, 28, 0, 0, 0, 0, time.UTC)
		for range 3 {
			next, ok := e.Next(at)
			if ok && !next.After(at) {
				t.Fatalf("%q: %v comes after %v", s, next, at)
			}
			if !ok {
				break
			}
			at = next
		}
	})
}

const handwritten = `Sat,Thu,Mon..Wed,Sat..Sun
Mon,Sun 12-*-* 2,1:23
Wed *-1
Wed..Wed,Wed *-1
Wed, 17:48
Wed..Sat,Tue 12-10-15 1:2:3
*-*-7 0:0:0
10-15
monday *-12-* 17:00
Mon,Fri *-*-3,1,2 *:30:45
12,14,13,12:20,10,30
12..14:10,20,30
mon,fri *-1/2-1,3 *:30:45
03-05 08:05:40
08:05:40
05:40
Sat,Sun 12-05 08:05:40
Sat,Sun 08:05:40
2003-03-05 05:40
05:40:23.4200004/3.1700005
2003-02..04-05
2003-03-05 05:40 UTC
2003-03-05
03-05
minutely
hourly
daily
daily UTC
weekly
weekly Pacific/Auckland
monthly
quarterly
semiannually
bi-annually
yearly
annually
YEARLY
*:2/3
*-02~03
Mon *-05~07/1
*-*~1
*-*~28
*-*~29
*-*~1..7
*-*~7/2
*-02-29
Mon *-02-29
2100-02-29
Sun 2199-12-*
*-*-31
*-02-30
*:*:*
*:*:0/0.25
*:*:0..59/0.5
*:0/6:30.5
*-*-* 02:30 Europe/Berlin
*-*-* 2,3:10 Europe/Berlin
*:0/30 Europe/Berlin
hourly Europe/Berlin
*:0/15 Australia/Lord_Howe
daily Pacific/Apia
daily America/Sao_Paulo
12:00 CET
@1700000000
@0
@1.5
2026-13-01
25:00
24:00
23:60
23:59:60
1..0:00
1..1:00
Fri..Mon
Mon..
Mon...Tue
Mon-Fri
Mon-Fri,Sun 10:00
mon-fri 12
*-*-* *:*:* *
12 UTC
UTC
daily  UTC
*-*-*  12:00
70-1-1
69-1-1
1969-1-1
2200-1-1
1970..2199-1-1
*/2-1-1
2020/5-1-1
5:5:5..5
5:5:5..6
5:5:5..7/3
0:0:0,0,0
0/1:0
0/24:0
0/23:0
*~0
1-2-3-4
1~2~3
1~2
*~*
*-*~1..3/2 4:05
Tue,Thu,Sat *-*-* 00/6:00
1:2:3x
é
`
