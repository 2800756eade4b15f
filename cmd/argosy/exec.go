package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/shell"
)

// runShell is what exec and ssh share: begin says where.
type runShell struct {
	cmd   shell.Command
	stdin bool
	begin func(ctx context.Context, c *client.Client, cmd shell.Command) (io.ReadWriteCloser, error)
}

func (a *app) execCommand() *cobra.Command {
	var tty, interactive bool
	c := doc{
		use: "exec [-it] UNIT -- COMMAND [ARGUMENT...]", short: "Run a command in a running unit's surroundings",
		long: `
Runs a command where the unit runs: on its machine, in its network and root directory, as its user, with its environment
and working directory. Output comes as it is made; the exit status is the command's (128 and the signal when a signal
ended it). -i passes standard input on, -t gives it a terminal. Who may change machines may do this (role operator), and
each call is written to the audit log.`,
		example: `
  argosy exec web@1 -- env
  argosy exec -it web@1 -- sh`,
		exits: []int{exitOK, exitFailed, exitUsage, exitNoUnit, exitUnreachable, exitNotAllowed},
	}.command()
	c.Flags().BoolVarP(&interactive, "interactive", "i", false, "pass standard input on")
	c.Flags().BoolVarP(&tty, "tty", "t", false, "on a terminal of its own")
	c.ValidArgsFunction = a.completeUnits
	c.Args = func(c *cobra.Command, args []string) error {
		if c.ArgsLenAtDash() != 1 || len(args) < 2 {
			return usagef("argosy exec UNIT -- COMMAND", "exec needs a unit, then --, then a command")
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.shell(c.Context(), runShell{
			cmd: shell.Command{Argv: args[1:], TTY: tty}, stdin: interactive,
			begin: func(ctx context.Context, to *client.Client, cmd shell.Command) (io.ReadWriteCloser, error) {
				return to.UnitShell(ctx, args[0], cmd)
			},
		})
	}
	return c
}

func (a *app) sshCommand() *cobra.Command {
	c := doc{
		use: "ssh UNIT|MACHINE [-- COMMAND [ARGUMENT...]]", short: "A shell in a unit's surroundings or on a machine, without ssh keys",
		long: `
Opens a shell with a terminal over the cluster's own connections: no ssh daemon, no keys. A machine goes by its name or
id and gives a shell as root (role admin); everything else is a unit, as in argosy exec (role operator). With a command
and no terminal it runs that. Each call is written to the audit log.`,
		example: `
  argosy ssh m2
  argosy ssh web@1
  argosy ssh m2 -- uptime`,
		exits: []int{exitOK, exitFailed, exitUsage, exitNoUnit, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 || (len(args) > 1 && c.ArgsLenAtDash() != 1) {
			return usagef("argosy ssh UNIT|MACHINE [-- COMMAND]", "ssh needs one unit or machine")
		}
		return nil
	}
	c.ValidArgsFunction = a.completeUnits
	c.RunE = func(c *cobra.Command, args []string) error {
		_, _, out := a.termSize(a.stdout)
		return a.shell(c.Context(), runShell{
			cmd: shell.Command{Argv: args[1:], TTY: out}, stdin: true,
			begin: func(ctx context.Context, to *client.Client, cmd shell.Command) (io.ReadWriteCloser, error) {
				conn, err := to.MachineShell(ctx, args[0], cmd)
				if r, ok := errors.AsType[*reason.Reason](err); ok && r.Code == reason.NoSuchMachine {
					return to.UnitShell(ctx, args[0], cmd)
				}
				return conn, err
			},
		})
	}
	return c
}

// shell runs a command far away with this process's streams, and ends with its status.
func (a *app) shell(ctx context.Context, s runShell) error {
	to, err := a.desk()
	if err != nil {
		return err
	}
	return a.shellAt(ctx, to, s)
}

// shellAt is shell in a cluster that was found already.
func (a *app) shellAt(ctx context.Context, to *client.Client, s runShell) error {
	p := shell.Person{Out: a.stdout, Err: a.stderr}
	if s.stdin {
		p.In = a.stdin
	}
	if s.cmd.TTY {
		restore, err := a.rawTerminal(&s.cmd, &p)
		if err != nil {
			return err
		}
		defer restore()
	}
	conn, err := s.begin(ctx, to, s.cmd)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	status, err := shell.Attach(conn, p)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return &exitError{code: exitFailed, err: err}
	case status != 0:
		return &exitError{code: status}
	}
	return nil
}

// rawTerminal gives the person's terminal to the far command: every key goes there, and its size.
func (a *app) rawTerminal(cmd *shell.Command, p *shell.Person) (restore func(), err error) {
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return func() {}, nil // A terminal there, none here: a script that drives one.
	}
	cmd.Term = a.env("TERM")
	size := func() [2]uint16 {
		w, h, err := term.GetSize(int(in.Fd()))
		if err != nil {
			return [2]uint16{80, 24}
		}
		return [2]uint16{uint16(w), uint16(h)}
	}
	first := size()
	cmd.Cols, cmd.Rows = first[0], first[1]
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	changed, sizes, done := make(chan os.Signal, 1), make(chan [2]uint16), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changed:
			case <-done:
				close(sizes)
				return
			}
			select {
			case sizes <- size():
			case <-done:
				close(sizes)
				return
			}
		}
	}()
	p.Sizes = sizes
	return func() {
		signal.Stop(changed)
		close(done)
		_ = term.Restore(int(in.Fd()), before) // Nothing better can be done.
	}, nil
}
