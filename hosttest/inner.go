package hosttest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"time"
)

// InHost is the variable that is set for a test binary that runs inside of a host: the value is RunTests's word.
const InHost = "ARGOSY_TEST_IN_HOST"

// innerTimeout bounds all tests of one RunTests: the goroutines of a test that hangs are printed.
const innerTimeout = 100 * time.Second

// RunTests runs tests of this very test binary inside of the host and makes their outcome its own. Tests that need a
// host look for InHost. At least one has to pass: a pattern that names none is a mistake.
func (h *Host) RunTests(word, pattern string) {
	h.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	const inside = "/root/inner.test"
	h.Copy(exe, inside)
	began := time.Now()
	cmd := h.Command(h.t.Context(), "env", InHost+"="+word, inside, "-test.v", "-test.timeout", innerTimeout.String(), "-test.run", pattern)
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	passed, err := h.relay(out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		h.t.Fatalf("the tests in the host failed: %v", err)
	}
	if passed == 0 {
		h.t.Fatalf("no test in the host passed: does %q name one?", pattern)
	}
	h.t.Logf("%d tests in the host took %v, its boot %v", passed, time.Since(began).Round(time.Millisecond), h.Booted.Round(time.Millisecond))
}

// relay logs the output of the tests as it comes and counts those that passed.
func (h *Host) relay(out io.Reader) (passed int, err error) {
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if line != "" {
			h.t.Log(strings.TrimRight(line, "\n"))
		}
		if strings.HasPrefix(line, "--- PASS") {
			passed++
		}
		if errors.Is(err, io.EOF) {
			return passed, nil
		}
		if err != nil {
			return passed, err
		}
	}
}
