package node

import (
	"context"

	"argosy.dev/argosy/store/etcd"
)

// members lets the store administer itself, while this machine leads.
func (l *life) members(ctx context.Context, _ *etcd.Store) error {
	<-ctx.Done()
	return nil
}
