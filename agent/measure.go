package agent

import (
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/unit"
)

// What is kept for the system and for Argosy (reliability.md P20): 5 % of everything, of memory at least 256 MiB, but on
// a small machine not more than a quarter.
const (
	reservedShare  = 20 // One in so many.
	reservedMemory = 256 << 20
	reservedMost   = 4 // Of memory: one in so many.
)

// Machine is what cannot be measured of a machine, for Measure.
type Machine struct {
	ID, Name, Address string
	Metadata          map[string]string
	// Capacity overrides what is measured, each number where it is not 0. A person has said what may be counted on, so
	// nothing is reserved of it.
	Capacity unit.Resources
	Runtime  string
	Types    []string
	Version  string
	DataDir  string // Disk is that of its file system.
}

// Measure makes a machine's record: what it has, what is kept for the system, what it is. What cannot be read is 0 or "".
func Measure(m Machine) cluster.Machine {
	have := unit.Resources{CPU: int64(goruntime.NumCPU()) * 1000, Memory: memoryTotal("/"), Disk: diskFree(m.DataDir)}
	memory := max(have.Memory/reservedShare, reservedMemory)
	reserved := unit.Resources{CPU: have.CPU / reservedShare, Memory: min(memory, have.Memory/reservedMost), Disk: have.Disk / reservedShare}
	override(&have.CPU, &reserved.CPU, m.Capacity.CPU)
	override(&have.Memory, &reserved.Memory, m.Capacity.Memory)
	override(&have.Disk, &reserved.Disk, m.Capacity.Disk)
	h := HostFacts(m.ID)
	return cluster.Machine{
		ID: m.ID, Name: m.Name, Address: m.Address, Metadata: m.Metadata, Capacity: have, Reserved: reserved, Runtime: m.Runtime,
		Types: m.Types, Arch: h.Arch, OS: osName("/"), Kernel: h.Kernel, Version: m.Version, BootID: h.BootID,
	}
}

func override(have, reserved *int64, said int64) {
	if said > 0 {
		*have, *reserved = said, 0
	}
}

// memoryTotal is the machine's memory, or what its control group leaves of it when that is less (in a container).
func memoryTotal(root string) int64 {
	total := int64(0)
	for _, line := range lines(filepath.Join(root, "proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err == nil {
				total = kb << 10
			}
		}
	}
	for _, path := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		for _, line := range lines(filepath.Join(root, path)) {
			if n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64); err == nil && n > 0 && (n < total || total == 0) {
				total = n
			}
		}
	}
	return total
}

func lines(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// diskFree is what the file system has left for us when the machine is measured.
func diskFree(dir string) int64 {
	var st syscall.Statfs_t
	if dir == "" || syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize //nolint:gosec // a file system beyond 8 EiB is none of ours
}

// osName is PRETTY_NAME of os-release(5).
func osName(root string) string { return osRelease(root)["PRETTY_NAME"] }

func osRelease(root string) map[string]string {
	out := map[string]string{}
	for _, path := range []string{"usr/lib/os-release", "etc/os-release"} { // The latter counts.
		for _, line := range lines(filepath.Join(root, path)) {
			if k, v, ok := strings.Cut(line, "="); ok {
				out[k] = strings.Trim(v, `"'`)
			}
		}
	}
	return out
}

// HostFacts are what specifiers say about this machine (systemd.unit(5)). The machine id is the cluster's.
func HostFacts(machineID string) unit.Host {
	h := unit.Host{MachineID: strings.ReplaceAll(machineID, "-", ""), Arch: architecture()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if name, err := os.Hostname(); err == nil {
		h.Hostname = name
	}
	if boot := lines("/proc/sys/kernel/random/boot_id"); len(boot) > 0 {
		h.BootID = strings.ReplaceAll(boot[0], "-", "")
	}
	rel := osRelease("/")
	h.OSID, h.OSVersionID, h.OSBuildID, h.OSVariantID = rel["ID"], rel["VERSION_ID"], rel["BUILD_ID"], rel["VARIANT_ID"]
	return h
}

// architecture is systemd's word (ConditionArchitecture= in systemd.unit(5)).
func architecture() string {
	switch goruntime.GOARCH {
	case "amd64":
		return "x86-64"
	case "386":
		return "x86"
	}
	return goruntime.GOARCH
}
