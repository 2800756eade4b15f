package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"argosy.dev/argosy/runtime/native"
)

// upWithin bounds how long a cluster may take until it answers.
const upWithin = 30 * time.Second

// TestMain lets the test binary be argosy, fleetctl, and the native runtime's own helpers.
func TestMain(m *testing.M) {
	if handled, code := native.Entry(os.Args, os.Stderr); handled {
		os.Exit(code)
	}
	program := func() { os.Exit(start(os.Args)) }
	testscript.Main(m, map[string]func(){"argosy": program, "fleetctl": program, "ssh": fakeSSH})
}

// TestScripts runs the stories of testdata/script, each against a cluster of its own that it starts with "cluster".
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ARGOSY_HOST", "unix://"+filepath.Join(e.WorkDir, "s"))
			e.Setenv("NO_COLOR", "")
			e.Values[membersKey{}] = map[string]func(){}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"cluster": startCluster,
			"member":  joinCluster,
			"other":   otherCluster,
			"down":    takeDown,
			"exits":   exits,
			"eval":    keep,
			"running": awaitPlaced,
			"port":    freePort,
		},
	})
}

// startCluster is "cluster [flags of up]": a machine in this process, with real processes as units. It ends with the script.
func startCluster(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("cluster cannot be negated")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ready := make(chan struct{})
	ended := make(chan int, 1)
	log := &buffer{}
	argv := append([]string{"argosy", "up", "--data", ts.MkAbs("data"), "--socket", ts.MkAbs("s"), "--name", "m1", "--runtime", "native", "--stop-units"}, args...)
	go func() {
		ended <- run(ctx, argv, system{
			stdin: strings.NewReader(""), stdout: log, stderr: log, env: func(string) string { return "" }, dir: ts.MkAbs("."),
			termSize: terminalSize,
			node: func(ctx context.Context, c upConfig) error {
				c.ready = func() { close(ready) }
				return runNode(ctx, c)
			},
		})
	}()
	stop := func() {
		cancel(interrupted{os.Interrupt})
		<-ended
	}
	late := time.NewTimer(upWithin)
	defer late.Stop()
	select {
	case <-ready:
		ts.Defer(stop)
	case code := <-ended:
		ts.Fatalf("the cluster ended with %d:\n%s", code, log)
	case <-late.C:
		stop()
		ts.Fatalf("the cluster was not up within %v:\n%s", upWithin, log)
	}
}

// exits is "exits CODE program args…": the program ends with exactly this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program args…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := err.(interface{ ExitCode() int }); ok {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// awaitPlaced is "running UNIT": waits until the cluster has begun to start a unit.
func awaitPlaced(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: running UNIT")
	}
	d, err := dialClient(ts.Getenv("ARGOSY_HOST"))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), upWithin)
	defer cancel()
	updates, err := d.Watch(ctx, 0, args[0])
	ts.Check(err)
	for u := range updates {
		if u.Answer != nil && u.Answer.Status != nil && u.Answer.Status.Active == "activating" {
			return
		}
	}
	ts.Fatalf("%s was not started", args[0])
}

// freePort is "port NAME": a loopback port that nobody has, in $NAME.
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

// keep is "eval NAME": keeps stdout of the last program in $NAME, without its line end.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: eval NAME")
	}
	ts.Setenv(args[0], strings.TrimRight(ts.ReadFile("stdout"), "\n"))
}
