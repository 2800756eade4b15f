// Package client speaks Argosy's HTTP API: a typed method for each call under /v1, watches that go on after a broken
// connection, and errors that carry the server's *reason.Reason. It holds no state of the cluster and prints nothing.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Bounds of the client.
const (
	dialTimeout = 5 * time.Second
	callTimeout = 90 * time.Second // Of a call that is not a stream, when the caller's context has no deadline.
	maxAnswer   = 256 << 20        // Bytes of one answer.
	maxProblem  = 1 << 20          // Bytes of one error.
	maxIdle     = 4                // Connections that are kept for the next call.
)

// Client talks to one Argosy. It is safe for concurrent use.
type Client struct {
	host string // As given, for messages.
	base url.URL
	http *http.Client
	// servers are those of a client of several, else nil.
	servers *pool
	// connect makes a connection of a client over TLS, else nil: see refusal.
	connect func(ctx context.Context) (net.Conn, error)
	renew   *atomic.Bool // A server has asked for a renewal; nil: nobody who could is there.
}

// New makes a client of unix:///path or http://address. It does not connect yet.
func New(host string) (*Client, error) {
	u, err := url.Parse(host)
	if err != nil {
		return nil, badHost(host, err.Error())
	}
	c := &Client{host: host, base: *u}
	dialer := &net.Dialer{Timeout: dialTimeout}
	t := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: time.Minute, DisableCompression: true}
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		path := u.Path
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
		c.base = url.URL{Scheme: "http", Host: "argosy"} // Only to be a URL: the socket is what counts.
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		c.base = url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}
		t.Proxy = http.ProxyFromEnvironment
	default:
		return nil, badHost(host, "it is neither unix:///PATH nor http://ADDRESS")
	}
	c.http = &http.Client{Transport: t}
	return c, nil
}

func badHost(host, text string) error {
	return reason.Because(reason.BadRequest, reason.Args{"error": fmt.Sprintf("ARGOSY_HOST %q: %s", host, text)})
}

// Host is the address that the client was made of.
func (c *Client) Host() string { return c.host }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is an error that the server told. errors.AsType[*reason.Reason] finds its reason; Reasons gives all.
type Error struct{ wire.Problem }

// Error is the server's sentence.
func (e *Error) Error() string { return e.Detail }

// Reason is the first, or only, reason.
func (e *Error) Reason() *reason.Reason {
	return &reason.Reason{Code: e.Code, Args: e.Args, Candidates: e.Candidates}
}

// Reasons are all reasons that spoke against the request.
func (e *Error) Reasons() []*reason.Reason { return append([]*reason.Reason{e.Reason()}, e.Also...) }

// Unwrap gives the reasons to errors.AsType.
func (e *Error) Unwrap() []error {
	var out []error
	for _, r := range e.Reasons() {
		out = append(out, r)
	}
	return out
}

// request is one call.
type request struct {
	method, path string
	query        url.Values
	header       map[string]string
	body         any // Nil: none.
	answers      int // A bad status whose body is an answer all the same, when it is no problem.
}

// send makes the call and gives an answer with a good status. Its body has to be closed.
func (c *Client) send(ctx context.Context, q request) (*http.Response, error) {
	resp, err := c.once(ctx, q)
	for range c.others(q) {
		r, ok := errors.AsType[*reason.Reason](err)
		if !ok || ctx.Err() != nil || (r.Code != reason.StoreUnavailable && r.Code != reason.NotReachable) {
			break
		}
		c.servers.avoid()
		c.http.CloseIdleConnections()
		resp, err = c.once(ctx, q)
	}
	return resp, err
}

// others is how many further servers may be asked after one that cannot answer: a call that only looks can be made
// again, one that changes something may have been done.
func (c *Client) others(q request) int {
	if c.servers == nil || q.method != http.MethodGet {
		return 0
	}
	return max(0, len(c.servers.list())-1)
}

// once makes the call once.
func (c *Client) once(ctx context.Context, q request) (*http.Response, error) {
	u := c.base
	u.Path += q.path
	u.RawPath = ""
	u.RawQuery = q.query.Encode()
	var body io.Reader
	if q.body != nil {
		b, err := json.Marshal(q.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range q.header {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if c.renew != nil && resp.Header.Get(wire.RenewHeader) != "" {
		c.renew.Store(true)
	}
	if resp.StatusCode >= http.StatusBadRequest && (resp.StatusCode != q.answers || isProblem(resp)) {
		defer func() { _ = resp.Body.Close() }()
		return nil, c.told(resp)
	}
	return resp, nil
}

// call makes a call and decodes its answer.
func (c *Client) call(ctx context.Context, q request, answer any) error {
	if _, set := ctx.Deadline(); !set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	resp, err := c.send(ctx, q)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return c.decode(ctx, resp, answer)
}

func (c *Client) decode(ctx context.Context, resp *http.Response, answer any) error {
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return c.unreachable(ctx, fmt.Errorf("the answer to %s broke off: %w", resp.Request.URL.Path, err))
	}
	return nil
}

// unreachable says what kept a call from being answered: the caller itself, the rights of the socket, or nobody there.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r := identity.Explain(err); r != nil {
		return r
	}
	if r := c.refusal(ctx, err); r != nil {
		return r
	}
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
		return reason.Because(reason.NotAllowed, reason.Args{"what": "open " + c.host + " (root and the group argosy may)", "who": fmt.Sprintf("uid %d", os.Getuid())})
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // Without the made-up URL.
	}
	return reason.Because(reason.NotReachable, reason.Args{"address": c.host, "error": err.Error()})
}

// refusalWithin bounds the look for what a server has against our certificate.
const refusalWithin = time.Second

// refusal finds out whether a connection failed because the server refuses our certificate. With TLS 1.3 it says so after
// the handshake, and HTTP/2 may have lost it by then: so the handshake is made once more, by itself.
func (c *Client) refusal(ctx context.Context, err error) *reason.Reason {
	if op, ok := errors.AsType[*net.OpError](err); c.connect == nil || ok && op.Op == "dial" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, refusalWithin)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return identity.Explain(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(refusalWithin)) // It has one.
	_, err = conn.Read(make([]byte, 1))
	return identity.Explain(err)
}

// told reads an error that the server sent.
func (c *Client) told(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	var p wire.Problem
	if err == nil && isProblem(resp) && json.Unmarshal(b, &p) == nil && p.Code != "" {
		return &Error{p}
	}
	text := fmt.Sprintf("it answers with HTTP %d and not as Argosy does", resp.StatusCode)
	return reason.Because(reason.NotReachable, reason.Args{"address": c.host, "error": text})
}

func isProblem(resp *http.Response) bool {
	return strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json")
}
