package kv

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"argosy.dev/argosy/reason"
)

// Limits of messages, and of what is noticed late.
const (
	maxMessage  = maxRequest + 512<<10 // What etcd's own server takes: a largest request, and gRPC's share.
	pipeBytes   = 1 << 20              // Under way inside the process.
	leaderEvery = time.Second          // How often a stream that requires a leader is asked whether there is one,
	leaderGone  = 3                    // and after so many noes in a row it ends.
)

// Options of a Server.
type Options struct {
	Etcd *etcdserver.EtcdServer // The member of the store in this process. It has to outlive the Server.
	// MayWrite tells programs on this machine whether they may write through its localhost: nil, or why not.
	MayWrite func() error
	// Machine tells the name of a machine and where its API is reached (HOST:PORT); empty: not known.
	Machine func(id string) (name, address string)
	Log     *slog.Logger
}

// Server answers etcd's v3 API for the users' keys. Make it with NewServer, end it with Close.
type Server struct {
	o     Options
	etcd  *etcdserver.EtcdServer
	grpc  *grpc.Server
	pipes map[within]*bufconn.Listener
	locks *clientv3.Client
	slots chan struct{} // One for each write under way.
	eras  eras
	stop  chan struct{}
	own   sync.WaitGroup
}

// NewServer makes a server and starts it: this process reaches it at once, others through Handler.
func NewServer(o Options) (*Server, error) {
	s := &Server{
		o: o, etcd: o.Etcd, slots: make(chan struct{}, writeSlots), stop: make(chan struct{}),
		pipes: map[within]*bufconn.Listener{fromDoor: bufconn.Listen(pipeBytes), fromLocks: bufconn.Listen(pipeBytes)},
	}
	s.grpc = grpc.NewServer(
		grpc.ChainUnaryInterceptor(s.unary), grpc.ChainStreamInterceptor(s.stream), grpc.UnknownServiceHandler(unknown),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(math.MaxInt32), grpc.WaitForHandlers(true),
	)
	var err error
	s.locks, err = clientv3.New(clientv3.Config{
		Endpoints: []string{"http://" + memberHost}, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{grpc.WithContextDialer(s.dial(fromLocks))},
	})
	if err != nil {
		return nil, err
	}
	s.register()
	s.own.Go(s.countEras)
	for at, l := range s.pipes {
		s.own.Go(func() { _ = s.grpc.Serve(pipe{l, at}) }) // It ends with Close.
	}
	return s, nil
}

// memberHost stands where gRPC wants the name of a host; what is dialled is in this process.
const memberHost = "member"

func (s *Server) register() {
	pb.RegisterKVServer(s.grpc, &keys{s: s, next: v3rpc.NewQuotaKVServer(s.etcd)})
	pb.RegisterWatchServer(s.grpc, &watches{s: s, next: v3rpc.NewWatchServer(s.etcd)})
	pb.RegisterLeaseServer(s.grpc, &leases{s: s, next: v3rpc.NewQuotaLeaseServer(s.etcd)})
	pb.RegisterClusterServer(s.grpc, &members{s: s, next: v3rpc.NewClusterServer(s.etcd)})
	pb.RegisterMaintenanceServer(s.grpc, &maintenance{next: v3rpc.NewMaintenanceServer(s.etcd, nil)}) // Only its Status is called.
	pb.RegisterAuthServer(s.grpc, &auth{})
	v3lockpb.RegisterLockServer(s.grpc, v3lock.NewLockServer(s.locks))
	v3electionpb.RegisterElectionServer(s.grpc, v3election.NewElectionServer(s.locks))
	grpc_health_v1.RegisterHealthServer(s.grpc, &healthy{s: s})
}

// Close ends all calls and returns when none is under way.
func (s *Server) Close() {
	close(s.stop)
	_ = s.locks.Close() // Its calls end with it; what they say no longer matters.
	s.grpc.Stop()
	s.own.Wait()
}

// pipe is a listener in this process that says where its connections come from.
type pipe struct {
	*bufconn.Listener
	at within
}

// Accept implements net.Listener.
func (p pipe) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fromConn{c, p.at}, nil
}

// dial connects inside the process.
func (s *Server) dial(at within) func(ctx context.Context, _ string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) { return s.pipes[at].DialContext(ctx) }
}

// Handler serves requests that came over the network, whose caller WithCaller has named. It wants HTTP/2.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Context().Value(callerKey{}).(Caller); !ok {
			http.Error(w, "nobody has said who calls", http.StatusForbidden)
			return
		}
		s.grpc.ServeHTTP(w, r)
	})
}

// Paths are where Handler answers, as patterns of http.ServeMux.
func Paths() []string {
	return []string{
		"/etcdserverpb.KV/", "/etcdserverpb.Watch/", "/etcdserverpb.Lease/", "/etcdserverpb.Cluster/", "/etcdserverpb.Maintenance/",
		"/etcdserverpb.Auth/", "/v3lockpb.Lock/", "/v3electionpb.Election/", "/grpc.health.v1.Health/",
	}
}

// ready refuses what this member cannot answer now. Nothing was done then, so that another server may be asked.
func (s *Server) ready(ctx context.Context) error {
	if s.etcd.IsMemberExist(s.etcd.MemberID()) && s.etcd.IsLearner() {
		return rpctypes.ErrGRPCNotSupportedForLearner
	}
	if wantsLeader(ctx) && s.etcd.Leader() == 0 {
		return rpctypes.ErrGRPCNoLeader
	}
	return nil
}

// wantsLeader tells whether a client rather has an error than an answer of a member without a leader (clientv3.WithRequireLeader).
func wantsLeader(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	v := md.Get(rpctypes.MetadataRequireLeaderKey)
	return len(v) > 0 && v[0] == rpctypes.MetadataHasLeader
}

// changing are the calls of the lock and election services that write; their own client then writes for the caller.
func changing(method string) bool {
	switch method {
	case v3lockpb.Lock_Lock_FullMethodName, v3lockpb.Lock_Unlock_FullMethodName, v3electionpb.Election_Campaign_FullMethodName,
		v3electionpb.Election_Proclaim_FullMethodName, v3electionpb.Election_Resign_FullMethodName:
		return true
	}
	return false
}

// blocks tells the calls that wait for other clients, however long.
func blocks(method string) bool {
	return method == v3lockpb.Lock_Lock_FullMethodName || method == v3electionpb.Election_Campaign_FullMethodName
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	defer s.caught(info.FullMethod, &err)
	if info.FullMethod != grpc_health_v1.Health_Check_FullMethodName {
		if err := s.ready(ctx); err != nil {
			return nil, err
		}
	}
	if changing(info.FullMethod) {
		if err := s.mayWrite(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !blocks(info.FullMethod) {
		defer context.AfterFunc(s.eras.now(), func() { cancel(errNewLeader) })() //nolint:contextcheck // An era is the store's.
	}
	resp, err = handle(ctx, req)
	if err != nil && errors.Is(context.Cause(ctx), errNewLeader) {
		return nil, rpctypes.ErrGRPCTimeoutDueToLeaderFail
	}
	return resp, known(info.FullMethod, err)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer s.caught(info.FullMethod, &err)
	if err := s.ready(ss.Context()); err != nil {
		return err
	}
	if !wantsLeader(ss.Context()) {
		return known(info.FullMethod, handle(srv, ss))
	}
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	go s.watchLeader(ctx, cancel)
	err = handle(srv, led{ss, ctx})
	if errors.Is(context.Cause(ctx), rpctypes.ErrGRPCNoLeader) {
		return rpctypes.ErrGRPCNoLeader
	}
	return known(info.FullMethod, err)
}

// led is a stream that ends when there is no leader.
type led struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (l led) Context() context.Context { return l.ctx }

func (s *Server) watchLeader(ctx context.Context, cancel context.CancelCauseFunc) {
	t := time.NewTicker(leaderEvery)
	defer t.Stop()
	for missing := 0; missing < leaderGone; missing++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if s.etcd.Leader() != 0 {
			missing = -1
		}
	}
	cancel(rpctypes.ErrGRPCNoLeader)
}

// caught keeps a panic in one call from ending the machine's process.
func (s *Server) caught(method string, err *error) {
	if p := recover(); p != nil {
		s.o.Log.Error("a call of the configuration panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "argosy: this call failed inside the server; its log has the cause")
	}
}

// known gives a call that etcd has and that is not served here a reason.
func known(method string, err error) error {
	if status.Code(err) != codes.Unimplemented {
		return err
	}
	return notServed("call "+method, "the store, its members and who may come in are looked after with argosy's own verbs")
}

func unknown(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	return refusal(codes.Unimplemented, reason.Because(reason.BadRequest, reason.Args{"error": "there is no " + method + " here"}))
}
