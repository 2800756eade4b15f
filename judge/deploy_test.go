package judge

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

func answer(name string, s cluster.State, final bool, r *reason.Reason) cluster.Answer {
	a := cluster.Answer{Unit: name, State: s, Final: final, Reason: r, Revision: 7, Machine: "m1", Status: &cluster.Status{Tries: 2, LogTail: []string{"no config"}}}
	if s == cluster.Unplaced {
		a.Machine, a.Status = "", nil
	}
	return a
}

var (
	fine   = reason.Because(reason.Healthy, nil)
	bad    = reason.Because(reason.Exit, reason.Args{"status": 3, "uptime": 10})
	full   = &reason.Reason{Code: reason.NoRoom, Args: reason.Args{"machines": int64(1)}, Candidates: []reason.Candidate{{Machine: "m2", Because: []*reason.Reason{reason.Because(reason.NoRoomMemory, reason.Args{"need": 512 << 20, "have": 301 << 20, "where": "m2", "capacity": 4 << 30})}}}}
	settle = reason.Because(reason.Settling, reason.Args{"for": 1, "of": 10})
)

func TestVerdicts(t *testing.T) {
	healthy, failedA := answer("a", cluster.Healthy, true, fine), answer("b", cluster.Failed, true, bad)
	noRoomA, open := answer("c", cluster.Unplaced, true, full), answer("d", cluster.Starting, false, settle)
	for _, c := range []struct {
		name    string
		answers []cluster.Answer
		stop    bool
		done    bool
		verdict string
		exit    int
		healthy int
	}{
		{"all healthy", []cluster.Answer{healthy}, false, true, "healthy", 0, 1},
		{"finished is good", []cluster.Answer{answer("a", cluster.FinishedOK, true, reason.Because(reason.Finished, nil))}, false, true, "healthy", 0, 1},
		{"one failed", []cluster.Answer{healthy, failedA}, false, true, "failed", 1, 1},
		{"no room", []cluster.Answer{healthy, noRoomA}, false, true, "no-room", 11, 1},
		{"failed before no room", []cluster.Answer{failedA, noRoomA}, false, true, "failed", 1, 0},
		{"no room before time-out", []cluster.Answer{noRoomA, open}, false, false, "no-room", 11, 0},
		{"time-out", []cluster.Answer{healthy, open}, false, false, "timeout", 124, 1},
		{"interrupted", []cluster.Answer{failedA, open}, true, false, "interrupted", 130, 0},
		{"unhealthy", []cluster.Answer{answer("a", cluster.Unhealthy, true, bad)}, false, true, "failed", 1, 0},
		{"stopped is not what was asked", []cluster.Answer{answer("a", cluster.Stopped, true, reason.Because(reason.ConditionFailed, reason.Args{"condition": "x"}))}, false, true, "failed", 1, 0},
		{"lost waits", []cluster.Answer{answer("a", cluster.Lost, false, bad)}, false, false, "timeout", 124, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var units []string
			for _, a := range c.answers {
				units = append(units, a.Unit)
			}
			d := NewDeploy(units)
			if d.Done() {
				t.Error("done before it began")
			}
			for _, a := range c.answers {
				d.See(a, t0)
			}
			if c.stop {
				d.Interrupt()
			}
			v := d.Verdict(at(14 * time.Second))
			if d.Done() != c.done || v.Verdict != c.verdict || v.Exit != c.exit || v.Healthy != c.healthy || v.Wanted != len(units) || v.DurationMS != 14000 {
				t.Errorf("done %v, %+v; want done %v, %s, exit %d, healthy %d", d.Done(), v, c.done, c.verdict, c.exit, c.healthy)
			}
		})
	}
}

func TestOldAnswersDoNotCount(t *testing.T) {
	d := NewDeploy([]string{"a"})
	d.Expect("a", 8)
	if d.See(answer("a", cluster.Healthy, true, fine), t0) || d.Done() {
		t.Error("an answer about the wish before counts")
	}
	a := answer("a", cluster.Failed, true, bad)
	a.Revision = 8
	if !d.See(a, t0) || !d.Done() || d.See(a, t0) {
		t.Error("the answer about this wish does not count, or is news twice")
	}
	if d.See(answer("x", cluster.Healthy, true, fine), t0) {
		t.Error("a unit that nobody asked for is news")
	}
}

func TestAHealthyUnitThatFallsWhileOthersStart(t *testing.T) {
	d := NewDeploy([]string{"a", "b"})
	d.See(answer("a", cluster.Healthy, true, fine), t0)
	d.See(answer("a", cluster.CrashLooping, true, bad), t0)
	d.See(answer("b", cluster.Healthy, true, fine), t0)
	if v := d.Verdict(t0); v.Exit != 1 || v.Healthy != 1 {
		t.Errorf("%+v", v)
	}
}

func TestStopVerdict(t *testing.T) {
	d := NewStop([]string{"a", "b"})
	d.See(answer("a", cluster.Failed, true, bad), t0) // From before the stop.
	if d.Done() {
		t.Error("a failed unit is not stopped")
	}
	d.See(answer("a", cluster.Stopped, true, reason.Because(reason.StoppedByUser, nil)), t0)
	d.Gone("b", t0)
	if v := d.Verdict(t0); !d.Done() || v.Exit != 0 || v.Verdict != "stopped" {
		t.Errorf("%+v", v)
	}
	start := NewDeploy([]string{"a"})
	start.Gone("a", t0)
	if v := start.Verdict(t0); v.Exit != 1 {
		t.Errorf("a unit that was destroyed while it started: %+v", v)
	}
}

func TestVerdictJSON(t *testing.T) {
	d := NewDeploy([]string{"web@4.service", "web@10.service"})
	d.See(answer("web@4.service", cluster.Failed, true, bad), t0)
	d.See(answer("web@10.service", cluster.Unplaced, true, full), t0)
	b, err := json.Marshal(d.Verdict(t0))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"schema":"argosy/deploy/v1","verdict":"failed","exit":1,"duration_ms":0,"wanted":2,"healthy":0`,
		`"unit":"web@4.service","machine":"m1","state":"failed","reason":"exit","scope":"unit","permanent":true`, `"tries":2`,
		`"message":"exit 3 after 10ms"`, `"evidence":{"status":3,"uptime":10}`, `"log_tail":["no config"]`,
		`"unit":"web@10.service","machine":null,"state":"no-room","reason":"no-room","scope":"cluster"`,
		`"candidates":[{"machine":"m2","free":{"memory":315621376},"rejected":["memory"]}]`, `"needed":{"memory":536870912}`,
		`"suggest":["argosy why web@4.service","argosy journal web@4.service"]`,
	} {
		if !strings.Contains(string(b), part) {
			t.Errorf("no %s in\n%s", part, b)
		}
	}
}
