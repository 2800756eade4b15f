// Package hosttest gives tests real hosts: systemd-nspawn machines with a booted systemd, a network of their
// own and writable resource controllers, made in a second or two and gone when the test ends, also when it is killed.
// It is for tests only. What runs in a host, and what has to hold there, is the tests' affair.
//
// A host needs root and some of Debian's packages. Where they are missing a test is skipped and says so;
// with ARGOSY_REQUIRE_HOSTS=1 it fails instead, and with ARGOSY_HOSTTEST=off no host is made.
package hosttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a host.
type Options struct {
	// Plain: no systemd, PID 1 only reaps. For runtimes that bring their own init.
	Plain bool
	// Unified: cgroup v2 only. On a machine whose controllers are held by cgroup v1 this is a host that
	// cannot enforce any limit.
	Unified bool
	// Binds shows files and folders of this machine in the host, read-only: outside path -> inside path.
	Binds map[string]string
}

// Host is one booted machine. Its methods may be used by several goroutines.
type Host struct {
	t      testing.TB
	bed    *bed
	leader int // PID 1 of the host, as this machine numbers it.
	Name   string
	Booted time.Duration // How long it took until systemd said that it was ready.
}

// hostAddress is the address of every host, each in a network of its own.
const hostAddress = "10.77.0.1"

// bootTimeout bounds the boot on a busy machine; an idle one takes a second or two.
const bootTimeout = 90 * time.Second

// Systemd boots a host and removes it when the test ends. The first one on a machine takes some minutes more,
// for its root file system is built then (see BuildRoot).
func Systemd(t testing.TB, o Options) *Host {
	t.Helper()
	if os.Getenv("ARGOSY_HOSTTEST") == "off" {
		lack(t, "ARGOSY_HOSTTEST=off")
	}
	if os.Getuid() != 0 {
		lack(t, "hosts need root")
	}
	for _, tool := range []string{"debootstrap", "systemd-nspawn", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			lack(t, "hosts need "+tool+": apt-get install debootstrap systemd-container util-linux iproute2")
		}
	}
	rootfs, err := BuildRoot(t.Context())
	if err != nil {
		lack(t, err.Error())
	}
	began := time.Now()
	b, err := startBed(rootfs, o)
	if err != nil {
		t.Fatalf("start a host: %v", err)
	}
	h := &Host{t: t, bed: b, Name: b.name}
	t.Cleanup(h.remove)
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	if err := b.waitReady(ctx); err != nil {
		t.Fatalf("host %s did not come up: %v\n%s", b.name, err, b.log())
	}
	if h.leader, err = b.leader(); err != nil {
		t.Fatalf("host %s: %v\n%s", b.name, err, b.log())
	}
	h.Booted = time.Since(began)
	return h
}

// lack skips the test, or fails it where hosts are required: a test that did not run is never a pass.
func lack(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("ARGOSY_REQUIRE_HOSTS") == "1" {
		t.Fatalf("no host, but ARGOSY_REQUIRE_HOSTS=1: %s", why)
	}
	t.Skipf("no host: %s", why)
}

// journalTail is how many lines of a host's journal a failed test shows.
const journalTail = 60

func (h *Host) remove() {
	if h.t.Failed() && h.leader != 0 {
		out, _, _ := h.Exec(context.Background(), "journalctl", "-b", "-o", "short-monotonic", "--no-pager", "-n", strconv.Itoa(journalTail))
		h.t.Logf("journal of %s:\n%s", h.Name, out)
	}
	if err := h.bed.end(); err != nil {
		h.t.Errorf("remove host %s: %v", h.Name, err)
	}
}

// joinScript moves a process that comes from outside into the host's own cgroups: in those of this machine it would see
// paths that are not there, and limits of the host would not hold for it.
const joinScript = `for p in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do { echo 0 >"$p"; } 2>/dev/null; done; exec "$@"`

// Command prepares a command that runs in the host as root; the caller may set its input and output.
// When ctx ends, the command is killed.
func (h *Host) Command(ctx context.Context, argv ...string) *exec.Cmd {
	enter := []string{"-t", strconv.Itoa(h.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", "/bin/sh", "-c", joinScript, "sh"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, argv...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	// nsenter forks to get into the PID namespace: what it started is reached through the group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// Exec runs a command in the host to its end. The code is the exit status, 128 and the signal, or -1 with the
// error in stderr when it could not be run at all.
func (h *Host) Exec(ctx context.Context, argv ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	cmd := h.Command(ctx, argv...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return out.String(), errs.String(), 128 + int(ws.Signal())
		}
		return out.String(), errs.String(), exit.ExitCode()
	}
	if err != nil {
		return out.String(), errs.String() + err.Error(), -1
	}
	return out.String(), errs.String(), 0
}

// Run runs a command in the host and returns its standard output; the test ends if the command fails.
func (h *Host) Run(argv ...string) string {
	h.t.Helper()
	out, errs, code := h.Exec(h.t.Context(), argv...)
	if code != 0 {
		h.t.Fatalf("%s in %s: exit %d\n%s%s", strings.Join(argv, " "), h.Name, code, out, errs)
	}
	return out
}

// Write puts a file into the host, with its folders.
func (h *Host) Write(path string, mode os.FileMode, content []byte) {
	h.t.Helper()
	h.put(path, mode, bytes.NewReader(content))
}

// Copy puts a file of this machine into the host, with its mode.
func (h *Host) Copy(from, to string) {
	h.t.Helper()
	f, err := os.Open(from)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // Only read.
	st, err := f.Stat()
	if err != nil {
		h.t.Fatal(err)
	}
	h.put(to, st.Mode().Perm(), f)
}

// put goes through a process in the host, so that the host's own links in the path are followed.
func (h *Host) put(path string, mode os.FileMode, content io.Reader) {
	h.t.Helper()
	cmd := h.Command(h.t.Context(), "install", "-D", "-m", fmt.Sprintf("%o", mode), "/dev/stdin", path)
	cmd.Stdin = content
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("write %s in %s: %v\n%s", path, h.Name, err, out)
	}
}

// Path is where a path of the host is seen from outside. An absolute link on the way would lead out of the host.
func (h *Host) Path(inside string) string {
	return filepath.Join("/proc", strconv.Itoa(h.leader), "root", inside)
}

// IP is the host's address in its own network. This machine has no way to it but Dial.
func (h *Host) IP() string { return hostAddress }

// Dial connects to an address as the host sees it.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The thread is never unlocked, so that it ends with the goroutine and nobody else gets its network.
		runtime.LockOSThread()
		err := h.enterNetwork()
		if err != nil {
			done <- result{nil, err}
			return
		}
		d := net.Dialer{FallbackDelay: -1} // One attempt at a time: a second one would be made by another thread.
		c, err := d.DialContext(ctx, network, address)
		done <- result{c, err}
	}()
	r := <-done
	return r.conn, r.err
}

func (h *Host) enterNetwork() error {
	ns, err := os.Open(filepath.Join("/proc", strconv.Itoa(h.leader), "ns/net"))
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }() // Only read.
	return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
}
