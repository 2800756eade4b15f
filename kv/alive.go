package kv

import (
	"context"
	"errors"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// aliveTry bounds one renewal at one server.
const aliveTry = 2 * time.Second

// keepAlive renews leases: each request is answered before the next is read, as etcd does, and asked again elsewhere when
// its server does not answer. Renewing twice does no harm.
func (f *Forward) keepAlive(ss grpc.ServerStream) error {
	var one *flow
	defer func() {
		if one != nil {
			one.end()
		}
	}()
	for {
		var req, resp frame
		if err := ss.RecvMsg(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var err error
		if one, err = f.renew(ss.Context(), one, &req, &resp); err != nil {
			return err
		}
		if err := ss.SendMsg(&resp); err != nil {
			return err
		}
	}
}

// renew asks over the stream that is open, else over a new one; it returns the one that answered.
func (f *Forward) renew(ctx context.Context, one *flow, req, resp *frame) (*flow, error) {
	last, begun := error(nil), time.Now()
	for wait := roundPause; time.Since(begun) < askBound && ctx.Err() == nil; wait = min(2*wait, pauseMax) {
		if one != nil {
			if last = exchange(one, req, resp); last == nil {
				return one, nil
			}
			if !elsewhere(last) {
				return one, last
			}
			one.u.fail()
			one.end()
			one = nil
		}
		for _, u := range f.order() {
			if one, last = f.open(ctx, u, pb.Lease_LeaseKeepAlive_FullMethodName); last == nil {
				break
			}
			one = nil
		}
		if one == nil {
			pause(ctx, wait)
		}
	}
	if one != nil {
		one.end()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, f.noServer(last)
}

// exchange sends a request and waits for its answer, for a while.
func exchange(one *flow, req, resp *frame) error {
	timer := time.AfterFunc(aliveTry, one.stop)
	defer timer.Stop()
	if err := one.SendMsg(req); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	err := one.RecvMsg(resp) // After io.EOF it has the stream's true error.
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	return err
}

var errEnded = errors.New("the server ended the stream")
