package remote

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is the network before a server: it can cut its links, and swallow what they carry.
type proxy struct {
	l      net.Listener
	to     string
	mu     sync.Mutex
	links  map[net.Conn]struct{}
	frozen chan struct{} // Closed when links are to carry nothing any more.
	own    sync.WaitGroup
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to, links: map[net.Conn]struct{}{}, frozen: make(chan struct{})}
	p.own.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.own.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.links[in], p.links[out] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.own.Go(func() { p.carry(in, out) })
		p.own.Go(func() { p.carry(out, in) })
	}
}

func (p *proxy) carry(from, to net.Conn) {
	defer func() {
		_, _ = from.Close(), to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, from)
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-p.frozen: // Taken, and never handed on; the link stays open.
			if err == nil {
				_, _ = io.Copy(io.Discard, from)
			}
			return
		default:
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut breaks all links; new ones are taken.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.links {
		_ = c.Close()
	}
}

// freeze makes all links silent without closing them, for good.
func (p *proxy) freeze() { close(p.frozen) }

// die breaks all links and takes no new ones.
func (p *proxy) die() {
	_ = p.l.Close()
	p.cut()
}
