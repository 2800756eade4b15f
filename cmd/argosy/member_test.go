package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/wire"
)

// membersKey finds the machines that a script has joined: how each is taken down.
type membersKey struct{}

// joinCluster is "member NAME ADDRESS [flags of join]": another machine in this process joins the cluster at
// $ARGOSY_HOST and answers at the socket NAME.
func joinCluster(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: member NAME ADDRESS [flags of join]")
	}
	c, err := client.New(ts.Getenv("ARGOSY_HOST"))
	ts.Check(err)
	t, err := c.CreateToken(context.Background(), wire.TokenRequest{Role: "agent"})
	ts.Check(err)
	runMachine(ts, args[0], append([]string{"join", t.Token, "--listen", args[1]}, args[2:]...))
}

// otherCluster is "other NAME [flags of up]": a cluster of its own, at the socket NAME.
func otherCluster(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: other NAME [flags of up]")
	}
	runMachine(ts, args[0], append([]string{"up"}, args[1:]...))
}

// runMachine runs a machine in this process until the script ends or takes it down.
func runMachine(ts *testscript.TestScript, name string, verb []string) {
	argv := append(append([]string{"argosy"}, verb...), "--data", ts.MkAbs("data-"+name), "--socket", ts.MkAbs(name), "--name", name,
		"--runtime", "native", "--stop-units", "--config-listen", "off")
	ctx, cancel := context.WithCancelCause(context.Background())
	ready, ended, log := make(chan struct{}), make(chan int, 1), &buffer{}
	go func() {
		ended <- run(ctx, argv, system{
			stdin: strings.NewReader(""), stdout: log, stderr: log, env: func(string) string { return "" }, dir: ts.MkAbs("."),
			termSize: terminalSize, join: runJoin,
			node: func(ctx context.Context, c upConfig) error {
				c.ready = func() { close(ready) }
				return runNode(ctx, c)
			},
		})
	}()
	stop := func() {
		cancel(interrupted{os.Interrupt})
		<-ended
		ended <- 0 // It may be asked for again.
	}
	late := time.NewTimer(upWithin)
	defer late.Stop()
	select {
	case <-ready:
		ts.Value(membersKey{}).(map[string]func())[name] = stop
		ts.Defer(stop)
	case code := <-ended:
		ts.Fatalf("%s ended with %d:\n%s", name, code, log)
	case <-late.C:
		stop()
		ts.Fatalf("%s was not up within %v:\n%s", name, upWithin, log)
	}
}

// takeDown is "down NAME": the machine's daemon and its units end.
func takeDown(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: down NAME")
	}
	stop := ts.Value(membersKey{}).(map[string]func())[args[0]]
	if stop == nil {
		ts.Fatalf("%s was not joined", args[0])
	}
	stop()
}

// fakeSSH is ssh for scripts: it shows how it was called, and lets -L SOCKET:THERE lead there on this host.
func fakeSSH() {
	fmt.Fprintln(os.Stderr, "ssh", strings.Join(os.Args[1:], " "))
	for i, a := range os.Args {
		if a != "-L" {
			continue
		}
		here, there, _ := strings.Cut(os.Args[i+1], ":")
		l, err := net.Listen("unix", here)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(255)
		}
		for {
			c, err := l.Accept()
			if err != nil {
				os.Exit(255)
			}
			go forward(c, there)
		}
	}
	os.Exit(255)
}

func forward(c net.Conn, there string) {
	network := "tcp"
	if strings.HasPrefix(there, "/") {
		network = "unix"
	}
	to, err := net.Dial(network, there)
	if err != nil {
		_ = c.Close()
		return
	}
	go func() {
		_, _ = io.Copy(to, c)
		_ = to.Close()
	}()
	_, _ = io.Copy(c, to)
	_ = c.Close()
}
