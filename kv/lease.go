package kv

import (
	"context"
	"errors"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"

	"argosy.dev/argosy/reason"
)

// Users' leases are told from Argosy's own by their numbers alone: a lease knows nothing of who asked for it. Argosy's
// get theirs from etcd, which puts two bytes of the member's id over the milliseconds since 1970, modulo 2^40, times 256
// (pkg/idutil). Even for a member whose two bytes are zero these stay far above maxLease until the year 2039.
const (
	maxLease  = 1 << 40 // Users' leases are 1 … maxLease-1. Those that nobody chose are random ones from ownLease on.
	ownLease  = 1 << 32 // Below this a client may choose its number itself.
	leaseDice = 8       // Tries to find a number that is free: two million leases collide once in a million.
)

// ofUsers tells whether a lease is one of the users'.
func ofUsers(id int64) bool { return id > 0 && id < maxLease }

// leases is etcd's Lease service for the users' leases alone; others are not found.
type leases struct {
	pb.UnimplementedLeaseServer
	s    *Server
	next pb.LeaseServer
}

// LeaseGrant implements pb.LeaseServer.
func (l *leases) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	done, err := l.s.write(ctx, r, true)
	if err != nil {
		return nil, err
	}
	defer done()
	if r.ID != 0 {
		if !ofUsers(r.ID) || r.ID >= ownLease {
			return nil, refusal(codes.InvalidArgument, reason.Because(reason.TooLarge, reason.Args{
				"what": "the number of a lease, when a client chooses it (0 leaves it to the cluster)", "need": r.ID, "have": int64(ownLease - 1),
			}))
		}
		return l.next.LeaseGrant(ctx, r)
	}
	for range leaseDice {
		r.ID = ownLease + rand.Int64N(maxLease-ownLease)
		var resp *pb.LeaseGrantResponse
		if resp, err = l.next.LeaseGrant(ctx, r); !errors.Is(err, rpctypes.ErrGRPCLeaseExist) {
			return resp, err
		}
	}
	return nil, err
}

// LeaseRevoke implements pb.LeaseServer.
func (l *leases) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	done, err := l.s.write(ctx, r, false)
	if err != nil {
		return nil, err
	}
	defer done()
	if !ofUsers(r.ID) {
		return nil, rpctypes.ErrGRPCLeaseNotFound
	}
	return l.next.LeaseRevoke(ctx, r)
}

// LeaseTimeToLive implements pb.LeaseServer.
func (l *leases) LeaseTimeToLive(ctx context.Context, r *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	asked := r.ID
	if !ofUsers(asked) {
		r.ID, r.Keys = -1, false // No lease has this number.
	}
	resp, err := l.next.LeaseTimeToLive(ctx, r)
	if err != nil {
		return nil, err
	}
	resp.ID = asked
	for i, k := range resp.Keys {
		resp.Keys[i] = bare(k)
	}
	return resp, nil
}

// LeaseLeases implements pb.LeaseServer.
func (l *leases) LeaseLeases(ctx context.Context, r *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	resp, err := l.next.LeaseLeases(ctx, r)
	if err != nil {
		return nil, err
	}
	own := resp.Leases[:0:0]
	for _, one := range resp.Leases {
		if ofUsers(one.ID) {
			own = append(own, one)
		}
	}
	resp.Leases = own
	return resp, nil
}

// LeaseKeepAlive implements pb.LeaseServer.
func (l *leases) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	return l.next.LeaseKeepAlive(&usersAlive{Lease_LeaseKeepAliveServer: stream, s: l.s})
}

// usersAlive lets a lease of Argosy's own look as one that is gone, as etcd says it: its time to live is zero.
type usersAlive struct {
	pb.Lease_LeaseKeepAliveServer
	s *Server
}

// Recv implements pb.Lease_LeaseKeepAliveServer.
func (u *usersAlive) Recv() (*pb.LeaseKeepAliveRequest, error) {
	r, err := u.Lease_LeaseKeepAliveServer.Recv()
	if err != nil {
		return nil, err
	}
	if err := u.s.mayWrite(u.Context()); err != nil {
		return nil, err
	}
	if !ofUsers(r.ID) {
		r.ID = -1
	}
	return r, nil
}
