package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/unit"
)

// The checks' bounds.
const (
	maxProbes       = 32                     // Probes at a time.
	firstProbe      = 50 * time.Millisecond  // After the run came up.
	eagerProbe      = 200 * time.Millisecond // Between probes until the first good answer.
	eagerFor        = 30 * time.Second       // A unit that takes longer is asked at its interval.
	portStartPeriod = 10 * time.Second       // A declared port without HealthStartPeriod=: time to open it.
)

// Checks is the Prober of a real machine: it asks on time, a bounded number at once, and remembers what was answered.
// Run does the asking.
type Checks struct {
	mu      sync.Mutex
	targets map[string]*asked
	wake    chan struct{}
	kick    chan struct{}
	sockets SocketTable
	log     *slog.Logger
	ask     func(ctx context.Context, t *Target, sockets SocketTable) error // probe, but for tests.
}

var _ Prober = (*Checks)(nil)

// asked is one run that is asked.
type asked struct {
	target  Target
	check   unit.HealthCheck // With the defaults filled in.
	health  judge.Health
	news    bool
	busy    bool
	next    time.Time
	counted time.Time // When the last failure counted.
}

// NewChecks makes a prober that knows the machine's sockets, to say where else a unit listens.
func NewChecks(sockets SocketTable, log *slog.Logger) *Checks {
	if sockets == nil {
		sockets = noSockets
	}
	return &Checks{
		targets: map[string]*asked{}, wake: make(chan struct{}, 1), kick: make(chan struct{}, 1), sockets: sockets, log: log, ask: probe,
	}
}

// timing fills in what a declared port leaves open.
func timing(u *unit.Unit) unit.HealthCheck {
	if c := u.Argosy.HealthCheck; c != nil {
		return *c
	}
	return unit.HealthCheck{
		Interval: unit.DefaultHealthInterval, Timeout: unit.DefaultHealthTimeout, Retries: judge.DefaultRetries, StartPeriod: portStartPeriod,
	}
}

// Watch implements Prober.
func (c *Checks) Watch(name string, t *Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.targets[name]
	if t == nil {
		delete(c.targets, name)
		return
	}
	if was != nil && was.target.Invocation == t.Invocation && was.target.Unit == t.Unit {
		was.target.PID = t.PID
		return
	}
	c.targets[name] = &asked{target: *t, check: timing(t.Unit), health: judge.Health{Invocation: t.Invocation}, next: t.Since.Add(firstProbe)}
	signal(c.wake)
}

// Result implements Prober.
func (c *Checks) Result(name string) (judge.Health, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.targets[name]; t != nil {
		return t.health, true
	}
	return judge.Health{}, false
}

// News implements Prober.
func (c *Checks) News(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[name]
	if t == nil || !t.news {
		return false
	}
	t.news = false
	return true
}

// Kick implements Prober.
func (c *Checks) Kick() <-chan struct{} { return c.kick }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run asks until ctx ends, and waits for the probes that are out.
func (c *Checks) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxProbes)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		due, wait := c.due(time.Now())
		for name, t := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer func() { <-slots }()
				c.probe(ctx, name, t)
			})
		}
		timer.Reset(wait)
	}
}

// due takes the targets whose time has come, and says how long until the next one's.
func (c *Checks) due(now time.Time) (map[string]*asked, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out, wait := map[string]*asked{}, time.Hour
	for name, t := range c.targets {
		switch {
		case t.busy:
		case !t.next.After(now):
			t.busy = true
			out[name] = t
		default:
			wait = min(wait, t.next.Sub(now))
		}
	}
	return out, wait
}

func (c *Checks) probe(ctx context.Context, name string, t *asked) {
	ctx, cancel := context.WithTimeout(ctx, t.check.Timeout)
	defer cancel()
	c.mu.Lock()
	target := t.target
	c.mu.Unlock()
	err := c.ask(ctx, &target, c.sockets)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.busy = false
	if t.record(err, now) {
		t.news = true
		signal(c.kick)
		if c.log != nil {
			c.log.Debug("a check has news", "unit", name, "ready", t.health.Ready, "fails", t.health.Fails, "error", t.health.Error)
		}
	}
	t.next = now.Add(t.pause(now))
	signal(c.wake)
}

// record takes one answer. It tells whether the agent has to hear of it.
func (t *asked) record(err error, now time.Time) (news bool) {
	h := &t.health
	if err == nil {
		news = !h.Ready || h.Fails >= t.check.Retries
		if news {
			h.Since = now
		}
		h.Ready, h.Fails, h.Error = true, 0, ""
		return news
	}
	news = !h.Ready && h.Error != err.Error()
	h.Error = err.Error()
	if !h.Ready && (now.Sub(t.target.Since) < t.check.StartPeriod || now.Sub(latest(t.counted, t.target.Since)) < t.check.Interval) {
		return news // Not up yet: it is asked more often than failures count.
	}
	t.counted = now
	h.Fails++
	if h.Fails == t.check.Retries {
		h.Ready = false
		return true
	}
	return news
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pause is how long until it is asked again: eagerly until its first good answer, so that a start is not slower than
// what starts.
func (t *asked) pause(now time.Time) time.Duration {
	if !t.health.Ready && t.health.Fails < t.check.Retries && now.Sub(t.target.Since) < eagerFor {
		return min(eagerProbe, t.check.Interval)
	}
	return t.check.Interval
}
