package kv

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"argosy.dev/argosy/reason"
)

// Bounds of what users may ask, so that their requests leave room for Argosy's own.
const (
	maxRequest  = 3 << 19 // Bytes of a request: etcd's own default, 1.5 MiB.
	writeSlots  = 64      // Writes under way in this server; others wait.
	usersShare  = 2       // Writes that add something end when the store is filled to one part in so many.
	maxWatchers = 10_000  // Of one stream.
)

// keys is etcd's KV service inside the prefix.
type keys struct {
	pb.UnimplementedKVServer
	s    *Server
	next pb.KVServer
}

// Range implements pb.KVServer.
func (k *keys) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if err := rangeInside(r); err != nil {
		return nil, err
	}
	resp, err := k.next.Range(ctx, r)
	if err != nil {
		return nil, err
	}
	kvsBare(resp.Kvs)
	return resp, nil
}

// RangeStream implements pb.KVServer.
func (k *keys) RangeStream(r *pb.RangeRequest, stream pb.KV_RangeStreamServer) error {
	if err := rangeInside(r); err != nil {
		return err
	}
	return k.next.RangeStream(r, &bareRange{stream})
}

type bareRange struct{ pb.KV_RangeStreamServer }

// Send implements pb.KV_RangeStreamServer.
func (b *bareRange) Send(r *pb.RangeStreamResponse) error {
	kvsBare(r.GetRangeResponse().GetKvs())
	return b.KV_RangeStreamServer.Send(r)
}

// Put implements pb.KVServer.
func (k *keys) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	done, err := k.s.write(ctx, r, true)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := putInside(r); err != nil {
		return nil, err
	}
	resp, err := k.next.Put(ctx, r)
	if err != nil {
		return nil, err
	}
	resp.PrevKv = kvBare(resp.PrevKv)
	return resp, nil
}

// DeleteRange implements pb.KVServer.
func (k *keys) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	done, err := k.s.write(ctx, r, false)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := deleteInside(r); err != nil {
		return nil, err
	}
	resp, err := k.next.DeleteRange(ctx, r)
	if err != nil {
		return nil, err
	}
	kvsBare(resp.PrevKvs)
	return resp, nil
}

// Txn implements pb.KVServer.
func (k *keys) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	if err := txnInside(r, maxOps); err != nil {
		return nil, err
	}
	if any, grows := writes(r); any {
		done, err := k.s.write(ctx, r, grows)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	resp, err := k.next.Txn(ctx, r)
	if err != nil {
		return nil, err
	}
	txnBare(resp)
	return resp, nil
}

// Compact implements pb.KVServer: history is one for all keys, Argosy's included.
func (k *keys) Compact(context.Context, *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	return nil, notServed("throw history away", "Argosy compacts the store itself")
}

// write lets a write begin: by somebody who may, of a size that is allowed, with room in the store if it adds to it, and
// not too many at once. The returned function ends it.
func (s *Server) write(ctx context.Context, r proto.Message, grows bool) (func(), error) {
	if err := s.mayWrite(ctx); err != nil {
		return nil, err
	}
	if proto.Size(r) > maxRequest {
		return nil, rpctypes.ErrGRPCRequestTooLarge
	}
	if grows {
		if have, most := s.etcd.Backend().SizeInUse(), s.etcd.Cfg.QuotaBackendBytes/usersShare; have > most {
			return nil, refusal(codes.ResourceExhausted, reason.Because(reason.StoreFull, reason.Args{"size": have, "quota": most}))
		}
	}
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
