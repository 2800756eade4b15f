package light

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if handled, code := Entry(os.Args); handled {
		os.Exit(code)
	}
	if os.Args[0] == ownerArg {
		fmt.Fprintln(os.Stderr, own())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually tries until it holds, for a bounded time: only what never comes fails.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	const wait = 10 * time.Millisecond
	for end := time.Now().Add(3 * long); time.Now().Before(end); {
		if holds() {
			return
		}
		<-time.After(wait)
	}
	t.Fatalf("never: %s", what)
}

func TestHostsAreTheirOwn(t *testing.T) {
	b := Hosts(t, 2, Options{MemoryMiB: 256, Binds: map[string]string{"/proc/self/exe": "/opt/made/here"}})
	h1, h2 := b.Hosts()[0], b.Hosts()[1]
	for _, h := range b.Hosts() {
		if got := h.Run(t, "cat", "/proc/sys/kernel/hostname", "/etc/hostname", "/etc/machine-id"); got != h.Name+"\n"+h.Name+"\n"+h.MachineID+"\n" {
			t.Errorf("%s calls itself %q", h.Name, got)
		}
		if got := h.Run(t, "cat", "/etc/hosts"); got != "10.77.0.1 h1\n10.77.0.2 h2\n127.0.0.1 localhost\n" {
			t.Errorf("/etc/hosts of %s: %q", h.Name, got)
		}
	}
	if got := h1.Run(t, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline"); !strings.HasPrefix(got, initArg+" h1 ") {
		t.Errorf("PID 1 is %q", got)
	}
	if a, b := h1.Run(t, "cat", "/proc/sys/kernel/random/boot_id"), h2.Run(t, "cat", "/proc/sys/kernel/random/boot_id"); a == b {
		t.Errorf("both hosts have the boot id %s", a)
	}
	if got := h1.Run(t, "awk", "/MemTotal/{print $2}", "/proc/meminfo"); got != "262144\n" {
		t.Errorf("a host of 256 MiB sees %s KiB", got)
	}
	if got := strings.Fields(h1.Run(t, "ls", "/root", "/tmp")); len(got) != 2 { // The two headings.
		t.Errorf("the host sees the machine's files: %q", got)
	}

	h1.Write(t, "/etc/new/file", []byte("of h1"))
	if got := h1.Run(t, "cat", "/etc/new/file"); got != "of h1" {
		t.Errorf("written and read: %q", got)
	}
	if _, _, code := h2.Exec(t.Context(), "test", "-e", "/etc/new/file"); code != 1 || exists("/etc/new/file") {
		t.Error("a file of h1 is seen elsewhere")
	}
	for _, script := range []string{"echo 1 >/proc/sys/kernel/panic", "echo x >/opt/made/here", "mkdir /sys/x"} {
		if _, errs, code := h1.Exec(t.Context(), "sh", "-c", script); code == 0 || !strings.Contains(errs, "ead-only") {
			t.Errorf("%s: exit %d, %s", script, code, errs)
		}
	}
	h1.Run(t, "sh", "-c", "mkdir /sys/fs/cgroup/unified/x 2>/dev/null || mkdir /sys/fs/cgroup/x")
	h1.Run(t, "sh", "-c", "echo a >/dev/null && head -c 1 /dev/zero && test -c /dev/ptmx")
}

func TestExec(t *testing.T) {
	h := Hosts(t, 1, Options{}).Hosts()[0]
	if out, errs, code := h.Exec(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 7"); out != "out\n" || errs != "err\n" || code != 7 {
		t.Errorf("%q %q %d", out, errs, code)
	}
	if out, _, code := h.ExecInput(t.Context(), []byte("in"), "cat"); out != "in" || code != 0 {
		t.Errorf("cat: %q %d", out, code)
	}
	if _, _, code := h.Exec(t.Context(), "sh", "-c", "kill -9 $$"); code != 137 {
		t.Errorf("a killed command: %d", code)
	}
	if _, errs, code := h.Exec(t.Context(), "no-such-program"); code != -1 || !strings.Contains(errs, "not found") {
		t.Errorf("a program that is not there: %d %q", code, errs)
	}
	const large = 3_000_000 // More than a pipe holds.
	if out, _, _ := h.Exec(t.Context(), "head", "-c", fmt.Sprint(large), "/dev/zero"); len(out) != large {
		t.Errorf("%d bytes of %d", len(out), large)
	}
	if out, _, code := h.Exec(t.Context(), "sh", "-c", "sleep 1000 & echo started"); out != "started\n" || code != 0 {
		t.Errorf("a command that leaves one behind: %q %d", out, code)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, errs, code := h.Exec(ctx, "sleep", "4711"); code != -1 {
		t.Errorf("a command beyond its time: %d %q", code, errs)
	}
	eventually(t, "the command ends with its context", func() bool {
		return !strings.Contains(h.Run(t, "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"), "sleep 4711 ")
	})
}

func TestStart(t *testing.T) {
	h := Hosts(t, 1, Options{}).Hosts()[0]
	p, err := h.Start("sh", "-c", "trap 'echo asked; exit 3' TERM; echo begun; while :; do sleep 0.01; done")
	must(t, err)
	eventually(t, "it writes", func() bool { return p.Output() == "begun\n" })
	if got := h.Run(t, "cat", fmt.Sprintf("/proc/%d/comm", p.PID)); got != "sh\n" {
		t.Errorf("process %d is %q", p.PID, got)
	}
	must(t, p.Signal(syscall.SIGTERM))
	if code, err := p.Wait(t.Context()); code != 3 || err != nil || p.Output() != "begun\nasked\n" {
		t.Errorf("%d, %v, %q", code, err, p.Output())
	}
	p, err = h.Start("sleep", "1000")
	must(t, err)
	must(t, h.Kill())
	if code, err := p.Wait(t.Context()); err == nil {
		t.Errorf("after a power loss it ended with %d", code)
	}
}

func TestLimits(t *testing.T) {
	h := Hosts(t, 1, Options{MemoryMiB: 64, CPUs: 0.5}).Hosts()[0]
	if got, _, _ := h.Exec(t.Context(), "sh", "-c", "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null"); !strings.HasPrefix(got, "50000") {
		t.Errorf("half a processor is %q", got)
	}
	if out, errs, code := h.Exec(t.Context(), "sh", "-c", "head -c 300000000 /dev/zero | tail -c 300000000 | wc -c"); strings.TrimSpace(out) == "300000000" {
		t.Errorf("300 MB in a host of 64 MiB: %s, exit %d %s", out, code, errs)
	}
}
