package shell

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Command is what a person wants run.
type Command struct {
	Argv []string // Empty: the user's shell.
	TTY  bool     // On a terminal of its own.
	Term string   // TERM of the person's terminal.
	Cols uint16
	Rows uint16
	// PID of a unit's main process: the command runs in its surroundings (root, network, user, environment, directory).
	// 0: in the machine's, as root.
	PID int
}

// Check refuses what is no command.
func (c Command) Check() error {
	total := 0
	for _, a := range c.Argv {
		total += len(a)
		if strings.ContainsRune(a, 0) {
			return errors.New("an argument holds a zero byte")
		}
	}
	if total > maxWord {
		return fmt.Errorf("the arguments have %d bytes, more than the limit of %d", total, maxWord)
	}
	if len(c.Argv) > 0 && c.Argv[0] == "" {
		return errors.New("the command has no name")
	}
	return nil
}

// shells are tried in this order when no command was named.
func shells() []string { return []string{"/bin/bash", "/bin/sh"} }

// Serve runs a command for the person at the other end of conn, until it ends, or the person goes: then it is hung up on.
// The returned status is what the person was told.
func Serve(ctx context.Context, conn io.ReadWriter, c Command) (status int, err error) {
	f := &frames{c: conn}
	status, err = serve(ctx, f, c)
	if err != nil {
		return 0, errors.Join(err, f.write(failed, []byte(err.Error())))
	}
	return status, f.write(ended, binary.BigEndian.AppendUint32(nil, uint32(status)))
}

func serve(ctx context.Context, f *frames, c Command) (int, error) {
	if err := c.Check(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	around, err := surroundingsOf(c.PID)
	if err != nil {
		return 0, err
	}
	defer around.close()
	cmd, err := around.command(ctx, c)
	if err != nil {
		return 0, err
	}
	if c.TTY {
		return onTerminal(cmd, f, c, around, cancel)
	}
	return onPipes(cmd, f, around, cancel)
}

// onPipes runs without a terminal: both outputs stay apart.
func onPipes(cmd *exec.Cmd, f *frames, around *surroundings, gone func()) (int, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	cmd.Stdout, cmd.Stderr = stream{f, stdout}, stream{f, stderr}
	cmd.SysProcAttr.Setsid = true
	if err := around.start(cmd.Start); err != nil {
		return 0, err
	}
	go func() {
		for {
			k, b, err := f.read()
			switch {
			case err != nil:
				gone()
				return
			case k == stdin && len(b) == 0:
				_ = in.Close() // The command may have closed it.
			case k == stdin:
				_, _ = in.Write(b) // As above.
			}
		}
	}()
	return statusOf(cmd.Wait())
}

// onTerminal runs on a terminal of the command's own.
func onTerminal(cmd *exec.Cmd, f *frames, c Command, around *surroundings, gone func()) (int, error) {
	term, line, err := pty.Open()
	if err != nil {
		return 0, fmt.Errorf("a terminal: %w", err)
	}
	defer func() { _ = term.Close() }()
	_ = pty.Setsize(term, &pty.Winsize{Cols: c.Cols, Rows: c.Rows}) // Only looks.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = line, line, line
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	cmd.Env = append(cmd.Env, "TERM="+or(c.Term, "dumb"))
	err = around.start(cmd.Start)
	_ = line.Close() // The command has its own.
	if err != nil {
		return 0, err
	}
	go func() {
		for {
			k, b, err := f.read()
			switch {
			case err != nil:
				gone()
				return
			case k == stdin:
				_, _ = term.Write(b) // It fails when the command has gone.
			case k == resize:
				if cols, rows, ok := size(b); ok {
					_ = pty.Setsize(term, &pty.Winsize{Cols: cols, Rows: rows}) // Only looks.
				}
			}
		}
	}()
	drained := make(chan struct{})
	go func() {
		_, _ = io.Copy(stream{f, stdout}, term) // EIO when the last process has closed the line.
		close(drained)
	}()
	status, err := statusOf(cmd.Wait())
	<-drained
	return status, err
}

// statusOf is the exit status as shells have it.
func statusOf(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 0, err
	}
	if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return e.ExitCode(), nil
}

// surroundings are where a command runs.
type surroundings struct {
	pid    int
	net    *os.File // The unit's network, where it has one of its own.
	uid    uint32
	gid    uint32
	groups []uint32
	env    []string
	dir    string
	root   string
}

func surroundingsOf(pid int) (*surroundings, error) {
	if pid == 0 {
		return &surroundings{env: []string{"PATH=" + path, "HOME=/root", "USER=root", "LOGNAME=root"}, dir: "/root"}, nil
	}
	proc := "/proc/" + strconv.Itoa(pid)
	s := &surroundings{pid: pid, root: proc + "/root"}
	if err := s.readIDs(proc); err != nil {
		return nil, fmt.Errorf("the unit's process: %w", err)
	}
	env, err := os.ReadFile(proc + "/environ")
	if err != nil {
		return nil, fmt.Errorf("the unit's environment: %w", err)
	}
	for kv := range strings.SplitSeq(strings.Trim(string(env), "\x00"), "\x00") {
		s.env = append(s.env, kv)
	}
	if s.dir, err = os.Readlink(proc + "/cwd"); err != nil {
		s.dir = "/"
	}
	s.net, err = os.Open(proc + "/ns/net")
	return s, err
}

// readIDs takes the effective user and groups from proc_pid_status(5): a command must not have more rights than the unit.
func (s *surroundings) readIDs(proc string) error {
	text, err := os.ReadFile(proc + "/status")
	if err != nil {
		return err
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "Uid:", "Gid:":
			if len(f) < 3 {
				return fmt.Errorf("%s/status: %q", proc, line)
			}
			n, err := strconv.ParseUint(f[2], 10, 32)
			if err != nil {
				return err
			}
			if f[0] == "Uid:" {
				s.uid = uint32(n)
			} else {
				s.gid = uint32(n)
			}
			found++
		case "Groups:":
			for _, g := range f[1:] {
				n, err := strconv.ParseUint(g, 10, 32)
				if err != nil {
					return err
				}
				s.groups = append(s.groups, uint32(n))
			}
		}
	}
	if found != 2 {
		return fmt.Errorf("%s/status names no user and group", proc)
	}
	return nil
}

// path is where commands are looked for in the machine's own surroundings.
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (s *surroundings) close() {
	if s.net != nil {
		_ = s.net.Close()
	}
}

// command makes the process; its program is looked for where it will run.
func (s *surroundings) command(ctx context.Context, c Command) (*exec.Cmd, error) {
	argv := c.Argv
	if len(argv) == 0 {
		argv = []string{shells()[0], "-l"}
		if _, err := os.Stat(s.root + argv[0]); err != nil {
			argv = []string{shells()[1]}
		}
	}
	program, err := s.find(argv[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Path, cmd.Args, cmd.Err = program, argv, nil // Looked for inside, not here.
	cmd.Env, cmd.Dir = s.env, s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP) }
	if s.pid != 0 {
		cmd.SysProcAttr.Chroot = s.root
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.uid, Gid: s.gid, Groups: s.groups}
	}
	return cmd, nil
}

func (s *surroundings) find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	dirs := path
	for _, kv := range s.env {
		if p, ok := strings.CutPrefix(kv, "PATH="); ok {
			dirs = p
		}
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		if info, err := os.Stat(s.root + dir + "/" + name); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return dir + "/" + name, nil
		}
	}
	return "", fmt.Errorf("%s: not found in %s", name, dirs)
}

// start forks from a thread that is in the unit's network; the thread ends afterwards.
func (s *surroundings) start(fork func() error) error {
	if s.net == nil {
		return fork()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // And never unlocked: the thread is in another network from here on.
		if err := unix.Setns(int(s.net.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the unit's network: %w", err)
			return
		}
		done <- fork()
	}()
	return <-done
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
