package hosttest

import (
	"context"
	"crypto/rand"
	_ "embed" // The bed's script.
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed bed.sh
var bedScript string

//go:embed init.sh
var initScript string

// hostInit is where bed.sh puts initScript.
const hostInit = "/usr/local/sbin/argosy-host-init"

// endTimeout bounds how long a killed bed may take to be gone.
const endTimeout = 20 * time.Second

// bed is the process that owns a host's namespaces, and what it needs on this machine: a folder and cgroups.
type bed struct {
	name    string
	dir     string
	unlock  func()
	cgroups []string
	life    *os.File // The bed lives as long as this end of a pipe is open.
	ready   *net.UnixConn
	cmd     *exec.Cmd
	gone    chan struct{}
	wait    error // Of cmd; read after gone.
}

func startBed(rootfs string, o Options) (*bed, error) {
	sweep()
	b := &bed{gone: make(chan struct{})}
	if err := b.makeDir(); err != nil {
		return nil, err
	}
	if err := b.makeCgroups(); err != nil {
		return nil, errors.Join(err, b.removeDir())
	}
	if err := b.start(rootfs, o); err != nil {
		return nil, errors.Join(err, b.removeDir())
	}
	go func() {
		b.wait = b.cmd.Wait()
		close(b.gone)
	}()
	return b, nil
}

// makeDir makes the bed's folder and locks it: an unlocked one is a dead bed's.
func (b *bed) makeDir() error {
	beds := filepath.Join(cacheDir, "beds")
	if err := os.MkdirAll(beds, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(beds, "host-")
	if err != nil {
		return err
	}
	b.dir, b.name = dir, filepath.Base(dir)
	b.unlock, err = lockFile(filepath.Join(dir, "lock"), syscall.LOCK_EX)
	return err
}

func (b *bed) start(rootfs string, o Options) error {
	life, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = life.Close() }() // The bed has its own.
	b.life = w
	b.ready, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(b.dir, "notify"), Net: "unixgram"})
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(b.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // The bed has its own.
	id := make([]byte, 16)
	_, _ = rand.Read(id) // Never fails (crypto/rand).
	argv := []string{"-c", bedScript, "bed.sh", b.dir, rootfs, b.name, hex.EncodeToString(id), hostAddress}
	for out, in := range o.Binds {
		argv = append(argv, "--bind-ro="+out+":"+in)
	}
	if o.Plain {
		argv = append(argv, "--as-pid2", hostInit, "sleep", "infinity")
	} else {
		argv = append(argv, "--notify-ready=yes", hostInit)
	}
	unified := "0"
	if o.Unified {
		unified = "1"
	}
	b.cmd = exec.Command("/bin/sh", argv...) //nolint:noctx // It lives until the bed is closed, or its owner ends.
	b.cmd.Env = append(os.Environ(), "SYSTEMD_SECCOMP=0", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network",
		"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="+unified, "NOTIFY_SOCKET="+filepath.Join(b.dir, "notify"),
		"BED_INIT="+initScript, "BED_CGROUPS="+strings.Join(b.cgroups, " "))
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.ExtraFiles = []*os.File{life}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	return b.cmd.Start()
}

// waitReady waits until nspawn says that the host has booted (sd_notify(3): READY=1).
func (b *bed) waitReady(ctx context.Context) error {
	said := make(chan error, 1)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := b.ready.Read(buf)
			if err != nil {
				said <- err
				return
			}
			for line := range strings.Lines(string(buf[:n])) {
				if strings.TrimSpace(line) == "READY=1" {
					said <- nil
					return
				}
			}
		}
	}()
	select {
	case err := <-said:
		return err
	case <-b.gone:
		return fmt.Errorf("its nspawn ended: %w", b.wait)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leader finds the PID of the host's PID 1 as this machine numbers it: the first process of the PID namespace
// inside of the bed's.
func (b *bed) leader() (int, error) {
	todo := []int{b.cmd.Process.Pid}
	for len(todo) > 0 {
		pid := todo[0]
		todo = todo[1:]
		status, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		for line := range strings.Lines(string(status)) {
			if f := strings.Fields(line); len(f) > 2 && f[0] == "NSpid:" && f[len(f)-1] == "1" && pid != b.cmd.Process.Pid {
				return pid, nil
			}
		}
		kids, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/children"))
		for _, k := range kids {
			text, _ := os.ReadFile(k)
			for f := range strings.FieldsSeq(string(text)) {
				if n, err := strconv.Atoi(f); err == nil {
					todo = append(todo, n)
				}
			}
		}
	}
	return 0, errors.New("its PID 1 is not to be found")
}

func (b *bed) log() string {
	text, err := os.ReadFile(filepath.Join(b.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// end takes the bed away with all that is in it.
func (b *bed) end() error {
	if err := b.life.Close(); err != nil {
		return err
	}
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-b.gone:
	case <-timer.C:
		return errors.New("its processes do not end")
	}
	return errors.Join(b.ready.Close(), b.removeDir())
}

func (b *bed) removeDir() error {
	errs := []error{removeCgroups(b.name)}
	if b.unlock != nil {
		b.unlock()
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

// cgroupParents are this process's own cgroups, one in every hierarchy: what a bed makes is below them.
func cgroupParents() ([]string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var dirs []string
	for line := range strings.Lines(strings.TrimSpace(string(text))) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		name := strings.TrimPrefix(f[1], "name=")
		if name == "" && exists("/sys/fs/cgroup/unified") {
			name = "unified" // Hybrid: v2 beside the v1 hierarchies.
		}
		path := f[2]
		if name == "" {
			path = "/" // Pure v2: only the root may hold processes and hand on controllers.
		}
		dirs = append(dirs, filepath.Join("/sys/fs/cgroup", name, path))
	}
	return dirs, nil
}

func (b *bed) makeCgroups() error {
	parents, err := cgroupParents()
	if err != nil {
		return err
	}
	for _, p := range parents {
		d := filepath.Join(p, "argosy-"+b.name)
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
		b.cgroups = append(b.cgroups, d)
		if !exists(filepath.Join(d, "cpuset.cpus")) || exists(filepath.Join(d, "cgroup.controllers")) {
			continue
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} { // A v1 cpuset is empty at first and takes no process.
			text, err := os.ReadFile(filepath.Join(p, f))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(d, f), text, 0o644); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(d, "cgroup.clone_children"), []byte("1"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// removeTries and removeWait bound how long a dead bed's cgroups may stay busy while the kernel ends its processes.
const (
	removeTries = 100
	removeWait  = 20 * time.Millisecond
)

func removeCgroups(name string) error {
	parents, err := cgroupParents()
	if err != nil {
		return err
	}
	for _, p := range parents {
		dir := filepath.Join(p, "argosy-"+name)
		for try := 0; ; try++ {
			if err = removeTree(dir); err == nil {
				break
			}
			if try == removeTries {
				return err
			}
			<-time.After(removeWait)
		}
	}
	return nil
}

// removeTree removes a cgroup with the groups in it, deepest first; their files are no files that one could remove.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// sweepAge keeps sweep away from a bed that is being made.
const sweepAge = time.Minute

// sweep removes what killed test binaries have left: empty cgroups and folders.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(cacheDir, "beds", "host-*")) // The pattern is a good one.
	for _, dir := range dirs {
		if st, err := os.Stat(dir); err == nil && time.Since(st.ModTime()) >= sweepAge {
			sweepBed(dir)
		}
	}
}

// sweepBed removes what is left of one bed, unless it is in use.
func sweepBed(dir string) {
	unlock, err := lockFile(filepath.Join(dir, "lock"), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return
	}
	defer unlock()
	if removeCgroups(filepath.Base(dir)) == nil {
		_ = os.RemoveAll(dir) // The next sweep tries again.
	}
}
