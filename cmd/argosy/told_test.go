package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// said are lines of one unit, each so many seconds after the test's present.
func said(unit, stream string, seconds ...int) []cluster.Line {
	var out []cluster.Line
	for _, s := range seconds {
		out = append(out, cluster.Line{At: testNow.Add(time.Duration(s) * time.Second), Unit: unit, Stream: stream, Text: fmt.Sprintf("line %d", s)})
	}
	return out
}

// TestJournalsAreFollowedInOrder: what is there already comes in the order of time over all units, and none of it twice.
func TestJournalsAreFollowedInOrder(t *testing.T) {
	d := &fakeDoor{lines: map[string][]cluster.Line{"a": said("a", "stdout", 1, 4, 5), "b": said("b", "stdout", 2, 3, 6)}}
	var got []string
	units := []cluster.Answer{{Unit: "a"}, {Unit: "b"}, {Unit: "silent"}}
	tell := func(l cluster.Line) error {
		got = append(got, l.Text)
		return nil
	}
	until, err := pastOfAll(t.Context(), d, units, journalQuery{Lines: 2, Follow: true}, tell)
	if err != nil {
		t.Fatal(err)
	}
	d.lines["silent"] = said("silent", "stdout", 7)
	c := &call{}
	p := &journalPrinter{app: &app{system: system{stdout: &c.out, stderr: &c.err}, output: formatText}, live: true}
	if err := followAll(t.Context(), d, units, until, journalQuery{}, p); err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(c.out.String()) {
		got = append(got, strings.Join(strings.Fields(l)[3:], " "))
	}
	if want := "line 3 line 4 line 5 line 6 line 7"; strings.Join(got, " ") != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestWordsOfFinishedUnits: only standard error of units that finished, a bounded part of it, and no failure of the start
// when it cannot be had.
func TestWordsOfFinishedUnits(t *testing.T) {
	d := &fakeDoor{lines: map[string][]cluster.Line{
		"job": append(said("job", "stdout", 1), said("job", "stderr", 2, 3, 4, 5, 6, 7, 8)...), "quiet": said("quiet", "stdout", 1), "up": said("up", "stderr", 1),
	}}
	finished := func(name string) cluster.Answer { return answered(name, cluster.FinishedOK, true, nil) }
	out := outcome{met: []cluster.Answer{finished("job"), finished("quiet"), answered("up", cluster.Healthy, true, nil)}}
	got := lastWords(t.Context(), d, &order{goal: "start"}, out)
	if len(got) != 1 || got[0].Unit != "job" || got[0].More != 2 || strings.Join(got[0].Lines, ",") != "line 4,line 5,line 6,line 7,line 8" {
		t.Errorf("%+v", got)
	}
	if got := lastWords(t.Context(), d, &order{goal: "stop"}, out); got != nil {
		t.Errorf("a stop shows %+v", got)
	}
	d.down = errors.New("gone")
	if got := lastWords(t.Context(), d, &order{goal: "start"}, out); got != nil {
		t.Errorf("a journal that cannot be read shows %+v", got)
	}
}

// TestWordsInTheVerdict: programs get them, too.
func TestWordsInTheVerdict(t *testing.T) {
	script := func(_ context.Context, send func(client.Update)) {
		send(told(answered("job.service", cluster.FinishedOK, true, reason.Because(reason.Finished, nil))))
	}
	dir := t.TempDir()
	write(t, dir, "job.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
	c := &call{door: &fakeDoor{script: script, lines: map[string][]cluster.Line{"job.service": said("job.service", "stderr", 1)}}, dir: dir}
	if code := c.run(t, "start", "job", "-o", "json"); code != exitOK || !strings.Contains(c.out.String(), `"line 1"`) {
		t.Errorf("exit %d\n%s", code, c.out.String())
	}
}

// TestChangesOfOneCall: one call's changes are one line, also when others are between them.
func TestChangesOfOneCall(t *testing.T) {
	wish := func(after time.Duration, name, message, who string) wire.Event {
		return wire.Event{At: testNow.Add(after), Kind: wire.EventWish, Unit: name, Message: message, Who: who}
	}
	got := foldWishes([]wire.Event{
		wish(-time.Minute, "web@9", "start", "anna"), wish(0, "big", "start", "anna"), wish(0, "web@", "submitted", "anna"),
		wish(time.Millisecond, "web@1", "start", "anna"), wish(time.Millisecond, "web@2", "start", "bob"),
	})
	var lines []string
	for _, c := range got {
		lines = append(lines, show.Names(c.units)+" "+c.Message+" "+c.Who)
	}
	if want := "web@2 start bob|big web@1 start anna|web@ submitted anna|web@9 start anna"; strings.Join(lines, "|") != want {
		t.Errorf("folded to %q, want %q", lines, want)
	}
}

// TestErrorsFitTheTerminal: long sentences are wrapped, and elsewhere left whole.
func TestErrorsFitTheTerminal(t *testing.T) {
	err := usagef("a hint that is also rather long for so narrow a window", "a sentence of many words that is longer than the window is wide")
	var b strings.Builder
	tell(&b, show.Style{}, 40, err)
	for l := range strings.Lines(b.String()) {
		if w := show.Width(strings.TrimSuffix(l, "\n")); w > 40 {
			t.Errorf("%d columns: %q", w, l)
		}
	}
	b.Reset()
	if tell(&b, show.Style{}, 0, err); strings.Count(b.String(), "\n") != 2 {
		t.Errorf("without a terminal:\n%s", b.String())
	}
}
