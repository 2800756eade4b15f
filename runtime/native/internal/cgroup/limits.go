package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/unit"
)

// period is the time over which CPUQuota= is counted, in microseconds; systemd's too.
const period = 100_000

// knob is one file of the group and what to write into it.
type knob struct {
	directive, controller string
	v2, v1                string // File names; v1 empty: v1 cannot do it.
	value2, value1        string
}

// knobs translates the unit's limits (systemd.resource-control(5)).
func knobs(r *unit.ServiceResources) []knob {
	var out []knob
	size := func(directive, controller string, s unit.Size, total func() int64, v2, v1 string) {
		if !s.Set {
			return
		}
		n := s.Value
		if s.Percent > 0 {
			n = share(total(), s.Percent)
		}
		v := strconv.FormatInt(n, 10)
		value1 := v
		if n >= unit.Infinity {
			if v = "max"; controller == memory {
				value1 = "-1"
			} else {
				value1 = "max"
			}
		}
		out = append(out, knob{directive, controller, v2, v1, v, value1})
	}
	size("MemoryMin", memory, r.MemoryMin, totalMemory, "memory.min", "")
	size("MemoryLow", memory, r.MemoryLow, totalMemory, "memory.low", "memory.soft_limit_in_bytes")
	size("MemoryHigh", memory, r.MemoryHigh, totalMemory, "memory.high", "")
	if !r.MemoryMax.Set {
		size("MemoryLimit", memory, r.MemoryLimit, totalMemory, "memory.max", "memory.limit_in_bytes")
	}
	size("MemoryMax", memory, r.MemoryMax, totalMemory, "memory.max", "memory.limit_in_bytes")
	size("MemorySwapMax", memory, r.MemorySwapMax, totalMemory, "memory.swap.max", "")
	size("TasksMax", pids, r.TasksMax, totalTasks, "pids.max", "pids.max")
	if r.CPUQuota > 0 {
		q := int64(period) * int64(r.CPUQuota) / 10000
		out = append(out, knob{"CPUQuota", cpu, "cpu.max", "cpu.cfs_quota_us", fmt.Sprintf("%d %d", q, period), strconv.FormatInt(q, 10)})
	}
	if r.CPUWeight > 0 {
		shares := max(2, r.CPUWeight*1024/100)
		out = append(out, knob{"CPUWeight", cpu, "cpu.weight", "cpu.shares", strconv.FormatInt(r.CPUWeight, 10), strconv.FormatInt(shares, 10)})
	}
	return out
}

// share is so many hundredths of a percent of a total, rounded down, exact and without overflow for 0 to 10000.
func share(total int64, permyriad int) int64 {
	const whole = 10000
	n := int64(permyriad)
	return total/whole*n + total%whole*n/whole
}

// NotEnforced names the limits of a unit that this machine cannot enforce, with why.
func (m *Machine) NotEnforced(r *unit.ServiceResources) map[string]string {
	out := map[string]string{}
	for _, k := range knobs(r) {
		switch {
		case m.v2[k.controller]:
		case m.v1[k.controller] == "":
			out[k.directive] = m.because(k.controller)
		case k.v1 == "":
			out[k.directive] = "cgroup v1 has nothing like it"
		}
	}
	return out
}

func (m *Machine) because(controller string) string {
	if m.Why != "" {
		return "no " + controller + " cgroup to write: " + m.Why
	}
	return "the " + controller + " controller is not given to us"
}

// Limit applies the unit's limits to its group, as far as the machine can.
func (g *Group) Limit(r *unit.ServiceResources) error {
	var errs []error
	for _, k := range knobs(r) {
		switch {
		case g.m.v2[k.controller]:
			errs = append(errs, g.write(g.m.unified, k.directive, k.v2, k.value2))
		case g.m.v1[k.controller] != "" && k.v1 != "":
			errs = append(errs, g.write(g.m.v1[k.controller], k.directive, k.v1, k.value1))
		}
	}
	return errors.Join(errs...)
}

func (g *Group) write(base, directive, file, value string) error {
	if err := os.WriteFile(filepath.Join(base, g.name, file), []byte(value), 0); err != nil {
		return fmt.Errorf("%s=%s: %w", directive, value, err)
	}
	return nil
}

// Usage is what a group used; 0 is unknown.
type Usage struct {
	OOMKills      int
	Peak, Current int64 // Bytes.
	CPUNanos      int64
}

// Usage reads the counters; they are gone with the group.
func (g *Group) Usage() Usage {
	var u Usage
	if g.m.v2[memory] {
		f := filepath.Join(g.m.unified, g.name)
		u.OOMKills = int(keyed(f, "memory.events", "oom_kill"))
		u.Peak, u.Current = number(f, "memory.peak"), number(f, "memory.current")
	} else if base := g.m.v1[memory]; base != "" {
		f := filepath.Join(base, g.name)
		u.OOMKills = int(keyed(f, "memory.oom_control", "oom_kill"))
		u.Peak, u.Current = number(f, "memory.max_usage_in_bytes"), number(f, "memory.usage_in_bytes")
	}
	if g.m.v2[cpu] {
		u.CPUNanos = keyed(filepath.Join(g.m.unified, g.name), "cpu.stat", "usage_usec") * 1000
	} else if base := g.m.v1[cpuacc]; base != "" {
		u.CPUNanos = number(filepath.Join(base, g.name), "cpuacct.usage")
	}
	return u
}

func number(folder, file string) int64 {
	raw, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// keyed reads one "key value" line of a file.
func keyed(folder, file, key string) int64 {
	raw, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			n, _ := strconv.ParseInt(v, 10, 64) // The kernel writes a number.
			return n
		}
	}
	return 0
}

func totalMemory() int64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return int64(s.Totalram) * int64(s.Unit)
}

func totalTasks() int64 { return number("/proc/sys/kernel", "pid_max") }
