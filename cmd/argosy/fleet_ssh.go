package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/shell"
	"argosy.dev/argosy/unit"
)

// ssh opens a shell on a machine, or runs a command there, as fleet's did: a unit stands for the machine that it is on.
// It goes over the API; no ssh daemon is asked.
func (f *fleetctl) ssh() *cobra.Command {
	var machine, name string
	c := &cobra.Command{
		Use: "ssh [--machine|--unit] {MACHINE|UNIT} [COMMAND...]", Short: "Open a shell on a machine of the cluster, or on that of a unit, or run a command there",
		Args: cobra.ArbitraryArgs, DisableFlagsInUseLine: true,
	}
	c.Flags().SetInterspersed(false) // What comes after the machine is the command's.
	c.Flags().StringVar(&machine, "machine", "", "this machine")
	c.Flags().StringVar(&name, "unit", "", "the machine of this unit")
	c.Flags().BoolP("forward-agent", "A", false, "taken and ignored: no ssh agent is needed")
	c.Flags().Int("ssh-port", 22, "taken and ignored")
	c.RunE = func(c *cobra.Command, args []string) error {
		if machine == "" && name == "" {
			if len(args) == 0 {
				return usagef("fleetctl ssh UNIT, or MACHINE", "Provide one machine or unit")
			}
			machine, args = args[0], args[1:]
			name = machine
		}
		to, err := f.desk(c.Context())
		if err != nil {
			return err
		}
		id, err := f.machineFor(c.Context(), remote{to}, machine, name)
		if err != nil {
			return err
		}
		cmd := shell.Command{}
		if _, _, terminal := f.termSize(f.stdout); len(args) == 0 {
			cmd.TTY = terminal
		} else {
			cmd.Argv = []string{"/bin/sh", "-c", strings.Join(args, " ")} // As ssh hands it to a shell there.
		}
		return f.shellAt(c.Context(), to, runShell{
			cmd: cmd, stdin: true,
			begin: func(ctx context.Context, to *client.Client, cmd shell.Command) (io.ReadWriteCloser, error) {
				return to.MachineShell(ctx, id, cmd)
			},
		})
	}
	return c
}

// machineFor finds a machine by its id, the beginning of it, or its name; else by a unit that is on it.
func (f *fleetctl) machineFor(ctx context.Context, d door, machine, name string) (string, error) {
	list, err := d.Machines(ctx)
	if err != nil {
		return "", err
	}
	found := ""
	for _, m := range list.Machines {
		if machine == "" || m.ID != machine && m.Name != machine && !strings.HasPrefix(m.ID, machine) {
			continue
		}
		if found != "" {
			return "", usagef("name more of its id", "Found more than one machine %s", show.Clean(machine))
		}
		found = m.ID
	}
	if found != "" || name == "" {
		if found == "" {
			return "", &exitError{code: exitFailed, err: errNoMachine(machine)}
		}
		return found, nil
	}
	n, err := unit.Mangle(name)
	if err != nil {
		return "", err
	}
	units, err := d.Units(ctx, string(n))
	if err != nil {
		return "", err
	}
	if len(units.Units) == 0 {
		return "", &exitError{code: exitFailed, err: errNoMachine(name)}
	}
	return onOne(units.Units[0])
}

type errNoMachine string

func (e errNoMachine) Error() string {
	return show.Clean(string(e)) + " is neither a machine nor a unit of this cluster"
}

// onOne is the machine of a unit that is on one only.
func onOne(u cluster.Answer) (string, error) {
	switch {
	case u.Global:
		return "", usagef("fleetctl ssh --machine MACHINE", "%s is a global unit: it is on several machines", show.Name(u.Unit))
	case u.MachineID == "":
		return "", &exitError{code: exitFailed, err: errNowhere(u.Unit)}
	}
	return u.MachineID, nil
}

type errNowhere string

func (e errNowhere) Error() string { return show.Name(string(e)) + " is on no machine" }
