package unit

import (
	"strconv"
	"strings"
)

// engineRun is what the flags of `docker run` or `podman run` in ExecStart= say about resources.
type engineRun struct {
	name       string // docker or podman.
	memory     int64  // Bytes; 0: not said.
	memoryFlag string
	cpu        int64 // Thousandths of a core; 0: not said.
	ports      []Port
}

// engineFlags are the flags of run and create that take no value; every other flag with a value may stand apart from it.
var engineSwitches = map[string]bool{
	"--detach": true, "--init": true, "--interactive": true, "--privileged": true, "--publish-all": true, "--rm": true,
	"--tty": true, "--read-only": true, "--no-healthcheck": true, "--oom-kill-disable": true, "--sig-proxy": true,
	"--disable-content-trust": true, "--help": true, "--quiet": true, "--replace": true, "--tls-verify": true,
	"--no-hosts": true, "--http-proxy": true, "--rmi": true, "--env-host": true, "--no-hostname": true, "--passwd": true,
}

// findEngineRun looks at the last command of ExecStart= that runs a container, also behind a shell or env.
func findEngineRun(s *Service) engineRun {
	for _, c := range s.ExecStart {
		if r, ok := parseEngineRun(c.Argv); ok {
			return r
		}
		// sh -c "exec docker run …"
		if n := len(c.Argv); n >= 3 && isShell(programName(c.Path)) && strings.HasPrefix(c.Argv[1], "-") && strings.HasSuffix(c.Argv[1], "c") {
			list, _ := words(c.Argv[2], whitespace+";&|", unquote|relaxed|keepBad)
			if r, ok := parseEngineRun(list); ok {
				return r
			}
		}
	}
	return engineRun{}
}

func isShell(name string) bool {
	switch name {
	case "sh", "bash", "dash", "ash", "zsh":
		return true
	}
	return false
}

// parseEngineRun finds [docker|podman] [global flags] run [flags] IMAGE in a command line.
func parseEngineRun(argv []string) (engineRun, bool) {
	for i, a := range argv {
		name := programName(a)
		if name != "docker" && name != "podman" {
			continue
		}
		for j := i + 1; j < len(argv); j++ {
			switch w := argv[j]; {
			case w == "run" || w == "create":
				r := engineRun{name: name}
				r.flags(argv[j+1:])
				return r, true
			case w == "container" || strings.HasPrefix(w, "-"):
			case j > i+1 && strings.HasPrefix(argv[j-1], "-") && !strings.Contains(argv[j-1], "="):
				// The value of a global flag.
			default:
				return engineRun{}, false
			}
		}
	}
	return engineRun{}, false
}

// flags reads up to the image.
func (r *engineRun) flags(argv []string) {
	for i := 0; i < len(argv); i++ {
		a := argv[i]
		if a == "--" || !strings.HasPrefix(a, "-") || a == "-" {
			return
		}
		if !strings.HasPrefix(a, "--") {
			i += r.shortFlags(a[1:], argv[i+1:])
			continue
		}
		flag, value, joined := strings.Cut(a, "=")
		if !joined && engineSwitches[flag] {
			continue
		}
		if !joined {
			if i++; i >= len(argv) {
				return
			}
			value = argv[i]
		}
		r.flag(flag, value)
	}
}

// shortFlags reads -d, -it, -p80:80, -m 1g; it returns how many further words were used.
func (r *engineRun) shortFlags(letters string, rest []string) int {
	for i := 0; i < len(letters); i++ {
		switch c := letters[i]; c {
		case 'd', 'i', 't', 'P', 'q':
			continue
		default:
			value := strings.TrimPrefix(letters[i+1:], "=")
			used := 0
			if value == "" && i+1 == len(letters) && len(rest) > 0 {
				value, used = rest[0], 1
			}
			r.flag("-"+string(c), value)
			return used
		}
	}
	return 0
}

func (r *engineRun) flag(flag, value string) {
	switch flag {
	case "-m", "--memory":
		if n, ok := engineSize(value); ok && r.memory == 0 {
			r.memory, r.memoryFlag = n, flag
		}
	case "--memory-reservation":
		if n, ok := engineSize(value); ok {
			r.memory, r.memoryFlag = n, flag
		}
	case "--cpus":
		if n, err := parseCPU(value); err == nil {
			r.cpu = n
		}
	case "-p", "--publish":
		r.publish(value)
	}
}

// engineSize reads docker's sizes: 512m, 1g, 1.5gb, bytes; to the base of 1024.
func engineSize(s string) (int64, bool) {
	s = strings.TrimSuffix(strings.ToLower(s), "b")
	s = strings.TrimSuffix(s, "i")
	factor := float64(1)
	if n := len(s); n > 0 {
		if i := strings.IndexByte("kmgt", s[n-1]); i >= 0 {
			factor = float64(int64(1) << (10 * (i + 1)))
			s = s[:n-1]
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f*factor >= 1 && f*factor < 1<<62) {
		return 0, false
	}
	return int64(f * factor), true
}

// publish reads [[IP:]HOSTPORT:]CONTAINERPORT[/PROTO]; ports may be ranges. Without a host port the engine picks one,
// and there is nothing to count.
func (r *engineRun) publish(s string) {
	rest, proto, has := strings.Cut(s, "/")
	if !has {
		proto = "tcp"
	}
	if proto != "tcp" && proto != "udp" {
		return
	}
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return
	}
	host, address := rest[:i], ""
	if j := strings.LastIndexByte(host, ':'); j >= 0 {
		address, host = host[:j], host[j+1:]
	}
	first, last, isRange := strings.Cut(host, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 {
		return
	}
	for n := from; n <= to && len(r.ports) < maxPorts; n++ {
		text := strconv.FormatUint(n, 10) + "/" + proto
		if address != "" {
			text = address + ":" + text
		}
		if p, err := parsePort(text); err == nil {
			r.ports = addPort(r.ports, p)
		}
	}
}
