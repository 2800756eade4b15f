package judge

import (
	"regexp"
	"slices"
	"strconv"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// setupSteps are the exit statuses with which systemd's executor ends when a step between fork and exec fails:
// systemd.exec(5), "Process Exit Codes".
var setupSteps = map[int]string{
	200: "CHDIR", 201: "NICE", 202: "FDS", 203: "EXEC", 204: "MEMORY", 205: "LIMITS", 206: "OOM_ADJUST",
	207: "SIGNAL_MASK", 208: "STDIN", 209: "STDOUT", 210: "CHROOT", 211: "IOPRIO", 212: "TIMERSLACK", 213: "SECUREBITS",
	214: "SETSCHEDULER", 215: "CPUAFFINITY", 216: "GROUP", 217: "USER", 218: "CAPABILITIES", 219: "CGROUP", 220: "SETSID",
	221: "CONFIRM", 222: "STDERR", 224: "PAM", 225: "NETWORK", 226: "NAMESPACE", 227: "NO_NEW_PRIVILEGES", 228: "SECCOMP",
	229: "SELINUX_CONTEXT", 230: "PERSONALITY", 231: "APPARMOR_PROFILE", 232: "ADDRESS_FAMILIES", 233: "RUNTIME_DIRECTORY",
	235: "CHOWN", 236: "SMACK_PROCESS_LABEL", 237: "KEYRING", 238: "STATE_DIRECTORY", 239: "CACHE_DIRECTORY",
	240: "LOGS_DIRECTORY", 241: "CONFIGURATION_DIRECTORY", 242: "NUMA_POLICY", 243: "CREDENTIALS", 245: "BPF",
}

// setupReason names a set-up failure when the runtime gave no detail (Exit.Error): what it was about is in the unit.
func (in Input) setupReason(x cluster.Exit) *reason.Reason {
	step, ok := setupSteps[x.Status]
	if !ok || in.Unit.Service == nil {
		return nil
	}
	exec := in.Unit.Service.Exec
	switch x.Status {
	case 200:
		if exec.WorkingDirectory != "" {
			return reason.Because(reason.DirectoryMissing, reason.Args{"path": exec.WorkingDirectory})
		}
	case 203:
		return reason.Because(reason.ExecNotFound, reason.Args{"path": x.Path, "directive": x.Directive})
	case 216:
		if exec.Group != "" {
			return reason.Because(reason.GroupMissing, reason.Args{"group": exec.Group})
		}
	case 217:
		if exec.User != "" {
			return reason.Because(reason.UserMissing, reason.Args{"user": exec.User})
		}
	case 243:
		if len(exec.Credentials) == 1 {
			return reason.Because(reason.SecretMissing, reason.Args{"credential": exec.Credentials[0].ID})
		}
	}
	return reason.Because(reason.SetupFailed, reason.Args{"step": step, "status": x.Status})
}

// What programs say when a port is taken: strerror(EADDRINUSE), and the names that Node.js and Java use.
var (
	inUse = regexp.MustCompile(`(?i)address (is )?already in use|EADDRINUSE|address in use|port \d+ is already (in use|allocated)|Only one usage of each socket address`)
	// The port stands behind an address (":8080", "]:53", "*:80") or the word port ("port 80", "port: 3000").
	portBehind = regexp.MustCompile(`(?i)(?:[\]\w.*)]|\s|^|'|")?:(\d{1,5})\b|\bport[ =:#]+(\d{1,5})\b`)
)

// PortInLog finds the last line that says that an address is in use, and the port in it. Port 0: the line names none,
// nor do the lines beside it.
func PortInLog(lines []string) (port uint16, ok bool) {
	for i, line := range slices.Backward(lines) {
		if !inUse.MatchString(line) {
			continue
		}
		if p := portIn(line); p != 0 {
			return p, true
		}
		for _, near := range []int{i + 1, i - 1, i + 2, i + 3, i + 4, i + 5} { // Node.js prints "port: 3300" some lines below.
			if near >= 0 && near < len(lines) {
				if p := portIn(lines[near]); p != 0 {
					return p, true
				}
			}
		}
		return 0, true
	}
	return 0, false
}

// portIn reads the last port number of a line: times ("12:30:05") stand before it.
func portIn(line string) uint16 {
	all := portBehind.FindAllStringSubmatch(clock.ReplaceAllString(line, "$1 "), -1)
	for _, found := range slices.Backward(all) {
		n, err := strconv.ParseUint(found[1]+found[2], 10, 16)
		if err == nil && n != 0 {
			return uint16(n)
		}
	}
	return 0
}

// clock is a time of day, which looks like a port and is none; source positions (main.go:17) likewise.
var clock = regexp.MustCompile(`(^|[^\w.\]:]|T)\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?\b|\b[\w/.-]+\.(go|js|mjs|ts|py|rb|c|cc|java|rs):\d+(:\d+)?`)

// portTaken reads "address already in use" in the last lines of a failed run.
func (in Input) portTaken() *reason.Reason {
	port, ok := PortInLog(in.Log)
	if !ok {
		return nil
	}
	ports := in.Unit.Argosy.Ports
	if port == 0 {
		port = in.Port
	}
	if port == 0 && len(ports) == 1 {
		port = ports[0].Number
	}
	args := reason.Args{"port": port, "proto": "tcp", "holder": "another process"}
	if port == 0 {
		args["port"] = "?"
	}
	for _, p := range ports {
		if p.Number == port && p.Proto != "" {
			args["proto"] = p.Proto
		}
	}
	if h, ok := in.Holders[port]; ok && port != 0 {
		args["holder"] = h.Name
		if h.PID > 0 {
			args["pid"] = h.PID
		}
	}
	return reason.Because(reason.PortTaken, args)
}
