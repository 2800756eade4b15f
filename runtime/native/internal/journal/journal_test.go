package journal

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func newLog(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := Open(dir, func(err error) { t.Errorf("a line is lost: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func texts(t *testing.T, dir string, q Query) string {
	t.Helper()
	lines, err := NewReader(dir, "x.service").Last(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range lines {
		out = append(out, l.Text)
	}
	return strings.Join(out, " ")
}

func TestSelection(t *testing.T) {
	dir := t.TempDir()
	l := newLog(t, dir)
	at := time.Unix(1e9, 0)
	for i, run := range []string{"r1", "r1", "r2", "r2", "r3", "r3"} {
		l.SetRun(run, 100+i)
		l.Append(at.Add(time.Duration(i)*time.Second), "stdout", fmt.Sprint(run, i))
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{}, "r10 r11 r22 r23 r34 r35"},
		{Query{Lines: 2}, "r34 r35"},
		{Query{Invocation: "r2"}, "r22 r23"},
		{Query{Invocation: "previous"}, "r22 r23"},
		{Query{Invocation: "previous", Lines: 1}, "r23"},
		{Query{Since: at.Add(3 * time.Second)}, "r23 r34 r35"},
		{Query{Invocation: "none"}, ""},
	} {
		if got := texts(t, dir, c.q); got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	if got := texts(t, dir+"/no-such", Query{}); got != "" {
		t.Errorf("no journal: %q", got)
	}
}

// TestTornLine: what a killed writer left half written swallows nothing.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	l := newLog(t, dir)
	l.Append(time.Unix(1, 0), "stdout", "whole")
	l.Close()
	f, err := os.OpenFile(fileName(dir, 1), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"t":2,"s":"std`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	newLog(t, dir).Append(time.Unix(3, 0), "stdout", "next")
	if got := texts(t, dir, Query{}); got != "whole next" {
		t.Errorf("%q", got)
	}
}

// TestLinkIsNotFollowed: a link in the place of a log file is not written through.
func TestLinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	victim := t.TempDir() + "/victim"
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, fileName(dir, 1)); err != nil {
		t.Fatal(err)
	}
	failed := 0
	l, err := Open(dir, func(error) { failed++ })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Append(time.Now(), "stdout", "x")
	l.Append(time.Now(), "stdout", "y")
	if raw, err := os.ReadFile(victim); err != nil || string(raw) != "mine" || failed != 1 {
		t.Errorf("victim %q, %v; told %d times", raw, err, failed)
	}
}
