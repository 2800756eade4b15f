package service

import (
	"strconv"

	"argosy.dev/argosy/cluster"
)

// statusWord is an exit status as systemd logs it: with its name from systemd.exec(5) where it has one.
func statusWord(status int) string {
	if n, ok := ExitNames()[status]; ok {
		return strconv.Itoa(status) + "/" + n
	}
	return strconv.Itoa(status)
}

// ExitNames are the exit statuses that systemd itself gives to failures between fork and exec (systemd.exec(5)),
// and the LSB's.
func ExitNames() map[int]string {
	return map[int]string{
		0: "SUCCESS", 1: "FAILURE", 2: "INVALIDARGUMENT", 3: "NOTIMPLEMENTED", 4: "NOPERMISSION", 5: "NOTINSTALLED",
		6: "NOTCONFIGURED", 7: "NOTRUNNING", 200: "CHDIR", 201: "NICE", 202: "FDS", 203: "EXEC", 204: "MEMORY",
		205: "LIMITS", 206: "OOM_ADJUST", 207: "SIGNAL_MASK", 208: "STDIN", 209: "STDOUT", 210: "CHROOT",
		216: "GROUP", 217: "USER", 218: "CAPABILITIES", 219: "CGROUP", 220: "SETSID", 227: "NO_NEW_PRIVILEGES",
		233: "RUNTIME_DIRECTORY", 238: "STATE_DIRECTORY", 239: "CACHE_DIRECTORY", 240: "LOGS_DIRECTORY",
		241: "CONFIGURATION_DIRECTORY", 243: "CREDENTIALS",
	}
}

// Evidence is what the service shows of itself; the caller adds hash, load state and what waits for it.
func (s *Service) Evidence() cluster.Evidence {
	e := cluster.Evidence{
		Name: s.Name, Load: "loaded", Active: s.State.Active(), Sub: string(s.State), Result: string(s.Result),
		MainPID: s.MainPID(), StatusText: s.StatusText, Invocation: s.Invocation, NRestarts: s.NRestarts,
		ActiveSince: s.ActiveSince, InactiveSince: s.InactiveSince, StateSince: s.Since,
		Exits: append([]cluster.Exit(nil), s.Exits...), OOMKills: s.OOMKills, MemoryPeak: s.MemoryPeak,
		CPUNanos: s.CPUNanos, Error: s.Error,
	}
	if !s.State.Down() && s.State != AutoRestart {
		e.MemoryCurrent = s.MemoryCurrent
	}
	if s.State == AutoRestart {
		e.NextTry = s.Deadline
	}
	return e
}
