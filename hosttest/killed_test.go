package hosttest

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// victimVar makes a test binary the victim of TestKilledBinaryLeavesNothing.
const victimVar = "ARGOSY_HOSTTEST_VICTIM"

// victim is what the victim says of its host.
type victim struct {
	Dir     string
	Leader  int
	Cgroups []string
}

func TestVictim(t *testing.T) {
	if os.Getenv(victimVar) == "" {
		t.Skip("is run by TestKilledBinaryLeavesNothing")
	}
	h := Systemd(t, Options{})
	said, err := json.Marshal(victim{h.bed.dir, h.leader, h.bed.cgroups})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.Write(append(said, '\n')); err != nil {
		t.Fatal(err)
	}
	<-t.Context().Done() // Until it is killed.
}

func TestKilledBinaryLeavesNothing(t *testing.T) {
	Systemd(t, Options{Plain: true}) // Skips where there can be no hosts.
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run", "^TestVictim$", "-test.timeout", "60s")
	cmd.Env = append(os.Environ(), victimVar+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var v victim
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &v) != nil || v.Leader == 0 {
		t.Fatalf("the victim says %q, %v", line, err)
	}
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed.

	limit := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for exists(filepath.Join("/proc", strconv.Itoa(v.Leader))) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the host lives on")
		}
	}
	t.Logf("gone %v after kill -9 of the test binary", time.Since(began).Round(time.Millisecond))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), v.Dir) {
		t.Errorf("a mount is left: %v", err)
	}
	for exists(v.Dir) { // The namespaces go in the kernel's own time, and the cgroups with them.
		sweepBed(v.Dir)
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s is left", v.Dir)
		}
	}
	for _, c := range v.Cgroups {
		if exists(c) {
			t.Errorf("%s is left", c)
		}
	}
}
