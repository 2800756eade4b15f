package api

import (
	"net/http"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/kv"
	"argosy.dev/argosy/reason"
)

// The entries of the table for the users' configuration (package kv), by etcd's API. Who may read comes in; every write
// asks again.
var (
	userKeysRoute      = route{path: "/etcdserverpb.KV/", summary: "the users' configuration", rule: holders}
	userKeysLocalRoute = route{path: "/etcdserverpb.KV/", summary: "the users' configuration", rule: viewers}
	userKeysWrite      = "change the users' configuration"
)

// serveUserKeys lets machines, for the programs on them, and users through to the users' configuration.
func (a *API) serveUserKeys(w http.ResponseWriter, r *http.Request) {
	rt := userKeysRoute
	if r.TLS == nil {
		rt = userKeysLocalRoute
	}
	r, err := a.admit(rt, r)
	if err != nil {
		kv.Refuse(w, err)
		return
	}
	if strings.HasPrefix(r.URL.Path, userKeysRoute.path) { // Reads and writes are short; watches and the like go on.
		a.toUserKeys(w, r)
		return
	}
	r, end := a.whileAllowed(rt, r)
	defer end()
	a.toUserKeys(w, r)
}

func (a *API) toUserKeys(w http.ResponseWriter, r *http.Request) {
	c := callerIn(r.Context())
	a.UserKeys.ServeHTTP(w, r.WithContext(kv.WithCaller(r.Context(), kv.Caller{Who: c.String(), MayWrite: func() error { return a.mayWriteKeys(c) }})))
}

// mayWriteKeys is nil when a caller may write: users by their role, programs on machines by the cluster's setting.
func (a *API) mayWriteKeys(c caller) error {
	switch c.kind {
	case callerMachine, callerServer:
		var s cluster.Settings
		a.View.Peek(func(p *cluster.Picture) { s = p.Settings })
		return MayWriteKeys(s, c.machine(), c.kind == callerServer)
	case callerLocal, callerUser, callerNobody:
	}
	return c.may(userKeysWrite, deployers)
}

// MayWriteKeys is nil when programs on a machine may write the users' configuration through its localhost.
func MayWriteKeys(s cluster.Settings, machine string, server bool) error {
	if s.ConfigWrite.Lets(server) {
		return nil
	}
	return reason.Because(reason.NotAllowed, reason.Args{
		"what": "write the users' configuration: the cluster's setting config_write is " + string(s.ConfigWrite), "who": "programs on " + machine,
		"cure": "write on a server, or from anywhere with the certificate of a user with the role deployer; or an admin changes the setting",
	})
}
