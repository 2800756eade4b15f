package api

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/kv"
	"argosy.dev/argosy/loop"
	"argosy.dev/argosy/plan"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/remote"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// Config is what the API stands on. Store, View, Journal, Now and Log are needed; the rest may be left out.
type Config struct {
	Store store.Store
	// View of the whole store (prefix ""), run by its owner. The API looks at a fork of its own.
	View *store.View
	// Journal gives a unit's lines on this machine; a runtime.Runtime is one.
	Journal Journal
	// History keeps events; history.Recorder is one. Nil: none are kept.
	History History
	// Explain tells why a unit is where it is, and what each other machine has against it; leader.Leader's is one.
	// Nil, or ok false: the API asks a planner of its own, made from the view.
	Explain func(unit string) (e plan.Explanation, ok bool)
	// Leader is the name of the machine that leads; nil: not told.
	Leader func() string
	// Metrics is where the API registers its own and what GET /metrics shows; nil: a registry of its own.
	Metrics   *prometheus.Registry
	Version   string
	MachineID string // Of this machine.
	// Trust is the desk where machines and users are let in. Nil: nobody comes in over the network.
	Trust Trust
	// Guard knows whose certificates count. Nil: nobody's.
	Guard Guard
	// Machines serves /v1/store/, by which machines reach the store; it gets the machine's id by remote.WithMachine. Nil: it is not served.
	Machines http.Handler
	// UserKeys serves the users' configuration with etcd's API; it gets its callers by kv.WithCaller. Nil: it is not served.
	UserKeys http.Handler
	// Members answers for the members of the store. Nil: this machine is not a server.
	Members StoreDesk
	// Audit keeps who did what; nil: nothing is kept.
	Audit Audit
	// Outdated tells whether a caller's certificate is of a root that is being replaced; nil: none is.
	Outdated func(*tls.ConnectionState) bool
	// ToServer is the TLS setting for a call of the server with this id; nil: no other server is asked.
	ToServer func(id string) *tls.Config
	// ToMachine is the TLS setting for a call of the machine with this id; nil: no other machine is called.
	ToMachine func(id string) *tls.Config
	Now       func() time.Time
	Log       *slog.Logger
}

// Journal gives the log lines of a unit: the part of runtime.Runtime that the API needs.
type Journal interface {
	Journal(ctx context.Context, name string, q runtime.JournalQuery) (<-chan cluster.Line, error)
}

// History keeps the events of the cluster.
type History interface {
	// See is called with what was touched since the last call, as in store.View.Look: it must be quick and do no input or output.
	See(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool)
	// Flush writes down what was seen.
	Flush() error
	// Since lists events with a number greater than seq, oldest first: at most limit, only of the unit if one is named.
	// First and last are the numbers of the oldest and newest event that are kept.
	Since(seq int64, unit string, limit int) (events []wire.Event, first, last int64, err error)
	// Recent lists the last events of the units that match, oldest first, at most limit.
	Recent(match func(e *wire.Event) bool, limit int) ([]wire.Event, error)
	// Changed gives a channel that is closed when an event with a number greater than seq is there.
	Changed(seq int64) <-chan struct{}
	// Blame tells who destroys a unit, before it is destroyed: the store does not keep it.
	Blame(unit, who string)
}

// API is the http.Handler. Its Loop has to run, too: it feeds lists, watches and the history.
type API struct {
	Config
	hub     *hub
	mux     *http.ServeMux
	routes  []route
	limits  *limits
	metrics *metrics
	openapi []byte
	demands demands
	// refusals bound what goes to the audit log.
	refusals refusals
	rights   rights
	// strangers counts those who try to join.
	strangers *strangers
	mute      atomic.Bool // That events cannot be written was said.
}

// New makes the API. It starts nothing: run Loop, and Serve on a listener.
func New(c Config) *API {
	if c.History == nil {
		c.History = noHistory{}
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Leader == nil {
		c.Leader = func() string { return "" }
	}
	c.View = c.View.Fork()
	a := &API{Config: c, hub: newHub(c.View), limits: newLimits(), strangers: newStrangers(), demands: demands{of: map[string]demand{}}}
	a.metrics = newMetrics(a)
	a.routes = routes()
	a.mux = http.NewServeMux()
	for _, r := range a.routes {
		a.mux.Handle(r.method+" "+r.path, a.handler(r))
	}
	if c.Machines != nil {
		a.mux.HandleFunc(remote.Path, a.serveStore)
	}
	if c.UserKeys != nil {
		for _, path := range kv.Paths() {
			a.mux.HandleFunc(path, a.serveUserKeys)
		}
	}
	a.mux.Handle("/", a.handler(route{path: "/", rule: anyone, handle: (*API).noRoute}))
	a.openapi = openAPI(a.routes)
	return a
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// lookEvery is only a net under the kicks.
const lookEvery = time.Minute

// Loop follows the view for lists, watches and the history. It costs nothing while nothing changes.
func (a *API) Loop() loop.Loop {
	return loop.Loop{Name: "api", Every: lookEvery, Kick: a.View.Kick(), Pass: a.Pass, Log: a.Log}
}

// Pass takes in what changed in the view: for the simulator and tests; Loop repeats it.
// A history that cannot be written holds nobody up: it is said once, and tried again with the next pass.
func (a *API) Pass(context.Context) error {
	a.hub.pass(func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
		a.History.See(p, touched, all)
		a.rights.see(touched, all)
	})
	err := a.History.Flush()
	if bad := err != nil; bad != a.mute.Swap(bad) {
		if bad {
			a.Log.Error("events cannot be written down, they are kept for now", "error", err)
		} else {
			a.Log.Info("events are written down again")
		}
	}
	return nil
}

// noHistory is the null history.
type noHistory struct{}

func (noHistory) See(*cluster.Picture, map[cluster.Touched]struct{}, bool) {}
func (noHistory) Flush() error                                             { return nil }
func (noHistory) Blame(string, string)                                     {}
func (noHistory) Since(int64, string, int) ([]wire.Event, int64, int64, error) {
	return nil, 0, 0, nil
}
func (noHistory) Recent(func(*wire.Event) bool, int) ([]wire.Event, error) { return nil, nil }
func (noHistory) Changed(int64) <-chan struct{}                            { return nil }

// anyHost leaves machine specifiers as they are: the API does not run units.
var anyHost = unit.Host{}
