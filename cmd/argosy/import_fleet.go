package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Bounds of reading a fleet.
const (
	fleetWithin   = 30 * time.Second // For one page.
	maxFleetPage  = 64 << 20         // Bytes of one.
	maxFleetPages = 1000             // Of 100 units.
)

// fleetUnit is fleet's Unit, of its API v1.
type fleetUnit struct {
	Name         string            `json:"name"`
	DesiredState string            `json:"desiredState"`
	Options      []unit.FileOption `json:"options"`
}

// fleetEndpoint is where a fleet answers.
type fleetEndpoint struct{ url, certFile, keyFile, caFile string }

// units reads all pages of GET /fleet/v1/units.
func (e fleetEndpoint) units(ctx context.Context, a *app) ([]fleetUnit, error) {
	c, base, err := e.client(a)
	if err != nil {
		return nil, err
	}
	defer c.CloseIdleConnections()
	var out []fleetUnit
	seen := map[string]bool{}
	for token := ""; ; {
		var page struct {
			NextPageToken string      `json:"nextPageToken"`
			Units         []fleetUnit `json:"units"`
		}
		if err := e.get(ctx, c, base, token, &page); err != nil {
			return nil, err
		}
		for _, u := range page.Units {
			if !seen["unit "+u.Name] { // Pages shift when units come and go meanwhile.
				seen["unit "+u.Name] = true
				out = append(out, u)
			}
		}
		if token = page.NextPageToken; token == "" {
			return out, nil
		}
		if seen[token] || len(seen) > maxFleetPages*100 {
			return nil, e.unreachable(errors.New("its pages have no end"))
		}
		seen[token] = true
	}
}

func (e fleetEndpoint) unreachable(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return &exitError{code: exitUnreachable, err: fmt.Errorf("no fleet at %s: %w", e.url, err), hint: "--endpoint is where fleetctl would ask: unix:///var/run/fleet.sock, or http://HOST:49153"}
}

func (e fleetEndpoint) get(ctx context.Context, c *http.Client, base, token string, page any) error {
	ctx, cancel := context.WithTimeout(ctx, fleetWithin)
	defer cancel()
	q := url.Values{}
	if token != "" {
		q.Set("nextPageToken", token)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/fleet/v1/units?"+q.Encode(), nil)
	if err != nil {
		return e.unreachable(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return e.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return e.unreachable(fmt.Errorf("it answers with HTTP %d", resp.StatusCode))
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFleetPage)).Decode(page); err != nil {
		return e.unreachable(fmt.Errorf("it does not answer as fleet's API v1: %w", err))
	}
	return nil
}

func (e fleetEndpoint) client(a *app) (*http.Client, string, error) {
	u, err := url.Parse(e.url)
	if err != nil {
		return nil, "", usagef("", "--endpoint: %v", err)
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	switch {
	case u.Scheme == "unix" && strings.HasPrefix(u.Path, "/"):
		var dialer net.Dialer
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", u.Path)
		}
		return &http.Client{Transport: t}, "http://fleet", nil
	case u.Scheme == "http" && u.Host != "":
	case u.Scheme == "https" && u.Host != "":
		if t.TLSClientConfig, err = e.tls(a); err != nil {
			return nil, "", err
		}
	default:
		return nil, "", usagef("unix:///PATH, http://HOST:PORT or https://HOST:PORT", "--endpoint %q is not an address", e.url)
	}
	return &http.Client{Transport: t}, strings.TrimRight(u.Scheme+"://"+u.Host+u.Path, "/"), nil
}

// tls are the settings for a fleet behind TLS: ordinary names and certificates, not those of an Argosy.
func (e fleetEndpoint) tls(a *app) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.caFile != "" {
		pem, err := a.readInput(e.caFile)
		if err != nil {
			return nil, err
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, reason.Because(reason.BadRequest, reason.Args{"error": e.caFile + " holds no certificate"})
		}
	}
	if e.certFile == "" && e.keyFile == "" {
		return conf, nil
	}
	chain, err := a.readInput(e.certFile)
	if err != nil {
		return nil, err
	}
	key, err := a.readInput(e.keyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	conf.Certificates = []tls.Certificate{pair}
	return conf, err
}
