package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
)

// recheck is how often an open stream is asked again whether its caller may still see it, beside the times when rights
// change: certificates end by themselves.
const recheck = 5 * time.Second

// rights tell open streams that somebody's rights have changed.
type rights struct {
	mu      sync.Mutex
	changed chan struct{}
}

// next gives a channel that is closed when rights change.
func (g *rights) next() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed
}

// see looks whether what changed in the store gives or takes rights.
func (g *rights) see(touched map[cluster.Touched]struct{}, all bool) {
	for t := range touched {
		all = all || t.Prefix == cluster.UsersPrefix || t.Prefix == cluster.RevokedPrefix || t.Prefix == cluster.AdminPrefix
	}
	if !all {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// whileAllowed ends a stream's request when its caller may not see it any more. The returned function has to be called.
func (a *API) whileAllowed(rt route, r *http.Request) (*http.Request, func()) {
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		t := time.NewTicker(recheck)
		defer t.Stop()
		for {
			changed := a.rights.next() // Before it is looked at, so that no change is missed.
			if !a.stillAllowed(rt, r) {
				cancel()
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case <-t.C:
			}
		}
	}()
	return r.WithContext(ctx), cancel
}

// stillAllowed tells whether the caller of a request may make it now, and its certificate has not ended.
func (a *API) stillAllowed(rt route, r *http.Request) bool {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && a.Now().After(r.TLS.PeerCertificates[0].NotAfter) {
		return false
	}
	_, err := a.admit(rt, r)
	return err == nil
}
