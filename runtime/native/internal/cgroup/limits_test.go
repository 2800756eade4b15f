package cgroup

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"argosy.dev/argosy/unit"
)

// TestKnobs: what each limit is written as, in v2 and in v1, into folders that only look like cgroups.
func TestKnobs(t *testing.T) {
	r := &unit.ServiceResources{
		MemoryMax: unit.Size{Set: true, Value: 64 << 20}, MemoryHigh: unit.Size{Set: true, Value: unit.Infinity},
		TasksMax: unit.Size{Set: true, Value: 10}, CPUQuota: 15000, CPUWeight: 50,
	}
	for name, c := range map[string]struct {
		m    func(dir string) *Machine
		want map[string]string
		not  []string
	}{
		"v2": {
			func(dir string) *Machine {
				return &Machine{unified: dir, v2: map[string]bool{memory: true, cpu: true, pids: true}}
			},
			map[string]string{"memory.max": "67108864", "memory.high": "max", "pids.max": "10", "cpu.max": "150000 100000", "cpu.weight": "50"},
			nil,
		},
		"v1": {
			func(dir string) *Machine {
				return &Machine{v1: map[string]string{memory: dir, cpu: dir, pids: dir}}
			},
			map[string]string{"memory.limit_in_bytes": "67108864", "pids.max": "10", "cpu.cfs_quota_us": "150000", "cpu.shares": "512"},
			[]string{"MemoryHigh"},
		},
		"none": {func(string) *Machine { return &Machine{} }, nil, []string{"MemoryMax", "MemoryHigh", "TasksMax", "CPUQuota", "CPUWeight"}},
	} {
		dir := t.TempDir()
		m := c.m(dir)
		g := m.Group("x.service")
		if err := g.Make(r); err != nil {
			t.Fatal(err)
		}
		if err := g.Limit(r); err != nil {
			t.Fatal(err)
		}
		for f, want := range c.want {
			if raw, err := os.ReadFile(filepath.Join(dir, "x.service", f)); err != nil || string(raw) != want {
				t.Errorf("%s: %s is %q, %v; want %q", name, f, raw, err, want)
			}
		}
		not := m.NotEnforced(r)
		if len(not) != len(c.not) {
			t.Errorf("%s: not enforced: %v, want %v", name, not, c.not)
		}
		for _, d := range c.not {
			if not[d] == "" {
				t.Errorf("%s: nothing said of %s", name, d)
			}
		}
	}
}

// TestShare: a share of the machine's memory is exact to the byte, and large machines do not overflow.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		total     int64
		permyriad int
		want      int64
	}{
		{9999, 10000, 9999},
		{9999, 5000, 4999},
		{9999, 1, 0},
		{16777219999, 10000, 16777219999},
		{16777219999, 1225, 2055209449},
		{math.MaxInt64, 10000, math.MaxInt64},
		{math.MaxInt64, 5000, math.MaxInt64 / 2},
		{0, 5000, 0},
	} {
		if got := share(c.total, c.permyriad); got != c.want {
			t.Errorf("%d/10000 of %d is %d, want %d", c.permyriad, c.total, got, c.want)
		}
	}
}
