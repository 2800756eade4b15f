// Package node wires one machine: identity, store, runtime, agent, leader, history and API. It is the only room that
// knows every other, and it decides nothing. A machine lives in one of two ways: as a server, which holds a part of the
// store and may lead, or as an agent, which reaches the store through servers. It changes from one to the other while
// it runs; what units run on stays open meanwhile.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"argosy.dev/argosy/agent"
	"argosy.dev/argosy/api"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/history"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/native"
	"argosy.dev/argosy/runtime/systemd"
	"argosy.dev/argosy/unit"
)

const (
	leasePause = time.Second
	byeWithin  = 3 * time.Second // For telling the cluster that the machine leaves.
	stopWithin = 10 * time.Second
)

// Config says what this machine is.
type Config struct {
	Data   string // Directory for everything that is kept. Must be set.
	Socket string // Unix socket of the API.
	// Listen is HOST:PORT of the API for the rest of the cluster, over mutual TLS; empty: as the last time, at first nowhere.
	Listen string
	// PeerListen is HOST:PORT for the traffic between servers' stores; empty: Listen's host and the port after Listen's.
	PeerListen string
	// ConfigListen is the loopback HOST:PORT where programs on this machine reach the users' configuration by etcd's API
	// (package kv); empty or ConfigOff: nowhere.
	ConfigListen string
	Name         string            // Of the machine; default: the host name.
	Metadata     map[string]string // For MachineMetadata=.
	Capacity     unit.Resources    // Overrides what is measured, each where it is not 0.
	Runtime      string            // auto, native or systemd.
	Init         []string          // How to start the native runtime's init process; default: this binary.
	// StopUnits ends every unit, and the init process, when ctx ends. Without it they outlive us.
	StopUnits bool
	Version   string
	Log       *slog.Logger
	Ready     func() // Called once when the API answers.
}

// Run is the machine's life: it returns when ctx ends (nil) or when something that it cannot do without fails.
func Run(ctx context.Context, c Config) error {
	n, err := open(ctx, c)
	if err != nil {
		return err
	}
	return n.run(ctx)
}

// node holds what stays open as long as the process lives.
type node struct {
	Config
	id       string
	memory   memory // What it knows of its cluster, on disk.
	files    identity.Files
	keeper   *identity.Keeper
	revoked  revocations
	units    runtime.Runtime
	native   *native.Runtime // Nil with systemd.
	events   *history.Recorder
	socket   net.Listener
	network  net.Listener // Nil: the machine listens on the socket only.
	inside   *api.Gate    // Behind the socket,
	outside  *api.Gate    // and behind the network's listener.
	config   *api.Gate    // Behind the door to the users' configuration.
	closers  []closer     // Closed in reverse order.
	wasReady bool
	// initialCluster is how this machine is to join the members of the store; empty: it is not, or has.
	initialCluster string
	recovery       atomic.Pointer[recovery] // What the next life begins with.
}

type closer struct {
	what  string
	close func() error
}

// open opens every part, and closes what was opened when one fails.
func open(ctx context.Context, c Config) (n *node, err error) {
	n = &node{Config: c, inside: api.NewGate(), outside: api.NewGate(), config: api.NewGate()}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if err = n.openData(); err != nil {
		return n, err
	}
	if err = os.MkdirAll(filepath.Dir(c.Socket), 0o755); err != nil {
		return n, fmt.Errorf("directory of the socket: %w", err)
	}
	// The socket comes first: it is how a second `argosy up` on the same socket is found out before it touches anything.
	if n.socket, err = api.Listen(c.Socket, api.Group); err != nil {
		return n, err
	}
	if err = n.memory.answersAt(c.Socket); err != nil {
		return n, err
	}
	n.later("socket", func() error { return ignoreClosed(n.socket.Close()) })
	if err = n.openIdentity(); err != nil {
		return n, fmt.Errorf("identity: %w", err)
	}
	if err = n.listen(ctx); err != nil {
		return n, err
	}
	if err = n.openRuntime(ctx); err != nil {
		return n, fmt.Errorf("runtime: %w", err)
	}
	n.later("runtime", n.units.Close)
	h, err := history.Open(filepath.Join(n.Data, "history"), c.Log)
	if err != nil {
		return n, fmt.Errorf("history: %w", err)
	}
	n.later("history", h.Close)
	n.events = history.NewRecorder(h, time.Now, c.Log)
	return n, nil
}

// openData finds out who this machine is: its directory, its id, its name, what it knows of its cluster.
func (n *node) openData() error {
	var err error
	if n.Name == "" {
		if n.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("name of this machine: %w", err)
		}
	}
	if n.Data, err = filepath.Abs(n.Data); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err = os.MkdirAll(n.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if n.id, err = machineID(filepath.Join(n.Data, "machine-id")); err != nil {
		return err
	}
	if n.memory, err = remember(n.Data); err != nil {
		return err
	}
	return n.memory.addresses(&n.Listen, &n.PeerListen)
}

// hostID is what %m stands for: the machine's own id (machine-id(5)), else the one that it has in the cluster.
func hostID(id string) string {
	b, err := os.ReadFile("/etc/machine-id")
	if own := strings.TrimSpace(string(b)); err == nil && own != "" {
		return own
	}
	return id
}

// openRuntime takes what the machine has: systemd where it is PID 1, else our own init.
func (n *node) openRuntime(ctx context.Context) error {
	kind := n.Runtime
	if kind == "" || kind == "auto" {
		kind = "native"
		if booted() {
			kind = "systemd"
		}
	}
	var err error
	switch kind {
	case "systemd":
		n.units, err = systemd.Open(ctx, systemd.Options{Log: n.Log, Host: agent.HostFacts(hostID(n.id))})
	case "native":
		start := n.Init
		if len(start) == 0 {
			start = []string{"/proc/self/exe", native.InitName}
		}
		n.native, err = native.Open(ctx, native.Options{Dir: filepath.Join(n.Data, "native"), RunDir: runDir(n.Data, n.id), Init: start, Log: n.Log})
		n.units = n.native
	default:
		return fmt.Errorf("%q is not a runtime: auto, native or systemd", kind)
	}
	return err
}

// runDir is where pipes and credentials of this cluster's units lie: on the machine's tmpfs when we may.
func runDir(data, id string) string {
	if os.Geteuid() == 0 {
		return filepath.Join("/run/argosy", cluster.ShortID(id))
	}
	return filepath.Join(data, "run")
}

// end closes everything; units go on unless they were to end with us.
func (n *node) end() error {
	if n.StopUnits {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		if err := n.stopUnits(ctx); err != nil {
			n.Log.Warn("not every unit was stopped", "error", err)
		}
	}
	return n.close()
}

// stopUnits ends the init process with all its units, or every unit that we loaded into systemd.
func (n *node) stopUnits(ctx context.Context) error {
	if n.native != nil {
		return n.native.Shutdown(ctx)
	}
	units, err := n.units.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, u := range units {
		errs = append(errs, n.units.Stop(ctx, u.Name))
	}
	return errors.Join(errs...)
}

func (n *node) later(what string, f func() error) { n.closers = append(n.closers, closer{what, f}) }

func (n *node) close() error {
	var errs []error
	for _, c := range slices.Backward(n.closers) {
		if err := c.close(); err != nil {
			errs = append(errs, fmt.Errorf("close the %s: %w", c.what, err))
		}
	}
	n.closers = nil
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// booted tells whether PID 1 is systemd, as sd_booted(3) does.
func booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}
