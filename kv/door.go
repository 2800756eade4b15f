package kv

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"argosy.dev/argosy/reason"
)

// DefaultListen is where every etcd client looks when it is told nothing.
const DefaultListen = "127.0.0.1:2379"

// Limits of the door (the door is open to every program on the machine).
const (
	doorStreams = 1000 // Calls of one connection under way; others wait.
	doorCalls   = 4096 // Of all connections.
	doorHeader  = 16 << 10
	doorTimeout = 5 * time.Second
	doorIdle    = 10 * time.Minute
)

// Listen opens a machine's door. Everybody on the machine may come in, so it has to be a loopback address. Another program
// that listens there is EADDRINUSE of bind(2).
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if err := CheckAddress(address); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}

// CheckAddress refuses an address that is not HOST:PORT with a loopback host.
func CheckAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return reason.Because(reason.NotAllowed, reason.Args{
			"what": "open the configuration to a network without TLS at " + address, "who": "a machine",
			"cure": "use a loopback address; from other hosts, etcdctl reaches a server's --listen address with a user's certificate",
		})
	}
	return nil
}

// Serve takes calls of local programs until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	slots := make(chan struct{}, doorCalls)
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				h.ServeHTTP(w, r)
			default:
				http.Error(w, "too many calls at once", http.StatusServiceUnavailable)
			}
		}),
		ReadHeaderTimeout: doorTimeout, IdleTimeout: doorIdle, MaxHeaderBytes: doorHeader, Protocols: &http.Protocols{},
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: doorStreams},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	_ = s.Close() // Streams have no end of their own.
	<-done        //nolint:errcheck // http.ErrServerClosed: it was told to end.
	return nil
}
