package spawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
)

// systemd's exit statuses for what fails between fork and exec.
const (
	statusChdir  = 200
	statusNice   = 201
	statusExec   = 203
	statusLimits = 205
	statusOOM    = 206
	statusSignal = 207
	statusStdin  = 208
	statusStdout = 209
	statusStderr = 222
	statusGroup  = 216
	statusUser   = 217
	statusCgroup = 219
	statusNNP    = 227
)

// Main is the helper. It returns only when it could not exec.
func Main() int {
	runtime.LockOSThread() // Users, nice and no_new_privs are the thread's; the one that execs keeps its own.
	unix.CloseOnExec(reportFD)
	var s Setup
	in := os.NewFile(setupFD, "setup")
	raw, err := io.ReadAll(in)
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	_ = in.Close()
	if err != nil {
		return report(setupFailure(statusExec, "read the set-up", err))
	}
	if s.Fail != nil {
		return report(s.Fail)
	}
	for _, step := range steps() {
		if f := step(&s); f != nil {
			return report(f)
		}
	}
	return report(execFailure(&s, syscall.Exec(s.Path, s.Argv, s.Env)))
}

// steps are in systemd's order: what needs privileges first, then the user, then what the user may do.
func steps() []func(*Setup) *Failure {
	return []func(*Setup) *Failure{enterCgroups, openStreams, adjustOOM, setNice, setLimits, setUser, enterDir, lastBits}
}

func report(f *Failure) int {
	raw, err := json.Marshal(f)
	if err == nil {
		_, _ = unix.Write(reportFD, raw) // Nobody reads it any more when this fails.
	}
	return f.Status
}

func setupFailure(status int, step string, err error) *Failure {
	return &Failure{status, reason.Because(reason.SetupFailed, reason.Args{"step": step, "status": status, "error": text(err)})}
}

// text is an error without the words that the reason's sentence has anyway.
func text(err error) string {
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return n.Error()
	}
	return err.Error()
}

func enterCgroups(s *Setup) *Failure {
	for _, p := range s.Cgroups {
		if err := os.WriteFile(p, []byte("0"), 0); err != nil {
			return setupFailure(statusCgroup, "enter "+p, err)
		}
	}
	return nil
}

func openStreams(s *Setup) *Failure {
	for fd, st := range []struct {
		Stream
		status int
		name   string
	}{{s.Stdin, statusStdin, "StandardInput="}, {s.Stdout, statusStdout, "StandardOutput="}, {s.Stderr, statusStderr, "StandardError="}} {
		if err := openStream(st.Stream, fd); err != nil {
			return setupFailure(st.status, st.name+st.Path, err)
		}
	}
	return nil
}

func openStream(st Stream, fd int) error {
	switch {
	case st.AsOut:
		return unix.Dup2(1, fd)
	case st.AsData:
		mem, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		for rest := st.Data; len(rest) > 0; {
			n, err := unix.Write(mem, rest)
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
		if _, err := unix.Seek(mem, 0, io.SeekStart); err != nil {
			return err
		}
		return unix.Dup2(mem, fd)
	case st.Path == "":
		return nil // The parent gave us /dev/null.
	}
	n, err := unix.Open(st.Path, st.Flags|unix.O_NOCTTY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Dup2(n, fd)
}

func adjustOOM(s *Setup) *Failure {
	if s.OOM == nil {
		return nil
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", fmt.Append(nil, *s.OOM), 0); err != nil {
		return setupFailure(statusOOM, "OOMScoreAdjust=", err)
	}
	return nil
}

func setNice(s *Setup) *Failure {
	if s.Nice == nil {
		return nil
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *s.Nice); err != nil {
		return setupFailure(statusNice, "Nice=", err)
	}
	return nil
}

func setLimits(s *Setup) *Failure {
	unix.Umask(s.UMask)
	for _, l := range s.Limits {
		if err := setLimit(l); err != nil {
			return setupFailure(statusLimits, "Limit"+l.Name+"=", err)
		}
	}
	return nil
}

// setLimit goes as near to the limit as we may, as systemd does.
func setLimit(l Limit) error {
	want := syscall.Rlimit{Cur: l.Soft, Max: l.Hard}
	err := syscall.Setrlimit(l.Resource, &want)
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	var have syscall.Rlimit
	if err := syscall.Getrlimit(l.Resource, &have); err != nil {
		return err
	}
	return syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: min(l.Soft, have.Max), Max: min(l.Hard, have.Max)})
}

// setUser changes this thread only: it is the one that execs.
func setUser(s *Setup) *Failure {
	if !s.SetUser {
		return nil
	}
	if os.Geteuid() == 0 {
		groups := make([]uint32, max(len(s.Groups), 1))
		for i, g := range s.Groups {
			groups[i] = uint32(g)
		}
		if err := rawSetgroups(groups[:len(s.Groups)]); err != nil {
			return setupFailure(statusGroup, "SupplementaryGroups=", err)
		}
	}
	gid, uid := uintptr(s.GID), uintptr(s.UID)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); e != 0 {
		return setupFailure(statusGroup, "Group=", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); e != 0 {
		return setupFailure(statusUser, "User=", e)
	}
	return nil
}

func enterDir(s *Setup) *Failure {
	if s.Dir == "" {
		s.Dir = "/"
	}
	err := unix.Chdir(s.Dir)
	if err == nil {
		return nil
	}
	if s.DirOptional && errors.Is(err, os.ErrNotExist) {
		_ = unix.Chdir("/") // As good as it gets.
		return nil
	}
	return &Failure{statusChdir, reason.Because(reason.DirectoryMissing, reason.Args{"path": s.Dir, "error": text(err)})}
}

func lastBits(s *Setup) *Failure {
	if s.NNP {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return setupFailure(statusNNP, "NoNewPrivileges=", err)
		}
	}
	if err := defaultSignals(); err != nil {
		return setupFailure(statusSignal, "signals", err)
	}
	if s.SIGPIPE {
		if err := ignoreSIGPIPE(); err != nil {
			return setupFailure(statusSignal, "IgnoreSIGPIPE=", err)
		}
	}
	return nil
}

// execFailure tells a program that is not there from one whose interpreter is not, and from one that may not be run.
func execFailure(s *Setup, err error) *Failure {
	args := reason.Args{"path": s.Path, "directive": s.Directive}
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, e := os.Stat(s.Path); e == nil {
			args["path"] = fmt.Sprintf("%s, the interpreter of %s,", interpreter(s.Path), s.Path)
		}
		return &Failure{statusExec, reason.Because(reason.ExecNotFound, args)}
	case errors.Is(err, os.ErrPermission):
		return &Failure{statusExec, reason.Because(reason.Permission, reason.Args{"path": s.Path, "error": text(err)})}
	}
	return setupFailure(statusExec, "execute "+s.Path, err)
}

// interpreter is the program of a script's "#!" line, or the dynamic loader, whose name we do not look up.
func interpreter(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "the loader"
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	rest, ok := strings.CutPrefix(line, "#!")
	if words := strings.Fields(rest); ok && len(words) > 0 {
		return words[0]
	}
	return "the loader"
}
