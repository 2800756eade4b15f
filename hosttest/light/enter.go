package light

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Found is a host of some bed on this machine.
type Found struct {
	Bed, Host string
	PID       int // Of its PID 1, as this machine numbers it.
}

// Find lists the hosts that have power now, of all beds on this machine.
func Find() ([]Found, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var all []Found
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // It has ended.
		}
		args := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
		if len(args) != 3 || args[0] != initArg || !firstInNamespace(dir) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		all = append(all, Found{Bed: args[2], Host: args[1], PID: pid})
	}
	slices.SortFunc(all, func(a, b Found) int { return strings.Compare(a.Bed+a.Host, b.Bed+b.Host) })
	return all, nil
}

// firstInNamespace says whether a process is PID 1 for itself: what it forks has its arguments until it calls exec.
func firstInNamespace(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "NSpid:" {
			return f[len(f)-1] == "1"
		}
	}
	return false
}

// joinScript moves a process that comes from outside into the host's own cgroups, so that its limits hold. A terminal is one
// of the host's own, made by script(1): job control does not work over the border of the namespaces.
const joinScript = `for p in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do { echo 0 >"$p"; } 2>/dev/null; done
line=$1; shift
if [ -t 0 ] && command -v script >/dev/null; then exec script -qec "$line" /dev/null; fi
exec "$@"`

// shellWords quotes a command for a shell.
func shellWords(argv []string) string {
	var quoted []string
	for _, a := range argv {
		quoted = append(quoted, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}

// Enter becomes a program in a host, with this process's terminal: it returns only if that fails. The bed may be empty
// where one bed alone has a host of that name.
func Enter(bed, host string, argv []string) error {
	all, err := Find()
	if err != nil {
		return err
	}
	fits := slices.DeleteFunc(all, func(f Found) bool { return f.Host != host || (bed != "" && f.Bed != bed) })
	if len(fits) == 0 {
		return fmt.Errorf("no host %s has power", host)
	}
	if len(fits) > 1 {
		return fmt.Errorf("%d beds have a host %s: name one, %s or %s", len(fits), host, fits[0].Bed, fits[1].Bed)
	}
	if len(argv) == 0 {
		return errors.New("no program named")
	}
	path, err := exec.LookPath("nsenter")
	if err != nil {
		return errors.New("to enter a host needs nsenter: apt-get install util-linux")
	}
	args := []string{"nsenter", "-t", strconv.Itoa(fits[0].PID), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", "/bin/sh", "-c", joinScript, "sh", shellWords(argv)}
	env := []string{"PATH=" + hostPath, "HOME=/root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM"), "PS1=" + host + "# "}
	return syscall.Exec(path, append(args, argv...), env)
}
