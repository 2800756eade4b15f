package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"argosy.dev/argosy/wire"
)

// AuditQuery says which records of the audit log are wanted. What is zero does not choose.
type AuditQuery struct {
	Since   time.Time
	Who     string
	Refused bool
	Limit   int // 0: the server's default.
}

// Audit gives the records of all servers, oldest first, and the servers that were away.
func (c *Client) Audit(ctx context.Context, q AuditQuery) (*wire.AuditAnswer, error) {
	v := url.Values{}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.Who != "" {
		v.Set("who", q.Who)
	}
	if q.Refused {
		v.Set("refused", "true")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return answer[wire.AuditAnswer](ctx, c, request{method: http.MethodGet, path: "/v1/audit", query: v})
}

// VerifyAudit has every server check its part of the audit log.
func (c *Client) VerifyAudit(ctx context.Context) (*wire.AuditCheck, error) {
	return answer[wire.AuditCheck](ctx, c, request{method: http.MethodGet, path: "/v1/audit/verify"})
}
