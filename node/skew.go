package node

import (
	"context"
	"net/http"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
)

// Bounds of a look at the servers' clocks.
const (
	skewAsked  = 3 // Servers.
	skewWithin = 3 * time.Second
)

// clockSkew is how far this machine's clock is ahead of the servers': the median of what they say in the Date of an
// answer (RFC 9110, whole seconds). A server compares itself with the one that leads, so that of two clocks that differ
// one is right by definition.
func (l *life) clockSkew(ctx context.Context) (ahead time.Duration, ok bool) {
	servers := l.memory.servers()
	if l.record.Server {
		servers = nil
		l.view.Peek(func(p *cluster.Picture) {
			if p.Reign != nil && p.Reign.ID != l.id && p.Machines[p.Reign.ID] != nil {
				servers = []string{p.Machines[p.Reign.ID].Address}
			}
		})
	}
	servers = servers[:min(len(servers), skewAsked)]
	if len(servers) == 0 {
		return 0, l.record.Server // Nobody to ask: the only server, or the leader, is right.
	}
	c := http.Client{Transport: &http.Transport{TLSClientConfig: l.keeper.ClientTLS(identity.KindServer, ""), DisableKeepAlives: true, ForceAttemptHTTP2: true}, Timeout: skewWithin}
	var all []time.Duration
	for _, at := range servers {
		if d, err := skewOf(ctx, &c, at); err == nil {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return all[len(all)/2], true
}

func skewOf(ctx context.Context, c *http.Client, address string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/v1/version", nil)
	if err != nil {
		return 0, err
	}
	before := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	after := time.Now()
	_ = resp.Body.Close() // Only its head was asked for.
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, err
	}
	half := after.Sub(before) / 2
	return before.Add(half).Sub(date.Add(time.Second / 2)), nil
}
