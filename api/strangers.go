package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"argosy.dev/argosy/reason"
)

// Limits of those who have not proved who they are, for one address each (reliability.md 3.2). Who has a certificate of
// the cluster is not counted.
const (
	strangersEach = 100             // Connections at once of one address,
	strangersAll  = 1000            // and of all.
	strangerRate  = 10              // Connections a second of one address,
	strangerBurst = 50              // and how many of them at once after a rest.
	joinsEach     = 5               // Joins of one address that failed, at once,
	joinEvery     = time.Minute / 5 // and one more after so long.
	maxSources    = 4096            // Addresses that are remembered.
	sourceBits6   = 64              // Of an IPv6 address, that one site has.
)

// strangers count connections and failed joins by address.
type strangers struct {
	mu   sync.Mutex
	open int
	by   map[netip.Prefix]*source
}

type source struct {
	open  int           // Connections of nobody that are open.
	calls *rate.Limiter // Connections that ended as nobody's.
	joins *rate.Limiter // Joins that failed.
}

func newStrangers() *strangers { return &strangers{by: map[netip.Prefix]*source{}} }

// sourceOf is what is taken for one caller: an IPv4 address, or a site's IPv6 network.
func sourceOf(addr string) netip.Prefix {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = sourceBits6
	}
	p, _ := ip.Prefix(bits) // It fits: bits is that of the kind.
	return p
}

// source finds or makes the entry of an address; s.mu is held. When too many are remembered, those with nothing open and
// nothing against them are forgotten; if all have something, all of the idle ones are.
func (s *strangers) source(p netip.Prefix) *source {
	if x := s.by[p]; x != nil {
		return x
	}
	if len(s.by) >= maxSources {
		for k, x := range s.by {
			if x.open == 0 && x.calls.Tokens() >= strangerBurst && x.joins.Tokens() >= joinsEach {
				delete(s.by, k)
			}
		}
	}
	if len(s.by) >= maxSources {
		for k, x := range s.by {
			if x.open == 0 {
				delete(s.by, k)
			}
		}
	}
	x := &source{calls: rate.NewLimiter(strangerRate, strangerBurst), joins: rate.NewLimiter(rate.Every(joinEvery), joinsEach)}
	s.by[p] = x
	return x
}

// enter tells whether a connection may begin. Every connection is a stranger's until it has proved more.
func (s *strangers) enter(p netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.source(p)
	if x.open >= strangersEach || s.open >= strangersAll || x.calls.Tokens() < 1 {
		return false
	}
	x.open++
	s.open++
	return true
}

// leave ends a stranger's connection: it has ended, or it is a stranger's no more.
func (s *strangers) leave(p netip.Prefix, proved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.source(p)
	x.open = max(0, x.open-1)
	s.open--
	if !proved {
		x.calls.Allow()
	}
}

// mayJoin tells whether an address may try to join; failedJoin counts one that failed.
func (s *strangers) mayJoin(p netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source(p).joins.Tokens() >= 1 {
		return nil
	}
	return reason.Because(reason.TooMany, reason.Args{"what": "failed joins from one address, and one more every " + joinEvery.String(), "have": joinsEach})
}

func (s *strangers) failedJoin(p netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source(p).joins.Allow()
}

// limited is a listener that closes what is too much before it costs anything.
type limited struct {
	net.Listener
	strangers *strangers
}

// Accept gives the next connection that may begin.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := sourceOf(c.RemoteAddr().String())
		if l.strangers.enter(p) {
			return &counted{Conn: c, from: p, strangers: l.strangers}, nil
		}
		_ = c.Close()
	}
}

// counted is a connection that is a stranger's until it is proved, or ends.
type counted struct {
	net.Conn
	from      netip.Prefix
	strangers *strangers
	once      sync.Once
}

func (c *counted) settle(proved bool) { c.once.Do(func() { c.strangers.leave(c.from, proved) }) }

// Close ends the connection.
func (c *counted) Close() error {
	c.settle(false)
	return c.Conn.Close()
}

// ServeTLS is Serve on a network's listener, over TLS, with limits for those who have not proved who they are.
func ServeTLS(ctx context.Context, l net.Listener, conf *tls.Config, h http.Handler, log *slog.Logger) error {
	s := &http.Server{ConnState: func(c net.Conn, state http.ConnState) {
		t, ok := c.(*tls.Conn)
		if !ok || state != http.StateActive || len(t.ConnectionState().VerifiedChains) == 0 {
			return
		}
		if mine, ok := t.NetConn().(*counted); ok {
			mine.settle(true)
		}
	}}
	return serveOn(ctx, s, tls.NewListener(&limited{l, newStrangers()}, conf), h, log)
}

// limitJoins refuses an address that has failed too often to join.
func (a *API) limitJoins(r *http.Request, join func(ctx context.Context) error) error {
	from := sourceOf(r.RemoteAddr)
	if err := a.strangers.mayJoin(from); err != nil {
		return err
	}
	err := join(r.Context())
	if why, ok := errors.AsType[*reason.Reason](err); ok && statusOf(why.Code) == http.StatusForbidden {
		a.strangers.failedJoin(from)
	}
	return err
}
