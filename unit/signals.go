package unit

import (
	"fmt"
	"slices"
	"strings"
)

// Real-time signals as glibc leaves them to programs.
const (
	signalRTMin = 34
	signalRTMax = 64
)

// signalNames by number, as on every Linux architecture that Argosy is built for.
var signalNames = [...]string{
	1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 10: "USR1",
	11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 16: "STKFLT", 17: "CHLD", 18: "CONT", 19: "STOP",
	20: "TSTP", 21: "TTIN", 22: "TTOU", 23: "URG", 24: "XCPU", 25: "XFSZ", 26: "VTALRM", 27: "PROF", 28: "WINCH",
	29: "IO", 30: "PWR", 31: "SYS",
}

// ParseSignal reads a signal as systemd does: a number, SIGTERM, TERM, RTMIN+3, SIGRTMAX-1.
func ParseSignal(s string) (int, error) {
	if n, err := parseInt(s); err == nil {
		if n < 1 || n > signalRTMax {
			return 0, fmt.Errorf("%s is not the number of a signal", short(s))
		}
		return int(n), nil
	}
	name := strings.TrimPrefix(s, "SIG")
	if i := slices.Index(signalNames[1:], name); name != "" && i >= 0 {
		return i + 1, nil
	}
	for _, rt := range []struct {
		prefix string
		sign   byte
		base   int64
	}{{"RTMIN", '+', signalRTMin}, {"RTMAX", '-', signalRTMax}} {
		rest, ok := strings.CutPrefix(name, rt.prefix)
		if !ok {
			continue
		}
		if rest == "" {
			return int(rt.base), nil
		}
		n, err := parseInt(rest)
		if err != nil || rest[0] != rt.sign || rt.base+n < signalRTMin || rt.base+n > signalRTMax {
			break
		}
		return int(rt.base + n), nil
	}
	return 0, fmt.Errorf("%s is not a signal", short(s))
}

// SignalName writes a signal as people know it: SIGTERM, SIGRTMIN+3.
func SignalName(n int) string {
	switch {
	case n > 0 && n < len(signalNames) && signalNames[n] != "":
		return "SIG" + signalNames[n]
	case n >= signalRTMin && n <= signalRTMax:
		return fmt.Sprintf("SIGRTMIN+%d", n-signalRTMin)
	}
	return fmt.Sprintf("signal %d", n)
}

// exitNames are the names that SuccessExitStatus= and its like take (systemd.exec(5), "Process Exit Codes").
var exitNames = map[string]int{
	"SUCCESS": 0, "FAILURE": 1,
	"INVALIDARGUMENT": 2, "NOTIMPLEMENTED": 3, "NOPERMISSION": 4, "NOTINSTALLED": 5, "NOTCONFIGURED": 6, "NOTRUNNING": 7,
	"USAGE": 64, "DATAERR": 65, "NOINPUT": 66, "NOUSER": 67, "NOHOST": 68, "UNAVAILABLE": 69, "SOFTWARE": 70, "OSERR": 71,
	"OSFILE": 72, "CANTCREAT": 73, "IOERR": 74, "TEMPFAIL": 75, "PROTOCOL": 76, "NOPERM": 77, "CONFIG": 78,
	"CHDIR": 200, "NICE": 201, "FDS": 202, "EXEC": 203, "MEMORY": 204, "LIMITS": 205, "OOM_ADJUST": 206, "SIGNAL_MASK": 207,
	"STDIN": 208, "STDOUT": 209, "CHROOT": 210, "IOPRIO": 211, "TIMERSLACK": 212, "SECUREBITS": 213, "SETSCHEDULER": 214,
	"CPUAFFINITY": 215, "GROUP": 216, "USER": 217, "CAPABILITIES": 218, "CGROUP": 219, "SETSID": 220, "CONFIRM": 221,
	"STDERR": 222, "PAM": 224, "NETWORK": 225, "NAMESPACE": 226, "NO_NEW_PRIVILEGES": 227, "SECCOMP": 228,
	"SELINUX_CONTEXT": 229, "PERSONALITY": 230, "APPARMOR": 231, "ADDRESS_FAMILIES": 232, "RUNTIME_DIRECTORY": 233,
	"CHOWN": 235, "SMACK_PROCESS_LABEL": 236, "KEYRING": 237, "STATE_DIRECTORY": 238, "CACHE_DIRECTORY": 239,
	"LOGS_DIRECTORY": 240, "CONFIGURATION_DIRECTORY": 241, "NUMA_POLICY": 242, "CREDENTIALS": 243, "BPF": 244, "EXCEPTION": 255,
}

// parseExitStatus reads an exit status by name or number.
func parseExitStatus(s string) (int, bool) {
	if n, ok := exitNames[s]; ok {
		return n, true
	}
	n, err := parseInt(s)
	return int(n), err == nil && n >= 0 && n <= 255
}
