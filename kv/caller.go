package kv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"argosy.dev/argosy/reason"
)

// Caller is who makes a call over the network, as found out by the one who mounts Handler; it may read.
type Caller struct {
	Who string
	// MayWrite is asked for every write: nil, or why not. It must not wait.
	MayWrite func() error
}

type callerKey struct{}

// WithCaller says who makes the request. Nothing else names the caller: without it Handler refuses all.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// within is the address of both ends of a connection in this process, and so the proof of where it comes from.
type within string

const (
	fromDoor  within = "this machine's localhost"
	fromLocks within = "the cluster's locks" // The lock and election services' own client.
)

// Network implements net.Addr.
func (within) Network() string { return "memory" }

// String implements net.Addr.
func (w within) String() string { return string(w) }

// fromConn gives a connection in this process its address.
type fromConn struct {
	net.Conn
	at within
}

// RemoteAddr is where the connection comes from.
func (c fromConn) RemoteAddr() net.Addr { return c.at }

// callerOf is who makes the call that a context belongs to.
func (s *Server) callerOf(ctx context.Context) (Caller, error) {
	if p, ok := peer.FromContext(ctx); ok {
		switch p.Addr {
		case fromDoor:
			return Caller{Who: string(fromDoor), MayWrite: s.o.MayWrite}, nil
		case fromLocks:
			return Caller{Who: string(fromLocks), MayWrite: func() error { return nil }}, nil
		}
	}
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c, nil
	}
	return Caller{}, status.Error(codes.Unauthenticated, "argosy: nobody has said who calls")
}

// mayWrite refuses who may not write.
func (s *Server) mayWrite(ctx context.Context) error {
	c, err := s.callerOf(ctx)
	if err != nil {
		return err
	}
	if err := c.MayWrite(); err != nil {
		return refusal(codes.PermissionDenied, err)
	}
	return nil
}

// refusal makes a gRPC error of one of ours, with its hint.
func refusal(code codes.Code, err error) error {
	text := "argosy: " + err.Error()
	if r, ok := errors.AsType[*reason.Reason](err); ok && r.Hint() != "" {
		text += "; " + r.Hint()
	}
	return status.Error(code, text)
}

func notServed(what, instead string) error {
	return refusal(codes.PermissionDenied, reason.Because(reason.NotAllowed, reason.Args{"what": what, "who": "a user of the configuration", "cure": instead}))
}

// Refuse answers a call over HTTP/2 that does not get as far as the server, in gRPC's own form (its "Trailers-Only").
func Refuse(w http.ResponseWriter, err error) {
	s := status.Convert(refusal(codes.PermissionDenied, err))
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(int(s.Code())))
	h.Set("Grpc-Message", percent(s.Message()))
}

// percent writes a message as gRPC wants it in a header: all but printable ASCII, and the percent sign, as %XX.
func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
