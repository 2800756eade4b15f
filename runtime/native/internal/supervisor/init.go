// Package supervisor is the init process: it does what package engine decides. One goroutine, the loop, owns the
// engine, forks and reaps; other goroutines only wait for file descriptors and hand what they got to the loop.
// It outlives the agents that talk to it over a unix socket, and what it knows outlives it in state files.
package supervisor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/runtime/native/internal/cgroup"
	"argosy.dev/argosy/runtime/native/internal/engine"
	"argosy.dev/argosy/runtime/native/internal/journal"
	"argosy.dev/argosy/runtime/native/internal/poll"
	"argosy.dev/argosy/runtime/native/internal/proto"
	"argosy.dev/argosy/runtime/native/internal/spawn"
)

// ReadyFD is where the init process tells its starter that it can be talked to: "ready", or what went wrong.
const ReadyFD = 3

// Init is the init process.
type Init struct {
	dir, runDir string
	bases       Bases
	began       time.Time
	boot        string
	listener    *net.UnixListener
	clockFD     int
	same        bool     // We are the process that the init process before us was: what it started are our children.
	args        []string // Our own, for a program that takes our place.
	replaceBy   []string // That program.
	stateFailed bool     // The last state file could not be written: said once.
	usageAt     time.Time
	oomAdjusted bool // Our own oom_score_adj is low; units must not inherit that.
	log         *slog.Logger
	engine      *engine.Engine
	starter     *spawn.Starter
	poller      *poll.Poller
	groups      *cgroup.Machine
	events      chan func()
	children    map[int]string // Processes that we started: to their unit.
	rt          map[string]*attached
	gen         uint64
	dirty       map[string]bool
	conns       map[*conn]bool
	timer       *time.Timer
	stop        context.CancelFunc
	done        chan struct{} // Closed when the loop has ended: nobody takes events any more.
	ending      bool
	readBuf     []byte // The poller's only.
	flushBuf    []byte // The loop's only.
	keeper      fence.Keeper
}

// gcPercent trades a little CPU for memory: this process lives for as long as the machine is up.
const gcPercent = 40

// maxEvents bounds what waits for the loop; who has more to say waits.
const maxEvents = 256

// Main runs the init process until it is told to shut down.
func Main(args []string, stderr io.Writer) int {
	var ready io.WriteCloser = nobody{}
	if !slices.Contains(args, replacedFlag) {
		ready = os.NewFile(ReadyFD, "ready")
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if err := run(args, log, ready); err != nil {
		_, _ = fmt.Fprint(ready, err) // The starter may be gone; the log has it too.
		_ = ready.Close()
		log.Error("the init process ends", "error", err)
		return 1
	}
	return 0
}

// replacedFlag tells the program that took the place of another one in the same process.
const replacedFlag = "-replaced"

// nobody is the starter of a program that took another one's place.
type nobody struct{}

func (nobody) Write(b []byte) (int, error) { return len(b), nil }
func (nobody) Close() error                { return nil }

func run(args []string, log *slog.Logger, ready io.WriteCloser) error {
	fs := flag.NewFlagSet("native-init", flag.ContinueOnError)
	dir := fs.String("dir", "", "state and journals")
	runDir := fs.String("run-dir", "", "pipes, sockets, credentials: gone after a reboot")
	replaced := fs.Bool(strings.TrimPrefix(replacedFlag, "-"), false, "this process was an init process before: nobody waits for it to be ready")
	lockFD := fs.Int("lock-fd", -1, "the lock that the init process before held")
	listenFD := fs.Int("listen-fd", -1, "the socket that the init process before listened on")
	bases := SystemBases()
	fs.StringVar(&bases.Runtime, "runtime-base", bases.Runtime, "where RuntimeDirectory= is made")
	fs.StringVar(&bases.State, "state-base", bases.State, "where StateDirectory= is made")
	fs.StringVar(&bases.Cache, "cache-base", bases.Cache, "where CacheDirectory= is made")
	fs.StringVar(&bases.Logs, "logs-base", bases.Logs, "where LogsDirectory= is made")
	fs.StringVar(&bases.Config, "config-base", bases.Config, "where ConfigurationDirectory= is made")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *dir == "" || *runDir == "" {
		return errors.New("native-init needs -dir and -run-dir")
	}
	lock, err := lockDir(*dir, *lockFD)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	in, err := newInit(*dir, *runDir, log)
	if err != nil {
		return err
	}
	in.same = *replaced
	in.args = []string{
		"-dir", *dir, "-run-dir", *runDir, "-runtime-base", bases.Runtime, "-state-base", bases.State,
		"-cache-base", bases.Cache, "-logs-base", bases.Logs, "-config-base", bases.Config,
	}
	in.bases, in.began = bases, in.readBegan()
	defer in.close()
	l, err := listen(*dir, *listenFD)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	in.stop = stop
	sig := make(chan os.Signal, 16)
	signal.Notify(sig, syscall.SIGCHLD)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	in.restore()
	in.listener = l
	go in.accept(l)
	_, _ = fmt.Fprint(ready, "ready") // The starter may be gone; others will connect.
	_ = ready.Close()
	log.Info("the init process is ready", "replaced", *replaced, "pid", os.Getpid(), "dir", *dir, "cgroups", in.groups.Tracks())
	in.loop(ctx, sig)
	if len(in.replaceBy) > 0 {
		return in.become(lock, l)
	}
	return nil
}

func newInit(dir, runDir string, log *slog.Logger) (*Init, error) {
	unix.Umask(0o022)
	debug.SetGCPercent(gcPercent)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of orphans: %w", err)
	}
	oomErr := os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0)
	if oomErr != nil {
		log.Info("the OOM killer is not told to spare the init process", "error", oomErr)
	}
	for _, d := range []string{filepath.Join(dir, "journal"), filepath.Join(dir, "units"), filepath.Join(runDir, "io")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	starter, err := spawn.NewStarter("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	in := &Init{
		dir: dir, runDir: runDir, log: log, starter: starter, poller: p, groups: cgroup.Detect(groupName(dir)),
		events: make(chan func(), maxEvents), children: map[int]string{}, rt: map[string]*attached{},
		dirty: map[string]bool{}, conns: map[*conn]bool{}, timer: time.NewTimer(time.Hour), done: make(chan struct{}),
		boot: bootID(), readBuf: make([]byte, journal.ReadSize), flushBuf: make([]byte, journal.ReadSize), oomAdjusted: oomErr == nil,
	}
	in.engine = engine.New(in)
	if err := in.watchClock(); err != nil {
		log.Warn("OnCalendar= will not notice when the clock is set", "error", err)
	}
	return in, nil
}

func (in *Init) close() {
	in.poller.Close()
	if in.clockFD > 0 {
		_ = unix.Close(in.clockFD)
	}
	for _, a := range in.rt {
		a.close()
	}
}

// lockDir makes sure that one init process serves a folder.
func lockDir(dir string, held int) (*os.File, error) {
	if held >= 0 {
		unix.CloseOnExec(held)
		return os.NewFile(uintptr(held), "lock"), nil
	}
	f, err := os.OpenFile(filepath.Join(dir, "init.lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errors.New("another init process serves " + dir)
	}
	return f, nil
}

// listen opens the socket. The path goes through an open folder, for a socket's path is short (unix(7)).
func listen(dir string, held int) (*net.UnixListener, error) {
	if held >= 0 {
		unix.CloseOnExec(held)
		f := os.NewFile(uintptr(held), "socket")
		defer func() { _ = f.Close() }()
		l, err := net.FileListener(f)
		if err != nil {
			return nil, err
		}
		return l.(*net.UnixListener), nil
	}
	path := filepath.Join(dir, proto.SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	old := unix.Umask(0o177)
	defer unix.Umask(old)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), proto.SocketName)})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}
