package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Controllers that carry out or count something for us.
const (
	memory = "memory"
	cpu    = "cpu"
	cpuacc = "cpuacct"
	pids   = "pids"
)

type mount struct{ root, point, kind, options string }

// Detect finds where groups may be made: in a folder called name below the group that we are in ourselves.
func Detect(name string) *Machine {
	m := &Machine{v1: map[string]string{}, v2: map[string]bool{}}
	mounts, err := readMounts()
	if err != nil {
		m.Why = err.Error()
		return m
	}
	own, err := ownGroups()
	if err != nil {
		m.Why = err.Error()
		return m
	}
	for _, mt := range mounts {
		if mt.kind == "cgroup2" {
			m.tryUnified(mt, own[""], name)
		}
	}
	for _, c := range []string{memory, cpu, cpuacc, pids} {
		if !m.v2[c] {
			m.tryV1(c, mounts, own, name)
		}
	}
	return m
}

func (m *Machine) tryUnified(mt mount, own, name string) {
	if m.unified != "" {
		return
	}
	parent := below(mt, own)
	folder := filepath.Join(parent, name)
	if err := mkdir(folder); err != nil {
		m.Why = err.Error()
		return
	}
	m.unified = folder
	for _, c := range []string{memory, cpu, pids} {
		if enable(parent, c) != nil {
			continue
		}
		if err := enable(folder, c); err != nil {
			m.Why = err.Error()
			continue
		}
		m.v2[c] = true
	}
}

// enable hands a controller down to the groups below a folder.
func enable(folder, controller string) error {
	f := filepath.Join(folder, "cgroup.subtree_control")
	if raw, err := os.ReadFile(f); err == nil && slices.Contains(strings.Fields(string(raw)), controller) {
		return nil
	}
	return os.WriteFile(f, []byte("+"+controller), 0)
}

func (m *Machine) tryV1(c string, mounts []mount, own map[string]string, name string) {
	for _, mt := range mounts {
		if mt.kind != "cgroup" || !slices.Contains(strings.Split(mt.options, ","), c) {
			continue
		}
		folder := filepath.Join(below(mt, own[c]), name)
		if err := mkdir(folder); err != nil {
			m.Why = err.Error()
			return
		}
		m.v1[c] = folder
		return
	}
}

// below is our own group's folder in a hierarchy that may be mounted from some group downwards.
func below(mt mount, own string) string {
	rel := own
	if mt.root != "/" {
		rel = strings.TrimPrefix(own, mt.root)
	}
	folder := filepath.Join(mt.point, rel)
	if _, err := os.Stat(folder); err != nil {
		return mt.point
	}
	return folder
}

func mkdir(folder string) error {
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	// A folder that is there may still not be ours to write.
	f, err := os.OpenFile(filepath.Join(folder, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// readMounts reads /proc/self/mountinfo (proc(5)).
func readMounts() ([]mount, error) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []mount
	sc := bufio.NewScanner(bytes.NewReader(raw))
	for sc.Scan() {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 || !strings.HasPrefix(r[0], "cgroup") {
			continue
		}
		out = append(out, mount{root: l[3], point: l[4], kind: r[0], options: r[2]})
	}
	return out, sc.Err()
}

// ownGroups reads /proc/self/cgroup: controller to path, "" for v2.
func ownGroups() (map[string]string, error) {
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for c := range strings.SplitSeq(parts[1], ",") {
			out[c] = parts[2]
		}
	}
	return out, nil
}
