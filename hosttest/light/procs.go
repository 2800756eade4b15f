package light

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
)

// procs starts processes in a PID 1 and takes the status of each that ends, also of those that were left to it.
// Nothing else in that process may wait for children.
type procs struct {
	mu    sync.Mutex // Held from a fork until its wait is known, so that the reaper cannot be quicker.
	waits map[int]chan syscall.WaitStatus
}

func newProcs() *procs {
	p := &procs{waits: map[int]chan syscall.WaitStatus{}}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	go func() {
		for range children {
			p.reap()
		}
	}()
	return p
}

func (p *procs) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		p.mu.Lock()
		if c, ok := p.waits[pid]; ok {
			delete(p.waits, pid)
			c <- status
		}
		p.mu.Unlock()
	}
}

// start runs a program; its status comes out of the channel once.
func (p *procs) start(argv, env []string, files []*os.File, sys *syscall.SysProcAttr) (pid int, status <-chan syscall.WaitStatus, err error) {
	if len(argv) == 0 {
		return 0, nil, errors.New("no program named")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, nil, err
	}
	return p.startPath(path, argv, env, files, sys)
}

// startPath is start for a program whose first argument is not its path.
func (p *procs) startPath(path string, argv, env []string, files []*os.File, sys *syscall.SysProcAttr) (pid int, status <-chan syscall.WaitStatus, err error) {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pid, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{Dir: "/", Env: env, Files: fds, Sys: sys})
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	c := make(chan syscall.WaitStatus, 1)
	p.waits[pid] = c
	return pid, c, nil
}

// run executes a program of this machine to its end.
func (p *procs) run(argv ...string) error {
	out, err := unnamedFile()
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // Nothing of it is kept.
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }() // Nothing of it is kept.
	_, status, err := p.start(argv, os.Environ(), []*os.File{null, out, out}, nil)
	if err != nil {
		return err
	}
	if code := exitCode(<-status); code != 0 {
		return fmt.Errorf("%s: exit %d: %s", argv[0], code, bytes.TrimSpace(content(out)))
	}
	return nil
}

// unnamedFile makes a temporary file that is gone when the last process has closed it.
func unnamedFile() (*os.File, error) {
	f, err := os.CreateTemp("", "argosy-light-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// content reads a file from its beginning and leaves its offset alone, which its writer shares.
func content(f *os.File) []byte {
	st, err := f.Stat()
	if err != nil {
		return []byte(err.Error())
	}
	buf := make([]byte, st.Size())
	n, err := f.ReadAt(buf, 0)
	if err != nil && n == 0 {
		return []byte{}
	}
	return buf[:n]
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
