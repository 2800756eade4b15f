package agent

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// Sensors watch what is wrong with the machine itself: pressure on memory, disk and processors, a disk that is nearly
// full, a wrong clock. A condition begins after a limit was passed in several looks in a row and ends after being well
// below it for longer, so that a machine at the limit does not open and close.
type Sensors struct {
	Machine string // Its name, for people.
	Dir     string // The data directory: its file system is looked at.
	// Skew is how far this machine's clock is ahead of the servers' (negative: behind); ok is false when nobody could be
	// asked. Nil: the clock is not looked at.
	Skew func(ctx context.Context) (ahead time.Duration, ok bool)
	Root string // For tests: where proc is; empty: /.

	looks  int
	gauges [gauges]gauge
}

// The rhythm of looking.
const (
	senseEvery = 10 * time.Second
	raiseAfter = 3 // Looks above the limit until a condition holds: 30 s.
	clearAfter = 6 // Looks below the lower limit until it ends: 1 min.
	skewEvery  = 3 // The servers are asked for the time in one look of so many.
)

// The limits. Pressure is the share of the last minute in which programs waited (PSI, Documentation/accounting/psi.rst):
// for memory at least one, for the disk all of them. Memory closes the machine, because what comes there makes everything
// else on it fail; the disk and the processors do not: what is promised is bounded already, and they are only slow.
const (
	memoryLimit, memoryClear = 20, 10 // Per cent, "some".
	ioLimit, ioClear         = 40, 20 // Per cent, "full".
	cpuLimit, cpuClear       = 90, 70 // Per cent, "some".
	diskLimit, diskClear     = 95, 92 // Per cent used, and less than diskEnough left.
	diskEnough               = 10 << 30
	clockLimit, clockClear   = 5000, 3000 // Milliseconds.
)

// The gauges, in the order in which their conditions are told.
const (
	onMemory = iota
	onDisk
	onClock
	onIO
	onCPU
	gauges
)

// gauge is one value with its memory.
type gauge struct {
	high, low int
	holds     *cluster.Condition
}

// step takes a new value; known is false when it could not be read, which changes nothing. It tells whether the condition
// began or ended.
func (g *gauge) step(value, limit, clear float64, known bool, begin func() cluster.Condition) (changed bool) {
	if !known {
		return false
	}
	if value >= limit {
		g.high++
	} else {
		g.high = 0
	}
	if value < clear {
		g.low++
	} else {
		g.low = 0
	}
	switch {
	case g.holds == nil && g.high >= raiseAfter:
		c := begin()
		g.holds = &c
		return true
	case g.holds != nil && g.low >= clearAfter:
		g.holds = nil
		return true
	}
	return false
}

// Run looks until ctx ends and tells each change.
func (s *Sensors) Run(ctx context.Context, tell func([]cluster.Condition)) {
	t := time.NewTicker(senseEvery)
	defer t.Stop()
	for {
		if s.look(ctx) {
			tell(s.Conditions())
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Conditions are those that hold.
func (s *Sensors) Conditions() (list []cluster.Condition) {
	for i := range s.gauges {
		if c := s.gauges[i].holds; c != nil {
			list = append(list, *c)
		}
	}
	return list
}

// look reads everything once, and tells whether a condition began or ended.
func (s *Sensors) look(ctx context.Context) bool {
	changed := []bool{
		s.pressure(onMemory, "memory", "some", memoryLimit, memoryClear, cluster.ConditionMemory, true),
		s.pressure(onIO, "io", "full", ioLimit, ioClear, cluster.ConditionIO, false),
		s.pressure(onCPU, "cpu", "some", cpuLimit, cpuClear, cluster.ConditionCPU, false),
		s.disk(),
	}
	if s.Skew != nil && s.looks%skewEvery == 0 {
		changed = append(changed, s.clock(ctx))
	}
	s.looks++
	return slices.Contains(changed, true)
}

func (s *Sensors) pressure(g int, what, line string, limit, low float64, kind string, noNew bool) bool {
	share, known := psi(filepath.Join("/", s.Root, "proc/pressure", what), line)
	word := map[string]string{"memory": "memory", "io": "the disk", "cpu": "processors"}[what]
	return s.gauges[g].step(share, limit, low, known, func() cluster.Condition {
		return cluster.Condition{Kind: kind, NoNew: noNew, Reason: reason.Because(reason.MachinePressure, reason.Args{
			"machine": s.Machine, "what": word, "share": int64(share), "limit": int64(limit),
		})}
	})
}

// psi reads avg60 of a line of a file under /proc/pressure; known is false where the kernel has none.
func psi(path, line string) (share float64, known bool) {
	for _, l := range lines(path) {
		f := strings.Fields(l)
		if len(f) == 0 || f[0] != line {
			continue
		}
		for _, word := range f[1:] {
			if text, ok := strings.CutPrefix(word, "avg60="); ok {
				v, err := strconv.ParseFloat(text, 64)
				return v, err == nil
			}
		}
	}
	return 0, false
}

func (s *Sensors) disk() bool {
	var st syscall.Statfs_t
	if s.Dir == "" || syscall.Statfs(s.Dir, &st) != nil || st.Blocks == 0 {
		return false
	}
	free := int64(st.Bavail) * st.Bsize //nolint:gosec // a file system beyond 8 EiB is none of ours
	return s.full(100-100*float64(st.Bavail)/float64(st.Blocks), free)
}

func (s *Sensors) full(used float64, free int64) bool {
	if free >= diskEnough {
		used = 0
	}
	return s.gauges[onDisk].step(used, diskLimit, diskClear, true, func() cluster.Condition {
		return cluster.Condition{Kind: cluster.ConditionDisk, NoNew: true, Reason: reason.Because(reason.MachineDisk, reason.Args{
			"machine": s.Machine, "dir": s.Dir, "used": int64(used), "free": free, "limit": int64(diskLimit),
		})}
	})
}

func (s *Sensors) clock(ctx context.Context) bool {
	ahead, known := s.Skew(ctx)
	off := ahead.Abs().Milliseconds()
	return s.gauges[onClock].step(float64(off), clockLimit, clockClear, known, func() cluster.Condition {
		return cluster.Condition{Kind: cluster.ConditionClock, NoNew: true, Reason: reason.Because(reason.MachineClock, reason.Args{
			"machine": s.Machine, "skew": off, "limit": int64(clockLimit),
		})}
	})
}

// deafAfter is how long a runtime may be away (it is upgraded, it restarts) before its machine takes nothing new.
const deafAfter = 30 * time.Second

// hear notes whether the runtime answers, and tells the cluster when it has not for long.
func (a *Agent) hear(err error, now time.Time) {
	was := a.deaf
	switch {
	case err == nil:
		a.deafSince, a.deaf = time.Time{}, nil
	case a.deafSince.IsZero() || a.deafSince.After(now):
		a.deafSince = now
	case a.deaf == nil && now.Sub(a.deafSince) >= deafAfter:
		a.deaf = reason.Because(reason.RuntimeDown, reason.Args{"runtime": a.Runtime.Name(), "error": err.Error()})
		if r, ok := errors.AsType[*reason.Reason](err); ok && r.Code == reason.RuntimeDown {
			a.deaf = r
		}
	}
	if (was == nil) != (a.deaf == nil) {
		a.recordOut = a.Record != nil
	}
}

// sense takes over what the sensors say.
func (a *Agent) sense(list []cluster.Condition) {
	a.mu.Lock()
	a.sensed, a.isSensed, a.kicked = list, true, true
	a.mu.Unlock()
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// takeSensed marks the record for writing when the sensors have news.
func (a *Agent) takeSensed() []cluster.Condition {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isSensed {
		a.isSensed, a.recordOut = false, a.Record != nil
	}
	return a.sensed
}
