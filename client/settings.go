package client

import (
	"context"
	"net/http"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

// Settings gives the cluster's settings.
func (c *Client) Settings(ctx context.Context) (*cluster.Settings, error) {
	return answer[cluster.Settings](ctx, c, request{method: http.MethodGet, path: "/v1/settings"})
}

// PatchSettings changes the cluster's settings and gives them as they are now.
func (c *Client) PatchSettings(ctx context.Context, patch wire.SettingsPatch) (*cluster.Settings, error) {
	return answer[cluster.Settings](ctx, c, request{method: http.MethodPatch, path: "/v1/settings", body: patch})
}
