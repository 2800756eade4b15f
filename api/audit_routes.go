package api

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/audit"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Bounds of asking the other servers.
const (
	askWithin  = 5 * time.Second
	maxHeard   = 64 << 20 // Bytes of one server's answer.
	ownRecords = "own"    // The parameter that keeps a server from asking the others in turn.
)

func auditRoutes() []route {
	own := param{ownRecords, "query", "boolean", "Only what the server that is asked keeps itself."}
	return []route{
		{
			method: "GET", path: "/v1/audit", id: "audit", rule: admins, summary: "Who did what, and who was refused, on all servers, oldest first",
			params: []param{
				{"since", "query", "string", "Only from this time on (RFC 3339)."},
				{"who", "query", "string", "Only of callers with this in their name."},
				{"refused", "query", "boolean", "Only refusals."},
				{"limit", "query", "integer", "At most so many, the newest (default 1000, at most 10000)."},
				own,
			},
			answer: wire.AuditAnswer{}, also: []int{400}, handle: audited((*API).showAudit),
		},
		{
			method: "GET", path: "/v1/audit/verify", id: "verifyAudit", rule: admins, summary: "Whether the audit log is whole, on all servers", params: []param{own},
			answer: wire.AuditCheck{}, handle: audited((*API).verifyAudit),
		},
	}
}

// audited is a handler that needs the audit log: a machine that is not a server has none.
func audited(handle func(*API, http.ResponseWriter, *http.Request) error) func(*API, http.ResponseWriter, *http.Request) error {
	return func(a *API, w http.ResponseWriter, r *http.Request) error {
		if a.Audit == nil {
			return withStatus{reason.Because(reason.NotServer, reason.Args{"machine": "this machine"}), http.StatusServiceUnavailable}
		}
		return handle(a, w, r)
	}
}

func (a *API) showAudit(w http.ResponseWriter, r *http.Request) error {
	q, err := auditQuery(r.URL.Query())
	if err != nil {
		return err
	}
	var out wire.AuditAnswer
	if out.Records, err = a.Audit.Read(q); err != nil {
		return err
	}
	if r.URL.Query().Get(ownRecords) == "" {
		var mu sync.Mutex
		out.Away = a.askServers(r, func(from *http.Response) error {
			var theirs wire.AuditAnswer
			if err := json.NewDecoder(io.LimitReader(from.Body, maxHeard)).Decode(&theirs); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			out.Records = append(out.Records, theirs.Records...)
			return nil
		})
	}
	slices.SortFunc(out.Records, func(x, y wire.AuditRecord) int {
		if c := x.At.Compare(y.At); c != 0 {
			return c
		}
		if c := strings.Compare(x.Machine, y.Machine); c != 0 {
			return c
		}
		return int(x.Seq - y.Seq)
	})
	if len(out.Records) > q.Limit {
		out.Records = out.Records[len(out.Records)-q.Limit:]
	}
	if out.Records == nil {
		out.Records = []wire.AuditRecord{}
	}
	return writeJSON(w, http.StatusOK, out)
}

func auditQuery(v url.Values) (audit.Query, error) {
	q := audit.Query{Who: v.Get("who"), Refused: v.Get("refused") == "true", Limit: defaultAudit}
	var err error
	if s := v.Get("since"); s != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return q, badRequest(fmt.Sprintf("since=%q is not a time (RFC 3339)", s))
		}
	}
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > maxAudit {
			return q, badRequest(fmt.Sprintf("limit=%q is not 1 to %d", s, maxAudit))
		}
	}
	return q, nil
}

func (a *API) verifyAudit(w http.ResponseWriter, r *http.Request) error {
	own, err := a.Audit.Verify()
	if err != nil {
		own.Fault = err.Error()
	}
	own.Machine = a.MachineID
	a.View.Peek(func(p *cluster.Picture) { own.Name = p.MachineName(a.MachineID) })
	out := wire.AuditCheck{Servers: []wire.AuditState{own}}
	if r.URL.Query().Get(ownRecords) == "" {
		var mu sync.Mutex
		out.Away = a.askServers(r, func(from *http.Response) error {
			var theirs wire.AuditCheck
			if err := json.NewDecoder(io.LimitReader(from.Body, maxHeard)).Decode(&theirs); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			out.Servers = append(out.Servers, theirs.Servers...)
			return nil
		})
	}
	slices.SortFunc(out.Servers, func(x, y wire.AuditState) int { return strings.Compare(x.Name, y.Name) })
	return writeJSON(w, http.StatusOK, out)
}

// askServers puts the same question to every other server, all at once, and gives those that did not answer.
func (a *API) askServers(r *http.Request, take func(*http.Response) error) []wire.AuditAway {
	if a.ToServer == nil {
		return nil
	}
	type server struct{ id, name, address string }
	var others []server
	a.View.Peek(func(p *cluster.Picture) {
		for id, m := range p.Machines {
			if m.Server && id != a.MachineID {
				others = append(others, server{id, m.Name, m.Address})
			}
		}
	})
	q := r.URL.Query()
	q.Set(ownRecords, "true")
	var mu sync.Mutex
	var wg sync.WaitGroup
	var away []wire.AuditAway
	for _, s := range others {
		wg.Go(func() {
			err := askServer(r.Context(), a.ToServer(s.id), "https://"+s.address+r.URL.Path+"?"+q.Encode(), take)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			away = append(away, wire.AuditAway{Machine: s.id, Name: s.name, Error: err.Error()})
		})
	}
	wg.Wait()
	slices.SortFunc(away, func(x, y wire.AuditAway) int { return strings.Compare(x.Name, y.Name) })
	return away
}

func askServer(ctx context.Context, conf *tls.Config, u string, take func(*http.Response) error) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	c := http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	resp, err := c.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers with HTTP %d", resp.StatusCode)
	}
	return take(resp)
}
