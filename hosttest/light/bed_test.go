package light

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ownerArg starts a test binary as the owner of a bed that is killed.
const ownerArg = "argosy-light-test-owner"

// own makes a bed, tells its name and the holder's PID, and waits to be killed.
func own() error {
	b, err := New(Options{DiskMiB: 32})
	if err != nil {
		return err
	}
	hosts, err := b.Up(2)
	if err != nil {
		return err
	}
	if _, err := hosts[0].Start("sleep", "1000"); err != nil {
		return err
	}
	if err := hosts[1].Freeze(); err != nil {
		return err
	}
	fmt.Println(b.Name(), b.cmd.Process.Pid)
	_, err = io.Copy(io.Discard, os.Stdin) // Until the test ends, if nobody kills this before.
	return err
}

// left lists what is there of a bed: processes, cgroups, loop devices, mounts.
func left(t *testing.T, bed string) (found []string) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	must(t, err)
	for _, file := range append(append(commands, loops...), "/proc/self/mountinfo") {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), bed) {
			found = append(found, file)
		}
	}
	list, err := hierarchies()
	must(t, err)
	for _, h := range list {
		if dir := filepath.Join(h.own, bed); exists(dir) {
			found = append(found, dir)
		}
	}
	return found
}

func TestTwentyHosts(t *testing.T) {
	for _, c := range []struct {
		n int
		o Options
	}{{3, Options{}}, {5, Options{}}, {20, Options{}}, {20, Options{DiskMiB: 64}}} {
		began := time.Now()
		t.Run(fmt.Sprintf("%d hosts, disk %d", c.n, c.o.DiskMiB), func(t *testing.T) {
			b := Hosts(t, c.n, c.o)
			t.Logf("%d hosts up in %v", c.n, time.Since(began).Round(time.Millisecond))
			if got := len(left(t, b.Name())); got < c.n {
				t.Errorf("%d traces of %d hosts: the search is wrong", got, c.n)
			}
			hosts := b.Hosts()
			echo(t, hosts[0])
			for _, h := range hosts[1:] {
				if !reaches(t, h, hosts[0], long) {
					t.Errorf("%s does not reach %s", h.Name, hosts[0].Name)
				}
			}
			began = time.Now()
			must(t, b.Down())
			t.Logf("all down in %v", time.Since(began).Round(time.Millisecond))
			if found := left(t, b.Name()); len(found) > 0 {
				t.Errorf("left: %q", found)
			}
			must(t, b.Down())
		})
	}
}

func TestBedsDoNotDisturbEachOther(t *testing.T) {
	a, b := Hosts(t, 2, Options{DiskMiB: 32}), Hosts(t, 2, Options{DiskMiB: 32})
	for _, bed := range []*Bed{a, b} {
		echo(t, bed.Hosts()[1])
		bed.Hosts()[0].Write(t, "/var/x", []byte(bed.Name()))
	}
	must(t, a.Cut(a.Hosts()[0], a.Hosts()[1]))
	if reaches(t, a.Hosts()[0], a.Hosts()[1], short) || !reaches(t, b.Hosts()[0], b.Hosts()[1], long) {
		t.Error("a cut in one bed is one in the other")
	}
	if got := b.Hosts()[0].Run(t, "cat", "/var/x"); got != b.Name() {
		t.Errorf("%s reads %s", b.Name(), got)
	}
	must(t, a.Down())
	if !reaches(t, b.Hosts()[0], b.Hosts()[1], long) {
		t.Error("the end of one bed ends the other")
	}
	more, err := b.Up(1)
	must(t, err)
	if more[0].Name != "h3" || !reaches(t, more[0], b.Hosts()[1], long) {
		t.Errorf("%s, added later, does not reach h2", more[0].Name)
	}
}

// Nothing is left when the owner of a bed is killed, nor, but for empty cgroups until the next bed, when the holder is.
func TestKilled(t *testing.T) {
	if err := possible(Options{DiskMiB: 32}); err != nil {
		lack(t, err.Error())
	}
	for _, victim := range []string{"owner", "holder"} {
		t.Run(victim, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Args = []string{ownerArg}
			cmd.Stderr = os.Stderr
			_, err := cmd.StdinPipe()
			must(t, err)
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			line, err := bufio.NewReader(out).ReadString('\n')
			must(t, err)
			bed, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			holder, err := strconv.Atoi(text)
			must(t, err)
			if len(left(t, bed)) < 5 {
				t.Fatalf("found only %q: the search is wrong", left(t, bed))
			}
			if victim == "owner" {
				must(t, cmd.Process.Kill())
				eventually(t, "the bed of a killed owner is gone", func() bool { return len(left(t, bed)) == 0 })
				return
			}
			p, err := os.FindProcess(holder)
			must(t, err)
			must(t, p.Kill())
			eventually(t, "the bed of a killed holder is swept", func() bool {
				sweep()
				return len(left(t, bed)) == 0
			})
		})
	}
}

func TestNoHostsIsNoPass(t *testing.T) {
	for require, want := range map[string]string{"": "SKIP", "1": "FAIL"} {
		cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^TestStart$")
		cmd.Env = append(os.Environ(), "ARGOSY_HOSTTEST=off", "ARGOSY_REQUIRE_HOSTS="+require)
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), "--- "+want+": TestStart") || !strings.Contains(string(out), "ARGOSY_HOSTTEST=off") {
			t.Errorf("ARGOSY_REQUIRE_HOSTS=%q: %s", require, out)
		}
	}
}
