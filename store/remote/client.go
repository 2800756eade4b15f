package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// Patience of one try; then the next server is asked. An election of the store's leader takes longer than a try, and
// is waited out by further tries, up to the bound of the whole call.
const (
	readTry   = 2500 * time.Millisecond // Until the first line, and from line to line.
	writeTry  = 2 * time.Second
	grantTry  = 2 * time.Second
	renewTry  = time.Second // A lease of 12 s is renewed every 3 s: time for three servers.
	healthTry = 2 * time.Second
	dialTry   = 700 * time.Millisecond
	tlsTry    = 2 * time.Second
	askBound  = 15 * time.Second // Of a call over all servers and rounds.

	firstPause = 50 * time.Millisecond // Between rounds over all servers, doubling, with jitter,
	lastPause  = 2 * time.Second       // up to this.

	pingAfter   = 3 * time.Second // A silent HTTP/2 connection is asked for a sign of life,
	pingTimeout = 3 * time.Second // and given up without one.
	idleTimeout = 60 * time.Second
	connsEach   = 4 // Idle connections to one server, where it speaks only HTTP/1.

	maxLine    = 4 << 20   // Bytes of a line: an entry of the largest value as JSON, and more.
	maxPicture = 512 << 20 // Bytes of a part.
	maxAnswer  = 1 << 20
)

// Options of a Store.
type Options struct {
	// Servers gives the servers' addresses now (host:port), the preferred one first. It is asked again for every try:
	// each goes to the first that has not failed just before. To share the load, give each machine another order.
	Servers func() []string
	// TLS proves who this machine is and checks that the other side is a server of the cluster. nil: plain HTTP, for tests.
	TLS     *tls.Config
	Machine string // This machine's id: the only one for which it may write.
	Log     *slog.Logger
}

// Store is a store.Store and a store.Leaser over the servers' API. Read and Watch know one prefix, store.PartPrefix of
// this machine. Make it with New.
type Store struct {
	o      Options
	scheme string
	http   *http.Client
	board  *board
	sign   func(*http.Request, store.Writer) // Only in the tests of conformance.
	ctx    context.Context                   // Ends with Close.
	cancel context.CancelFunc
	mu     sync.Mutex // Guards that no watch begins while Close waits for them.
	own    sync.WaitGroup
}

var (
	errClosed   = errors.New("the store is closed")
	errNoServer = errors.New("no server is known")
)

// New makes a store; it connects when it is first asked.
func New(o Options) (*Store, error) {
	if o.Servers == nil || o.Log == nil {
		return nil, errors.New("a remote store needs its servers and a log")
	}
	if _, ok := store.CutPart(store.PartPrefix(o.Machine)); !ok {
		return nil, fmt.Errorf("a remote store needs its machine's id, not %q", o.Machine)
	}
	s := &Store{o: o, scheme: "http", board: newBoard()}
	transport := &http.Transport{
		Proxy:               nil, // Never one from the environment: the way to the servers is the cluster's own.
		DialContext:         (&net.Dialer{Timeout: dialTry, KeepAlive: pingAfter}).DialContext,
		TLSHandshakeTimeout: tlsTry, IdleConnTimeout: idleTimeout, MaxIdleConnsPerHost: connsEach, DisableCompression: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	if o.TLS != nil {
		s.scheme, transport.TLSClientConfig, transport.ForceAttemptHTTP2 = "https", o.TLS.Clone(), true
	}
	s.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close ends watches, leases and calls.
func (s *Store) Close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.own.Wait()
	s.http.CloseIdleConnections()
	return nil
}

// call is one request, that any server may answer.
type call struct {
	path   string
	by     store.Writer
	body   any // nil: GET.
	query  string
	try    time.Duration
	repeat bool // Also when it may have been done.

	sending func() // Called right before each try; nil: nothing.
}

// outcome is what a try that gave no final answer says about the request.
type outcome int

const (
	final     outcome = iota // This is the answer, from whichever server.
	elsewhere                // Nothing was done; another server may.
	unknown                  // No answer; it may have been done.
)

// ask sends a call to the servers in turn until one gives a final answer. take reads the body of a good answer.
func (s *Store) ask(ctx context.Context, c call, take func(ctx context.Context, r io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	var body []byte
	if c.body != nil {
		body = encode(c.body)
	}
	err, perhaps := error(nil), false
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		servers := s.board.order(s.o.Servers(), time.Now())
		if len(servers) == 0 {
			err = errNoServer
		}
		for _, addr := range servers {
			var what outcome
			what, err = s.try(ctx, addr, c, body, take)
			switch {
			case what == final && perhaps && errors.Is(err, store.ErrStale) && !errors.Is(err, store.ErrCondemned):
				// An earlier try may be what changed it: that this write was not done would be a guess.
				return store.Unavailable(fmt.Errorf("an earlier try gave no answer, and now: %w", err))
			case what == final:
				return err
			case what == unknown && !c.repeat:
				return s.gone(err)
			case ctx.Err() != nil:
				return s.gone(err)
			}
			perhaps = perhaps || what == unknown
			s.o.Log.Debug("a server did not answer, asking the next", "server", addr, "path", c.path, "error", err)
		}
		pause(ctx, jitter(wait))
		if ctx.Err() != nil {
			return s.gone(err)
		}
	}
}

// gone is the error of a call without a final answer.
func (s *Store) gone(err error) error {
	if s.ctx.Err() != nil {
		return store.Unavailable(errClosed)
	}
	if r, ok := errors.AsType[*reason.Reason](err); ok {
		return r // Of a server that could not: it knows better.
	}
	return store.Unavailable(err)
}

// try sends a call to one server.
func (s *Store) try(ctx context.Context, addr string, c call, body []byte, take func(context.Context, io.Reader) error) (outcome, error) {
	resp, lead, what, err := s.open(ctx, addr, c, body)
	if err != nil {
		return what, err
	}
	defer lead.end()
	defer func() { _ = resp.Body.Close() }()
	if err := take(lead.ctx, &patient{r: resp.Body, lead: lead, each: c.try}); err != nil {
		if _, ok := errors.AsType[*brokenError](err); !ok {
			return final, err
		}
		s.board.failed(addr, time.Now())
		return unknown, fmt.Errorf("%s: %w", addr, lead.cause(err))
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 1) // To the end, so that the connection is free again.
	s.board.answered(addr)
	return final, nil
}

// brokenError says that an answer broke off.
type brokenError struct{ error }

func (e brokenError) Unwrap() error { return e.error }

func broken(err error) error { return &brokenError{err} }

// open sends a request and returns a good answer's head. The leash ends what takes longer than it is given.
func (s *Store) open(ctx context.Context, addr string, c call, body []byte) (*http.Response, *leash, outcome, error) {
	lead := newLeash(ctx, c.try)
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(lead.ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := s.request(traced, addr, c, body)
	if err != nil {
		lead.end()
		return nil, nil, final, err
	}
	if c.sending != nil {
		c.sending()
	}
	resp, err := s.http.Do(req)
	if err != nil {
		err = fmt.Errorf("%s: %w", addr, lead.cause(err))
		lead.end()
		if ctx.Err() == nil {
			s.board.failed(addr, time.Now())
		}
		if sent.Load() {
			return nil, nil, unknown, err
		}
		return nil, nil, elsewhere, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, lead, final, nil
	}
	what, err := explain(resp)
	_ = resp.Body.Close()
	lead.end()
	if what == final {
		s.board.answered(addr)
	} else {
		s.board.failed(addr, time.Now())
		err = fmt.Errorf("%s: %w", addr, err)
	}
	return nil, nil, what, err
}

func (s *Store) request(ctx context.Context, addr string, c call, body []byte) (*http.Request, error) {
	method, content := http.MethodPost, io.Reader(bytes.NewReader(body))
	if body == nil {
		method, content = http.MethodGet, nil
	}
	req, err := http.NewRequestWithContext(ctx, method, s.scheme+"://"+addr+c.path+c.query, content)
	if err != nil {
		return nil, fmt.Errorf("the address of a server is %q: %w", addr, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.sign != nil {
		s.sign(req, c.by)
	}
	return req, nil
}

// explain tells what an answer that is not good says. One that is not of Handler comes from a machine that is no
// server, or from what stands before it.
func explain(resp *http.Response) (outcome, error) {
	var a struct {
		Fault *fault      `json:"fault"`
		Code  reason.Code `json:"code"` // Of a wire.Problem, such as the API's refusal of a revoked machine.
		Args  reason.Args `json:"args"`
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || json.Unmarshal(b, &a) != nil || a.Fault == nil {
		a.Fault = nil
	}
	refusal := fmt.Errorf("the server answers %s", resp.Status)
	switch {
	case a.Fault != nil && a.Fault.Kind == isAway:
		return elsewhere, a.Fault.err()
	case a.Fault != nil && a.Fault.Kind == isUnknown:
		return unknown, a.Fault.err()
	case a.Fault != nil:
		return final, a.Fault.err()
	case resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized:
		if a.Code != "" {
			return final, fmt.Errorf("%w: %w", store.ErrForbidden, &reason.Reason{Code: a.Code, Args: a.Args})
		}
		return final, fmt.Errorf("%w: %w", store.ErrForbidden, refusal)
	case resp.StatusCode >= http.StatusInternalServerError && resp.StatusCode != http.StatusServiceUnavailable:
		return unknown, refusal
	}
	return elsewhere, refusal
}

// leash cancels a request that takes longer than it is given.
type leash struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

var errSilent = errors.New("no answer in time")

func newLeash(ctx context.Context, d time.Duration) *leash {
	ctx, cancel := context.WithCancelCause(ctx)
	return &leash{ctx: ctx, cancel: cancel, timer: time.AfterFunc(d, func() { cancel(errSilent) })}
}

func (l *leash) end() {
	l.timer.Stop()
	l.cancel(nil)
}

// cause prefers why the leash was pulled to what that looks like.
func (l *leash) cause(err error) error {
	if errors.Is(context.Cause(l.ctx), errSilent) {
		return errSilent
	}
	return err
}

// patient reads from a server that may fall silent: every read has its own bound, and what the reader does between
// two reads does not count.
type patient struct {
	r    io.Reader
	lead *leash
	each time.Duration
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	p.lead.timer.Reset(p.each)
	n, err := p.r.Read(b)
	p.lead.timer.Stop()
	return n, err
}

// jitter spreads pauses, so that machines that lost the same server do not come back together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
