package hosttest

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
)

func TestHostBootsRunsAndGoes(t *testing.T) {
	h := Systemd(t, Options{})
	t.Logf("booted in %v", h.Booted)
	if got := strings.TrimSpace(h.Run("systemctl", "is-system-running")); got != "running" {
		t.Errorf("system is %q\n%s", got, h.Run("systemctl", "--failed", "--no-pager"))
	}
	if out, errs, code := h.Exec(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 7"); out != "out\n" || errs != "err\n" || code != 7 {
		t.Errorf("exec: %q %q %d", out, errs, code)
	}
	h.Write("/etc/systemd/system/hello.service", 0o644, []byte("[Service]\nMemoryMax=20M\nExecStart=/bin/sh -c 'echo hello; exec sleep inf'\n"))
	h.Run("systemctl", "start", "hello")
	if got := h.Run("cat", "/sys/fs/cgroup/memory/system.slice/hello.service/memory.limit_in_bytes"); got != "20971520\n" {
		t.Errorf("MemoryMax= is not in the cgroup: %q", got)
	}
	text, err := os.ReadFile(h.Path("/etc/systemd/system/hello.service"))
	if err != nil || !strings.Contains(string(text), "MemoryMax=20M") {
		t.Errorf("from outside: %q, %v", text, err)
	}
	t.Run("dial", func(t *testing.T) { testDial(t, h) })
}

func testDial(t *testing.T, h *Host) {
	h.Run("systemctl", "start", "redis-server")
	c, err := h.Dial(t.Context(), "tcp", "127.0.0.1:6379")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	n, err := c.Read(buf)
	if string(buf[:n]) != "+PONG\r\n" {
		t.Errorf("redis says %q, %v", buf[:n], err)
	}
}

func TestNothingIsLeft(t *testing.T) {
	var h *Host
	t.Run("host", func(t *testing.T) { h = Systemd(t, Options{Plain: true}) })
	if h == nil || h.bed == nil {
		t.Skip("no host")
	}
	for _, path := range append(h.bed.cgroups, h.bed.dir, h.Path("/")) {
		if exists(path) {
			t.Errorf("%s is still there", path)
		}
	}
	if _, _, code := h.Exec(context.Background(), "true"); code == 0 {
		t.Error("a removed host executes")
	}
}
