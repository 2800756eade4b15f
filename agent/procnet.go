package agent

import (
	"bufio"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a reading of /proc.
const (
	maxSockets   = 65536  // Lines of one table.
	maxProcesses = 32768  // Processes that are looked at for a socket's owner.
	maxFDs       = 100000 // Descriptors that are looked at, all processes together.
	maxParents   = 64
)

// The states of a socket in /proc/net (include/net/tcp_states.h): a bound UDP socket that is not connected shows "close".
const (
	tcpListen = "0A"
	udpBound  = "07"
)

// ProcSockets reads the listening sockets of this network namespace from /proc/net, and their owners from /proc/PID/fd
// when somebody asks for one. root is "/proc", but for tests.
func ProcSockets(root string) SocketTable {
	return func() Sockets {
		var list []Socket
		for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
			list = append(list, readTable(filepath.Join(root, "net", table), strings.TrimSuffix(table, "6"))...)
		}
		owners := &owners{root: root}
		return Sockets{List: list, Owner: owners.of, Parents: owners.parents}
	}
}

func readTable(path, proto string) []Socket {
	f, err := os.Open(path)
	if err != nil {
		return nil // No IPv6, or no /proc: nothing is known to be taken.
	}
	defer f.Close() //nolint:errcheck // read only
	var out []Socket
	lines := bufio.NewScanner(f)
	for n := 0; lines.Scan() && n < maxSockets; n++ {
		if s, ok := parseSocket(lines.Text(), proto); ok {
			out = append(out, s)
		}
	}
	return out
}

// parseSocket reads one line of /proc/net/tcp and its like (proc_net_tcp.txt of the kernel's documentation).
func parseSocket(line, proto string) (Socket, bool) {
	f := strings.Fields(line)
	if len(f) < 10 || proto == "tcp" && f[3] != tcpListen || proto == "udp" && f[3] != udpBound {
		return Socket{}, false
	}
	address, port, ok := strings.Cut(f[1], ":")
	if !ok {
		return Socket{}, false
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return Socket{}, false
	}
	ip, ok := parseAddress(address)
	if !ok {
		return Socket{}, false
	}
	inode, err := strconv.ParseUint(f[9], 10, 64)
	if err != nil {
		return Socket{}, false
	}
	return Socket{Proto: proto, Address: ip, Port: uint16(n), Inode: inode}, true
}

// parseAddress reads 32-bit words in host order, which is little-endian wherever Argosy is built for.
func parseAddress(s string) (string, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return "", false
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	ip, ok := netip.AddrFromSlice(raw)
	return ip.Unmap().String(), ok
}

// owners finds processes by socket inode; it walks /proc once, when the first one is asked for.
type owners struct {
	root string
	pids map[uint64]int
}

func (o *owners) of(s Socket) (pid int, command string) {
	if o.pids == nil {
		o.walk()
	}
	pid = o.pids[s.Inode]
	if pid == 0 {
		return 0, ""
	}
	comm, err := os.ReadFile(filepath.Join(o.root, strconv.Itoa(pid), "comm"))
	if err != nil {
		return pid, ""
	}
	return pid, strings.TrimSpace(string(comm))
}

func (o *owners) walk() {
	o.pids = map[uint64]int{}
	dir, err := os.Open(o.root)
	if err != nil {
		return
	}
	defer dir.Close() //nolint:errcheck // read only
	names, err := dir.Readdirnames(maxProcesses)
	if err != nil {
		return
	}
	fds := 0
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		fds += o.walkProcess(pid)
		if fds > maxFDs {
			return
		}
	}
}

func (o *owners) walkProcess(pid int) int {
	path := filepath.Join(o.root, strconv.Itoa(pid), "fd")
	dir, err := os.Open(path)
	if err != nil {
		return 0 // It has ended, or we may not look.
	}
	defer dir.Close() //nolint:errcheck // read only
	fds, err := dir.Readdirnames(maxFDs)
	if err != nil {
		return 0
	}
	for _, fd := range fds {
		link, err := os.Readlink(filepath.Join(path, fd))
		if err != nil {
			continue
		}
		text, ok := strings.CutPrefix(link, "socket:[")
		if !ok {
			continue
		}
		inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
		if err == nil && (o.pids[inode] == 0 || pid < o.pids[inode]) {
			o.pids[inode] = pid // The eldest of those who share it.
		}
	}
	return len(fds)
}

// parents lists a process's ancestors, nearest first.
func (o *owners) parents(pid int) []int {
	var out []int
	for range maxParents {
		stat, err := os.ReadFile(filepath.Join(o.root, strconv.Itoa(pid), "stat"))
		if err != nil {
			return out
		}
		// "PID (comm) STATE PPID …": comm may hold anything, also ")".
		_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		f := strings.Fields(rest)
		if !ok || len(f) < 2 {
			return out
		}
		if pid, err = strconv.Atoi(f[1]); err != nil || pid <= 0 {
			return out
		}
		out = append(out, pid)
	}
	return out
}
