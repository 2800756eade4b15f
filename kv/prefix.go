package kv

import (
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Users' keys lie beside Argosy's facts and its election (store/etcd), so that no view and no machine's part is woken by
// them. Nothing else in Argosy reads or writes there.
const (
	prefix    = "/argosy/config/"
	prefixEnd = "/argosy/config0" // The first key after all that begin with prefix.
)

// maxOps is etcd's own default for the operations of one transaction, those of nested ones included.
const maxOps = 128

// The functions below change requests in place: each comes from the wire and belongs to its call alone.

// inside puts the prefix on a key, and on the end of a range: none means the key alone, "\x00" all keys from it on
// (RangeRequest.range_end of etcd's API). What comes out never leaves the prefix: both ends have it, or the end is prefixEnd.
func inside(key, end []byte) (in, inEnd []byte) {
	in = slices.Concat([]byte(prefix), key)
	switch {
	case len(end) == 0:
		return in, nil
	case len(end) == 1 && end[0] == 0:
		return in, []byte(prefixEnd)
	}
	return in, slices.Concat([]byte(prefix), end)
}

func rangeInside(r *pb.RangeRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	r.Key, r.RangeEnd = inside(r.Key, r.RangeEnd)
	return nil
}

func putInside(r *pb.PutRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	if r.Lease != 0 && !ofUsers(r.Lease) {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	r.Key, _ = inside(r.Key, nil)
	return nil
}

func deleteInside(r *pb.DeleteRangeRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	r.Key, r.RangeEnd = inside(r.Key, r.RangeEnd)
	return nil
}

// txnInside does a transaction with all that is nested in it. left bounds the operations, level by level as etcd counts them.
func txnInside(r *pb.TxnRequest, left int) error {
	if r == nil {
		return rpctypes.ErrGRPCEmptyKey
	}
	most := max(len(r.Compare), len(r.Success), len(r.Failure))
	if most > left {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.Compare {
		if len(c.GetKey()) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
		c.Key, c.RangeEnd = inside(c.Key, c.RangeEnd)
	}
	for _, op := range slices.Concat(r.Success, r.Failure) {
		if err := opInside(op, left-most); err != nil {
			return err
		}
	}
	return nil
}

// opInside refuses what it does not know: an operation of a later etcd must not pass as it came.
func opInside(op *pb.RequestOp, left int) error {
	switch o := op.GetRequest().(type) {
	case *pb.RequestOp_RequestRange:
		return rangeInside(o.RequestRange)
	case *pb.RequestOp_RequestPut:
		return putInside(o.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return deleteInside(o.RequestDeleteRange)
	case *pb.RequestOp_RequestTxn:
		return txnInside(o.RequestTxn, left)
	}
	return rpctypes.ErrGRPCKeyNotFound // As etcd says to an empty operation.
}

// writes tells what a transaction may change, in either branch: anything, and whether it may grow the store.
func writes(r *pb.TxnRequest) (any, grows bool) {
	for _, op := range slices.Concat(r.GetSuccess(), r.GetFailure()) {
		switch o := op.GetRequest().(type) {
		case *pb.RequestOp_RequestPut:
			return true, true
		case *pb.RequestOp_RequestDeleteRange:
			any = true
		case *pb.RequestOp_RequestTxn:
			a, g := writes(o.RequestTxn)
			if any = any || a; g {
				return true, true
			}
		}
	}
	return any, false
}

// watchInside does what a client asks of a watch stream. An empty key is the smallest one (Watch of etcd's API).
func watchInside(r *pb.WatchRequest) {
	c := r.GetCreateRequest()
	if c == nil {
		return
	}
	if len(c.Key) == 0 {
		c.Key = []byte{0}
	}
	c.Key, c.RangeEnd = inside(c.Key, c.RangeEnd)
}

// bare takes the prefix off a key that an answer names.
func bare(key []byte) []byte {
	if len(key) < len(prefix) {
		return nil // Cannot be: every request was done by inside.
	}
	return key[len(prefix):]
}

func kvsBare(kvs []*mvccpb.KeyValue) {
	for i, kv := range kvs {
		kvs[i] = kvBare(kv)
	}
}

// kvBare is a copy: the events of watches, and what a read finds, may be shared with others.
func kvBare(kv *mvccpb.KeyValue) *mvccpb.KeyValue {
	if kv == nil {
		return nil
	}
	return &mvccpb.KeyValue{
		Key: bare(kv.Key), Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version, Lease: kv.Lease,
	}
}

func txnBare(r *pb.TxnResponse) {
	for _, op := range r.GetResponses() {
		switch o := op.GetResponse().(type) {
		case *pb.ResponseOp_ResponseRange:
			kvsBare(o.ResponseRange.GetKvs())
		case *pb.ResponseOp_ResponsePut:
			if o.ResponsePut != nil {
				o.ResponsePut.PrevKv = kvBare(o.ResponsePut.PrevKv)
			}
		case *pb.ResponseOp_ResponseDeleteRange:
			kvsBare(o.ResponseDeleteRange.GetPrevKvs())
		case *pb.ResponseOp_ResponseTxn:
			txnBare(o.ResponseTxn)
		}
	}
}

// eventsBare gives new events: those of etcd are shared among all watches.
func eventsBare(events []*mvccpb.Event) []*mvccpb.Event {
	if events == nil {
		return nil
	}
	out := make([]*mvccpb.Event, len(events))
	for i, e := range events {
		out[i] = &mvccpb.Event{Type: e.Type, Kv: kvBare(e.Kv), PrevKv: kvBare(e.PrevKv)}
	}
	return out
}
