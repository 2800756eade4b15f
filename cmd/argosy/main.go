// Command argosy is systemd for a cluster that tells you the truth: one file per verb, flags, exit codes and what
// people read. Called as fleetctl it speaks fleet's verbs, flags and columns. It leaves every decision to the cluster
// that it talks to, and drawing to internal/show.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"argosy.dev/argosy/runtime/native"
)

// version is set when the program is built: -ldflags "-X main.version=…".
var version = "dev"

func main() {
	// The init process of the native runtime, and the helper between fork and exec, are this program, too.
	if handled, code := native.Entry(os.Args, os.Stderr); handled {
		os.Exit(code)
	}
	os.Exit(start(os.Args))
}

// oneGesture is how long signals count as one: ctrl-c reaches every process of a terminal, and a script that is among
// them may pass it on.
const oneGesture = time.Second

// start connects the program to its process: arguments, standard streams, signals.
func start(argv []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		cancel(interrupted{<-signals})
		first := time.Now()
		for range signals { // Once more: what there is to say has had its time.
			if time.Since(first) > oneGesture {
				os.Exit(exitInterrupted)
			}
		}
	}()
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	return run(ctx, argv, system{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, dir: dir,
		termSize: terminalSize, node: runNode, join: runJoin,
	})
}
