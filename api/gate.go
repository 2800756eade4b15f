package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"argosy.dev/argosy/reason"
)

// Gate is the handler of a listener that outlives what stands behind it: a machine that becomes a server, or is one no
// more, opens its parts anew, and nobody finds the door closed meanwhile.
type Gate struct {
	mu   sync.Mutex
	now  http.Handler
	life context.Context // Of now.
	wait chan struct{}   // Closed when now is set.
}

// NewGate is a gate with nothing behind it yet.
func NewGate() *Gate { return &Gate{wait: make(chan struct{})} }

// Open puts a handler behind the gate until ctx ends; its requests end then, too.
func (g *Gate) Open(ctx context.Context, h http.Handler) {
	g.mu.Lock()
	g.now, g.life = h, ctx
	close(g.wait)
	g.mu.Unlock()
	context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.life == ctx {
			g.now, g.life, g.wait = nil, nil, make(chan struct{})
		}
	})
}

func (g *Gate) behind() (http.Handler, context.Context, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now, g.life, g.wait
}

// gatePatience is how long a request waits for a handler.
const gatePatience = 10 * time.Second

// ServeHTTP answers one request.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, life, wait := g.behind()
	for h == nil {
		t := time.NewTimer(gatePatience)
		select {
		case <-wait:
			t.Stop()
		case <-r.Context().Done():
			t.Stop()
			return
		case <-stopping(r.Context()):
			t.Stop()
			writeProblem(w, notReady())
			return
		case <-t.C:
			writeProblem(w, notReady())
			return
		}
		h, life, wait = g.behind()
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(life, cancel)() //nolint:contextcheck // The life of what stands behind the gate, not of a request.
	h.ServeHTTP(w, r.WithContext(ctx))
}

func notReady() *reason.Reason {
	return reason.Because(reason.StoreUnavailable, reason.Args{"error": "this machine is about to start"})
}
