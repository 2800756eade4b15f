package kv

import (
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"argosy.dev/argosy/reason"
)

// watches is etcd's Watch service inside the prefix.
type watches struct {
	pb.UnimplementedWatchServer
	next pb.WatchServer
}

// Watch implements pb.WatchServer.
func (w *watches) Watch(stream pb.Watch_WatchServer) error {
	return w.next.Watch(&usersWatch{Watch_WatchServer: stream})
}

// usersWatch translates a stream of watches.
type usersWatch struct {
	pb.Watch_WatchServer
	open atomic.Int64
}

// Recv implements pb.Watch_WatchServer.
func (u *usersWatch) Recv() (*pb.WatchRequest, error) {
	r, err := u.Watch_WatchServer.Recv()
	if err != nil {
		return nil, err
	}
	if r.GetCreateRequest() != nil && u.open.Add(1) > maxWatchers {
		return nil, refusal(codes.ResourceExhausted, reason.Because(reason.TooMany, reason.Args{"what": "watches of one stream", "have": maxWatchers}))
	}
	watchInside(r)
	return r, nil
}

// Send implements pb.Watch_WatchServer.
func (u *usersWatch) Send(r *pb.WatchResponse) error {
	if r.Canceled {
		u.open.Add(-1)
	}
	if len(r.Events) == 0 {
		return u.Watch_WatchServer.Send(r)
	}
	return u.Watch_WatchServer.Send(&pb.WatchResponse{
		Header: r.Header, WatchId: r.WatchId, Created: r.Created, Canceled: r.Canceled,
		CompactRevision: r.CompactRevision, CancelReason: r.CancelReason, Fragment: r.Fragment,
		Events: eventsBare(r.Events),
	})
}
