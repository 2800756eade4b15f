// Command hosts gives a person some hosts to play with, on this machine, as root: `hosts -n 5`. The argosy binary of this
// checkout is in all of them. It reads faults from its standard input ("help" lists them) and takes everything away
// when it ends, with ctrl-c or in any other way. `hosts exec h1 sh`, in another terminal, is a shell in a host.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"argosy.dev/argosy/hosttest/light"
)

func main() {
	if handled, code := light.Entry(os.Args); handled {
		os.Exit(code) //nolint:forbidigo // This is main.
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "hosts:", err)
		os.Exit(1) //nolint:forbidigo // This is main.
	}
}

// insidePath is where a host has argosy.
const insidePath = "/usr/local/bin/argosy"

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	flags := flag.NewFlagSet("hosts [exec HOST COMMAND...]", flag.ContinueOnError)
	n := flags.Int("n", 3, "how many hosts")
	disk := flags.Int("disk", 1024, "size of each host's ext4 in `MiB`; 0 is a tmpfs, which survives a power loss")
	memory := flags.Int("memory", 0, "limit of each host's memory in `MiB`; 0 is none")
	cpus := flags.Float64("cpus", 0, "limit of each host's processors; 0 is none")
	argosy := flags.String("argosy", "", "the `file` to show as argosy in the hosts; built when it is not given")
	bed := flags.String("bed", "", "for exec: the bed's `name`, where several run")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.Arg(0) == "exec" {
		if flags.NArg() < 3 {
			return errors.New("exec takes a host and a command: hosts exec h1 sh")
		}
		return light.Enter(*bed, flags.Arg(1), flags.Args()[2:])
	}
	if *argosy == "" {
		dir, err := os.MkdirTemp("", "argosy-hosts-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		*argosy = filepath.Join(dir, "argosy")
		if err := build(ctx, *argosy); err != nil {
			return err
		}
	}
	b, err := light.New(light.Options{DiskMiB: *disk, MemoryMiB: *memory, CPUs: *cpus, Binds: map[string]string{*argosy: insidePath}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Down()) }()
	if _, err := b.Up(*n); err != nil {
		return err
	}
	if err := introduce(b, out); err != nil {
		return err
	}
	return obey(ctx, b, in, out)
}

func build(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", to, "argosy.dev/argosy/cmd/argosy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build argosy: %w\n%s", err, out)
	}
	return nil
}

func introduce(b *light.Bed, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, h := range b.Hosts() {
		fmt.Fprintf(out, "%-4s %-12s a shell: %s -bed %s exec %s sh\n", h.Name, h.Address(), self, b.Name(), h.Name)
	}
	fmt.Fprintf(out, "%s is in all of them. \"help\" lists the faults; ctrl-c ends everything.\n", insidePath)
	return nil
}
