package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"argosy.dev/argosy/wire"
)

// NewTLS makes a client of the API at host:port over TLS. conf says who has to answer there, and who calls.
func NewTLS(address string, conf *tls.Config) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	again := tls.Dialer{NetDialer: dialer, Config: conf}
	return &Client{
		connect: func(ctx context.Context) (net.Conn, error) { return again.DialContext(ctx, "tcp", address) },
		host:    "https://" + address, base: url.URL{Scheme: "https", Host: address},
		http: &http.Client{Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: conf, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: time.Minute, DisableCompression: true,
		}},
	}
}

// Join turns a token into certificates. The client has to be one with identity.PinnedTLS.
func (c *Client) Join(ctx context.Context, q wire.JoinRequest) (*wire.Credentials, error) {
	return answer[wire.Credentials](ctx, c, request{method: http.MethodPost, path: "/v1/join", body: q})
}

// RenewLate asks for a certificate in place of one that has ended: chain, PEM. The caller shows no certificate.
func (c *Client) RenewLate(ctx context.Context, chain []byte) (*wire.Credentials, error) {
	return answer[wire.Credentials](ctx, c, request{method: http.MethodPost, path: "/v1/renew/late", body: wire.LateRequest{Certificate: chain}})
}

// Renew asks for new certificates of the machine that calls.
func (c *Client) Renew(ctx context.Context, q wire.RenewRequest) (*wire.Credentials, error) {
	return answer[wire.Credentials](ctx, c, request{method: http.MethodPost, path: "/v1/renew", body: q})
}

// CreateToken makes a join token.
func (c *Client) CreateToken(ctx context.Context, q wire.TokenRequest) (*wire.TokenAnswer, error) {
	return answer[wire.TokenAnswer](ctx, c, request{method: http.MethodPost, path: "/v1/tokens", body: q})
}

// Tokens lists the join tokens.
func (c *Client) Tokens(ctx context.Context) (*wire.TokenList, error) {
	return answer[wire.TokenList](ctx, c, request{method: http.MethodGet, path: "/v1/tokens"})
}

// RevokeToken takes a join token away.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: "/v1/tokens/" + id})
}

// AddUser makes a user, or changes the role of one.
func (c *Client) AddUser(ctx context.Context, q wire.UserRequest) (*wire.UserAnswer, error) {
	return answer[wire.UserAnswer](ctx, c, request{method: http.MethodPost, path: "/v1/users", body: q})
}

// Users lists the users.
func (c *Client) Users(ctx context.Context) (*wire.UserList, error) {
	return answer[wire.UserList](ctx, c, request{method: http.MethodGet, path: "/v1/users"})
}

// RemoveUser takes a user's rights away.
func (c *Client) RemoveUser(ctx context.Context, name string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: "/v1/users/" + name})
}

// RevokeMachine makes a machine's certificates count no more.
func (c *Client) RevokeMachine(ctx context.Context, id, why string) error {
	return c.do(ctx, request{method: http.MethodPost, path: "/v1/machines/" + id + "/revoke", body: wire.RevokeRequest{Why: why}})
}

// CA tells how the certificate authority is.
func (c *Client) CA(ctx context.Context) (*wire.CAStatus, error) {
	return answer[wire.CAStatus](ctx, c, request{method: http.MethodGet, path: "/v1/ca"})
}

// RotateCA replaces the authority's roots.
func (c *Client) RotateCA(ctx context.Context) (*wire.CAStatus, error) {
	return answer[wire.CAStatus](ctx, c, request{method: http.MethodPost, path: "/v1/ca/rotate", body: wire.RotateRequest{}})
}

// RetireCA ends the trust in the roots that were replaced.
func (c *Client) RetireCA(ctx context.Context, force bool) (*wire.CAStatus, error) {
	return answer[wire.CAStatus](ctx, c, request{method: http.MethodPost, path: "/v1/ca/retire", body: wire.RotateRequest{Force: force}})
}

// do makes a call whose answer has no body.
func (c *Client) do(ctx context.Context, q request) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.send(ctx, q)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// answer makes a call and gives its answer.
func answer[T any](ctx context.Context, c *Client, q request) (*T, error) {
	out := new(T)
	return out, c.call(ctx, q, out)
}
