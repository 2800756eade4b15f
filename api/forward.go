package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Forward answers at the socket of a machine that is not a server: it hands every call to a server of the cluster, with
// the machine's certificate, and those that are about this machine alone to Local.
type Forward struct {
	Local   http.Handler    // Knows this machine's part only.
	Servers func() []string // host:port, in the order in which they are asked.
	proxy   *httputil.ReverseProxy
	plain   http.RoundTripper
	upgrade http.RoundTripper // For connections that are taken over.
}

// RoundTrip makes a call over the connection that suits it.
func (f *Forward) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Upgrade") != "" {
		return f.upgrade.RoundTrip(r)
	}
	return f.plain.RoundTrip(r)
}

// forwardDial bounds how long one server is waited for before the next is asked.
const forwardDial = 2 * time.Second

// NewForward makes a Forward; conf verifies that the other side is a server.
func NewForward(local http.Handler, servers func() []string, conf *tls.Config, log *slog.Logger) *Forward {
	f := &Forward{Local: local, Servers: servers}
	dialer := &net.Dialer{Timeout: forwardDial}
	f.upgrade = upgradeTransport(conf, func(ctx context.Context, d *net.Dialer, network string) (net.Conn, error) {
		return f.dial(ctx, d, network)
	})
	f.plain = &http.Transport{
		TLSClientConfig: conf, TLSHandshakeTimeout: forwardDial, IdleConnTimeout: idleTimeout, DisableCompression: true,
		ForceAttemptHTTP2: true, // What the identity's settings offer.
		DialContext:       func(ctx context.Context, network, _ string) (net.Conn, error) { return f.dial(ctx, dialer, network) },
	}
	f.proxy = &httputil.ReverseProxy{
		Transport: f, FlushInterval: -1, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", "argosy.server" // Whoever it is: dial chooses.
			r.Out.Host = r.In.Host
			r.Out.Header.Set(wire.ForHeader, peerOf(r.In.Context()).who)
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return
			}
			writeProblem(w, reason.Because(reason.NoServer, reason.Args{"servers": strings.Join(f.Servers(), ", "), "error": err.Error()}))
		},
	}
	return f
}

// dial takes the first server that answers.
func (f *Forward) dial(ctx context.Context, d *net.Dialer, network string) (net.Conn, error) {
	errs := []error{}
	for _, addr := range f.Servers() {
		c, err := d.DialContext(ctx, network, addr)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("this machine knows none"))
	}
	return nil, errors.Join(errs...)
}

// ServeHTTP answers one request.
func (f *Forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(wire.LocalHeader) != "" {
		f.Local.ServeHTTP(w, r)
		return
	}
	f.proxy.ServeHTTP(w, r)
}
