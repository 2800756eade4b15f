package api

import (
	"context"
	"net/http"

	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Trust lets machines and users in; trust.Desk is one.
type Trust interface {
	Join(ctx context.Context, q wire.JoinRequest) (wire.Credentials, error)
	Renew(ctx context.Context, id identity.ID, q wire.RenewRequest) (wire.Credentials, error)
	RenewLate(ctx context.Context, q wire.LateRequest) (wire.Credentials, error)
	CreateToken(ctx context.Context, q wire.TokenRequest, by string) (wire.TokenAnswer, error)
	Tokens(ctx context.Context) (wire.TokenList, error)
	RevokeToken(ctx context.Context, id, by string) error
	AddUser(ctx context.Context, q wire.UserRequest, by string) (wire.UserAnswer, error)
	Users() wire.UserList
	RemoveUser(ctx context.Context, name, by string) error
	Revoke(ctx context.Context, kind identity.Kind, name, why, by string) error
	CA(ctx context.Context) (wire.CAStatus, error)
	Rotate(ctx context.Context, by string) (wire.CAStatus, error)
	Retire(ctx context.Context, force bool, by string) (wire.CAStatus, error)
}

func trustRoutes() []route {
	user := param{"name", "path", "string", "The user."}
	return []route{
		{
			method: "POST", path: "/v1/join", id: "join", rule: anyone, summary: "Turn a join token into a machine's certificates",
			body: wire.JoinRequest{}, answer: wire.Credentials{}, also: []int{400, 403, 409}, write: true, handle: trusted((*API).join),
		},
		{
			method: "POST", path: "/v1/renew", id: "renew", rule: holders, summary: "New certificates for a machine or user that has some",
			body: wire.RenewRequest{}, answer: wire.Credentials{}, also: []int{400}, handle: trusted((*API).renew),
		},
		{
			method: "POST", path: "/v1/renew/late", id: "renewLate", rule: anyone, summary: "A new certificate for a machine whose last one has ended",
			body: wire.LateRequest{}, answer: wire.Credentials{}, also: []int{400, 403}, handle: trusted((*API).renewLate),
		},
		{
			method: "POST", path: "/v1/tokens", id: "createToken", rule: admins, summary: "Make a join token",
			body: wire.TokenRequest{}, answer: wire.TokenAnswer{}, status: 201, also: []int{400, 409}, write: true, handle: trusted((*API).createToken),
		},
		{method: "GET", path: "/v1/tokens", id: "listTokens", rule: admins, summary: "The join tokens, without their secrets", answer: wire.TokenList{}, handle: trusted((*API).listTokens)},
		{
			method: "DELETE", path: "/v1/tokens/{id}", id: "revokeToken", rule: admins, summary: "Take a join token away",
			params: []param{{"id", "path", "string", "The token's id."}}, status: 204, also: []int{404}, write: true, handle: trusted((*API).revokeToken),
		},
		{
			method: "POST", path: "/v1/users", id: "addUser", rule: admins, summary: "Make a user, or change the role of one; with a key it issues a certificate",
			body: wire.UserRequest{}, answer: wire.UserAnswer{}, also: []int{400}, write: true, handle: trusted((*API).addUser),
		},
		{method: "GET", path: "/v1/users", id: "listUsers", rule: admins, summary: "The users and their roles", answer: wire.UserList{}, handle: trusted((*API).listUsers)},
		{
			method: "DELETE", path: "/v1/users/{name}", id: "removeUser", rule: admins, summary: "Take a user's rights away", params: []param{user},
			status: 204, also: []int{404}, write: true, handle: trusted((*API).removeUser),
		},
		{
			method: "POST", path: "/v1/machines/{id}/revoke", id: "revokeMachine", rule: admins, summary: "A machine's certificates count no more, from now on",
			params: []param{{"id", "path", "string", "The machine: its id, the first eight characters of it, or its name."}},
			body:   wire.RevokeRequest{}, status: 204, also: []int{404}, write: true, handle: trusted((*API).revokeMachine),
		},
		{method: "GET", path: "/v1/ca", id: "showCA", rule: admins, summary: "The certificate authority, and who has which certificate", answer: wire.CAStatus{}, handle: trusted((*API).showCA)},
		{
			method: "POST", path: "/v1/ca/rotate", id: "rotateCA", rule: admins, summary: "Replace the certificate authority's roots, while the old ones are trusted on",
			body: wire.RotateRequest{}, answer: wire.CAStatus{}, also: []int{409}, write: true, handle: trusted((*API).rotateCA),
		},
		{
			method: "POST", path: "/v1/ca/retire", id: "retireCA", rule: admins, summary: "End the trust in the roots that were replaced",
			body: wire.RotateRequest{}, answer: wire.CAStatus{}, also: []int{409}, write: true, handle: trusted((*API).retireCA),
		},
	}
}

// trusted is a handler that needs the desk: a machine that is not a server has none.
func trusted(handle func(*API, http.ResponseWriter, *http.Request) error) func(*API, http.ResponseWriter, *http.Request) error {
	return func(a *API, w http.ResponseWriter, r *http.Request) error {
		if a.Trust == nil {
			return withStatus{reason.Because(reason.NotServer, reason.Args{"machine": "this machine"}), http.StatusServiceUnavailable}
		}
		return handle(a, w, r)
	}
}

func (a *API) join(w http.ResponseWriter, r *http.Request) error {
	var q wire.JoinRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	return a.limitJoins(r, func(ctx context.Context) error {
		out, err := a.Trust.Join(ctx, q)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, out)
	})
}

func (a *API) renew(w http.ResponseWriter, r *http.Request) error {
	var q wire.RenewRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	c := callerIn(r.Context())
	out, err := a.Trust.Renew(r.Context(), identity.ID{Kind: identity.Kind(c.kind), Name: c.name}, q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) renewLate(w http.ResponseWriter, r *http.Request) error {
	var q wire.LateRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	out, err := a.Trust.RenewLate(r.Context(), q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) createToken(w http.ResponseWriter, r *http.Request) error {
	var q wire.TokenRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	out, err := a.Trust.CreateToken(r.Context(), q, peerOf(r.Context()).who)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, out)
}

func (a *API) listTokens(w http.ResponseWriter, r *http.Request) error {
	out, err := a.Trust.Tokens(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) revokeToken(w http.ResponseWriter, r *http.Request) error {
	if err := a.Trust.RevokeToken(r.Context(), r.PathValue("id"), peerOf(r.Context()).who); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) addUser(w http.ResponseWriter, r *http.Request) error {
	var q wire.UserRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	out, err := a.Trust.AddUser(r.Context(), q, peerOf(r.Context()).who)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) listUsers(w http.ResponseWriter, r *http.Request) error {
	if err := a.read(r.Context()); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a.Trust.Users())
}

func (a *API) removeUser(w http.ResponseWriter, r *http.Request) error {
	if err := a.read(r.Context()); err != nil {
		return err
	}
	if err := a.Trust.RemoveUser(r.Context(), r.PathValue("name"), peerOf(r.Context()).who); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) revokeMachine(w http.ResponseWriter, r *http.Request) error {
	var q wire.RevokeRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	m, err := a.machine(r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := a.Trust.Revoke(r.Context(), identity.KindMachine, m.ID, q.Why, peerOf(r.Context()).who); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) showCA(w http.ResponseWriter, r *http.Request) error {
	return a.ca(w, r, func() (wire.CAStatus, error) { return a.Trust.CA(r.Context()) })
}

func (a *API) rotateCA(w http.ResponseWriter, r *http.Request) error {
	var q wire.RotateRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	return a.ca(w, r, func() (wire.CAStatus, error) { return a.Trust.Rotate(r.Context(), peerOf(r.Context()).who) })
}

func (a *API) retireCA(w http.ResponseWriter, r *http.Request) error {
	var q wire.RotateRequest
	if err := readBody(r, &q); err != nil {
		return err
	}
	return a.ca(w, r, func() (wire.CAStatus, error) { return a.Trust.Retire(r.Context(), q.Force, peerOf(r.Context()).who) })
}

// ca does something with the authority and answers how it is then.
func (a *API) ca(w http.ResponseWriter, r *http.Request, f func() (wire.CAStatus, error)) error {
	if err := a.read(r.Context()); err != nil {
		return err
	}
	out, err := f()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}
