// Package systemd runs units under the machine's own systemd: it hands PID 1 canonical unit files, reads back what
// PID 1 made of them before it starts one, and makes evidence from PID 1's properties and its words in the journal.
//
// It decides nothing. Whether a unit is healthy is judge's affair, what is to run the agent's. It owns only the
// unit files that it wrote itself under /run/systemd/system, known by their first lines, and never touches others: a
// name that the machine has from its packages or its administrator is refused, so a packaged redis-server.service is
// submitted under a name of its own, such as argosy-redis-server.service.
package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/unit"
)

// Name is the runtime's name.
const Name = "systemd"

// Options of Open.
type Options struct {
	Log *slog.Logger
	// Host fills the specifiers of units that an agent before this one has loaded.
	Host unit.Host
}

// Runtime is systemd as a runtime.Runtime.
type Runtime struct {
	log   *slog.Logger
	host  unit.Host
	bus   *bus
	kick  chan struct{}
	watch *watcher
	cg    cgroups

	mu      sync.Mutex
	units   map[string]*loaded
	reload  bool     // PID 1 has not read all of our files yet.
	allNews bool     // Every unit is to be read anew.
	lists   int64    // Calls of List so far.
	dirs    []string // PID 1's folders of unit files; nil until they are asked for.
}

var _ runtime.Runtime = (*Runtime)(nil)

// loaded is what is known of one unit of ours.
type loaded struct {
	name string
	hash string
	unit *unit.Unit // nil until it is needed, when an agent before us loaded it.
	// since is when the name became ours: the journal may tell of others before that had it.
	since time.Time

	news     bool    // Read its properties anew.
	seen     row     // What PID 1's list said when they were read.
	seenAt   int64   // Number of the List call that read them.
	evidence details // Of the properties.
	job      string  // How the last job ended: done, failed, dependency, assert, …
	history  history // Of the journal.
}

// Open connects to PID 1. Units that an earlier agent has loaded are found again by their files, and what happened
// to them meanwhile by the journal. The context bounds the opening only.
func Open(ctx context.Context, o Options) (*Runtime, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Runtime{log: o.Log, host: o.Host, kick: make(chan struct{}, 1), units: map[string]*loaded{}, allNews: true, cg: findCgroups()}
	if err := r.readOwnFiles(); err != nil {
		return nil, err
	}
	r.bus = newBus(r.changed, r.jobDone)
	if err := r.prepare(ctx); err != nil {
		r.bus.close()
		return nil, err
	}
	r.watch = newWatcher(o.Log, r.take)
	if err := r.watch.start(ctx); err != nil {
		r.log.Warn("the journal cannot be read: ends of processes are known only from the last run's properties", "error", err)
	}
	return r, nil
}

// prepare makes what all units of ours lean on.
func (r *Runtime) prepare(ctx context.Context) error {
	var version string
	if err := r.bus.callOn(ctx, managerPath, propsIface+".Get", []any{managerIface, "Version"}, &version); err != nil {
		return fmt.Errorf("ask systemd for its version: %w", err)
	}
	for _, dir := range []string{filepath.Dir(startedFile("x")), filepath.Dir(loadedFile("x"))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("prepare the systemd runtime: %w", err)
		}
	}
	return r.cg.prepareHook()
}

// readOwnFiles finds the units that were loaded through this runtime.
func (r *Runtime) readOwnFiles() error {
	files, err := ownFiles()
	if err != nil {
		return fmt.Errorf("read %s: %w", unitDir, err)
	}
	for name, hash := range files {
		r.units[name] = &loaded{name: name, hash: hash, news: true, since: timeOf(loadedFile(name))}
	}
	// An agent that died between its last Load or Unload and Settle has left PID 1 with an older picture.
	pin, err := os.ReadFile(filepath.Join(unitDir, pinName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.reload = len(files) > 0
	case err != nil:
		return err
	default:
		r.reload = len(files) == 0 || !bytes.Equal(pin, pinText(slices.Sorted(maps.Keys(files))))
	}
	return nil
}

// Name is systemd.
func (r *Runtime) Name() string { return Name }

// Types lists the unit types of systemd that a unit file can describe.
func (r *Runtime) Types() []string {
	return []string{"service", "timer", "socket", "path", "mount", "automount", "target", "slice", "swap"}
}

// Kick is signalled when List would tell something new.
func (r *Runtime) Kick() <-chan struct{} { return r.kick }

func (r *Runtime) signal() {
	select {
	case r.kick <- struct{}{}:
	default: // One signal waits already: signals merge.
	}
}

// changed marks that PID 1 knows something new of a unit; "" is every unit.
func (r *Runtime) changed(name, iface string, p props) {
	r.mu.Lock()
	u, ours := r.units[name]
	if name == "" {
		r.allNews = true
	} else if ours {
		u.news = true
		u.history.signalled(iface, p)
	}
	r.mu.Unlock()
	if ours || name == "" {
		r.signal()
	}
}

func (r *Runtime) jobDone(name, result string) {
	r.mu.Lock()
	if u := r.units[name]; u != nil {
		u.job, u.news = result, true
	}
	r.mu.Unlock()
	r.changed(name, "", nil)
}

// take adds an entry of PID 1's journal to the history of its unit.
func (r *Runtime) take(e entry) {
	r.mu.Lock()
	u := r.units[string(e.Unit)]
	news := u != nil && !e.at().Before(u.since) && u.history.take(e)
	if news {
		u.news = true
	}
	r.mu.Unlock()
	if news {
		r.signal()
	}
}

// find gives a unit of ours.
func (r *Runtime) find(name string) (*loaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.units[name]
	if u == nil {
		return nil, reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
	}
	return u, nil
}

// Close lets go of PID 1 and of the journal. Units keep running.
func (r *Runtime) Close() error {
	if r.watch != nil {
		r.watch.stop()
	}
	r.bus.close()
	return nil
}

// Journal gives log lines of one unit from journald.
func (r *Runtime) Journal(ctx context.Context, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	u, err := r.find(name)
	if err != nil {
		return nil, err
	}
	if q.Invocation == "previous" {
		r.mu.Lock()
		q.Invocation = u.history.previous()
		r.mu.Unlock()
	}
	return readJournal(ctx, name, q)
}
