package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/unit"
)

// world is a host whose processes are numbers and whose clock the test moves.
type world struct {
	now    time.Time
	next   int
	live   map[string]int // Unit to its process.
	did    []string
	stamps map[string]time.Time
	e      *Engine
	refuse map[string]*reason.Reason
}

func newWorld() *world {
	w := &world{now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), live: map[string]int{}, stamps: map[string]time.Time{}, refuse: map[string]*reason.Reason{}}
	w.e = New(w)
	return w
}

func (w *world) Now() time.Time                          { return w.now }
func (w *world) NewInvocation() string                   { w.next++; return fmt.Sprint(w.next) }
func (w *world) Prepare(*service.Service) *reason.Reason { return nil }
func (w *world) Empty(s *service.Service) bool           { return w.live[s.Name] == 0 }

func (w *world) PIDFile(*service.Service) (int, error) { return 0, errors.New("none") }
func (w *world) Guess(*service.Service) (int, bool)    { return 0, false }
func (w *world) Say(*service.Service, string)          {}
func (w *world) Down(*service.Service, bool)           {}
func (w *world) Again(s *service.Service)              { w.e.Again(s.Name) }
func (w *world) Dirty(*Unit)                           {}
func (w *world) Note(*Unit, string)                    {}
func (w *world) Booted() time.Time                     { return w.now.Add(-time.Hour) }

func (w *world) Began() time.Time                                       { return w.now.Add(-time.Minute) }
func (w *world) Stamp(u *Unit) time.Time                                { return w.stamps[u.Name] }
func (w *world) SetStamp(u *Unit, at time.Time)                         { w.stamps[u.Name] = at }
func (w *world) Random(n int64) int64                                   { return n / 2 }
func (w *world) Changed(s *service.Service, from service.State)         { w.e.Changed(s.Name, from) }
func (w *world) SignalRest(*service.Service, int, ...*service.Proc) int { return 0 }

func (w *world) Check(u *Unit) (*reason.Reason, bool) { return w.refuse[u.Name], false }

func (w *world) Identify(*service.Service, int) (service.Proc, bool) { return service.Proc{}, false }

func (w *world) Spawn(s *service.Service, d string, _ unit.Command) (service.Proc, *reason.Reason) {
	w.next++
	w.live[s.Name] = w.next
	w.did = append(w.did, "+"+strings.TrimSuffix(s.Name, ".service"))
	return service.Proc{PID: w.next, At: w.now}, nil
}

func (w *world) Signal(s *service.Service, _ *service.Proc, sig int) bool {
	if sig == 15 {
		w.did = append(w.did, "-"+strings.TrimSuffix(s.Name, ".service"))
	}
	return w.live[s.Name] != 0
}

// load takes lines "name: directives of [Unit]" for services that run; "oneshot" makes one of Type=oneshot.
func (w *world) load(t *testing.T, lines ...string) {
	t.Helper()
	for _, l := range lines {
		name, deps, _ := strings.Cut(l, ":")
		typ := "simple"
		if rest, ok := strings.CutSuffix(deps, " oneshot"); ok {
			deps, typ = rest, "oneshot"
		}
		text := "[Unit]\n" + strings.ReplaceAll(strings.TrimSpace(deps), " ", "\n") + "\n[Service]\nType=" + typ + "\nExecStart=/bin/x\n"
		w.loadText(t, name+".service", text)
	}
}

func (w *world) loadText(t *testing.T, name, text string) {
	t.Helper()
	u, err := unit.Load(unit.Name(name), []byte(text), nil, unit.Host{})
	if err != nil {
		t.Fatal(err)
	}
	w.e.Load(name, "h", u)
}

func (w *world) end(name string, e service.Ended) {
	pid := w.live[name+".service"]
	delete(w.live, name+".service")
	w.e.Get(name+".service").Service.Ended(pid, e)
	w.e.Get(name + ".service").Service.Emptied()
}

func (w *world) want(t *testing.T, did string) {
	t.Helper()
	if got := strings.Join(w.did, " "); got != did {
		t.Errorf("did %q, want %q", got, did)
	}
	w.did = nil
}

func must(t *testing.T, why *reason.Reason) {
	t.Helper()
	if why != nil {
		t.Fatal(why)
	}
}

func TestOrderOfStartAndStop(t *testing.T) {
	w := newWorld()
	w.load(t, "web:Requires=app.service After=app.service", "app:Requires=db.service After=db.service", "db: oneshot", "other:")
	must(t, w.e.Start("web.service"))
	w.want(t, "+db")
	if b := w.e.Evidence(w.e.Get("web.service")).WaitingFor; !slices.Equal(b, []string{"app.service"}) {
		t.Errorf("web waits for %v", b)
	}
	w.end("db", service.Ended{})
	w.want(t, "+app +web")
	must(t, w.e.Start("other.service"))
	w.did = nil
	must(t, w.e.Stop("app.service"))
	w.want(t, "-web")
	w.end("web", service.Ended{Signal: 15})
	w.want(t, "-app")
	w.end("app", service.Ended{Signal: 15})
	w.want(t, "")
	if !w.e.Get("other.service").Up() {
		t.Error("other was touched")
	}
}

func TestRestartGoesDownAndUpInOrder(t *testing.T) {
	w := newWorld()
	w.load(t, "web:Requires=db.service After=db.service", "db:")
	must(t, w.e.Start("web.service"))
	w.want(t, "+db +web")
	must(t, w.e.Restart("db.service"))
	w.want(t, "-web")
	w.end("web", service.Ended{Signal: 15})
	w.want(t, "-db")
	w.end("db", service.Ended{Signal: 15})
	w.want(t, "+db +web")
}

func TestConflictStopsFirst(t *testing.T) {
	w := newWorld()
	w.load(t, "a:", "b:Conflicts=a.service")
	must(t, w.e.Start("a.service"))
	must(t, w.e.Start("b.service"))
	w.want(t, "+a -a")
	w.end("a", service.Ended{Signal: 15})
	w.want(t, "+b")
}

func TestFailureReachesThoseThatNeedIt(t *testing.T) {
	w := newWorld()
	w.load(t, "c:Requires=b.service After=b.service", "b:BindsTo=a.service After=a.service", "a: oneshot")
	must(t, w.e.Start("c.service"))
	w.end("a", service.Ended{Status: 1})
	w.want(t, "+a")
	for _, n := range []string{"b.service", "c.service"} {
		if r := w.e.Evidence(w.e.Get(n)).Error; r == nil || r.Code != reason.DependencyFailed {
			t.Errorf("%s: %v", n, r)
		}
	}
	if !w.e.Quiet() {
		t.Error("jobs are left")
	}
}

func TestStartWhileStopping(t *testing.T) {
	w := newWorld()
	w.load(t, "a:")
	must(t, w.e.Start("a.service"))
	must(t, w.e.Stop("a.service"))
	must(t, w.e.Start("a.service"))
	w.want(t, "+a -a")
	w.end("a", service.Ended{Signal: 15})
	w.want(t, "+a")
}

func TestConditionHoldsBack(t *testing.T) {
	w := newWorld()
	w.load(t, "a:")
	w.refuse["a.service"] = reason.Because(reason.ConditionFailed, reason.Args{"condition": "ConditionPathExists=/x"})
	must(t, w.e.Start("a.service"))
	w.want(t, "")
	if r := w.e.Evidence(w.e.Get("a.service")).Error; r == nil || r.Code != reason.ConditionFailed {
		t.Errorf("%v", r)
	}
}

// TestTimerNext: when a timer elapses next, by each kind of expression.
func TestTimerNext(t *testing.T) {
	for _, c := range []struct {
		timer string
		stamp time.Duration // Persistent: how long ago.
		want  time.Duration // From the start; negative: none.
	}{
		{"OnActiveSec=10", 0, 10 * time.Second},
		{"OnActiveSec=10\nRandomizedDelaySec=4", 0, 12 * time.Second},
		{"OnBootSec=2h", 0, time.Hour},
		{"OnBootSec=5min", 0, -55 * time.Minute}, // Over already: at once.
		{"OnStartupSec=90", 0, 30 * time.Second},
		{"OnCalendar=*-*-* 12:30:00", 0, 30 * time.Minute},
		{"OnCalendar=*-*-* 12:30:00\nOnActiveSec=1h", 0, 30 * time.Minute},
		{"OnCalendar=*-*-* 11:00:00\nPersistent=yes", 48 * time.Hour, -25 * time.Hour},
		{"OnCalendar=*-*-* 11:00:00\nPersistent=yes", 0, 23 * time.Hour},
	} {
		w := newWorld()
		w.load(t, "x:")
		w.loadText(t, "x.timer", "[Timer]\n"+c.timer+"\n")
		if c.stamp > 0 {
			w.stamps["x.timer"] = w.now.Add(-c.stamp)
		}
		must(t, w.e.Start("x.timer"))
		if got := w.e.Wake().Sub(w.now); got != c.want {
			t.Errorf("%q: %s, want %s", c.timer, got, c.want)
		}
	}
}

func TestTimerRunsAgainAfterItsUnit(t *testing.T) {
	w := newWorld()
	w.load(t, "x: oneshot")
	w.loadText(t, "x.timer", "[Timer]\nOnActiveSec=10\nOnUnitActiveSec=60\n")
	must(t, w.e.Start("x.timer"))
	w.now = w.e.Wake()
	w.e.Tick()
	w.want(t, "+x")
	tm := w.e.Get("x.timer").Timer
	if tm.State != TimerRunning {
		t.Fatalf("state %s", tm.State)
	}
	w.now = w.now.Add(5 * time.Second)
	w.end("x", service.Ended{})
	if tm.State != TimerWaiting || tm.Next.Sub(w.now) != 55*time.Second {
		t.Errorf("%s, in %s", tm.State, tm.Next.Sub(w.now))
	}
	w.now = w.e.Wake()
	w.e.Tick()
	w.end("x", service.Ended{Status: 1}) // A failed run does not end the timer.
	if tm.State != TimerWaiting {
		t.Errorf("after a failure: %s", tm.State)
	}
	must(t, w.e.Stop("x.timer"))
	if tm.State != TimerDead || !w.e.Quiet() {
		t.Errorf("stopped: %s", tm.State)
	}
}

func TestClockJump(t *testing.T) {
	w := newWorld()
	w.load(t, "x: oneshot")
	w.loadText(t, "x.timer", "[Timer]\nOnCalendar=*-*-* 13:00:00\n")
	must(t, w.e.Start("x.timer"))
	w.now = w.now.Add(-24 * time.Hour)
	w.e.ClockJumped()
	if got := w.e.Wake().Sub(w.now); got != time.Hour {
		t.Errorf("after the clock was set back: in %s", got)
	}
}
