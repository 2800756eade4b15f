// Package node wires one machine: store, runtime, agent, leader, history and API. It is the only room that
// knows every other, and it decides nothing.
package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/agent"
	"argosy.dev/argosy/api"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/history"
	"argosy.dev/argosy/leader"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/native"
	"argosy.dev/argosy/runtime/systemd"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/unit"
)

const (
	aliveTTL   = 10 * time.Second // A machine that is not heard of for so long is not alive.
	leasePause = time.Second
	stopWithin = 10 * time.Second
)

// Config says what this machine is.
type Config struct {
	Data     string            // Directory for everything that is kept. Must be set.
	Socket   string            // Unix socket of the API.
	Name     string            // Of the machine; default: the host name.
	Metadata map[string]string // For MachineMetadata=.
	Capacity unit.Resources    // Overrides what is measured, each where it is not 0.
	Runtime  string            // auto, native or systemd.
	Init     []string          // How to start the native runtime's init process; default: this binary.
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

// node holds the opened parts.
type node struct {
	Config
	id       string
	store    store.Store
	units    runtime.Runtime
	native   *native.Runtime // Nil with systemd.
	view     *store.View
	leading  *store.View // The leader's own.
	agent    *agent.Agent
	leader   *leader.Leader
	api      *api.API
	listener net.Listener
	closers  []closer // Closed in reverse order.
}

type closer struct {
	what  string
	close func() error
}

// open opens every part, and closes what was opened when one fails.
func open(ctx context.Context, c Config) (n *node, err error) {
	n = &node{Config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if n.Name == "" {
		if n.Name, err = os.Hostname(); err != nil {
			return n, fmt.Errorf("name of this machine: %w", err)
		}
	}
	if n.Data, err = filepath.Abs(c.Data); err != nil {
		return n, fmt.Errorf("data directory: %w", err)
	}
	if err = os.MkdirAll(n.Data, 0o700); err != nil {
		return n, fmt.Errorf("data directory: %w", err)
	}
	if n.id, err = machineID(filepath.Join(n.Data, "machine-id")); err != nil {
		return n, err
	}
	if err = os.MkdirAll(filepath.Dir(c.Socket), 0o755); err != nil {
		return n, fmt.Errorf("directory of the socket: %w", err)
	}
	// The socket comes first: it is how a second `argosy up` on the same socket is found out before it touches anything.
	if n.listener, err = api.Listen(c.Socket, api.Group); err != nil {
		return n, err
	}
	n.later("socket", func() error { return ignoreClosed(n.listener.Close()) })
	s, err := etcd.Open(ctx, etcd.Options{Dir: filepath.Join(n.Data, "etcd"), Log: c.Log})
	if err != nil {
		return n, fmt.Errorf("store: %w", err)
	}
	n.store = s
	n.later("store", s.Close)
	if err = n.openRuntime(ctx); err != nil {
		return n, fmt.Errorf("runtime: %w", err)
	}
	n.later("runtime", n.units.Close)
	h, err := history.Open(filepath.Join(n.Data, "history"), c.Log)
	if err != nil {
		return n, fmt.Errorf("history: %w", err)
	}
	n.later("history", h.Close)
	n.wire(history.NewRecorder(h, time.Now, c.Log))
	return n, nil
}

// wire hands every part what it needs.
func (n *node) wire(events *history.Recorder) {
	n.view = store.NewView(n.Log)
	n.leading = n.view.Fork()
	n.leader = leader.New(leader.Config{Store: n.store, View: n.leading, Log: n.Log, Now: time.Now, Seed: 1})
	sockets := agent.ProcSockets("/proc")
	record := agent.Measure(agent.Machine{
		ID: n.id, Name: n.Name, Metadata: n.Metadata, Capacity: n.Capacity, Runtime: n.units.Name(), Types: n.units.Types(),
		Version: n.Version, DataDir: n.Data,
	})
	n.agent = agent.New(agent.Config{
		Machine: n.id, Store: n.store, View: n.view.Fork(), Runtime: n.units, Prober: agent.NewChecks(sockets, n.Log), Sockets: sockets,
		Host: agent.HostFacts(hostID(n.id)), Record: &record, Now: time.Now, Log: n.Log,
	})
	n.api = api.New(api.Config{
		Store: n.store, View: n.view, Journal: n.units, History: events, Explain: n.leader.Explain, Leader: func() string { return n.Name },
		Version: n.Version, MachineID: n.id, Now: time.Now, Log: n.Log,
	})
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

// machineID reads the id that this machine has in the cluster, and makes one at the first start.
func machineID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil {
		if raw, bad := hex.DecodeString(id); bad != nil || len(raw) != 16 {
			return "", fmt.Errorf("%s holds %q, which is not a machine id (32 hex digits)", path, id)
		}
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("machine id: %w", err)
	}
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("machine id: %w", err)
	}
	id := hex.EncodeToString(raw)
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("machine id: %w", err)
	}
	return id, nil
}

// booted tells whether PID 1 is systemd, as sd_booted(3) does.
func booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}
