package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"argosy.dev/argosy/shell"
)

// MachineShell begins a command on a machine; shell.Attach goes on with the connection.
func (c *Client) MachineShell(ctx context.Context, machine string, cmd shell.Command) (io.ReadWriteCloser, error) {
	return c.upgrade(ctx, "/v1/machines/"+machine+"/shell", cmd)
}

// UnitShell begins a command in a unit's surroundings.
func (c *Client) UnitShell(ctx context.Context, unit string, cmd shell.Command) (io.ReadWriteCloser, error) {
	return c.upgrade(ctx, unitPath(unit)+"/shell", cmd)
}

func (c *Client) upgrade(ctx context.Context, path string, cmd shell.Command) (io.ReadWriteCloser, error) {
	q := url.Values{"arg": cmd.Argv}
	if cmd.TTY {
		q.Set("tty", "true")
		q.Set("term", cmd.Term)
		q.Set("cols", strconv.Itoa(int(cmd.Cols)))
		q.Set("rows", strconv.Itoa(int(cmd.Rows)))
	}
	one := *c
	one.http = &http.Client{Transport: c.oldTransport()}
	resp, err := one.send(ctx, request{ //nolint:bodyclose // The connection that is taken over is its body.
		method: http.MethodGet, path: path, query: q, header: map[string]string{"Connection": "Upgrade", "Upgrade": shell.Protocol},
	})
	if err != nil {
		return nil, err
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("%s does not run commands: HTTP %d", c.host, resp.StatusCode)
	}
	return conn, nil
}

// oldTransport is the client's transport with HTTP/1.1: HTTP/2 has no upgrades.
func (c *Client) oldTransport() http.RoundTripper {
	if c.servers != nil {
		p := &pool{list: c.servers.list, conf: http1(c.servers.conf), dialer: net.Dialer{Timeout: dialTimeout}, failed: map[string]bool{}}
		return &http.Transport{DialTLSContext: p.dial, DisableKeepAlives: true, DisableCompression: true}
	}
	t, ok := c.http.Transport.(*http.Transport)
	if !ok {
		return c.http.Transport
	}
	t = t.Clone()
	t.ForceAttemptHTTP2, t.IdleConnTimeout, t.DisableKeepAlives = false, time.Second, true
	if t.TLSClientConfig != nil {
		t.TLSClientConfig = http1(t.TLSClientConfig)
	}
	return t
}

func http1(conf *tls.Config) *tls.Config {
	conf = conf.Clone()
	conf.NextProtos = []string{"http/1.1"}
	return conf
}
