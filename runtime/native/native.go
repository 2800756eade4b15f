// Package native runs units where PID 1 is not systemd: by Argosy's own small init, a process of its own that
// outlives the agent. Runtime is the agent's end: it starts the init process when none runs, talks to it over a
// unix socket, and reads the journals from their files. The package leaves every decision about a unit to
// internal/service and internal/engine, and every deed to internal/supervisor.
package native

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/native/internal/early"
	"argosy.dev/argosy/runtime/native/internal/journal"
	"argosy.dev/argosy/runtime/native/internal/proto"
	"argosy.dev/argosy/runtime/native/internal/spawn"
	"argosy.dev/argosy/runtime/native/internal/supervisor"
	"argosy.dev/argosy/unit"
)

var _ runtime.Runtime = (*Runtime)(nil)

// InitName is the first argument that makes the binary act as the init process.
const InitName = "native-init"

// Options say where the runtime lives.
type Options struct {
	// Dir holds the state of units and their journals, over reboots. It is made with mode 0700.
	Dir string
	// RunDir holds pipes, sockets and credentials; best on a tmpfs. It is made with mode 0711.
	RunDir string
	// Init is the command line that starts the init process, such as {"/proc/self/exe", InitName}.
	Init []string
	Log  *slog.Logger
	// Bases are where RuntimeDirectory= and its like are made; empty fields mean DefaultBases.
	// They have to agree with the unit.Host that specifiers such as %t are expanded with.
	Bases Bases
}

// Bases are the folders below which RuntimeDirectory=, StateDirectory=, … are made (systemd.exec(5), table 2).
type Bases = supervisor.Bases

// DefaultBases are systemd's own: /run, /var/lib, /var/cache, /var/log, /etc, and the user's when we are not root.
func DefaultBases() Bases { return supervisor.SystemBases() }

// Entry handles the command lines by which this package starts its own helpers. A main, and the TestMain of a test
// that uses this package, calls it first with os.Args and exits with code when it was handled.
func Entry(args []string, stderr io.Writer) (handled bool, code int) {
	if len(args) < 2 || early.Handled() {
		return false, 0
	}
	switch args[1] {
	case spawn.HelperName:
		return true, spawn.Main()
	case InitName:
		return true, supervisor.Main(args[2:], stderr)
	}
	return false, 0
}

// InitMain is the init process; args are what follows InitName. It ends after Shutdown.
func InitMain(args []string, stderr io.Writer) int { return supervisor.Main(args, stderr) }

// ExecMain is the helper between fork and exec; it returns only on failure, with systemd's exit status.
func ExecMain() int { return spawn.Main() }

// Runtime is an agent's connection to the init process.
type Runtime struct {
	opt  Options
	kick chan struct{}
	link *link
}

// Open connects to the init process of opt.Dir; it starts one, detached, when none runs.
func Open(ctx context.Context, opt Options) (*Runtime, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if opt.Dir, err = filepath.Abs(opt.Dir); err != nil {
		return nil, err
	}
	if opt.RunDir, err = filepath.Abs(opt.RunDir); err != nil {
		return nil, err
	}
	r := &Runtime{opt: opt, kick: make(chan struct{}, 1)}
	r.link = newLink(opt, r.signal)
	if _, err := r.link.call(ctx, &proto.Request{Op: proto.Hello, V: proto.Version}); err != nil {
		r.link.close()
		return nil, err
	}
	return r, nil
}

func (r *Runtime) signal() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Name is native.
func (r *Runtime) Name() string { return "native" }

// Types are service and timer.
func (r *Runtime) Types() []string { return []string{"service", "timer"} }

// Load hands over a unit; see runtime.Runtime.
func (r *Runtime) Load(ctx context.Context, u *unit.Unit) ([]unit.Warning, error) {
	if u.Service == nil && u.Timer == nil {
		return nil, reason.Because(reason.Unsupported, reason.Args{"what": "the native runtime runs services and timers, not " + string(u.Name)})
	}
	bare := *u
	bare.File, bare.Warnings = nil, nil // The init process runs the model; it needs no text.
	m, err := r.link.call(ctx, &proto.Request{Op: proto.Load, Unit: string(u.Name), Hash: u.Hash(), Def: &bare})
	if err != nil {
		return nil, err
	}
	return append(directiveWarnings(u), m.Warnings...), nil
}

// Settle has nothing to do here: Load takes effect at once.
func (r *Runtime) Settle(context.Context) error { return nil }

// Unload forgets a unit that is down, with its journal.
func (r *Runtime) Unload(ctx context.Context, name string) error {
	return r.op(ctx, proto.Unload, name)
}

// Start starts a unit and what it requires.
func (r *Runtime) Start(ctx context.Context, name string) error { return r.op(ctx, proto.Start, name) }

// Stop stops a unit and what requires it.
func (r *Runtime) Stop(ctx context.Context, name string) error { return r.op(ctx, proto.Stop, name) }

// Restart stops and starts a unit.
func (r *Runtime) Restart(ctx context.Context, name string) error {
	return r.op(ctx, proto.Restart, name)
}

// Reload runs ExecReload=.
func (r *Runtime) Reload(ctx context.Context, name string) error {
	return r.op(ctx, proto.Reload, name)
}

func (r *Runtime) op(ctx context.Context, op, name string) error {
	_, err := r.link.call(ctx, &proto.Request{Op: op, Unit: name})
	return err
}

// Kill sends a signal to all processes of a unit.
func (r *Runtime) Kill(ctx context.Context, name string, signal int) error {
	_, err := r.link.call(ctx, &proto.Request{Op: proto.Kill, Unit: name, Signal: signal})
	return err
}

// List tells what is known of every unit, sorted by name. Only what changed since the last List crosses the socket.
func (r *Runtime) List(ctx context.Context) ([]cluster.Evidence, error) { return r.link.list(ctx) }

// Kick is signalled when List would tell something new.
func (r *Runtime) Kick() <-chan struct{} { return r.kick }

// Journal reads the unit's lines from its files; the init process is not needed for that.
func (r *Runtime) Journal(ctx context.Context, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return nil, reason.Because(reason.NameInvalid, reason.Args{"unit": name, "error": "not a file name"})
	}
	rd := journal.NewReader(filepath.Join(r.opt.Dir, "journal", name), name)
	return rd.Stream(ctx, journal.Query{Lines: q.Lines, Invocation: q.Invocation, Since: q.Since}, q.Follow)
}

// Shutdown stops every unit in order and ends the init process. It returns when that is gone or ctx ends.
func (r *Runtime) Shutdown(ctx context.Context) error { return r.link.shutdown(ctx) }

// Replace puts this program's own init process into the place of the one that runs, for an upgrade: the process stays
// and so do its children, so that no unit is touched and no exit status is lost. argv is as Options.Init, but its first
// word has to be a path that the init process can execute, such as os.Executable's.
func (r *Runtime) Replace(ctx context.Context, argv []string) error {
	if len(argv) == 0 {
		return errors.New("no program to replace the init process by")
	}
	return r.link.replace(ctx, argv)
}

// PID is the process id of the init process that was last talked to; 0 before that.
func (r *Runtime) PID() int { return r.link.pid() }

// Close lets go of the init process. It and all units keep running.
func (r *Runtime) Close() error {
	r.link.close()
	return nil
}

// sorted gives the values of the client's picture by name.
func sorted(m map[string]cluster.Evidence) []cluster.Evidence {
	out := make([]cluster.Evidence, 0, len(m))
	for _, e := range m {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b cluster.Evidence) int { return strings.Compare(a.Name, b.Name) })
	return out
}
