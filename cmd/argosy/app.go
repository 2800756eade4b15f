package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/node"
)

// defaultHost is where the machine's own cluster answers.
const defaultHost = "unix:///run/argosy/argosy.sock"

// system is what a process has: a test gives its own.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	dir            string // Where local unit files are looked for.
	// termSize gives the size of the terminal that a stream is, if it is one.
	termSize func(w io.Writer) (width, height int, ok bool)
	// node runs a machine until ctx ends: argosy up.
	node func(ctx context.Context, c upConfig) error
	// join makes this machine a member of a cluster: argosy join.
	join func(ctx context.Context, c node.JoinConfig) error
	// dial, when set, connects to a cluster instead of the client: for tests.
	dial func(host string) (door, error)
}

// app is one call of the program.
type app struct {
	system
	now func() time.Time

	host    string
	context string          // The name of one.
	session *client.Session // Of the context in use; nil without.
	output  string
	quiet   bool
	local   bool // What the machine at the socket knows itself, without any server.
	noColor bool
}

// run is the whole program but for its process: it returns the exit code.
func run(ctx context.Context, argv []string, sys system) int {
	a := &app{system: sys, now: time.Now}
	name := filepath.Base(argv[0])
	if name == "fleetctl" {
		return a.runFleet(ctx, argv[1:])
	}
	root := a.rootCommand() //nolint:contextcheck // Its commands get the context from execute.
	return a.execute(ctx, root, argv[1:])
}

// execute runs a command tree and turns its error into words and a code.
func (a *app) execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	a.renew(ctx)
	if err != nil && errors.Is(err, context.Canceled) {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
	}
	code := exitCode(err)
	if err == nil || errors.Is(err, errPipe) {
		return code
	}
	tell(a.stderr, a.errStyle(), a.width(a.stderr), err)
	a.tellMachine(err, code)
	return code
}

// style says how lines on a stream are drawn: colour on a terminal, unless NO_COLOR or --no-color; CLICOLOR_FORCE forces it.
func (a *app) style(w io.Writer) show.Style {
	_, _, tty := a.termSize(w)
	s := show.Style{Color: tty}
	if a.env("TERM") == "dumb" || a.env("CLICOLOR") == "0" {
		s.Color = false
	}
	if f := a.env("CLICOLOR_FORCE"); f != "" && f != "0" {
		s.Color = true
	}
	if a.noColor || a.env("NO_COLOR") != "" {
		s.Color = false
	}
	if tty {
		s.ASCII = !a.utf8()
	}
	return s
}

func (a *app) outStyle() show.Style { return a.style(a.stdout) }
func (a *app) errStyle() show.Style { return a.style(a.stderr) }

// utf8 tells whether the locale has signs beyond ASCII; none set counts as yes, as in containers.
func (a *app) utf8() bool {
	for _, k := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := a.env(k); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}

// width is how wide what goes to a stream may be; 0: as it comes.
func (a *app) width(w io.Writer) int {
	if width, _, ok := a.termSize(w); ok {
		return width
	}
	return 0
}

// terminalSize asks the kernel.
func terminalSize(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24, true
	}
	return width, height, true
}

// connect gives the cluster that is meant.
func (a *app) connect() (door, error) {
	if a.dial != nil {
		t, err := a.target()
		if err != nil {
			return nil, err
		}
		return a.dial(t.host + t.context)
	}
	c, err := a.desk()
	if err != nil {
		return nil, err
	}
	if a.local {
		if a.session != nil {
			return nil, usagef("on the machine: argosy VERB --local", "--local asks the machine at a socket; context %s is a whole cluster", a.session.Context.Name)
		}
		c = c.Local()
	}
	return remote{c}, nil
}

// localFlag lets a verb ask the machine at the socket alone.
func (a *app) localFlag(c *cobra.Command) {
	c.Flags().BoolVar(&a.local, "local", false, "what this machine knows itself; works with every server away")
}
