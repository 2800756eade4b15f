package light

import (
	"os"
	"strings"
	"testing"
)

// Hosts makes a bed with n hosts and takes it away when the test ends. Where hosts are not possible the test is skipped and
// says why; with ARGOSY_REQUIRE_HOSTS=1 it fails instead, and with ARGOSY_HOSTTEST=off no host is made.
// The test binary's TestMain has to begin with Entry.
func Hosts(t testing.TB, n int, o Options) *Bed {
	t.Helper()
	if os.Getenv("ARGOSY_HOSTTEST") == "off" {
		lack(t, "ARGOSY_HOSTTEST=off")
	}
	if err := possible(o); err != nil {
		lack(t, err.Error())
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.fail = func(err error) { t.Error(err) } // Not Fatal: a method may be called by any goroutine.
	t.Cleanup(func() {
		if t.Failed() {
			b.tell(t)
		}
		_ = b.Down() // It fails the test by itself.
	})
	if _, err := b.Up(n); err != nil {
		t.FailNow()
	}
	return b
}

// lack skips the test, or fails it where hosts are required: a test that did not run is never a pass.
func lack(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("ARGOSY_REQUIRE_HOSTS") == "1" {
		t.Fatalf("no hosts, but ARGOSY_REQUIRE_HOSTS=1: %s", why)
	}
	t.Skipf("no hosts: %s", why)
}

// tail is how much of the output of a process a failed test shows, in bytes.
const tail = 8 << 10

// tell shows what the processes of the bed have written.
func (b *Bed) tell(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if text := strings.TrimSpace(string(content(b.log))); text != "" {
		t.Logf("the bed: %s", text)
	}
	for _, p := range b.kept {
		text := p.Output()
		t.Logf("process %d of %s, the end of its output:\n%s", p.PID, p.host.Name, text[max(0, len(text)-tail):])
	}
}

// Run runs a command in the host and returns its standard output; the test ends if the command fails. It is for the
// test's own goroutine.
func (h *Host) Run(t testing.TB, argv ...string) string {
	t.Helper()
	out, errs, code := h.Exec(t.Context(), argv...)
	if code != 0 {
		t.Fatalf("%s in %s: exit %d\n%s%s", strings.Join(argv, " "), h.Name, code, out, errs)
	}
	return out
}

// Write puts a file into the host, with its folders; it is not synced. The test ends if that fails.
func (h *Host) Write(t testing.TB, path string, content []byte) {
	t.Helper()
	const script = `mkdir -p "$(dirname "$1")" && cat >"$1"`
	if _, errs, code := h.ExecInput(t.Context(), content, "sh", "-c", script, "sh", path); code != 0 {
		t.Fatalf("write %s in %s: %s", path, h.Name, errs)
	}
}
