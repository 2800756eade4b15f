package native

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/proto"
)

// link is the connection to the init process. When it breaks, the next call makes a new one, and a new init process
// if need be.
type link struct {
	opt  Options
	kick func()

	dial sync.Mutex // Held while connecting, so that one init process is started, not two.

	mu      sync.Mutex
	conn    net.Conn
	enc     *json.Encoder
	nextID  uint64
	waiting map[uint64]chan *proto.Reply
	initPID int
	closed  bool
	readers sync.WaitGroup

	listing  sync.Mutex // One List at a time: each builds on the one before.
	gen      uint64
	picture  map[string]cluster.Evidence
	pictured net.Conn // The connection that picture was made over.
}

func newLink(opt Options, kick func()) *link {
	return &link{opt: opt, kick: kick, waiting: map[uint64]chan *proto.Reply{}, picture: map[string]cluster.Evidence{}}
}

var errClosed = errors.New("the runtime is closed")

func (l *link) down(err error) error {
	return reason.Because(reason.RuntimeDown, reason.Args{"runtime": "native", "error": err.Error()})
}

// errBroke: the connection ended before the answer came.
var errBroke = errors.New("the connection broke before the answer")

// call sends a request and waits for its reply.
func (l *link) call(ctx context.Context, r *proto.Request) (*proto.Reply, error) {
	m, _, err := l.callConn(ctx, r)
	return m, err
}

// callConn also tells over which connection the reply came. What may be done twice is tried once more when the init
// process died over it.
func (l *link) callConn(ctx context.Context, r *proto.Request) (*proto.Reply, net.Conn, error) {
	m, c, err := l.try(ctx, r)
	if errors.Is(err, errBroke) {
		switch r.Op {
		case proto.Restart, proto.Reload, proto.Kill, proto.Shutdown:
		default:
			m, c, err = l.try(ctx, r)
		}
	}
	if errors.Is(err, errBroke) {
		err = l.down(err)
	}
	return m, c, err
}

func (l *link) try(ctx context.Context, r *proto.Request) (*proto.Reply, net.Conn, error) {
	c, err := l.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	if r.Op == proto.List && c != l.pictured {
		r.Since = 0 // Another init process counts for itself.
	}
	ch := make(chan *proto.Reply, 1)
	l.mu.Lock()
	if l.conn != c {
		l.mu.Unlock()
		return nil, nil, errBroke
	}
	l.nextID++
	r.ID = l.nextID
	l.waiting[r.ID] = ch
	err = l.enc.Encode(r)
	l.mu.Unlock()
	if err != nil {
		l.drop(c)
		return nil, nil, errBroke
	}
	select {
	case m, ok := <-ch:
		switch {
		case !ok:
			return nil, nil, errBroke
		case m.Error != nil:
			return nil, nil, m.Error
		}
		return m, c, nil
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.waiting, r.ID)
		l.mu.Unlock()
		return nil, nil, ctx.Err()
	}
}

// connect gives the present connection or makes one.
func (l *link) connect(ctx context.Context) (net.Conn, error) {
	l.dial.Lock()
	defer l.dial.Unlock()
	l.mu.Lock()
	c, closed := l.conn, l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return nil, errClosed
	case c != nil:
		return c, nil
	}
	c, err := l.reach(ctx)
	if errors.Is(err, io.EOF) { // It answered the door on its way out: the next one is there by now.
		c, err = l.reach(ctx)
	}
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, errClosed):
		return nil, err
	}
	return nil, l.down(err)
}

// reach connects to the init process, which is started when none runs, and greets it.
func (l *link) reach(ctx context.Context) (net.Conn, error) {
	c, err := dialSocket(ctx, l.opt.Dir)
	if err != nil {
		if err := startInit(ctx, l.opt); err != nil {
			return nil, err
		}
		if c, err = dialSocket(ctx, l.opt.Dir); err != nil {
			return nil, err
		}
	}
	return c, l.adopt(ctx, c)
}

// adopt greets the init process and takes the connection into use.
func (l *link) adopt(ctx context.Context, c net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	r := bufio.NewReaderSize(c, 64<<10)
	m := &proto.Reply{}
	err := json.NewEncoder(c).Encode(&proto.Request{V: proto.Version, Op: proto.Hello})
	if err == nil {
		var line []byte
		if line, err = r.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, m)
		}
	}
	if err == nil && m.V != proto.Version {
		err = fmt.Errorf("the init process (pid %d) speaks version %d of the protocol, this program %d: end it with argosy's other version, or reboot", m.PID, m.V, proto.Version)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close()
		return errClosed
	}
	l.conn, l.enc, l.initPID = c, json.NewEncoder(c), m.PID
	l.readers.Go(func() { l.read(c, r) })
	return nil
}

// read hands out replies until the connection breaks.
func (l *link) read(c net.Conn, r *bufio.Reader) {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			break
		}
		m := &proto.Reply{}
		if err := json.Unmarshal(line, m); err != nil {
			l.opt.Log.Error("the init process said something that is not understood", "error", err)
			break
		}
		if m.Kick {
			l.kick()
			continue
		}
		l.mu.Lock()
		ch := l.waiting[m.ID]
		delete(l.waiting, m.ID)
		l.mu.Unlock()
		if ch != nil {
			ch <- m
		}
	}
	l.drop(c)
	l.kick() // The next List connects anew and tells what is so.
}

func (l *link) drop(c net.Conn) {
	_ = c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != c {
		return
	}
	l.conn, l.enc = nil, nil
	for id, ch := range l.waiting {
		close(ch)
		delete(l.waiting, id)
	}
}

func (l *link) pid() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.initPID
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	c := l.conn
	l.mu.Unlock()
	if c != nil {
		l.drop(c)
	}
	l.readers.Wait()
}

// list brings the picture up to date.
func (l *link) list(ctx context.Context) ([]cluster.Evidence, error) {
	l.listing.Lock()
	defer l.listing.Unlock()
	m, c, err := l.callConn(ctx, &proto.Request{Op: proto.List, Since: l.gen})
	if err != nil {
		return nil, err
	}
	next := make(map[string]cluster.Evidence, len(m.Names))
	for _, e := range m.Evidence {
		next[e.Name] = e
	}
	for _, n := range m.Names {
		if _, ok := next[n]; ok {
			continue
		}
		if e, ok := l.picture[n]; ok && c == l.pictured {
			next[n] = e
		}
	}
	l.gen, l.picture, l.pictured = m.Gen, next, c
	return sorted(next), nil
}

// shutdown ends the init process and waits until it has let go of us.
func (l *link) shutdown(ctx context.Context) error {
	return l.last(ctx, &proto.Request{Op: proto.Shutdown})
}

func (l *link) replace(ctx context.Context, argv []string) error {
	return l.last(ctx, &proto.Request{Op: proto.Replace, Argv: argv})
}

// last sends a request after which the connection ends, and waits for that.
func (l *link) last(ctx context.Context, r *proto.Request) error {
	if _, err := l.call(ctx, r); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { l.readers.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dialSocket connects to the socket in a folder, whatever the length of its path.
func dialSocket(ctx context.Context, dir string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), proto.SocketName))
	if err != nil {
		return nil, fmt.Errorf("connect to the init process at %s: %w", filepath.Join(dir, proto.SocketName), err)
	}
	return c, nil
}

// lockStart lets one agent at a time start an init process.
func lockStart(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, "start.lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
