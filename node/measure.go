package node

import (
	"bufio"
	"bytes"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/unit"
)

// Kept back from units for the system and for Argosy itself: a twentieth of the memory, at least minReserved and at
// most maxReserved, but never more than a quarter of what there is (small --capacity).
const (
	reservedPart = 20
	minReserved  = 256 << 20
	maxReserved  = 2 << 30
)

// record describes this machine: what was measured, where the operator did not say otherwise.
func (n *node) record(now time.Time) *cluster.Machine {
	m := &cluster.Machine{
		ID: n.id, Name: n.Name, Metadata: n.Metadata, Capacity: measure(n.Data), Runtime: n.runtime.Name(), Types: n.runtime.Types(),
		Arch: goruntime.GOARCH, OS: osRelease("PRETTY_NAME"), Kernel: kernel(), Version: n.Version, BootID: readLine("/proc/sys/kernel/random/boot_id"), At: now,
	}
	for _, o := range []struct{ mine, said *int64 }{
		{&m.Capacity.CPU, &n.Capacity.CPU}, {&m.Capacity.Memory, &n.Capacity.Memory}, {&m.Capacity.Disk, &n.Capacity.Disk},
	} {
		if *o.said > 0 {
			*o.mine = *o.said
		}
	}
	if n.Capacity.Memory == 0 { // A capacity that was said is what may be counted on, whole.
		m.Reserved.Memory = min(max(m.Capacity.Memory/reservedPart, minReserved), maxReserved, m.Capacity.Memory/4)
	}
	return m
}

// measure reads what the machine has: cores that this process may use, memory, and the disk under the data directory.
func measure(data string) unit.Resources {
	r := unit.Resources{CPU: int64(goruntime.NumCPU()) * 1000, Memory: totalMemory()}
	var fs unix.Statfs_t
	if err := unix.Statfs(data, &fs); err == nil {
		r.Disk = int64(fs.Bavail) * fs.Bsize
	}
	return r
}

// totalMemory is MemTotal of proc_meminfo(5) in bytes; 0 when it cannot be read.
func totalMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// host is what specifiers of unit files need to know (systemd.unit(5)).
func (n *node) host() unit.Host {
	return unit.Host{
		Hostname: hostname(), MachineID: readLine("/etc/machine-id"), BootID: strings.ReplaceAll(readLine("/proc/sys/kernel/random/boot_id"), "-", ""),
		Kernel: kernel(), Arch: arch(), OSID: osRelease("ID"), OSVersionID: osRelease("VERSION_ID"), OSBuildID: osRelease("BUILD_ID"), OSVariantID: osRelease("VARIANT_ID"),
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// arch is systemd's name of the architecture (%a).
func arch() string {
	if a, ok := map[string]string{"amd64": "x86-64", "386": "x86", "arm64": "arm64", "arm": "arm"}[goruntime.GOARCH]; ok {
		return a
	}
	return goruntime.GOARCH
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// osRelease is one value of os-release(5); empty when it is not there.
func osRelease(key string) string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), key+"="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// readLine is the first line of a small file; empty when it cannot be read.
func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}
