package kv

import (
	"sync"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"argosy.dev/argosy/reason"
)

// watches is etcd's Watch service inside the prefix.
type watches struct {
	pb.UnimplementedWatchServer
	s    *Server
	next pb.WatchServer
}

// Watch implements pb.WatchServer.
func (w *watches) Watch(stream pb.Watch_WatchServer) error {
	return w.next.Watch(&usersWatch{Watch_WatchServer: stream, revision: w.s.etcd.KV().Rev})
}

// usersWatch translates a stream of watches.
//
// A watch from now on gets its first revision here, and the answer to its creation tells the one before: etcd itself tells
// one that may be later than changes that are still to be shown, so that who goes on from there could miss them.
type usersWatch struct {
	pb.Watch_WatchServer
	revision func() int64
	open     atomic.Int64

	mu     sync.Mutex
	starts []int64 // Of the creations that are not answered yet, in the order of their answers; 0: chosen by the client.
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
	if c := r.GetCreateRequest(); c != nil {
		start := int64(0)
		if c.StartRevision == 0 {
			start = u.revision() + 1
			c.StartRevision = start
		}
		u.mu.Lock()
		u.starts = append(u.starts, start)
		u.mu.Unlock()
	}
	return r, nil
}

// Send implements pb.Watch_WatchServer.
func (u *usersWatch) Send(r *pb.WatchResponse) error {
	if r.Canceled {
		u.open.Add(-1)
	}
	if r.Created {
		u.created(r)
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

func (u *usersWatch) created(r *pb.WatchResponse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.starts) == 0 {
		return
	}
	if start := u.starts[0]; start > 0 {
		r.Header.Revision = start - 1
	}
	u.starts = u.starts[1:]
}
