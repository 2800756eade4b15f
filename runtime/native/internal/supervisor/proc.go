package supervisor

import (
	"os"
	"strconv"
	"strings"

	"argosy.dev/argosy/runtime/native/internal/service"
)

// stat reads the fields of /proc/PID/stat behind the command's name (proc_pid_stat(5)): state is [0], ppid [1],
// session [3], starttime [19].
func stat(pid int) []string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	s := string(raw)
	i := strings.LastIndexByte(s, ')')
	if i < 0 {
		return nil
	}
	if f := strings.Fields(s[i+1:]); len(f) > 19 {
		return f
	}
	return nil
}

// ticks is when a process started, in clock ticks since boot; 0 when it is not there.
func ticks(pid int) uint64 {
	f := stat(pid)
	if f == nil {
		return 0
	}
	n, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func parentOf(pid int) int {
	f := stat(pid)
	if f == nil {
		return 0
	}
	n, _ := strconv.Atoi(f[1]) // The kernel writes a number.
	return n
}

func alive(pid int) bool {
	f := stat(pid)
	return f != nil && f[0] != "Z" && f[0] != "X"
}

func exeOf(pid int) string {
	p, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(p, " (deleted)")
}

// childrenOf lists the processes that a process started, by all its threads.
func childrenOf(pid int) []int {
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil
	}
	var out []int
	for _, t := range tasks {
		raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(raw)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// treeOf follows a service's processes without cgroups: what its main and control process started, and orphans that
// came to us and carry the run's INVOCATION_ID.
func (in *Init) treeOf(s *service.Service) []int {
	var out []int
	seen := map[int]bool{}
	var walk func(pid int)
	walk = func(pid int) {
		if seen[pid] || !alive(pid) {
			return
		}
		seen[pid] = true
		out = append(out, pid)
		for _, c := range childrenOf(pid) {
			walk(c)
		}
	}
	for _, p := range []*service.Proc{s.Main, s.Control} {
		if p != nil && ticks(p.PID) == p.Ticks {
			walk(p.PID)
		}
	}
	candidates := childrenOf(os.Getpid())
	if a := in.rt[s.Name]; a != nil && a.adopted {
		candidates = allPIDs() // Its orphans did not come to us.
	}
	for _, pid := range candidates {
		if _, known := in.children[pid]; !known && s.Invocation != "" && hasEnv(pid, "INVOCATION_ID="+s.Invocation) {
			walk(pid)
		}
	}
	return out
}

func hasEnv(pid int, want string) bool {
	k, v, _ := strings.Cut(want, "=")
	return envOf(pid, k) == v
}

// envOf reads a variable of the environment that a process was started with.
func envOf(pid int, key string) string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	for kv := range strings.SplitSeq(string(raw), "\x00") {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			return v
		}
	}
	return ""
}

// allPIDs lists every process of the machine.
func allPIDs() []int {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}
