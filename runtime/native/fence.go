package native

import (
	"context"
	"time"

	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/native/internal/proto"
)

var _ runtime.Fencer = (*Runtime)(nil)

// Held implements runtime.Fencer: the init process is the keeper.
func (r *Runtime) Held(ctx context.Context) (fence.Keeper, error) {
	m, err := r.link.call(ctx, &proto.Request{Op: proto.Held})
	if err != nil || m.Keeper == nil {
		return fence.Keeper{}, err
	}
	return *m.Keeper, nil
}

// BeginEpoch implements runtime.Fencer.
func (r *Runtime) BeginEpoch(ctx context.Context, epoch int64) error {
	return r.keep(ctx, &proto.Request{Op: proto.Epoch, Epoch: epoch})
}

// Renewed implements runtime.Fencer.
func (r *Runtime) Renewed(ctx context.Context, epoch int64, sent time.Duration) error {
	return r.keep(ctx, &proto.Request{Op: proto.Renewed, Epoch: epoch, Sent: sent})
}

// Condemned implements runtime.Fencer.
func (r *Runtime) Condemned(ctx context.Context, epoch int64) error {
	return r.keep(ctx, &proto.Request{Op: proto.Condemned, Epoch: epoch})
}

// Allow implements runtime.Fencer.
func (r *Runtime) Allow(ctx context.Context, unit string, placement, epoch int64) error {
	return r.keep(ctx, &proto.Request{Op: proto.Allow, Unit: unit, Placement: placement, Epoch: epoch})
}

func (r *Runtime) keep(ctx context.Context, q *proto.Request) error {
	m, err := r.link.call(ctx, q)
	if err != nil {
		return err
	}
	return fence.Refusal(m.Refused)
}
