package light

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// hostPath is what programs of a host are looked for in.
const hostPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// waitForPlace is the first life of a host's PID 1: until its holder has put it into its cgroups. The cgroup namespace has to
// be made after that, and by exec all threads of the second life are in it.
func waitForPlace(args []string) error {
	runtime.LockOSThread() // The thread that leaves the namespace has to be the one that calls exec.
	buf := make([]byte, maxMessage)
	for {
		n, err := unix.Read(control, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for a place: %w", err)
		}
		if n == 0 {
			return errors.New("its holder is gone")
		}
		break
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	return syscall.Exec("/proc/self/exe", append([]string{initArg}, args...), os.Environ())
}

// initHost is the second life: PID 1 of a host. It makes the host's root its own, takes what is left to it and runs what it is
// asked to run. Only its holder's end or a kill ends it.
func initHost(bed string) error {
	// Not signal.Ignore: every process of the host would inherit that, and a shell could not even trap them.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	conn, err := connOf(os.NewFile(control, "control"))
	if err != nil {
		return err
	}
	p := newProcs()
	var s spec
	if _, err := receive(conn, &s); err != nil {
		return err
	}
	if err := enterRoot(bed, s); err != nil {
		return errors.Join(err, send(conn, answer{Err: err.Error(), Done: true}))
	}
	if err := send(conn, answer{Done: true}); err != nil {
		return err
	}
	for {
		var r request
		files, err := receive(conn, &r)
		if err != nil {
			return err
		}
		go serveHost(p, r, files)
	}
}

// enterRoot builds what a host sees and leaves everything else behind.
func enterRoot(bed string, s spec) error {
	root := (&disk{dir: filepath.Join(work, bed, s.Name)}).root()
	if err := unix.Sethostname([]byte(s.Name)); err != nil {
		return err
	}
	b := builder{root: root}
	b.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	b.system()
	b.cgroups()
	b.devices()
	b.identity(s)
	for from, to := range s.Options.Binds {
		b.show(from, filepath.Join(root, to))
	}
	if b.err != nil {
		return b.err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The new root on the old one, then the old one away (pivot_root(2), "pivot_root(".", ".")").
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return os.Setenv("PATH", hostPath)
}

// builder makes the mounts and files of a host below its root; after the first error it does nothing.
type builder struct {
	root string
	err  error
}

func (b *builder) in(path string) string { return filepath.Join(b.root, path) }

func (b *builder) mount(source, target, kind string, flags uintptr, options string) {
	if b.err != nil {
		return
	}
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		b.err = fmt.Errorf("mount %s on %s: %w", kind+source, target, err)
	}
}

func (b *builder) folder(path string) string {
	path = b.in(path)
	if b.err == nil {
		b.err = os.MkdirAll(path, 0o755)
	}
	return path
}

func (b *builder) write(path, text string, mode os.FileMode) {
	path = b.in(path)
	if b.err != nil {
		return
	}
	if err := os.RemoveAll(path); err != nil { // It may be a link.
		b.err = err
		return
	}
	b.err = os.WriteFile(path, []byte(text), mode)
}

// show binds a file or folder read-only into the host.
func (b *builder) show(from, to string) {
	b.bind(from, to)
	b.mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func (b *builder) bind(from, to string) {
	if b.err != nil {
		return
	}
	st, err := os.Stat(from)
	if err != nil {
		b.err = err
		return
	}
	if st.IsDir() {
		b.err = os.MkdirAll(to, 0o755)
	} else {
		b.err = makeFile(to)
	}
	b.mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
}

func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// system mounts /proc, /sys, /run and /tmp. A host must not change the machine's settings; its own network's it may.
func (b *builder) system() {
	b.mount("proc", b.folder("proc"), "proc", 0, "")
	sys, net := b.in("proc/sys"), b.in("proc/sys/net")
	b.mount(sys, sys, "", unix.MS_BIND, "")
	b.mount(net, net, "", unix.MS_BIND, "")
	b.mount("", sys, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	if trigger := b.in("proc/sysrq-trigger"); exists(trigger) {
		b.bind(os.DevNull, trigger)
	}
	b.mount("sysfs", b.folder("sys"), "sysfs", unix.MS_RDONLY, "")
	b.mount("tmpfs", b.folder("run"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
}

func (b *builder) cgroups() {
	list, err := hierarchies()
	if err != nil {
		b.err = errors.Join(b.err, err)
		return
	}
	if !exists(filepath.Join(cgroupRoot, "cgroup.controllers")) { // Not pure v2: a folder for each tree.
		b.mount("tmpfs", b.in(cgroupRoot), "tmpfs", 0, "mode=755")
	}
	for _, h := range list {
		kind := "cgroup"
		if h.v2() {
			kind = "cgroup2"
		}
		b.mount(kind, b.folder(filepath.Join(cgroupRoot, h.name)), kind, 0, h.options)
	}
}

// devices are the few that programs take for granted.
func (b *builder) devices() {
	b.mount("tmpfs", b.folder("dev"), "tmpfs", unix.MS_NOSUID, "mode=755")
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "net/tun", "fuse"} {
		if device := filepath.Join("/dev", name); exists(device) {
			b.bind(device, b.in(device))
		}
	}
	b.mount("devpts", b.folder("dev/pts"), "devpts", 0, "newinstance,ptmxmode=0666,mode=620")
	b.mount("tmpfs", b.folder("dev/shm"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "")
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if b.err == nil {
			b.err = os.Symlink(target, b.in(filepath.Join("dev", name)))
		}
	}
}

// identity is what tells hosts apart, and one boot of a host from the next.
func (b *builder) identity(s spec) {
	b.write("etc/hostname", s.Name+"\n", 0o644)
	b.write("etc/machine-id", s.MachineID+"\n", 0o444)
	b.write("etc/resolv.conf", "", 0o644)
	b.write("run/boot_id", s.BootID+"\n", 0o444)
	b.show(b.in("run/boot_id"), b.in("proc/sys/kernel/random/boot_id"))
	b.bind(namesFile, b.in("etc/hosts"))
	if s.Options.MemoryMiB > 0 {
		kib := s.Options.MemoryMiB << 10
		b.write("run/meminfo", fmt.Sprintf("MemTotal: %11d kB\nMemFree: %12d kB\nMemAvailable: %7d kB\nBuffers: %12d kB\nCached: %13d kB\nSwapTotal: %10d kB\nSwapFree: %11d kB\n",
			kib, kib, kib, 0, 0, 0, 0), 0o444)
		b.show(b.in("run/meminfo"), b.in("proc/meminfo"))
	}
}

// serveHost carries one request out in the host.
func serveHost(p *procs, r request, files []*os.File) {
	defer closeAll(files)
	if len(files) == 0 {
		return
	}
	// The connection takes the first file over, the rest are the command's.
	reply, err := connOf(files[0])
	if err != nil {
		return
	}
	defer func() { _ = reply.Close() }() // The last answer was sent.
	last := answer{Done: true}
	switch r.Op {
	case "exec":
		last, err = execute(p, r, files[1:], reply)
	case "signal":
		err = syscall.Kill(r.PID, syscall.Signal(r.Signal))
	default:
		err = fmt.Errorf("unknown operation %q", r.Op)
	}
	if err != nil {
		last.Err = err.Error()
	}
	_ = send(reply, last) // The caller may have gone.
}

// execute runs a command to its end, or to its caller's.
func execute(p *procs, r request, files []*os.File, reply *net.UnixConn) (answer, error) {
	last := answer{Done: true}
	if len(files) != 3 {
		return last, fmt.Errorf("%d files instead of 3", len(files))
	}
	env := []string{"PATH=" + hostPath, "HOME=/root", "LANG=C.UTF-8", "TERM=xterm", "USER=root", "SHELL=/bin/sh"}
	pid, status, err := p.start(r.Argv, env, files, &syscall.SysProcAttr{Setsid: true})
	closeAll(files)
	if err != nil {
		return last, err
	}
	if err := send(reply, answer{PID: pid}); err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // Nobody waits for it.
	}
	gone := make(chan struct{})
	go func() {
		_, _ = reply.Read(make([]byte, 1)) // Nothing comes but the end.
		close(gone)
	}()
	select {
	case s := <-status:
		last.PID, last.Code = pid, exitCode(s)
		return last, nil
	case <-gone:
		return last, syscall.Kill(-pid, syscall.SIGKILL)
	}
}
