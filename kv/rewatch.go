package kv

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Of streams of watches that look for another server.
const (
	steady     = time.Second     // A stream that held so long was a good one: the next is opened at once.
	leaderless = 5 * time.Second // So long a client that requires a leader waits for a server.
)

// allWatches is the id in an answer about every watch of a stream (WatchProgressRequest of etcd's API).
const allWatches = -1

// rewatch is one local program's stream of watches. It remembers how far each watch is, so that another server goes on
// from there: no change is left out or told twice. Ids are given out here, so that they stay the same; a server
// knows a watch by its id plus one, since zero would leave the choice to the server.
type rewatch struct {
	f    *Forward
	down grpc.ServerStream

	mu     sync.Mutex
	open   map[int64]*watcher
	asked  []*watcher // Creations that are not answered yet; answers come in this order.
	nextID int64
	queue  []*pb.WatchRequest // To be sent to the present server.
	kick   chan struct{}
}

// watcher is one watch.
type watcher struct {
	id       int64
	create   *pb.WatchCreateRequest
	next     int64 // The first revision that the client has not seen; 0: that of the creation.
	told     bool  // The client knows that it was created.
	canceled bool  // The client wants no more of it.
	parts    []*pb.WatchResponse
}

// watch serves a stream of watches until the client goes.
func (f *Forward) watch(ss grpc.ServerStream) error {
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	r := &rewatch{f: f, down: ss, open: map[int64]*watcher{}, kick: make(chan struct{}, 1)}
	go func() {
		if err := r.listen(); err != nil {
			cancel(err)
		}
	}()
	wait, lost := roundPause, time.Now()
	for ctx.Err() == nil {
		begun := time.Now()
		err := r.use(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil && !errors.Is(err, errNotReached) && !untouched(err) && !elsewhere(err):
			return err
		case !errors.Is(err, errNotReached) && time.Since(begun) > steady:
			wait, lost = roundPause, time.Now()
			f.o.Log.Debug("a stream of watches goes on with another server", "error", err)
			continue
		case wantsLeader(ctx) && time.Since(lost) > leaderless:
			return rpctypes.ErrGRPCNoLeader
		}
		pause(ctx, wait)
		wait = min(2*wait, pauseMax)
	}
	return context.Cause(ctx)
}

// listen reads what the client asks for.
func (r *rewatch) listen() error {
	for {
		req := &pb.WatchRequest{}
		if err := r.down.RecvMsg(req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil // It asks for nothing more and still listens.
			}
			return err
		}
		r.mu.Lock()
		r.take(req)
		r.mu.Unlock()
		r.signal()
	}
}

func (r *rewatch) signal() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// take keeps what is asked for, and puts it into the queue.
func (r *rewatch) take(req *pb.WatchRequest) {
	switch {
	case req.GetCreateRequest() != nil:
		w := &watcher{create: req.GetCreateRequest(), next: req.GetCreateRequest().StartRevision}
		if w.id = w.create.WatchId; w.id == 0 {
			for w.id = r.nextID; r.open[w.id] != nil; w.id++ {
			}
			r.nextID = w.id + 1
		}
		if r.open[w.id] == nil { // Else the server refuses it.
			r.open[w.id] = w
		}
		r.enqueue(w)
	case req.GetCancelRequest() != nil:
		c := req.GetCancelRequest()
		if w := r.open[c.WatchId]; w != nil {
			w.canceled = true
		}
		r.queue = append(r.queue, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: c.WatchId + 1}}})
	case req.GetProgressRequest() != nil:
		r.queue = append(r.queue, req)
	}
}

// enqueue asks for a watch, from where the client is.
func (r *rewatch) enqueue(w *watcher) {
	c := proto.CloneOf(w.create)
	c.WatchId, c.StartRevision = w.id+1, w.next
	r.asked = append(r.asked, w)
	r.queue = append(r.queue, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: c}})
}

// use goes on with the first server that can be reached, until it cannot.
func (r *rewatch) use(ctx context.Context) error {
	one, err := (*flow)(nil), errNotReached
	for _, u := range r.f.order() {
		if one, err = r.f.open(ctx, u, pb.Watch_Watch_FullMethodName); err == nil {
			break
		}
	}
	if one == nil || err != nil {
		return err
	}
	gone := r.begin()
	var sender sync.WaitGroup
	sender.Go(func() { r.send(one) })
	defer sender.Wait()
	defer one.end()
	for _, id := range gone {
		if err := r.down.SendMsg(&pb.WatchResponse{Header: &pb.ResponseHeader{}, WatchId: id, Canceled: true}); err != nil {
			return err
		}
	}
	for {
		resp := &pb.WatchResponse{}
		if err := one.RecvMsg(resp); err != nil {
			if elsewhere(err) && ctx.Err() == nil {
				one.u.fail()
			}
			return err
		}
		for _, out := range r.translate(resp) {
			if err := r.down.SendMsg(out); err != nil {
				return err
			}
		}
	}
}

// begin asks a new server for all watches that are open. It returns those that the client had canceled meanwhile.
func (r *rewatch) begin() (gone []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := r.asked
	r.asked, r.queue = nil, nil
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		w := r.open[id]
		w.parts = nil
		switch {
		case w.told && w.canceled:
			delete(r.open, id)
			gone = append(gone, id)
		case w.told:
			r.enqueue(w)
		}
	}
	for _, w := range waiting {
		if w.told {
			continue
		}
		r.enqueue(w)
		if w.canceled {
			r.queue = append(r.queue, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: w.id + 1}}})
		}
	}
	r.signal()
	return gone
}

// send sends what is in the queue, until the stream ends. Nothing else waits for it, so that answers are always read.
func (r *rewatch) send(one *flow) {
	for {
		r.mu.Lock()
		queue := r.queue
		r.queue = nil
		r.mu.Unlock()
		for _, req := range queue {
			if one.SendMsg(req) != nil {
				return // The receiving side has the error.
			}
		}
		select {
		case <-r.kick:
		case <-one.Context().Done():
			return
		}
	}
}

// translate notes how far the watches are, and gives what the client is to see of an answer.
func (r *rewatch) translate(resp *pb.WatchResponse) []*pb.WatchResponse {
	r.mu.Lock()
	defer r.mu.Unlock()
	if resp.Created {
		return r.created(resp)
	}
	after := resp.GetHeader().GetRevision() + 1
	if resp.WatchId == allWatches {
		for _, w := range r.open {
			if w.told {
				w.next = max(w.next, after)
			}
		}
		return []*pb.WatchResponse{resp}
	}
	w := r.open[resp.WatchId-1]
	if w == nil {
		return nil
	}
	resp.WatchId = w.id
	w.parts = append(w.parts, resp)
	if resp.Fragment { // The rest of a revision may be lost with the server: all of it or nothing.
		return nil
	}
	out := w.parts
	w.parts = nil
	switch {
	case resp.Canceled:
		delete(r.open, w.id)
	case len(resp.Events) > 0:
		w.next = max(w.next, resp.Events[len(resp.Events)-1].GetKv().GetModRevision()+1)
	default:
		w.next = max(w.next, after)
	}
	return out
}

// created takes the answer to the oldest creation that waits for one.
func (r *rewatch) created(resp *pb.WatchResponse) []*pb.WatchResponse {
	if len(r.asked) == 0 {
		return nil
	}
	w := r.asked[0]
	r.asked = r.asked[1:]
	again := w.told
	w.told = true
	if resp.Canceled {
		if r.open[w.id] == w {
			delete(r.open, w.id)
		}
		if again {
			resp.Created, resp.WatchId = false, w.id
		}
		return []*pb.WatchResponse{resp}
	}
	if w.next == 0 {
		w.next = resp.GetHeader().GetRevision() + 1
	}
	if again {
		return nil
	}
	resp.WatchId = w.id
	return []*pb.WatchResponse{resp}
}
