package client

import (
	"context"
	"io"
	"net/http"

	"argosy.dev/argosy/wire"
)

// Server is one server of the cluster, for who has to ask that one.
type Server struct{ ID, Name, Address string }

// Store tells how the store and its members do.
func (c *Client) Store(ctx context.Context) (*wire.StoreInfo, error) {
	return answer[wire.StoreInfo](ctx, c, request{method: http.MethodGet, path: "/v1/store"})
}

// Snapshots lists the snapshots on all servers.
func (c *Client) Snapshots(ctx context.Context) (*wire.SnapshotList, error) {
	return answer[wire.SnapshotList](ctx, c, request{method: http.MethodGet, path: "/v1/snapshots"})
}

// SaveSnapshot writes a new snapshot of the store. The caller verifies what was written: a stream that broke off looks
// as one that ended.
func (c *Client) SaveSnapshot(ctx context.Context, w io.Writer) error {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: "/v1/snapshot"})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return c.unreachable(ctx, err)
	}
	return nil
}

// Recover makes the server that is asked the only one that holds the store.
func (c *Client) Recover(ctx context.Context, q wire.RecoverRequest) (*wire.RecoverAnswer, error) {
	return answer[wire.RecoverAnswer](ctx, c, request{method: http.MethodPost, path: "/v1/recover", body: q})
}
