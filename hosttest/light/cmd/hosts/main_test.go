package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"argosy.dev/argosy/hosttest/light"
)

func TestMain(m *testing.M) {
	if handled, code := light.Entry(os.Args); handled {
		os.Exit(code)
	}
	if os.Args[0] == "hosts" { // As a person calls it.
		main()
		return
	}
	os.Exit(m.Run())
}

func TestExecEntersTheHost(t *testing.T) {
	b := light.Hosts(t, 2, light.Options{MemoryMiB: 128})
	call := func(args ...string) (string, error) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = append([]string{"hosts"}, args...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const script = `hostname; cat /etc/machine-id; cat "$1"`
	out, err := call("-bed", b.Name(), "exec", "h2", "sh", "-c", script, "it's", "/proc/self/cgroup")
	h := b.Hosts()[1]
	if err != nil || !strings.HasPrefix(out, "h2\n"+h.MachineID+"\n") || strings.Contains(out, b.Name()) {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := call("-bed", b.Name(), "exec", "h3", "true"); err == nil || !strings.Contains(out, "no host h3 has power") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestHelpNamesEveryVerb(t *testing.T) {
	var out strings.Builder
	help(&out)
	for name := range verbs() {
		if !strings.Contains(out.String(), "\n  "+name) && !strings.HasPrefix(out.String(), "  "+name) {
			t.Errorf("help does not name %s", name)
		}
	}
}

// A person's session: every verb once, two mistakes, the end.
func TestSession(t *testing.T) {
	light.Hosts(t, 1, light.Options{DiskMiB: 32}) // Skips where hosts are not possible.
	in, say := io.Pipe()
	hear, out := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-n", "2", "-disk", "32", "-argosy", "/proc/self/exe"}, in, out)
		_ = out.Close()
	}()
	lines := bufio.NewScanner(hear)
	next := func() string {
		if !lines.Scan() {
			t.Fatalf("no more is said: %v", lines.Err())
		}
		return lines.Text()
	}
	for _, want := range []string{"h1   10.77.0.1", "h2   10.77.0.2", insidePath} {
		if got := next(); !strings.HasPrefix(got, want) {
			t.Fatalf("%q instead of %q", got, want)
		}
	}
	for _, c := range [][2]string{
		{"freeze h1", "done"},
		{"thaw h1", "done"},
		{"cut h1 h2", "done"},
		{"oneway h1 h2", "done"},
		{"isolate h1", "done"},
		{"loss h1 h2 30", "done"},
		{"delay h1 h2 50ms", "done"},
		{"heal", "done"},
		{"fill h1", "done"},
		{"free h1", "done"},
		{"ip h1 10.1.2.3", "done"},
		{"kill h1", "done"},
		{"on h1", "done"},
		{"reboot h2", "done"},
		{"up 1", "done"},
		{"jump", "there is no \"jump\""},
		{"kill", "say: kill HOST"},
		{"kill h9", "there is no host"},
		{"on h1", "on h1: h1 is on"},
		{"loss h1 h2 many", "strconv.ParseFloat"},
	} {
		if _, err := io.WriteString(say, c[0]+"\n"); err != nil {
			t.Fatal(err)
		}
		if got := next(); !strings.HasPrefix(got, c[1]) {
			t.Errorf("%s: %q instead of %q", c[0], got, c[1])
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
