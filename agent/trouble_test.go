package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/fake"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/unit"
)

func TestTheBrake(t *testing.T) {
	boot := func(t *testing.T, n int) *rig {
		r := newRig(t, func(c *Config) { c.Record = &cluster.Machine{ID: me, Name: "m1"} })
		for _, name := range names("w@%d.service", n) {
			r.start(name, sleeper)
		}
		r.run(11 * time.Second)
		return r
	}
	condition := func(r *rig) (n int) {
		r.view.Peek(func(p *cluster.Picture) { n = len(p.Machines[me].Conditions) })
		return n
	}
	t.Run("placements vanish without a cause", func(t *testing.T) {
		r := boot(t, 10)
		for _, name := range names("w@%d.service", 3) {
			r.unplace(name)
		}
		r.run(time.Minute)
		if n := len(r.runtime.Running()); n != 10 {
			t.Errorf("%d of 10 run", n)
		}
		if condition(r) != 1 {
			t.Error("the machine does not say so")
		}
		for _, name := range names("w@%d.service", 3) {
			r.place(name)
		}
		r.run(time.Minute)
		if condition(r) != 0 || len(r.runtime.Running()) != 10 {
			t.Error("the brake does not come off")
		}
	})
	t.Run("the store is empty", func(t *testing.T) {
		r := boot(t, 10)
		r.store = memory.New()
		r.boot()
		r.run(time.Minute)
		if n := len(r.runtime.Running()); n != 10 {
			t.Errorf("%d of 10 run", n)
		}
	})
	t.Run("a person stops all", func(t *testing.T) {
		r := boot(t, 10)
		for _, name := range names("w@%d.service", 10) {
			r.want(name, "", cluster.Inactive)
		}
		r.run(time.Minute)
		if n := len(r.runtime.Running()); n != 0 {
			t.Errorf("%d of 10 run", n)
		}
	})
	t.Run("a person destroys all while the agent is away", func(t *testing.T) {
		r := boot(t, 10)
		for _, name := range names("w@%d.service", 10) {
			r.destroy(name)
		}
		r.boot()
		r.run(time.Minute)
		if n := len(r.runtime.Running()); n != 0 {
			t.Errorf("%d of 10 run", n)
		}
		pic, err := r.store.Read(r.ctx, cluster.StatusesPrefix)
		if err != nil || len(pic.Entries) != 0 {
			t.Errorf("statuses are left: %v %v", pic.Entries, err)
		}
	})
	t.Run("the leader moves all", func(t *testing.T) {
		r := boot(t, 10)
		for _, name := range names("w@%d.service", 10) {
			r.epoch++
			r.write(r.term.Writer, store.Delete(cluster.PlacementKey(me, name)),
				store.Put(cluster.PlacementKey("other", name), cluster.Placement{Unit: name, Machine: "other", Epoch: r.epoch}))
		}
		r.run(time.Minute)
		if n := len(r.runtime.Running()); n != 0 {
			t.Errorf("%d of 10 run", n)
		}
	})
	t.Run("few", func(t *testing.T) {
		r := boot(t, 10)
		r.unplace("w@1.service")
		r.run(time.Minute)
		if n := len(r.runtime.Running()); n != 9 {
			t.Errorf("%d of 10 run, want 9", n)
		}
	})
}

func TestPortTakenBeforeTheStart(t *testing.T) {
	taken := true
	table := func() Sockets {
		if !taken {
			return Sockets{}
		}
		return Sockets{
			List:    []Socket{{Proto: "tcp", Address: "0.0.0.0", Port: 3300, Inode: 9}},
			Owner:   func(Socket) (int, string) { return 2211, "node" },
			Parents: func(int) []int { return []int{1} },
		}
	}
	r := newRig(t, func(c *Config) { c.Sockets = table })
	r.start("a.service", sleeper+"[X-Argosy]\nPort=3300\n")
	r.run(time.Second)
	st := r.is("a.service", cluster.Failed, reason.PortTaken)
	if !st.Final || st.Reason.Str("holder") != "node" || st.Reason.Int("pid") != 2211 {
		t.Errorf("%+v", st.Reason)
	}
	r.calls("start", "a.service", 0)
	taken = false
	r.start("a.service", "")
	r.run(time.Second)
	r.is("a.service", cluster.Starting, reason.NotReady)
}

func TestPortTakenInTheLog(t *testing.T) {
	table := func() Sockets {
		return Sockets{
			List:  []Socket{{Proto: "tcp", Address: "::", Port: 6379, Inode: 9}},
			Owner: func(Socket) (int, string) { return 77, "redis-server" }, Parents: func(int) []int { return nil },
		}
	}
	r := newRig(t, func(c *Config) { c.Sockets = table })
	r.start("a.service", service("ExecStart=/fake/exit status=1 err=bind_0.0.0.0:6379:_Address_already_in_use"))
	r.run(time.Second)
	st := r.is("a.service", cluster.Failed, reason.PortTaken)
	if st.Reason.Int("port") != 6379 || st.Reason.Str("holder") != "redis-server" || len(st.LogTail) == 0 {
		t.Errorf("%+v, log %v", st.Reason, st.LogTail)
	}
}

func TestPortTakenThatIsNotNamed(t *testing.T) {
	table := func() Sockets {
		return Sockets{
			List:  []Socket{{Proto: "tcp", Address: "::", Port: 18080, Inode: 9}, {Proto: "tcp", Address: "::", Port: 22, Inode: 8}},
			Owner: func(Socket) (int, string) { return 77, "python3" }, Parents: func(int) []int { return nil },
		}
	}
	r := newRig(t, func(c *Config) { c.Sockets = table })
	r.start("a.service", service("ExecStart=/fake/exit 18080 status=1 err=OSError:_[Errno_98]_Address_already_in_use"))
	r.start("b.service", service("ExecStart=/fake/exit 18080 22 status=1 err=OSError:_[Errno_98]_Address_already_in_use"))
	r.run(time.Second)
	if st := r.is("a.service", cluster.Failed, reason.PortTaken); st.Reason.Int("port") != 18080 || st.Reason.Str("holder") != "python3" {
		t.Errorf("%+v", st.Reason)
	}
	if st := r.is("b.service", cluster.Failed, reason.PortTaken); st.Reason.Str("port") != "?" {
		t.Errorf("two could be meant, %s was said", st.Reason.Str("port"))
	}
}

func TestWarningsAreKeptOverARestartOfTheAgent(t *testing.T) {
	r := newRig(t, nil)
	r.runtime.Warn("a.service", unit.Warning{Directive: "MemoryMax", Message: "not enforced here"})
	r.start("a.service", sleeper+"Nonsense=1\n")
	r.run(11 * time.Second)
	want := len(r.status("a.service").Warnings)
	if want != 2 {
		t.Errorf("warnings: %+v", r.status("a.service").Warnings)
	}
	r.boot()
	r.runtime.Crash("a.service", 11)
	r.run(time.Second)
	if n := len(r.status("a.service").Warnings); n != want {
		t.Errorf("%d warnings of %d are left", n, want)
	}
}

func TestEveryUnitHasAnAnswerAtEveryStep(t *testing.T) {
	r := newRig(t, nil)
	texts := []string{sleeper, service("ExecStart=/fake/exit status=1 after=2s", "Restart=always"), service("ExecStart=/fake/missing"), service("ExecStart=/fake/run ready=2s", "Type=notify")}
	for i, text := range texts {
		r.start(fmt.Sprintf("u%d.service", i), text)
	}
	for range 200 {
		r.run(100 * time.Millisecond)
		for i := range texts {
			if st := r.status(fmt.Sprintf("u%d.service", i)); st == nil || st.State == "" || st.Reason == nil {
				t.Fatalf("no answer: %+v", st)
			}
		}
	}
}

func TestLostKicksAreMadeGoodByAPeriodicLook(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", service("ExecStart=/fake/run", "Restart=always", "RestartSec=1s"))
	r.run(11 * time.Second)
	r.runtime.DropKicks(1)
	r.runtime.Crash("a.service", 9)
	r.now = r.now.Add(300 * time.Millisecond)
	if err := r.agent.Pass(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.sync()
	r.is("a.service", cluster.BackingOff, reason.BackingOff)
}

func TestBehaviourTableOfTheFake(t *testing.T) {
	r := newRig(t, nil)
	r.runtime.Behave("a.service", fake.Program{Ends: true, Status: 4, After: time.Second})
	r.start("a.service", sleeper)
	r.run(2 * time.Second)
	if st := r.is("a.service", cluster.Failed, reason.Exit); st.Reason.Int("status") != 4 {
		t.Errorf("%+v", st.Reason)
	}
}

func TestTheSameLastingReasonTwiceIsFinal(t *testing.T) {
	for _, c := range []struct {
		name, text string
		code       reason.Code
		after      time.Duration
	}{
		{"start time", service("ExecStart=/fake/run ready=never", "Type=notify", "TimeoutStartSec=20s", "Restart=always"), reason.StartTimeout, 45 * time.Second},
		{"port taken", service("ExecStart=/fake/exit status=1 after=10ms err=bind_0.0.0.0:80:_Address_already_in_use", "Restart=always", "RestartSec=2s"), reason.PortTaken, 3 * time.Second},
		{"out of memory", service("ExecStart=/fake/oom after=20s", "MemoryMax=64M", "Restart=always"), reason.OOMKilled, 45 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.start("a.service", c.text)
			r.run(c.after)
			if st := r.is("a.service", cluster.Failing, c.code); !st.Final || st.Tries < 2 {
				t.Errorf("%+v", st)
			}
			r.run(5 * time.Second) // The next try is on.
			r.is("a.service", cluster.Failing, c.code)
		})
	}
}

// prober is a Prober whose answers the test gives.
type prober struct {
	targets map[string]Target
	health  map[string]judge.Health
	news    map[string]bool
}

func newProber() *prober {
	return &prober{targets: map[string]Target{}, health: map[string]judge.Health{}, news: map[string]bool{}}
}

func (p *prober) Watch(name string, t *Target) {
	delete(p.targets, name)
	if t != nil {
		p.targets[name] = *t
	}
}

func (p *prober) Result(name string) (judge.Health, bool) {
	t, watched := p.targets[name]
	h := p.health[name]
	h.Invocation = t.Invocation
	return h, watched
}

func (p *prober) News(name string) bool { n := p.news[name]; p.news[name] = false; return n }
func (p *prober) Kick() <-chan struct{} { return nil }
func (p *prober) say(name string, h judge.Health) {
	p.health[name], p.news[name] = h, true
}

func TestHealthIsHeard(t *testing.T) {
	p := newProber()
	r := newRig(t, func(c *Config) { c.Prober = p })
	hear := func(h judge.Health) {
		p.say("a.service", h)
		r.agent.kicked = true // As Forward does.
	}
	r.start("a.service", service("ExecStart=/fake/run say=listening_elsewhere")+"[X-Argosy]\nPort=3300\n")
	r.run(20 * time.Second)
	r.is("a.service", cluster.Starting, reason.NotReady)
	hear(judge.Health{Ready: true, Since: r.now})
	r.run(time.Second)
	r.is("a.service", cluster.Starting, reason.Settling)
	r.run(5 * time.Second)
	r.is("a.service", cluster.Healthy, reason.Healthy)
	hear(judge.Health{Fails: 3, Error: "connection refused; it listens on 127.0.0.1:3301"})
	r.run(0)
	if st := r.is("a.service", cluster.Unhealthy, reason.Unhealthy); !st.Final || len(st.LogTail) != 1 || !strings.Contains(st.Reason.Message(), "127.0.0.1:3301") {
		t.Errorf("%+v", st.Reason)
	}
	hear(judge.Health{Fails: 3, Error: "connection refused; it listens on 127.0.0.1:3302"})
	r.run(10 * time.Second)
	if st := r.is("a.service", cluster.Unhealthy, reason.Unhealthy); len(st.LogTail) != 1 {
		t.Errorf("no lines of an unhealthy run: %+v", st)
	}
	hear(judge.Health{Ready: true, Since: r.now})
	r.run(6 * time.Second)
	if st := r.is("a.service", cluster.Healthy, reason.Healthy); len(st.LogTail) != 0 {
		t.Errorf("%+v", st)
	}
	r.want("a.service", "", cluster.Loaded)
	r.run(time.Second)
	if len(p.targets) != 0 {
		t.Error("a stopped unit is asked on")
	}
}

// A status that was stored without an answer and is no longer true: what is true again looks like the last one that is
// known to be stored, and has to be written nevertheless.
func TestWhatGotNoAnswerIsWrittenOver(t *testing.T) {
	p := newProber()
	r := newRig(t, func(c *Config) { c.Prober = p })
	r.start("a.service", service("ExecStart=/fake/run")+"[X-Argosy]\nPort=3300\n")
	since := r.now
	r.pass()
	p.say("a.service", judge.Health{Ready: true, Since: since})
	r.agent.kicked = true // As Forward does.
	r.run(20 * time.Second)
	r.is("a.service", cluster.Healthy, reason.Healthy)
	r.count(func() memory.Fault { return memory.LostAnswer })
	p.say("a.service", judge.Health{Fails: 3, Error: "connection refused"})
	r.agent.kicked = true
	r.pass()
	if st := r.status("a.service"); r.passErr == nil || st.State != cluster.Unhealthy {
		t.Fatalf("%v, %s: the write was to be done without an answer", r.passErr, st.State)
	}
	r.count(nil)
	p.say("a.service", judge.Health{Ready: true, Since: since})
	r.run(20 * time.Second)
	r.is("a.service", cluster.Healthy, reason.Healthy)
}

// What the brake holds back runs on, and that is what is said of it.
func TestHeldUnitsAreNotCalledStopping(t *testing.T) {
	r := newRig(t, nil)
	for _, name := range names("w@%d.service", 3) {
		r.start(name, sleeper)
	}
	r.run(11 * time.Second)
	for _, name := range names("w@%d.service", 3) {
		r.unplace(name)
	}
	r.run(time.Minute)
	for _, name := range names("w@%d.service", 3) {
		r.is(name, cluster.Healthy, reason.Healthy)
	}
}

// A signal is for the machine where the unit is placed: one that is seen together with its withdrawal comes too late.
func TestKillOfAUnitThatLeftIsNotDone(t *testing.T) {
	r := newRig(t, nil)
	r.start("a.service", service("ExecStart=/fake/run term=5s"))
	r.run(11 * time.Second)
	r.want("a.service", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Kill++; w.Orders.Signal = 10 })
	r.unplace("a.service")
	r.run(20 * time.Second)
	r.calls("kill", "a.service", 0)
	r.calls("stop", "a.service", 1)
}
