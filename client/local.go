package client

import (
	"net/http"

	"argosy.dev/argosy/wire"
)

// Local is the same client asking the machine at the other end for what it knows itself, without any server.
func (c *Client) Local() *Client {
	l := *c
	l.http = &http.Client{Transport: askLocally{c.http.Transport}}
	return &l
}

type askLocally struct{ http.RoundTripper }

// RoundTrip makes one call.
func (t askLocally) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(wire.LocalHeader, "1")
	return t.RoundTripper.RoundTrip(r)
}
