package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of calls to one of several servers.
const (
	nextServer = 250 * time.Millisecond // How long one server has for itself before the next one is tried beside it.
	pickWithin = 10 * time.Second       // For all of them together.
)

// NewServers makes a client of a cluster that is reached at any of several servers: what is asked goes to the first one
// that answers, and to another one when that goes away. conf says who has to answer and who calls; name is the
// cluster's, for messages.
func NewServers(name string, servers func() []string, conf *tls.Config) *Client {
	s := &pool{list: servers, conf: conf, dialer: net.Dialer{Timeout: dialTimeout}, failed: map[string]bool{}}
	return &Client{
		host: name, base: url.URL{Scheme: "https", Host: "argosy.server"}, // Whoever it is: dial chooses.
		servers: s, renew: &atomic.Bool{}, connect: func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, "tcp", "") },
		http: &http.Client{Transport: &http.Transport{
			DialTLSContext: s.dial, TLSClientConfig: conf, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: time.Minute, DisableCompression: true,
		}},
	}
}

// pool are the servers of one cluster.
type pool struct {
	list   func() []string
	conf   *tls.Config
	dialer net.Dialer

	mu     sync.Mutex
	failed map[string]bool // These are tried last.
	last   string          // The one that answered last.
}

// order lists the servers: the one that answered last, then those that nobody has anything against.
func (s *pool) order() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first, good, bad []string
	for _, a := range s.list() {
		switch {
		case s.failed[a]:
			bad = append(bad, a)
		case a == s.last:
			first = append(first, a)
		default:
			good = append(good, a)
		}
	}
	return append(append(first, good...), bad...)
}

// avoid makes the server that answered last the last choice of the next connection.
func (s *pool) avoid() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != "" {
		s.failed[s.last] = true
	}
	s.last = ""
}

func (s *pool) note(address string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed[address] = !ok; ok {
		s.last = address
	}
}

// noServer is why each server did not answer.
type noServer struct{ errs []error }

func (e *noServer) Error() string {
	if len(e.errs) == 0 {
		return "no server is known"
	}
	var all []string
	for _, err := range e.errs {
		all = append(all, err.Error())
	}
	return strings.Join(all, "; ")
}

// Unwrap lets errors.As find a reason: a server that is not of this cluster says more than one that is away.
func (e *noServer) Unwrap() []error { return e.errs }

// dial races the servers, each with a start over the next: a dead one costs nextServer and no more.
func (s *pool) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, pickWithin)
	defer cancel()
	list := s.order()
	type outcome struct {
		address string
		conn    net.Conn
		err     error
	}
	out := make(chan outcome, len(list))
	bad := &noServer{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	begun, waiting := 0, 0
	for begun < len(list) || waiting > 0 {
		next := timer.C
		if begun == len(list) {
			next = nil
		}
		select {
		case <-next:
			address := list[begun]
			begun, waiting = begun+1, waiting+1
			go func() {
				c, err := s.one(ctx, network, address)
				out <- outcome{address, c, err}
			}()
			timer.Reset(nextServer)
		case o := <-out:
			waiting--
			s.note(o.address, o.err == nil)
			if o.err == nil {
				go func(rest int) { // The slower ones are not needed.
					for range rest {
						if late := <-out; late.conn != nil {
							_ = late.conn.Close()
						}
					}
				}(waiting)
				return o.conn, nil
			}
			bad.errs = append(bad.errs, fmt.Errorf("%s: %w", o.address, plainDial(o.err)))
			timer.Reset(0)
		}
	}
	return nil, bad
}

func (s *pool) one(ctx context.Context, network, address string) (net.Conn, error) {
	d := tls.Dialer{NetDialer: &s.dialer, Config: s.conf}
	return d.DialContext(ctx, network, address)
}

// plainDial leaves out the address, which is said already.
func plainDial(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return op.Err
	}
	return err
}
