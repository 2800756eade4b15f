package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"argosy.dev/argosy/reason"
)

// Limits of connections (reliability.md 3.2).
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 60 * time.Second
	maxHeader      = 16 << 10
	socketMode     = 0o660
	dialTimeout    = time.Second // Whether somebody answers on a socket that is already there.
	maxSocketPath  = 107         // sun_path of unix(7), without its closing zero.
	closeTimeout   = 5 * time.Second
	ratePerSecond  = 500 // Requests of one connection; what comes faster waits,
	rateBurst      = 500
	maxPace        = time.Second      // but not longer than this.
	writeTimeout   = 30 * time.Second // Of one write to a slow reader.
	requestTimeout = 30 * time.Second // Of a request that is not a stream.
)

// Group is the group whose members may use the socket.
const Group = "argosy"

// Listen opens a unix socket with mode 0660, of the group when the machine has it. A socket that a dead process
// left is removed; one on which somebody answers is not.
func Listen(path, group string) (net.Listener, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if len(abs) > maxSocketPath {
		return nil, reason.Because(reason.TooLarge, reason.Args{"what": "length of the socket path " + abs, "need": len(abs), "have": maxSocketPath})
	}
	if err := removeStale(abs); err != nil {
		return nil, err
	}
	l, err := listenPrivate(abs)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", abs, err)
	}
	if err := giveToGroup(abs, group); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// listenPrivate binds a socket that is closed to all others until its mode is set: the socket is
// made in a directory of our own (0700) and moved to its place.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	tmp := filepath.Join(dir, "s")
	// By its descriptor, so that the name stays short however long the path is (sun_path).
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/s", d.Fd()), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(tmp, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := os.Rename(tmp, path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &socket{UnixListener: l, path: path}, nil
}

// socket takes its file away when it is closed, if it is still its own.
type socket struct {
	*net.UnixListener
	path string
}

// Close stops listening and removes the socket.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if !errors.Is(err, net.ErrClosed) {
		_ = os.Remove(s.path)
	}
	return err
}

// Addr is the socket's path.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is there and is not a socket: remove it, or choose another --socket", path)
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout) //nolint:noctx // It has its deadline.
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("another argosy answers on %s: stop it, or choose another --socket", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s is there, and whether somebody listens on it cannot be told: %w", path, err)
	}
	return os.Remove(path)
}

func giveToGroup(path, group string) error {
	if group == "" || os.Geteuid() != 0 {
		return nil
	}
	g, err := user.LookupGroup(group)
	if _, ok := errors.AsType[user.UnknownGroupError](err); ok {
		return nil // Only root can use it then.
	}
	if err != nil {
		return fmt.Errorf("group %s: %w", group, err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("group %s has gid %q: %w", group, g.Gid, err)
	}
	return os.Chown(path, -1, gid)
}

// peer is who is at the other end of a connection.
type peer struct {
	who     string
	limiter *rate.Limiter
}

// pace slows a connection down that asks too fast, and refuses what would have to wait too long.
func (p *peer) pace(ctx context.Context) error {
	r := p.limiter.Reserve()
	wait := r.Delay()
	switch {
	case !r.OK() || wait > maxPace:
		r.Cancel()
		return reason.Because(reason.TooMany, reason.Args{"what": "requests a second on one connection", "have": ratePerSecond})
	case wait == 0:
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type peerKey struct{}

type stoppingKey struct{}

// stopping is closed when the server that a request came through is told to end; streams end then.
func stopping(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return c
}

// ConnContext is for http.Server: it keeps who connects (SO_PEERCRED of a unix socket) and the connection's rate limit.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, &peer{who: whoIs(c), limiter: rate.NewLimiter(ratePerSecond, rateBurst)})
}

func peerOf(ctx context.Context) *peer {
	if p, ok := ctx.Value(peerKey{}).(*peer); ok {
		return p
	}
	return &peer{limiter: rate.NewLimiter(rate.Inf, 0)} // A handler that is called without a server: tests, the UI.
}

// whoIs names the user at the other end of a unix socket; empty when it cannot be told.
func whoIs(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ""
	}
	var cred *unix.Ucred
	if err := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || cred == nil {
		return ""
	}
	uid := strconv.FormatUint(uint64(cred.Uid), 10)
	if found, err := user.LookupId(uid); err == nil {
		return found.Username
	}
	return "uid " + uid
}

// Serve answers on a listener until ctx ends; then it closes it, lets running requests end for a while, and ends streams.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	return serveOn(ctx, &http.Server{}, l, h, log)
}

func serveOn(ctx context.Context, s *http.Server, l net.Listener, h http.Handler, log *slog.Logger) error {
	// Requests outlive ctx, so that a change that has begun ends; streams look at stopping.
	base := context.WithValue(context.WithoutCancel(ctx), stoppingKey{}, ctx.Done())
	s.Handler, s.ConnContext, s.ReadHeaderTimeout, s.IdleTimeout, s.MaxHeaderBytes = h, ConnContext, headerTimeout, idleTimeout, maxHeader
	s.BaseContext = func(net.Listener) context.Context { return base }
	s.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		_ = s.Close()
	}
	<-done //nolint:errcheck // http.ErrServerClosed: it was told to end.
	return nil
}
