package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroups is what this machine's control groups can do for PID 1's units.
type cgroups struct {
	v1 map[string]string // Controller -> its v1 hierarchy, as far as PID 1 may write there.
	v2 map[string]bool   // Controllers of the unified hierarchy.
}

// findCgroups looks at the hierarchies as PID 1 has them, which sees the same mounts.
func findCgroups() cgroups {
	c := cgroups{v1: map[string]string{}, v2: map[string]bool{}}
	if text, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		for name := range strings.FieldsSeq(string(text)) {
			c.v2[name] = true
		}
		return c
	}
	for _, name := range []string{"memory", "cpu", "pids"} {
		dir := filepath.Join(cgroupRoot, name)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && unix.Access(dir, unix.W_OK) == nil {
			c.v1[name] = dir
		}
	}
	return c
}

func (c cgroups) enforces(controller string) bool { return c.v2[controller] || c.v1[controller] != "" }

// notEnforced warns of each limit of a unit that this machine does not enforce. It runs without it, and that is said.
func (c cgroups) notEnforced(u *unit.Unit) []unit.Warning {
	if u.Service == nil {
		return nil
	}
	res := u.Service.Resources
	var out []unit.Warning
	for _, l := range []struct {
		directive, controller string
		set                   bool
	}{
		{"MemoryMax", "memory", res.MemoryMax.Set && res.MemoryMax.Value != unit.Infinity},
		{"MemoryHigh", "memory", res.MemoryHigh.Set && res.MemoryHigh.Value != unit.Infinity},
		{"MemoryLow", "memory", res.MemoryLow.Set},
		{"MemoryMin", "memory", res.MemoryMin.Set},
		{"MemorySwapMax", "memory", res.MemorySwapMax.Set && res.MemorySwapMax.Value != unit.Infinity},
		{"TasksMax", "pids", res.TasksMax.Set && res.TasksMax.Value != unit.Infinity},
		{"CPUQuota", "cpu", res.CPUQuota != 0},
		{"CPUWeight", "cpu", res.CPUWeight != 0},
	} {
		if !l.set {
			continue
		}
		var why string
		switch {
		case !c.enforces(l.controller):
			why = "systemd has no writable cgroup controller " + l.controller
		case c.v1["memory"] != "" && (l.directive == "MemoryHigh" || l.directive == "MemoryLow" || l.directive == "MemoryMin" || l.directive == "MemorySwapMax"):
			why = "it needs cgroup v2, and this machine's memory controller is of v1"
		default:
			continue
		}
		r := reason.Because(reason.LimitNotEnforced, reason.Args{"limit": l.directive, "error": why})
		out = append(out, unit.Warning{Section: "Service", Directive: l.directive, Message: r.Message()})
	}
	return out
}

// oomFile is where the hook notes that processes of a unit were killed for want of memory.
func oomFile(name string) string { return filepath.Join(stateDir, "oom", name) }

func hookFile() string { return filepath.Join(stateDir, "oom-hook") }

// hookScript runs as ExecStopPost= inside of the unit's cgroup, the last moment at which cgroup v1 still knows of the
// kills: PID 1 itself only tells them on v2. It uses nothing but the shell's own words.
const hookScript = `# Written by Argosy. oom-hook UNIT: notes the memory kills of the run that ends.
while IFS=: read -r _ controllers path; do
	[ "$controllers" = memory ] || continue
	group=/sys/fs/cgroup/memory$path
	while read -r key count; do
		[ "$key" = oom_kill ] && [ "$count" -gt 0 ] || continue
		read -r peak <"$group/memory.max_usage_in_bytes"
		echo "$INVOCATION_ID $count $peak" >>"` + stateDir + `/oom/$1"
	done <"$group/memory.oom_control"
done </proc/self/cgroup
`

// prepareHook writes the hook's script, on machines that need it.
func (c cgroups) prepareHook() error {
	if c.v1["memory"] == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(oomFile("x")), 0o755); err != nil {
		return fmt.Errorf("prepare the systemd runtime: %w", err)
	}
	if _, err := writeFile(hookFile(), []byte(hookScript)); err != nil {
		return fmt.Errorf("prepare the systemd runtime: %w", err)
	}
	return nil
}

// hookText is the drop-in with the hook; nil on machines and for units that need none.
func (c cgroups) hookText(u *unit.Unit) []byte {
	if c.v1["memory"] == "" || u.Service == nil {
		return nil
	}
	return []byte("# Written by Argosy: cgroup v1 forgets a unit's memory kills when the unit is gone.\n[Service]\nExecStopPost=-+/bin/sh " + hookFile() + " %n\n")
}

// isHook tells the hook from the unit's own commands.
func isHook(c command) bool {
	return c.path == "/bin/sh" && len(c.argv) == 3 && c.argv[1] == hookFile()
}

// memoryKill is one line of the hook.
type memoryKill struct {
	invocation string
	kills      int
	peak       int64
}

// maxKillLines bounds what is read of a unit's notes: the newest count.
const maxKillLines = 64

// memoryKills reads the hook's notes about a unit.
func (c cgroups) memoryKills(name string) ([]memoryKill, error) {
	if c.v1["memory"] == "" {
		return nil, nil
	}
	content, err := os.ReadFile(oomFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	if n := len(lines); n > maxKillLines {
		lines = lines[n-maxKillLines:]
	}
	var out []memoryKill
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		k := memoryKill{invocation: f[0]}
		k.kills, _ = strconv.Atoi(f[1]) // A damaged line counts as no kill.
		if len(f) > 2 {
			k.peak, _ = strconv.ParseInt(f[2], 10, 64)
		}
		out = append(out, k)
	}
	return out, nil
}

// usage is what a running unit's cgroup says; 0 is unknown.
type usage struct {
	peak  int64
	kills int
}

// usageOf reads the cgroup of a running unit.
func (c cgroups) usageOf(group string) usage {
	if group == "" || strings.Contains(group, "..") {
		return usage{}
	}
	if dir := c.v1["memory"]; dir != "" {
		dir = filepath.Join(dir, group)
		return usage{peak: readNumber(filepath.Join(dir, "memory.max_usage_in_bytes")), kills: int(readKey(filepath.Join(dir, "memory.oom_control"), "oom_kill"))}
	}
	if c.v2["memory"] {
		dir := filepath.Join(cgroupRoot, group)
		return usage{peak: readNumber(filepath.Join(dir, "memory.peak")), kills: int(readKey(filepath.Join(dir, "memory.events"), "oom_kill"))}
	}
	return usage{}
}

func readNumber(path string) int64 {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func readKey(path, key string) int64 {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == key {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}
