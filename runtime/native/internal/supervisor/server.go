package supervisor

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/proto"
)

// maxReplies bounds what waits for one slow agent; beyond it the connection is closed.
const maxReplies = 64

// conn is one agent.
type conn struct {
	in      *Init
	c       *net.UnixConn
	out     chan *proto.Reply
	kicked  bool // A kick was sent, and no List came since: more kicks would tell nothing new.
	gone    bool
	written chan struct{} // Closed when everything was written that will be.
}

func (in *Init) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				in.log.Error("no more agents are accepted", "error", err)
			}
			return
		}
		u, ok := c.(*net.UnixConn)
		if !ok || !sameUser(u) {
			_ = c.Close()
			continue
		}
		k := &conn{in: in, c: u, out: make(chan *proto.Reply, maxReplies), written: make(chan struct{}), kicked: true}
		if !in.do(func() { in.conns[k] = true }) {
			_ = c.Close()
			return
		}
		go k.read()
		go k.write()
	}
}

// sameUser: only our own user and root may command the init process.
func sameUser(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		ok = err == nil && (int(cred.Uid) == os.Getuid() || cred.Uid == 0)
	})
	return err == nil && ok
}

func (k *conn) read() {
	r := bufio.NewReaderSize(k.c, 64<<10)
	for {
		line, err := readLine(r)
		if err != nil {
			break
		}
		req := &proto.Request{}
		if err := json.Unmarshal(line, req); err != nil {
			break
		}
		if !k.in.do(func() { k.send(k.in.handle(k, req)) }) {
			break
		}
	}
	k.in.do(k.drop)
	_ = k.c.Close()
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var out []byte
	for {
		part, err := r.ReadSlice('\n')
		out = append(out, part...)
		if err == nil {
			return out, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(out) > proto.MaxMessage {
			return nil, io.ErrShortBuffer
		}
	}
}

func (k *conn) write() {
	defer close(k.written)
	enc := json.NewEncoder(k.c)
	for m := range k.out {
		if err := enc.Encode(m); err != nil {
			break
		}
	}
	_ = k.c.Close() // Wakes the reader, which tells the loop.
	for range k.out {
	}
}

// send queues a reply; only the loop calls it.
func (k *conn) send(m *proto.Reply) {
	if k.gone {
		return
	}
	select {
	case k.out <- m:
	default:
		k.in.log.Warn("an agent does not read its replies: disconnected")
		k.drop()
	}
}

func (k *conn) drop() {
	if !k.gone {
		k.gone = true
		close(k.out)
		delete(k.in.conns, k)
	}
}

func (in *Init) handle(k *conn, r *proto.Request) *proto.Reply {
	m := &proto.Reply{ID: r.ID}
	if in.ending && r.Op != proto.Hello && r.Op != proto.List && r.Op != proto.Shutdown {
		m.Error = reason.Because(reason.RuntimeDown, reason.Args{"runtime": "native", "error": "it is being shut down"})
		return m
	}
	switch r.Op {
	case proto.Hello:
		m.V, m.PID = proto.Version, os.Getpid()
	case proto.Load:
		m.Error = in.load(r)
		m.Warnings = append(in.notEnforced(r), in.notLoaded(r)...)
	case proto.Unload:
		m.Error = in.unload(r.Unit)
	case proto.Start:
		m.Error = in.engine.Start(r.Unit)
	case proto.Stop:
		m.Error = in.engine.Stop(r.Unit)
	case proto.Restart:
		m.Error = in.engine.Restart(r.Unit)
	case proto.Reload:
		m.Error = in.engine.Reload(r.Unit)
	case proto.Kill:
		m.Error = in.kill(r.Unit, r.Signal)
	case proto.List:
		in.list(k, r, m)
	case proto.Shutdown:
		in.ending = true
		in.engine.StopAll()
	case proto.Replace:
		m.Error = in.replace(r.Argv)
	case proto.Held, proto.Epoch, proto.Renewed, proto.Condemned, proto.Allow:
		in.handleKeeper(r, m)
	default:
		m.Error = reason.Because(reason.BadRequest, reason.Args{"error": "the init process does not know the operation " + r.Op})
	}
	return m
}

func (in *Init) list(k *conn, r *proto.Request, m *proto.Reply) {
	in.flushDirty()
	in.refreshUsage()
	k.kicked = false
	m.Gen = in.gen
	for _, u := range in.engine.Units() {
		m.Names = append(m.Names, u.Name)
		if r.Since == 0 || u.Gen > r.Since {
			m.Evidence = append(m.Evidence, in.engine.Evidence(u))
		}
	}
}

// usageEvery is how old the figures of List may be.
const usageEvery = 5 * time.Second

// refreshUsage reads what running units use; that it changed is no kick's worth.
func (in *Init) refreshUsage() {
	if time.Since(in.usageAt) < usageEvery {
		return
	}
	in.usageAt = time.Now()
	in.gen++
	for _, u := range in.engine.Units() {
		if u.Service != nil && u.Up() {
			in.count(in.attach(u), u.Service)
			u.Gen = in.gen
		}
	}
}

// kick tells the agents once that there is something new.
func (in *Init) kick() {
	for k := range in.conns {
		if !k.kicked {
			k.kicked = true
			k.send(&proto.Reply{Kick: true})
		}
	}
}
