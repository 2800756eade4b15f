package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/kv"
	"argosy.dev/argosy/node"
	"argosy.dev/argosy/unit"
)

// upConfig is what argosy up was told about its machine.
type upConfig struct {
	data, socket, name string
	listen, peerListen string // HOST:PORT.
	configListen       string // HOST:PORT, or off.
	metadata           map[string]string
	capacity           unit.Resources
	runtime            string
	stopUnits          bool
	log                *slog.Logger
	ready              func()
}

func (a *app) upCommand() *cobra.Command {
	var u upConfig
	c := doc{
		use:   "up [--data=DIR] [--socket=PATH] [--listen=HOST:PORT] [--name=NAME] [--metadata=k=v,…] [--capacity=memory=…,cpu=…,disk=…]",
		short: "Run a machine of a cluster: store, scheduler, agent and API in one process",
		long: `
Runs this machine: a one-machine cluster that is there at once. It goes on until it is told to stop. The units outlive
it: stop it, kill it or replace it, and no unit restarts; started again with the same --data it goes on where it was.
--stop-units ends the units with it.

At first it is reached by its unix socket alone. --listen opens the API to other machines, over mutual TLS: then argosy
token create makes the token with which they join. What was said with --listen is remembered.

--capacity says what may be counted on instead of what is measured: memory and disk as in unit files (512M, 2G), cpu in
cores (1.5). --runtime is auto (systemd where it is PID 1, else Argosy's own small init), native or systemd.`,
		example: `
  argosy up --data /var/lib/argosy
  argosy up --data ./data --socket ./argosy.sock --name m1 --metadata zone=a,disk=ssd
  argosy up --listen 10.0.0.1:7443
  argosy up --data ./data --socket ./argosy.sock --capacity memory=512M,cpu=2`,
		exits: []int{exitOK, exitFailed, exitUsage},
	}.command()
	w := machineFlags(c, &u)
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := a.prepareUp(&u, w); err != nil {
			return err
		}
		return a.node(c.Context(), u)
	}
	return c
}

// machineWords are the flags of a machine as they were written.
type machineWords struct{ metadata, capacity, level, format string }

// machineFlags are the flags of every verb that runs a machine.
func machineFlags(c *cobra.Command, u *upConfig) *machineWords {
	w, f := &machineWords{}, c.Flags()
	f.StringVar(&u.data, "data", "/var/lib/argosy", "directory for everything that is kept")
	f.StringVar(&u.socket, "socket", strings.TrimPrefix(defaultHost, "unix://"), "unix socket of the API")
	f.StringVar(&u.listen, "listen", "", "HOST:PORT of the API for the other machines, over mutual TLS (default: as the last time; at first none)")
	f.StringVar(&u.peerListen, "etcd-listen", "", "HOST:PORT for the traffic between servers' stores (default: --listen with the next port)")
	f.StringVar(&u.configListen, "config-listen", kv.DefaultListen, "loopback HOST:PORT of etcd's API for the users' configuration, or off")
	f.StringVar(&u.name, "name", "", "name of the machine (default: the host's name)")
	f.StringVar(&w.metadata, "metadata", "", "what MachineMetadata= may ask for: zone=a,disk=ssd")
	f.StringVar(&w.capacity, "capacity", "", "what to count on instead of what is measured: memory=512M,cpu=1.5,disk=10G")
	f.StringVar(&u.runtime, "runtime", "auto", "auto, native or systemd")
	f.BoolVar(&u.stopUnits, "stop-units", false, "stop all units when this ends")
	f.StringVar(&w.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&w.format, "log-format", "text", "text or json")
	_ = c.RegisterFlagCompletionFunc("runtime", cobra.FixedCompletions([]string{"auto", "native", "systemd"}, cobra.ShellCompDirectiveNoFileComp))
	return w
}

func (a *app) prepareUp(u *upConfig, w *machineWords) error {
	var err error
	if u.metadata, err = parsePairs("metadata", w.metadata); err != nil {
		return err
	}
	if u.capacity, err = parseCapacity(w.capacity); err != nil {
		return err
	}
	for flag, at := range map[string]string{"listen": u.listen, "etcd-listen": u.peerListen} {
		if _, _, err := net.SplitHostPort(at); at != "" && err != nil {
			return usagef("write it as --"+flag+" 10.0.0.1:7443", "--%s %s: %v", flag, at, err)
		}
	}
	if u.configListen != node.ConfigOff {
		if err := kv.CheckAddress(u.configListen); err != nil {
			return usagef("write it as --config-listen "+kv.DefaultListen+", or as --config-listen "+node.ConfigOff, "--config-listen: %v", err)
		}
	}
	if !slices.Contains([]string{"auto", "native", "systemd"}, u.runtime) {
		return usagef("auto, native and systemd are", "%q is not a runtime", u.runtime)
	}
	if u.data == "" {
		return usagef("", "--data must name a directory")
	}
	for _, p := range []*string{&u.data, &u.socket} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(a.dir, *p)
		}
	}
	if u.log, err = a.logger(w.level, w.format); err != nil {
		return err
	}
	u.ready = a.sayReady(u)
	return nil
}

// logger writes what the machine has to say to stderr.
func (a *app) logger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("debug, info, warn and error are", "%q is not a log level", level)
	}
	if a.quiet {
		l = max(l, slog.LevelWarn)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(a.stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.stderr, opts)), nil
	}
	return nil, usagef("text and json are", "%q is not a log format", format)
}

// sayReady tells a person at a terminal what to do next.
func (a *app) sayReady(u *upConfig) func() {
	return func() {
		if a.quiet {
			return
		}
		s := a.errStyle()
		host := ""
		if u.socket != strings.TrimPrefix(defaultHost, "unix://") {
			host = "ARGOSY_HOST=unix://" + u.socket + " "
		}
		a.note("%s  the cluster is up, pid %d", s.Paint(show.Good, s.Tick()+" ready"), os.Getpid())
		a.note("%s %sargosy status", s.Paint(show.Faint, "next:"), host)
	}
}

// parsePairs reads k=v,k=v.
func parsePairs(flag, text string) (map[string]string, error) {
	out := map[string]string{}
	if text == "" {
		return out, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || k == "" || v == "" {
			return nil, usagef("write it as "+example(flag), "--%s: %q is not key=value", flag, pair)
		}
		if _, twice := out[k]; twice {
			return nil, usagef("a key has one value", "--%s: %s is given twice", flag, k)
		}
		out[k] = v
	}
	return out, nil
}

func example(flag string) string {
	if flag == "capacity" {
		return "--capacity memory=512M,cpu=1.5,disk=10G"
	}
	return "--metadata zone=a,disk=ssd"
}

// parseCapacity reads memory=512M,cpu=1.5,disk=10G. What is left out is measured.
func parseCapacity(text string) (unit.Resources, error) {
	var r unit.Resources
	pairs, err := parsePairs("capacity", text)
	if err != nil {
		return r, err
	}
	for _, k := range []string{"memory", "disk", "cpu"} {
		v, ok := pairs[k]
		delete(pairs, k)
		if !ok {
			continue
		}
		n, err := amount(k, v)
		if err != nil {
			return r, usagef("write it as "+example("capacity"), "--capacity: %s=%s is not an amount", k, v)
		}
		switch k {
		case "memory":
			r.Memory = n
		case "disk":
			r.Disk = n
		case "cpu":
			r.CPU = n
		}
	}
	for k := range pairs {
		return r, usagef("memory, cpu and disk are", "--capacity: %q is not a resource", k)
	}
	return r, nil
}

func amount(key, v string) (int64, error) {
	if key == "cpu" {
		cores, err := strconv.ParseFloat(v, 64)
		if err != nil || cores <= 0 || cores > 1e6 {
			return 0, fmt.Errorf("%s cores", v)
		}
		return int64(cores*1000 + 0.5), nil
	}
	size, err := unit.ParseSize(v)
	if err != nil {
		return 0, err
	}
	if size.Percent != 0 || size.Value <= 0 || size.Value == unit.Infinity {
		return 0, fmt.Errorf("%s bytes", v)
	}
	return size.Value, nil
}
