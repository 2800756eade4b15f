package kv

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// members is etcd's Cluster service, of which only the list is served.
type members struct {
	pb.UnimplementedClusterServer
	s    *Server
	next pb.ClusterServer
}

// MemberList implements pb.ClusterServer. A member is shown with its machine's name and with the address where the
// machine answers this API: clients that ask for the members' addresses use them from then on.
func (m *members) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	resp, err := m.next.MemberList(ctx, r)
	if err != nil {
		return nil, err
	}
	for i, one := range resp.Members {
		name, address := m.s.o.Machine(one.Name)
		if name == "" {
			name = one.Name
		}
		var urls []string
		if address != "" {
			urls = []string{"https://" + address}
		}
		resp.Members[i] = &pb.Member{ID: one.ID, Name: name, PeerURLs: one.PeerURLs, ClientURLs: urls, IsLearner: one.IsLearner}
	}
	return resp, nil
}

// maintenance is etcd's Maintenance service, of which only looking is served.
type maintenance struct {
	pb.UnimplementedMaintenanceServer
	next pb.MaintenanceServer
}

// Status implements pb.MaintenanceServer.
func (m *maintenance) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	return m.next.Status(ctx, r)
}

// Alarm implements pb.MaintenanceServer: it lists alarms, and refuses to raise or disarm one.
func (m *maintenance) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	if r.Action != pb.AlarmRequest_GET {
		return nil, notServed("raise or disarm alarms of the store", "Argosy disarms them itself when there is room again")
	}
	return m.next.Alarm(ctx, r)
}

// auth says that etcd's own users are not in use: who may do what is decided by Argosy.
type auth struct{ pb.UnimplementedAuthServer }

// AuthStatus implements pb.AuthServer.
func (*auth) AuthStatus(context.Context, *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	return &pb.AuthStatusResponse{Header: &pb.ResponseHeader{}}, nil
}

// Authenticate implements pb.AuthServer.
func (*auth) Authenticate(context.Context, *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	return nil, rpctypes.ErrGRPCAuthNotEnabled
}

// healthy tells machines whether this server can take their requests: it has a leader and a vote.
type healthy struct {
	grpc_health_v1.UnimplementedHealthServer
	s *Server
}

// Check implements grpc_health_v1.HealthServer.
func (h *healthy) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	out := &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}
	if h.s.ready(ctx) != nil || h.s.etcd.Leader() == 0 {
		out.Status = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return out, nil
}
