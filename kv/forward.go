package kv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"argosy.dev/argosy/reason"
)

// Patience with servers.
const (
	readTry    = time.Second      // Of the first round over all servers, doubling: a large range takes long,
	readTryMax = 30 * time.Second // but not longer than this.
	writeTry   = 10 * time.Second // etcd itself gives a write up after seven seconds.
	askBound   = 15 * time.Second // Until some server takes a call.
	roundPause = 50 * time.Millisecond
	pauseMax   = time.Second
)

// ForwardOptions say whom a Forward asks.
type ForwardOptions struct {
	Local   *Server         // The server in this process, asked first; nil: there is none.
	Servers func() []string // The others now, HOST:PORT. It must not wait.
	TLS     *tls.Config     // Proves this machine to them, and that they are servers.
	URL     string          // How programs on this machine reach it: it stands for every member in the list of members.
	Log     *slog.Logger
}

// Forward is a machine's half: it takes etcd's API from local programs and asks a server.
type Forward struct {
	o    ForwardOptions
	grpc *grpc.Server

	mu     sync.Mutex
	all    map[string]*upstream
	best   string // The one that answered last: asked first.
	closed bool
}

// NewForward makes a Forward; Run has to run, too. Nothing is connected before the first call.
func NewForward(o ForwardOptions) *Forward {
	f := &Forward{o: o, all: map[string]*upstream{}}
	f.grpc = grpc.NewServer(
		grpc.ForceServerCodecV2(codec{}), grpc.UnknownServiceHandler(f.handle),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(math.MaxInt32), grpc.WaitForHandlers(true),
	)
	return f
}

// Run watches over the servers in use until ctx ends; then all calls end.
func (f *Forward) Run(ctx context.Context) {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		select {
		case <-t.C:
		case <-ctx.Done():
			continue
		}
		f.ping(ctx)
	}
	f.grpc.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, u := range f.all {
		u.close()
	}
}

// ping asks all servers in use for a sign of life, and forgets those that are named no more.
func (f *Forward) ping(ctx context.Context) {
	named := f.named()
	var used []*upstream
	f.mu.Lock()
	for address, u := range f.all {
		switch {
		case u.used():
			used = append(used, u)
		case slices.Contains(named, address):
			u.seen = time.Now()
		case time.Since(u.seen) > closedFor:
			u.close()
			delete(f.all, address)
		}
	}
	f.mu.Unlock()
	var wg sync.WaitGroup
	for _, u := range used {
		wg.Go(func() { u.ping(ctx) })
	}
	wg.Wait()
}

// named lists the servers: our own, then the others.
func (f *Forward) named() []string {
	others := f.o.Servers()
	if f.o.Local != nil {
		return append([]string{""}, others...)
	}
	return others
}

// order gives the servers in the order to ask: our own, then the one that answered last, then the others; those that failed
// just now come last.
func (f *Forward) order() []*upstream {
	named := f.named()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if i := slices.Index(named, f.best); i > 0 && f.o.Local == nil {
		named = append([]string{f.best}, slices.Delete(slices.Clone(named), i, i+1)...)
	}
	var good, bad []*upstream
	for _, address := range named {
		u := f.all[address]
		if u == nil {
			u = f.newUpstream(address)
			f.all[address] = u
		}
		u.seen = time.Now()
		if u.avoided() {
			bad = append(bad, u)
		} else {
			good = append(good, u)
		}
	}
	return append(good, bad...)
}

func (f *Forward) newUpstream(address string) *upstream {
	if address == "" {
		return newUpstream("", nil, f.o.Local.dial(fromDoor))
	}
	return newUpstream(address, f.o.TLS, nil)
}

func (f *Forward) answered(u *upstream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.best = u.address
}

// ServeHTTP takes calls of local programs, by HTTP/2 without TLS; and those by HTTP/1 that people make with curl.
func (f *Forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		f.grpc.ServeHTTP(w, r)
		return
	}
	switch r.URL.Path {
	case "/health":
		f.health(w, r)
	default:
		http.Error(w, "this is etcd's v3 API, by gRPC: use etcdctl (ETCDCTL_API=3), or a client library", http.StatusNotFound)
	}
}

// health answers as etcd does, in its words.
func (f *Forward) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*readTry)
	defer cancel()
	var req, resp frame
	req.bytes, _ = proto.Marshal(&pb.RangeRequest{Key: []byte("health"), CountOnly: true})
	w.Header().Set("Content-Type", "application/json")
	if err := f.ask(ctx, pb.KV_Range_FullMethodName, reading, &req, &resp); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"health":"false","reason":"no server answers"}`)
		return
	}
	_, _ = io.WriteString(w, `{"health":"true","reason":""}`)
}

// class is how a call is treated when a server does not answer.
type class int

const (
	writing  class = iota // Sent once: it may have been done.
	reading               // Asked again elsewhere.
	blocking              // Sent once, and may take as long as it likes.
)

// classOf knows the calls; what it does not know counts as a write.
func classOf(method string, req *frame) class {
	if blocks(method) {
		return blocking
	}
	switch method {
	case pb.KV_Range_FullMethodName, pb.Lease_LeaseTimeToLive_FullMethodName, pb.Lease_LeaseLeases_FullMethodName,
		pb.Cluster_MemberList_FullMethodName, pb.Maintenance_Status_FullMethodName, pb.Auth_AuthStatus_FullMethodName,
		v3electionpb.Election_Leader_FullMethodName, grpc_health_v1.Health_Check_FullMethodName:
		return reading
	case pb.KV_Txn_FullMethodName:
		var txn pb.TxnRequest
		if proto.Unmarshal(req.bytes, &txn) == nil {
			if any, _ := writes(&txn); !any {
				return reading
			}
		}
	case pb.Lease_LeaseGrant_FullMethodName:
		var grant pb.LeaseGrantRequest
		if proto.Unmarshal(req.bytes, &grant) == nil && grant.ID == 0 {
			return reading // A lease whose answer was lost ends by itself.
		}
	}
	return writing
}

// handle takes every call of a local program.
func (f *Forward) handle(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	switch method {
	case pb.Watch_Watch_FullMethodName:
		return f.watch(ss)
	case pb.Lease_LeaseKeepAlive_FullMethodName:
		return f.keepAlive(ss)
	}
	var req frame
	if err := ss.RecvMsg(&req); err != nil {
		return err
	}
	switch method {
	case v3electionpb.Election_Observe_FullMethodName, pb.KV_RangeStream_FullMethodName, pb.Maintenance_Snapshot_FullMethodName:
		return f.listen(ss, method, &req)
	}
	var resp frame
	if err := f.ask(ss.Context(), method, classOf(method, &req), &req, &resp); err != nil {
		return err
	}
	if method == pb.Cluster_MemberList_FullMethodName {
		if err := f.reachedHere(&resp); err != nil {
			return err
		}
	}
	return ss.SendMsg(&resp)
}

// reachedHere makes every member's address this machine's: a client that asks for the members' addresses goes on using
// the one that it may.
func (f *Forward) reachedHere(resp *frame) error {
	var list pb.MemberListResponse
	if err := proto.Unmarshal(resp.bytes, &list); err != nil {
		return err
	}
	for _, m := range list.Members {
		m.ClientURLs = []string{f.o.URL}
	}
	var err error
	resp.bytes, err = proto.Marshal(&list)
	return err
}

// ask sends a call to the servers in turn until one answers.
func (f *Forward) ask(ctx context.Context, method string, c class, req, resp *frame) error {
	out := outgoing(ctx)
	last := error(nil)
	begun, try := time.Now(), readTry
	for wait := roundPause; ; wait, try = min(2*wait, pauseMax), min(2*try, readTryMax) {
		for _, u := range f.order() {
			sent, err := f.try(out, u, method, bound(c, try), req, resp)
			switch {
			case err == nil:
				f.answered(u)
				return nil
			case ctx.Err() != nil:
				return status.FromContextError(ctx.Err()).Err()
			case !sent, untouched(err), c == reading && elsewhere(err):
				last = fmt.Errorf("%s: %w", u, err)
			default:
				return unsure(u, err)
			}
		}
		if time.Since(begun) > askBound {
			return f.noServer(last)
		}
		if pause(ctx, wait); ctx.Err() != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

func bound(c class, try time.Duration) time.Duration {
	switch c {
	case reading:
		return try
	case writing:
		return writeTry
	case blocking:
	}
	return 0
}

// try sends a call to one server. sent is false when it surely did not go out.
func (f *Forward) try(ctx context.Context, u *upstream, method string, bound time.Duration, req, resp *frame) (sent bool, err error) {
	conn, life, done, err := u.take(ctx, false)
	if err != nil {
		return false, err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	if bound > 0 {
		ctx, cancel = context.WithTimeout(ctx, bound)
		defer cancel()
	}
	err = conn.Invoke(ctx, method, req, resp)
	if err != nil && elsewhere(err) {
		u.fail()
	}
	return true, err
}

// listen hands on a stream of answers to one request. It ends when its server does: only the client knows how to go on.
func (f *Forward) listen(ss grpc.ServerStream, method string, req *frame) error {
	for _, u := range f.order() {
		err := f.listenTo(ss, u, method, req)
		if errors.Is(err, errNotReached) || untouched(err) {
			continue
		}
		return err
	}
	return f.noServer(errNotReached)
}

func (f *Forward) listenTo(ss grpc.ServerStream, u *upstream, method string, req *frame) error {
	one, err := f.open(ss.Context(), u, method)
	if err != nil {
		return err
	}
	defer one.end()
	if err := errors.Join(one.SendMsg(req), one.CloseSend()); err != nil {
		return err
	}
	for {
		var resp frame
		err := one.RecvMsg(&resp)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ss.SendMsg(&resp); err != nil {
			return err
		}
	}
}

// flow is an open stream to a server.
type flow struct {
	grpc.ClientStream
	u    *upstream
	stop context.CancelFunc
	done func()
}

func (s *flow) end() {
	s.stop()
	s.done()
}

// open opens a stream to a server; it ends with the server.
func (f *Forward) open(ctx context.Context, u *upstream, method string) (*flow, error) {
	conn, life, done, err := u.take(ctx, true)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(outgoing(ctx))
	off := context.AfterFunc(life, cancel)
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		off()
		cancel()
		done()
		u.fail()
		return nil, fmt.Errorf("%s: %w: %w", u, errNotReached, err)
	}
	return &flow{ClientStream: s, u: u, stop: func() { off(); cancel() }, done: done}, nil
}

// outgoing hands on what a client says about itself, as far as etcd asks for it.
func outgoing(ctx context.Context) context.Context {
	in, _ := metadata.FromIncomingContext(ctx)
	out := metadata.MD{}
	for _, k := range []string{rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataClientAPIVersionKey} {
		if v := in.Get(k); len(v) > 0 {
			out.Set(k, v[0])
		}
	}
	return metadata.NewOutgoingContext(ctx, out)
}

// untouched tells the refusals after which nothing was done: of a server without a vote, without a leader, that is behind
// (etcd calls that too many requests), or whose parts are about to open (503 of its listener).
func untouched(err error) bool {
	s := status.Convert(err)
	for _, one := range []error{rpctypes.ErrGRPCNotSupportedForLearner, rpctypes.ErrGRPCNoLeader, rpctypes.ErrGRPCRequestTooManyRequests} {
		if s.Message() == rpctypes.ErrorDesc(one) {
			return true
		}
	}
	return s.Code() == codes.Unavailable && strings.Contains(s.Message(), "503 (Service Unavailable)")
}

// elsewhere tells the errors of a server, or of the way to it, that another one need not have.
func elsewhere(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown, codes.Aborted:
		return true
	default:
		return false
	}
}

// unsure says so when a write got no answer. What a server answers is handed on as it is.
func unsure(u *upstream, err error) error {
	s := status.Convert(err)
	if !elsewhere(err) || strings.HasPrefix(s.Message(), "etcdserver: ") || strings.HasPrefix(s.Message(), "argosy: ") {
		return err
	}
	return status.Error(codes.Unavailable, fmt.Sprintf("argosy: %s took this request and did not answer; whether it was done is not known: read before you repeat it (%s)", u, s.Message()))
}

func (f *Forward) noServer(last error) error {
	if last == nil {
		last = errors.New("this machine knows none")
	}
	return refusal(codes.Unavailable, reason.Because(reason.NoServer, reason.Args{"servers": strings.Join(f.o.Servers(), ", "), "error": last.Error()}))
}

// pause waits unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
