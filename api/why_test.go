package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

var whyNow = time.Date(2026, 3, 1, 14, 8, 0, 0, time.UTC)

func told(a cluster.Answer, r *reason.Reason) cluster.Answer {
	a.Reason = r
	if r != nil {
		a.Message, a.Hint, a.Scope = r.Message(), r.Hint(), r.Scope()
	}
	return a
}

func instance(n int, machine string, state cluster.State, r *reason.Reason) cluster.Answer {
	return told(cluster.Answer{
		Unit: fmt.Sprintf("web@%d.service", n), Desired: cluster.Launched, State: state, Machine: machine, MachineID: machine,
		Since: whyNow.Add(-6 * time.Minute), Status: &cluster.Status{Tries: 4},
	}, r)
}

func event(seq int64, ago time.Duration, kind wire.EventKind, name, message string, from, to cluster.State) wire.Event {
	return wire.Event{Seq: seq, At: whyNow.Add(-ago), Kind: kind, Unit: name, Message: message, From: from, State: to}
}

// cases are the explanations that are drawn in testdata/why.txt.
func whyCases() map[string]whyInput {
	healthy := reason.Because(reason.Healthy, nil)
	missing := reason.Because(reason.ExecNotFound, reason.Args{"path": "/usr/bin/docker"})
	loop := reason.Because(reason.CrashLoop, reason.Args{"count": 3, "window": 9000, "last": "exit 1 after 2s"})
	room := reason.Because(reason.NoRoomMemory, reason.Args{"need": 512 << 20, "have": 301 << 20, "where": "m2", "capacity": 1 << 30, "holders": []string{"kong@1.service 723M"}, "most": 301 << 20})
	story := []wire.Event{
		event(1, 26*time.Hour, wire.EventWish, "web@4.service", "submitted, start", "", ""),
		event(2, 26*time.Hour, wire.EventState, "web@4.service", "running and stable", cluster.Starting, cluster.Healthy),
		event(5, 6*time.Minute, wire.EventState, "web@4.service", missing.Message(), cluster.Healthy, cluster.Failed),
	}
	wishes := []wire.Event{
		story[0], event(3, 7*time.Minute, wire.EventWish, "web@.service", "unit file replaced", "", ""),
		event(4, 8*time.Minute, wire.EventWish, "other.service", "restart", "", ""),
		event(6, time.Minute, wire.EventWish, "late.service", "start", "", ""),
	}
	wishes[0].Who, wishes[1].Who, wishes[2].Who = "anna", "bob", "carl"
	return map[string]whyInput{
		"10 preempted": {
			answer:     told(cluster.Answer{Unit: "batch.service", Desired: cluster.Launched, State: cluster.Waiting, Since: whyNow.Add(-time.Minute)}, reason.Because(reason.Preempted, reason.Args{"by": "web@1.service", "priority": 10})),
			candidates: []reason.Candidate{{Machine: "m1", Because: []*reason.Reason{room}}},
		},
		"1 the machine": {
			answer:     instance(4, "m2", cluster.Failed, missing),
			siblings:   []cluster.Answer{instance(1, "m1", cluster.Healthy, healthy), instance(2, "m3", cluster.Healthy, healthy)},
			neighbours: []cluster.Answer{told(cluster.Answer{Unit: "x.service", Desired: cluster.Launched, State: cluster.Failed, Machine: "m2", MachineID: "m2"}, missing)},
			placed:     reason.Because(reason.Placed, reason.Args{"machine": "m2", "candidates": 3}),
			candidates: []reason.Candidate{{Machine: "m4", Because: []*reason.Reason{reason.Because(reason.MachineCordoned, reason.Args{"machine": "m4"}), room}}},
			events:     story, wishes: wishes,
		},
		"2 every instance": {
			answer: instance(1, "m1", cluster.CrashLooping, loop), siblings: []cluster.Answer{instance(2, "m2", cluster.CrashLooping, loop), instance(3, "m1", cluster.CrashLooping, loop)},
			log: []string{"listening", "Error: Cannot find module './config'"},
		},
		"3 no room": {
			answer: told(cluster.Answer{Unit: "web@10.service", Desired: cluster.Launched, State: cluster.Unplaced, Final: true, Since: whyNow.Add(-time.Minute)}, room),
			placed: room, candidates: []reason.Candidate{{Machine: "m1", Because: []*reason.Reason{room}}},
		},
		"4 healthy, was not": {answer: instance(1, "m1", cluster.Healthy, healthy), events: []wire.Event{event(1, time.Hour, wire.EventState, "web@1.service", "", cluster.Starting, cluster.BackingOff)}},
		"5 healthy, always":  {answer: instance(1, "m1", cluster.Healthy, healthy)},
		"6 never started":    {answer: told(cluster.Answer{Unit: "a.service", Desired: cluster.Inactive, State: cluster.Stopped, Final: true}, reason.Because(reason.NotStarted, nil))},
		"7 template":         {answer: told(cluster.Answer{Unit: "web@.service", State: cluster.Stopped, Template: true}, reason.Because(reason.TemplateOnly, reason.Args{"unit": "web@.service"}))},
		"8 waiting":          {answer: told(cluster.Answer{Unit: "a.service", Desired: cluster.Launched, State: cluster.Starting, Since: whyNow}, reason.Because(reason.NotScheduled, reason.Args{"unit": "a.service"}))},
		"9 this one alone":   {answer: instance(4, "m1", cluster.Failed, reason.Because(reason.Exit, reason.Args{"status": 1, "uptime": 100})), siblings: []cluster.Answer{instance(1, "m1", cluster.Healthy, healthy)}},
	}
}

// TestWhy draws what people read. A change of a sentence shows as a change of testdata/why.txt.
func TestWhy(t *testing.T) {
	var out bytes.Buffer
	cases := whyCases()
	for _, name := range slices.SortedFunc(maps.Keys(cases), unit.CompareNames) {
		in := cases[name]
		in.now = whyNow
		drawWhy(&out, name, explain(in))
	}
	golden(t, filepath.Join("testdata", "why.txt"), out.Bytes())
}

func drawWhy(out *bytes.Buffer, name string, w wire.Why) {
	fmt.Fprintf(out, "== %s\n%s\n", name, w.Headline)
	part := func(name string, lines ...string) {
		for _, l := range lines {
			if l != "" {
				fmt.Fprintf(out, "%-9s %s\n", name, l)
			}
			name = ""
		}
	}
	part("cause", w.Cause)
	part("sure", w.Sure)
	part("compare", w.Compare...)
	part("changed", w.Changed...)
	part("placed", w.Placed...)
	for _, e := range w.Timeline {
		part("timeline", fmt.Sprintf("%s %s>%s %s", e.At.Format(time.TimeOnly), e.From, e.State, e.Message))
	}
	part("last log", w.Log...)
	part("try", w.Try...)
}

// TestWhyBeginsWithItsOwnChanges: what was asked of the unit itself is told, however much was asked of others since.
func TestWhyBeginsWithItsOwnChanges(t *testing.T) {
	in := whyCases()["1 the machine"]
	in.now = whyNow
	for i := range 2 * maxChanged {
		in.wishes = append(in.wishes, event(int64(10+i), 6*time.Minute, wire.EventWish, fmt.Sprintf("other%d.service", i), "start", "", ""))
	}
	got := changed(in)
	if all := strings.Join(got, "\n"); len(got) > maxChanged+1 || !strings.Contains(all, "web@4.service: submitted, start") || !strings.Contains(all, "other11.service") {
		t.Errorf("changed: %s", all)
	}
}

// TestWhyLeavesPassedStepsOut: but says the one that it is still at.
func TestWhyLeavesPassedStepsOut(t *testing.T) {
	step := func(code reason.Code) wire.Event {
		e := event(1, time.Minute, wire.EventState, "a.service", "", "", cluster.Starting)
		e.Reason = &reason.Reason{Code: code}
		return e
	}
	passed := []wire.Event{step(reason.NotScheduled), step(reason.NotTaken), step(reason.Loading)}
	if got := withoutSteps(append(passed, step(reason.Starting))); len(got) != 1 || got[0].Reason.Code != reason.Starting {
		t.Errorf("passed steps are told: %+v", got)
	}
	if got := withoutSteps(passed); len(got) != 1 || got[0].Reason.Code != reason.Loading {
		t.Errorf("where it is now is not told: %+v", got)
	}
}

// TestWhyIsBounded: ten thousand of everything make no endless answer.
func TestWhyIsBounded(t *testing.T) {
	in := whyCases()["1 the machine"]
	in.now = whyNow
	for i := range 10000 {
		in.siblings = append(in.siblings, instance(i+10, fmt.Sprintf("m%d", i), cluster.Healthy, nil))
		in.candidates = append(in.candidates, in.candidates[0])
		in.events = append(in.events, in.events[2])
		in.wishes = append(in.wishes, in.wishes[1])
		in.log = append(in.log, "line")
	}
	b, err := json.Marshal(explain(in))
	if err != nil || len(b) > 32<<10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
