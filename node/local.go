package node

import (
	"context"
	"net/http"
	"time"

	"argosy.dev/argosy/api"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

// localDoor answers at a server's socket. While the store does not answer and was not read yet, who asks for what this
// machine knows itself is shown what the agent does by the part that was kept on disk.
type localDoor struct {
	*life
	http.Handler
}

// ServeHTTP answers one request.
func (d localDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if own := d.ownPart.Load(); own != nil && r.Header.Get(wire.LocalHeader) != "" {
		select {
		case <-d.view.Ready():
		default:
			own.ServeHTTP(w, r)
			return
		}
	}
	d.Handler.ServeHTTP(w, r)
}

// showPart lets localDoor answer from a kept part, until ctx ends.
func (l *life) showPart(ctx context.Context, part *store.View) {
	own := api.New(api.Config{
		Store: l.store, View: part, Journal: l.units, History: l.events, Guard: serversOnly{},
		Version: l.Version, MachineID: l.id, Now: time.Now, Log: l.Log,
	})
	l.ownPart.Store(own)
	l.begin(ctx, "own part", func(ctx context.Context) error { own.Loop().Run(ctx); return nil })
}
