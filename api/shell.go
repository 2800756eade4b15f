package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/shell"
)

// shellRoutes are commands that people run: in a unit's surroundings, or on a machine. The connection is upgraded
// (HTTP/1.1) and then speaks shell.Protocol.
func shellRoutes() []route {
	query := []param{
		{"arg", "query", "names", "The command and its arguments, in order; none: a shell."},
		{"tty", "query", "boolean", "On a terminal of its own."},
		{"term", "query", "string", "TERM for it."},
		{"cols", "query", "integer", "Its width."},
		{"rows", "query", "integer", "Its height."},
	}
	return []route{
		{
			method: "GET", path: "/v1/machines/{id}/shell", id: "machineShell", rule: admins, summary: "Run a command on a machine, as root",
			params: slices.Concat([]param{{"id", "path", "string", "The machine: its id, the first eight characters of it, or its name."}}, query),
			status: http.StatusSwitchingProtocols, also: []int{404, 426, 503}, stream: true, write: true, handle: (*API).machineShell,
		},
		{
			method: "GET", path: "/v1/units/{name}/shell", id: "unitShell", rule: operators, summary: "Run a command in a unit's surroundings, as its user",
			params: slices.Concat([]param{unitParam}, query),
			status: http.StatusSwitchingProtocols, also: []int{404, 409, 426, 503}, stream: true, write: true, handle: (*API).unitShell,
		},
	}
}

func (a *API) machineShell(w http.ResponseWriter, r *http.Request) error {
	if err := a.read(r.Context()); err != nil {
		return err
	}
	m, err := a.machine(r.PathValue("id"))
	if err != nil {
		return err
	}
	return a.shellOn(w, r, m.Machine, 0)
}

func (a *API) unitShell(w http.ResponseWriter, r *http.Request) error {
	parsed, err := unitName(r.PathValue("name"))
	if err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	name := string(parsed)
	var m *cluster.Machine
	pid := 0
	var answer cluster.Answer
	var known bool
	a.View.Peek(func(p *cluster.Picture) {
		if answer, known = p.Answer(name); !known || answer.MachineID == "" {
			return
		}
		m = p.Machines[answer.MachineID]
		if s := p.Statuses[cluster.On{Machine: answer.MachineID, Unit: name}]; s != nil {
			pid = s.MainPID
		}
	})
	switch {
	case !known:
		return reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
	case m == nil || pid == 0:
		return withStatus{reason.Because(reason.NotRunning, reason.Args{"unit": name, "state": string(answer.State)}), http.StatusConflict}
	}
	return a.shellOn(w, r, *m, pid)
}

// shellOn runs the command here, or hands the connection on to the machine.
func (a *API) shellOn(w http.ResponseWriter, r *http.Request, m cluster.Machine, pid int) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), shell.Protocol) {
		return withStatus{badRequest("this call upgrades the connection to " + shell.Protocol), http.StatusUpgradeRequired}
	}
	if m.ID != a.MachineID {
		return a.passOn(w, r, m)
	}
	if who := callerIn(r.Context()); who.kind == callerLocal && a.Trust == nil && who.name != "root" {
		// The group argosy may look at an agent, and no more.
		return reason.Because(reason.NotAllowed, reason.Args{"what": "run commands on this machine through its own socket", "who": who.String()})
	}
	q := r.URL.Query()
	c := shell.Command{Argv: q["arg"], TTY: q.Get("tty") == "true", Term: q.Get("term"), Cols: extent(q.Get("cols")), Rows: extent(q.Get("rows")), PID: pid}
	if err := c.Check(); err != nil {
		return badRequest(err.Error())
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("take the connection over: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if rec, ok := w.(*recorder); ok {
		rec.status = http.StatusSwitchingProtocols
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", shell.Protocol); err != nil {
		return err
	}
	ctx := r.Context()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	status, err := shell.Serve(ctx, buffered{buf, conn}, c)
	a.Log.Info("a person's command ended", "who", peerOf(ctx).who, "unit", r.PathValue("name"), "command", strings.Join(c.Argv, " "), "tty", c.TTY, "status", status, "error", err)
	return nil
}

// buffered reads first what came along with the request.
type buffered struct {
	in interface{ Read([]byte) (int, error) }
	net.Conn
}

// Read reads.
func (b buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

func extent(text string) uint16 {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// passOn connects the caller with the machine's own API.
func (a *API) passOn(w http.ResponseWriter, r *http.Request, m cluster.Machine) error {
	if a.ToMachine == nil || m.Address == "" {
		return reason.Because(reason.NotReachable, reason.Args{"address": m.Name, "error": "it listens on no network"})
	}
	var failed error
	proxy := &httputil.ReverseProxy{
		Transport: upgradeTransport(a.ToMachine(m.ID), func(ctx context.Context, d *net.Dialer, network string) (net.Conn, error) {
			return d.DialContext(ctx, network, m.Address)
		}),
		ErrorLog: slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "https", m.Address
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(w, r)
	if failed != nil {
		if why, ok := errors.AsType[*reason.Reason](failed); ok {
			return why
		}
		return withStatus{reason.Because(reason.NotReachable, reason.Args{"address": m.Address, "error": failed.Error()}), http.StatusServiceUnavailable}
	}
	return nil
}

// upgradeTransport speaks HTTP/1.1: HTTP/2 has no upgrades.
func upgradeTransport(conf *tls.Config, dial func(context.Context, *net.Dialer, string) (net.Conn, error)) *http.Transport {
	conf = conf.Clone()
	conf.NextProtos = []string{"http/1.1"}
	dialer := &net.Dialer{Timeout: forwardDial}
	return &http.Transport{
		TLSClientConfig: conf, TLSHandshakeTimeout: forwardDial, DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, dialer, network) },
	}
}
