package shell

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run attaches a person to a command over a pipe.
func run(t *testing.T, c Command, in string, sizes <-chan [2]uint16) (status int, out, errs string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() {
		_, err := Serve(ctx, far, c)
		served <- err
		_ = far.Close()
	}()
	var o, e bytes.Buffer
	status, err = Attach(near, Person{In: strings.NewReader(in), Out: &o, Err: &e, Sizes: sizes})
	_ = near.Close()
	<-served
	return status, o.String(), e.String(), err
}

func TestCommand(t *testing.T) {
	for name, c := range map[string]struct {
		argv      []string
		in        string
		status    int
		out, errs string
	}{
		"both outputs": {[]string{"sh", "-c", "echo out; echo err >&2"}, "", 0, "out\n", "err\n"},
		"status":       {[]string{"sh", "-c", "exit 7"}, "", 7, "", ""},
		"signal":       {[]string{"sh", "-c", "kill -TERM $$"}, "", 128 + int(syscall.SIGTERM), "", ""},
		"input":        {[]string{"cat"}, strings.Repeat("0123456789", 20_000), 0, strings.Repeat("0123456789", 20_000), ""},
		"no input":     {[]string{"cat"}, "", 0, "", ""},
		"environment":  {[]string{"sh", "-c", "echo $HOME $ARGOSY_HOST"}, "", 0, "/root\n", ""},
	} {
		t.Setenv("ARGOSY_HOST", "ours, and not to be seen there")
		if os.Geteuid() != 0 {
			t.Skip("needs root: commands on a machine run as root")
		}
		status, out, errs, err := run(t, Command{Argv: c.argv}, c.in, nil)
		if err != nil || status != c.status || out != c.out || errs != c.errs {
			t.Errorf("%s: status %d, %.60q, %.60q, %v; want %d, %.60q, %.60q", name, status, out, errs, err, c.status, c.out, c.errs)
		}
	}
}

func TestCannotRun(t *testing.T) {
	for name, c := range map[string]Command{
		"no program":   {Argv: []string{"there-is-no-such-program"}},
		"empty name":   {Argv: []string{""}},
		"zero byte":    {Argv: []string{"sh", "-c", "a\x00b"}},
		"no process":   {Argv: []string{"sh"}, PID: 1 << 30},
		"not runnable": {Argv: []string{"/etc/passwd"}},
		"too long":     {Argv: []string{"echo", strings.Repeat("x", maxWord)}},
	} {
		if _, _, _, err := run(t, c, "", nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTerminal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	c := Command{Argv: []string{"sh", "-c", "stty size; tty >/dev/null && echo $TERM; read line; stty size"}, TTY: true, Term: "vt100", Cols: 91, Rows: 33}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	near, far := net.Pipe()
	go func() {
		_, _ = Serve(ctx, far, c)
		_ = far.Close()
	}()
	f := &frames{c: near}
	var out strings.Builder
	asked := false
	for {
		k, b, err := f.read()
		if err != nil || k == ended {
			break
		}
		out.Write(b)
		if !asked && strings.Contains(out.String(), "vt100") {
			asked = true
			if f.write(resize, sizeFrame(77, 22)) != nil || f.write(stdin, []byte("go on\n")) != nil {
				t.Fatal("the connection broke")
			}
		}
	}
	if got := strings.ReplaceAll(out.String(), "\r\n", "\n"); !strings.HasPrefix(got, "33 91\nvt100\n") || !strings.HasSuffix(got, "22 77\n") {
		t.Errorf("%q", got)
	}
}

// TestSurroundings: a command of a unit has the unit's user, environment and directory, and no more rights.
func TestSurroundings(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	unit := exec.CommandContext(t.Context(), "sleep", "1000")
	unit.Env, unit.Dir = []string{"PATH=/usr/bin:/bin", "SECRET=42"}, "/usr"
	unit.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{65534}}}
	if err := unit.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = unit.Process.Kill()
		_ = unit.Wait()
	}()
	status, out, errs, err := run(t, Command{Argv: []string{"sh", "-c", "id -u; id -G; pwd; echo $SECRET; grep CapEff /proc/self/status"}, PID: unit.Process.Pid}, "", nil)
	if want := "65534\n65534\n/usr\n42\nCapEff:\t0000000000000000\n"; err != nil || status != 0 || out != want {
		t.Errorf("status %d, %v\n%s%s\nwant\n%s", status, err, out, errs, want)
	}
}

// TestPersonGoes: when the person's end breaks, the command is hung up on.
func TestPersonGoes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	near, far := net.Pipe()
	served := make(chan int, 1)
	go func() {
		status, _ := Serve(t.Context(), far, Command{Argv: []string{"sleep", "1000"}})
		served <- status
	}()
	f := &frames{c: near}
	if err := f.write(stdin, []byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = near.Close()
	select {
	case <-served:
	case <-time.After(30 * time.Second):
		t.Fatal("the command goes on")
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 'x'})
	f.Add([]byte{9, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := &frames{c: struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}}
		for {
			if _, got, err := fr.read(); err != nil || len(got) > maxFrame {
				return
			}
		}
	})
}
