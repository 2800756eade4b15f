package supervisor

import (
	"bytes"
	crand "crypto/rand"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/account"
	"argosy.dev/argosy/runtime/native/internal/engine"
	"argosy.dev/argosy/unit"
)

// Check evaluates Condition…= and Assert…= (systemd.unit(5)): all plain ones have to hold, and one of the triggering
// ones ("|") if there are any. A kind that this runtime does not know counts as holding; Load has warned of it.
func (in *Init) Check(u *engine.Unit) (*reason.Reason, bool) {
	if why := in.noLeave(u); why != nil {
		return why, false
	}
	for _, assert := range []bool{true, false} {
		if c := failing(u.Def.Conditions, assert); c != nil {
			name, neg := "Condition", ""
			if assert {
				name = "Assert"
			}
			if c.Negate {
				neg = "!"
			}
			return reason.Because(reason.ConditionFailed, reason.Args{"condition": name + c.Kind + "=" + neg + c.Value}), assert
		}
	}
	return nil, false
}

func failing(all []unit.Condition, assert bool) *unit.Condition {
	var trigger *unit.Condition
	triggered := false
	for i := range all {
		c := &all[i]
		if c.Assert != assert {
			continue
		}
		ok, known := holds(c)
		ok = !known || ok != c.Negate
		switch {
		case c.Trigger:
			trigger, triggered = c, triggered || ok
		case !ok:
			return c
		}
	}
	if trigger != nil && !triggered {
		return trigger
	}
	return nil
}

// KnownCondition tells whether a kind of condition is evaluated here.
func KnownCondition(kind string) bool {
	_, known := holds(&unit.Condition{Kind: kind, Value: "/"})
	return known
}

func holds(c *unit.Condition) (ok, known bool) {
	v := c.Value
	switch c.Kind {
	case "PathExists":
		_, err := os.Stat(v)
		return err == nil, true
	case "PathExistsGlob":
		found, err := filepath.Glob(v)
		return err == nil && len(found) > 0, true
	case "PathIsDirectory":
		info, err := os.Stat(v)
		return err == nil && info.IsDir(), true
	case "PathIsSymbolicLink":
		info, err := os.Lstat(v)
		return err == nil && info.Mode()&os.ModeSymlink != 0, true
	case "PathIsMountPoint":
		return mountPoint(v), true
	case "PathIsReadWrite":
		var st unix.Statfs_t
		return unix.Statfs(v, &st) == nil && st.Flags&unix.ST_RDONLY == 0, true
	case "DirectoryNotEmpty":
		names, err := os.ReadDir(v)
		return err == nil && len(names) > 0, true
	case "FileNotEmpty":
		info, err := os.Stat(v)
		return err == nil && info.Mode().IsRegular() && info.Size() > 0, true
	case "FileIsExecutable":
		info, err := os.Stat(v)
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0, true
	case "Host":
		return hostIs(v), true
	case "User":
		return userIs(v), true
	case "Group":
		return groupIs(v), true
	case "Architecture":
		return archIs(v), true
	case "KernelCommandLine":
		raw, err := os.ReadFile("/proc/cmdline")
		return err == nil && kernelWord(string(raw), v), true
	case "Environment":
		k, want, exact := strings.Cut(v, "=")
		have, found := os.LookupEnv(k)
		return found && (!exact || have == want), true
	case "ControlGroupController":
		raw, err := os.ReadFile("/proc/cgroups")
		return err == nil && bytes.Contains(raw, []byte(v)), true
	}
	return true, false
}

func mountPoint(path string) bool {
	var here, above unix.Stat_t
	if unix.Lstat(path, &here) != nil || unix.Lstat(filepath.Dir(filepath.Clean(path)), &above) != nil {
		return false
	}
	return here.Dev != above.Dev || here.Ino == above.Ino
}

func hostIs(v string) bool {
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && strings.TrimSpace(string(id)) == v {
		return true
	}
	name, err := os.Hostname()
	if err != nil {
		return false
	}
	ok, err := filepath.Match(strings.ToLower(v), strings.ToLower(name))
	return err == nil && ok
}

func userIs(v string) bool {
	switch v {
	case "@system":
		return os.Getuid() < 1000
	}
	u, err := account.System().User(v)
	return err == nil && u.UID == os.Getuid()
}

func groupIs(v string) bool {
	g, err := account.System().Group(v)
	if err != nil {
		return false
	}
	if g == os.Getgid() {
		return true
	}
	all, err := os.Getgroups()
	if err != nil {
		return false
	}
	return slices.Contains(all, g)
}

func archIs(v string) bool {
	var n unix.Utsname
	if unix.Uname(&n) != nil {
		return false
	}
	machine := unix.ByteSliceToString(n.Machine[:])
	names := map[string]string{"x86_64": "x86-64", "aarch64": "arm64", "i686": "x86", "i386": "x86", "armv7l": "arm", "ppc64le": "ppc64-le", "riscv64": "riscv64", "s390x": "s390x"}
	return v == "native" || v == names[machine]
}

func kernelWord(line, v string) bool {
	for f := range strings.FieldsSeq(line) {
		k, _, _ := strings.Cut(f, "=")
		if f == v || !strings.Contains(v, "=") && k == v {
			return true
		}
	}
	return false
}

// Booted is when the machine booted.
func (in *Init) Booted() time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Now()
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}

// Began is when the first init process since the boot began; later ones find it in a file of the run folder.
func (in *Init) Began() time.Time { return in.began }

func (in *Init) readBegan() time.Time {
	path := filepath.Join(in.runDir, "began")
	if raw, err := os.ReadFile(path); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64); err == nil {
			if at := time.Unix(0, n); at.After(in.Booted()) && !at.After(time.Now()) {
				return at
			}
		}
	}
	now := time.Now()
	if err := os.WriteFile(path, strconv.AppendInt(nil, now.UnixNano(), 10), 0o600); err != nil {
		in.log.Warn("OnStartupSec= will count from the next init process", "error", err)
	}
	return now
}

// Random is a number from 0 to below n.
func (in *Init) Random(n int64) int64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // Never fails (crypto/rand).
	return int64(binary.LittleEndian.Uint64(b[:]) % uint64(max(n, 1)))
}

func (in *Init) stampPath(u *engine.Unit) string { return filepath.Join(in.dir, "stamps", u.Name) }

// Stamp reads when a timer last elapsed: the time of its stamp file, as in systemd.
func (in *Init) Stamp(u *engine.Unit) time.Time {
	info, err := os.Stat(in.stampPath(u))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// SetStamp keeps when a timer last elapsed.
func (in *Init) SetStamp(u *engine.Unit, at time.Time) {
	path := in.stampPath(u)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err == nil {
		err = os.Chtimes(path, at, at)
	}
	if err != nil {
		in.log.Error("a persistent timer has no stamp", "unit", u.Name, "error", err)
	}
}
