package kv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// How a machine finds out that a server is gone.
const (
	dialTry   = time.Second            // Until a connection stands, TLS included.
	pingEvery = time.Second            // A server in use is asked for a sign of life,
	pingTry   = 2 * time.Second        // which it gives within this,
	silentMax = 2                      // or after so many silences in a row is given up;
	leaderMax = 3                      // and streams go elsewhere when it has no leader so many times in a row.
	avoidFor  = 2 * time.Second        // One that failed is asked last for a while.
	linkCalls = 100                    // Streams on one connection: servers take at least so many (RFC 9113 6.5.2).
	retryMin  = 100 * time.Millisecond // Between tries of a connection, doubling,
	retryMax  = time.Second            // up to this.
	keepIdle  = 10 * time.Second       // gRPC's own sign of life, the shortest that it has.
	keepWait  = 3 * time.Second
	closedFor = time.Minute // A server that is not named any more is forgotten after this.
)

// upstream is one server with the connections to it.
type upstream struct {
	address string // HOST:PORT; "": the server in this process.
	options []grpc.DialOption

	mu      sync.Mutex
	links   []*link // The first carries short calls, the others streams.
	uses    int
	failed  time.Time          // When it failed last.
	seen    time.Time          // When it was named last.
	silent  int                // Signs of life that did not come, in a row.
	led     int                // Signs of life that said there is no leader, in a row.
	calls   context.Context    // Ends when the server is given up,
	streams context.Context    // and this also when it has no leader.
	give    context.CancelFunc // Ends calls.
	move    context.CancelFunc // Ends streams.
}

// link is one connection.
type link struct {
	conn *grpc.ClientConn
	open int // Streams.
}

func newUpstream(address string, conf *tls.Config, dial func(context.Context, string) (net.Conn, error)) *upstream {
	u := &upstream{address: address, options: []grpc.DialOption{
		grpc.WithNoProxy(), // The way to the servers is the cluster's own.
		grpc.WithDisableServiceConfig(), grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32),
		),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: retryMin, Multiplier: 2, Jitter: 0.2, MaxDelay: retryMax}, MinConnectTimeout: dialTry,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepIdle, Timeout: keepWait}),
	}}
	if dial != nil {
		u.options = append(u.options, grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	} else {
		u.options = append(u.options, grpc.WithTransportCredentials(credentials.NewTLS(conf)))
	}
	u.renew()
	return u
}

// renew makes the contexts anew after the server was given up. The caller holds mu, or nobody else knows u.
func (u *upstream) renew() {
	u.calls, u.give = context.WithCancel(context.Background())
	u.streams, u.move = context.WithCancel(u.calls)
}

func (u *upstream) String() string {
	if u.address == "" {
		return "this machine's own server"
	}
	return u.address
}

// errNotReached says that a server could not be connected: nothing was sent.
var errNotReached = errors.New("not reached")

// take gives a connection that stands, for a call or a stream, and a context that ends with the server. done gives it back.
func (u *upstream) take(ctx context.Context, stream bool) (conn *grpc.ClientConn, life context.Context, done func(), err error) {
	l, life, err := u.link(stream)
	if err != nil {
		return nil, nil, nil, err
	}
	done = func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.uses--
		l.open--
	}
	if err := connected(ctx, l.conn); err != nil {
		done()
		if ctx.Err() == nil {
			u.fail()
		}
		return nil, nil, nil, fmt.Errorf("%s: %w", u, err)
	}
	return l.conn, life, done, nil
}

func (u *upstream) link(stream bool) (*link, context.Context, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	life := u.calls
	from := 0
	if stream {
		life, from = u.streams, 1
	}
	for i := from; ; i++ {
		for len(u.links) <= i {
			conn, err := grpc.NewClient("passthrough:///"+u.target(), u.options...)
			if err != nil {
				return nil, nil, err
			}
			u.links = append(u.links, &link{conn: conn})
		}
		if l := u.links[i]; !stream || l.open < linkCalls {
			u.uses++
			l.open++
			return l, life, nil
		}
	}
}

func (u *upstream) target() string {
	if u.address == "" {
		return memberHost
	}
	return u.address
}

// connected waits until a connection stands.
func connected(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, dialTry)
	defer cancel()
	for first := true; ; first = false {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			conn.Connect()
		case connectivity.TransientFailure:
			if !first {
				return errNotReached
			}
			conn.ResetConnectBackoff() // It may be back since.
		case connectivity.Shutdown:
			return errNotReached
		case connectivity.Connecting:
		}
		if !conn.WaitForStateChange(ctx, state) {
			return errNotReached
		}
	}
}

// fail notes that the server did not answer.
func (u *upstream) fail() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failed = time.Now()
}

// avoided tells whether the server failed just now.
func (u *upstream) avoided() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Since(u.failed) < avoidFor
}

func (u *upstream) used() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.uses > 0
}

// ping asks a server that is in use for a sign of life, and gives it up without one.
func (u *upstream) ping(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pingTry)
	defer cancel()
	conn, _, done, err := u.take(ctx, false)
	var resp grpc_health_v1.HealthCheckResponse
	if err == nil {
		err = conn.Invoke(ctx, grpc_health_v1.Health_Check_FullMethodName, &grpc_health_v1.HealthCheckRequest{}, &resp)
		done()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err != nil:
		u.silent++
	case resp.Status != grpc_health_v1.HealthCheckResponse_SERVING:
		u.silent = 0
		u.led++
	default:
		u.silent, u.led = 0, 0
	}
	if u.silent < silentMax && u.led < leaderMax {
		return
	}
	u.failed = time.Now()
	if u.silent >= silentMax {
		u.give()
	}
	u.move()
	u.silent, u.led = 0, 0
	u.renewEnded()
}

// renewEnded makes ended contexts anew: calls in a server without a leader go on while its streams move.
func (u *upstream) renewEnded() {
	if u.calls.Err() != nil {
		u.renew()
		return
	}
	u.streams, u.move = context.WithCancel(u.calls)
}

func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.give()
	for _, l := range u.links {
		_ = l.conn.Close() // What it says is of no use any more.
	}
	u.links = nil
}
