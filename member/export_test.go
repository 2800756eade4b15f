package member

import "context"

// SnapshotPass is a pass of the schedule.
func (k *Keeper) SnapshotPass(ctx context.Context) error { return k.snapshotPass(ctx) }
