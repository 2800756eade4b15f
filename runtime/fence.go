package runtime

import (
	"context"
	"time"

	"argosy.dev/argosy/fence"
)

// Fencer is a Runtime that runs exclusive units: it has a keeper, outside of the agent, that stops them when the
// machine's lease was not renewed in time, and that starts none without its leave (package fence). A start of an exclusive
// unit that it has given no leave for is refused with reason no-lease, whoever asks: an agent, Restart=, a timer.
// Times are of the machine's boot clock, CLOCK_BOOTTIME.
type Fencer interface {
	// Held is what the keeper holds.
	Held(ctx context.Context) (fence.Keeper, error)
	// BeginEpoch takes a new epoch; fence.ErrBusy while exclusive units run.
	BeginEpoch(ctx context.Context, epoch int64) error
	// Renewed tells when the last acknowledged renewal of an epoch was sent.
	Renewed(ctx context.Context, epoch int64, sent time.Duration) error
	// Condemned stops every exclusive unit at once: the epoch is over.
	Condemned(ctx context.Context, epoch int64) error
	// Allow gives a unit the leave to run in an epoch of the machine, with the epoch of its placement (ARGOSY_EPOCH).
	Allow(ctx context.Context, unit string, placement, epoch int64) error
}
