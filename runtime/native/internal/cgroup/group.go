// Package cgroup keeps the processes of each unit together, limits them and counts what they use: with cgroup v2,
// with v1 hierarchies, or, where neither may be written, by following the tree of processes without any limit.
// It knows nothing of units but a name.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/unit"
)

// Machine is where this machine's groups are made.
type Machine struct {
	unified string            // Folder of the v2 hierarchy for our units; empty: none to write.
	v2      map[string]bool   // Controllers that v2 gives to our units.
	v1      map[string]string // Controller to the folder of its v1 hierarchy for our units.
	Why     string            // Why there is nothing to write, for LimitNotEnforced.
}

// Group is one unit's group.
type Group struct {
	m    *Machine
	name string
}

// Group names the group of a unit; it is made by Make.
func (m *Machine) Group(name string) *Group { return &Group{m, name} }

// Tracks tells whether processes are kept together by a cgroup.
func (m *Machine) Tracks() bool { return m.unified != "" || len(m.v1) > 0 }

// folders are all folders of the group, the one that tracks first.
func (g *Group) folders() []string {
	var out []string
	if g.m.unified != "" {
		out = append(out, filepath.Join(g.m.unified, g.name))
	}
	for _, c := range sortedKeys(g.m.v1) {
		f := filepath.Join(g.m.v1[c], g.name)
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// Make makes the group. Of the v1 hierarchies only those are used that count something, or that a limit needs:
// each of them makes every start slower.
func (g *Group) Make(r *unit.ServiceResources) error {
	need := map[string]bool{memory: true, cpuacc: true}
	for _, k := range knobs(r) {
		need[k.controller] = true
	}
	var folders []string
	if g.m.unified != "" {
		folders = append(folders, filepath.Join(g.m.unified, g.name))
	}
	for _, c := range sortedKeys(g.m.v1) {
		if need[c] || g.m.unified == "" {
			folders = append(folders, filepath.Join(g.m.v1[c], g.name))
		}
	}
	for _, f := range folders {
		if err := os.MkdirAll(f, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make the unit's cgroup: %w", err)
		}
	}
	return nil
}

// Procs are the files by which a process enters the group.
func (g *Group) Procs() []string {
	var out []string
	for _, f := range g.folders() {
		p := filepath.Join(f, "cgroup.procs")
		if _, err := os.Stat(p); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// PIDs lists the processes of the group and of groups that they made below it.
func (g *Group) PIDs() []int {
	f := g.folders()
	if len(f) == 0 {
		return nil
	}
	return pidsBelow(f[0], nil)
}

func pidsBelow(folder string, out []int) []int {
	raw, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
	if err != nil {
		return out
	}
	for f := range strings.FieldsSeq(string(raw)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			out = append(out, pid)
		}
	}
	subs, err := os.ReadDir(folder)
	if err != nil {
		return out
	}
	for _, s := range subs {
		if s.IsDir() {
			out = pidsBelow(filepath.Join(folder, s.Name()), out)
		}
	}
	return out
}

// Remove removes the group; what still runs in it is left and the group with it.
func (g *Group) Remove() {
	for _, f := range g.folders() {
		removeBelow(f)
	}
}

// removeTries bounds how often an ending process is waited for: the kernel lets go of a group a moment after wait(2).
const removeTries = 5

func removeBelow(folder string) {
	subs, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, s := range subs {
		if s.IsDir() {
			removeBelow(filepath.Join(folder, s.Name()))
		}
	}
	for range removeTries {
		if err := unix.Rmdir(folder); !errors.Is(err, unix.EBUSY) {
			return
		}
		ts := unix.NsecToTimespec(int64(time.Millisecond))
		_ = unix.Nanosleep(&ts, nil)
	}
}

// Remove removes our folders, as far as no unit is left in them.
func (m *Machine) Remove() {
	folders := []string{m.unified}
	for _, c := range sortedKeys(m.v1) {
		folders = append(folders, m.v1[c])
	}
	for _, f := range folders {
		if f != "" {
			_ = unix.Rmdir(f) // Not empty: something still runs.
		}
	}
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
