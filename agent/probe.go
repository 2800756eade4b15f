package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"argosy.dev/argosy/unit"
)

// Bounds of one probe.
const (
	probeBody   = 4 << 10 // Bytes of an answer that are read.
	probeOutput = 200     // Bytes of a check command's last words that go into the error.
	probeKill   = time.Second
)

// probe asks one run once. The error is for people: what did not answer well, and where the unit listens instead.
func probe(ctx context.Context, t *Target, sockets SocketTable) error {
	c := t.Unit.Argosy.HealthCheck
	if c == nil {
		return probePorts(ctx, t, sockets)
	}
	switch c.Kind {
	case "http", "https":
		if err := probeHTTP(ctx, c.Target); err != nil {
			return withListeners(err, t, sockets)
		}
		return nil
	case "exec":
		return probeExec(ctx, t)
	}
	if err := probeTCP(ctx, c.Target); err != nil {
		return withListeners(err, t, sockets)
	}
	return nil
}

// probePorts asks every declared port: tcp by a connection, udp by a look at the socket table.
func probePorts(ctx context.Context, t *Target, sockets SocketTable) error {
	for _, p := range t.Unit.Argosy.Ports {
		if p.Proto == "udp" {
			if slices.ContainsFunc(sockets().List, func(s Socket) bool { return clashes(p, s) }) {
				continue
			}
			return withListeners(fmt.Errorf("nothing is bound to %d/udp", p.Number), t, sockets)
		}
		host := p.Address
		if host == "" || anyAddress(host) {
			host = "127.0.0.1"
		}
		if err := probeTCP(ctx, net.JoinHostPort(host, strconv.Itoa(int(p.Number)))); err != nil {
			if p.Address == "" && probeTCP(ctx, net.JoinHostPort("::1", strconv.Itoa(int(p.Number)))) == nil {
				continue
			}
			return withListeners(err, t, sockets)
		}
	}
	return nil
}

func probeTCP(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, plain(err))
	}
	return conn.Close()
}

// plain takes the addresses out of a network error: they hold a port that differs every time.
func plain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) {
		return errors.New("no answer in time")
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// probeHTTP takes every answer from 200 to 399 as good. Redirects are not followed: a check must not be sent elsewhere.
func probeHTTP(ctx context.Context, url string) error {
	transport := &http.Transport{
		DisableKeepAlives: true, Proxy: nil,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // It asks a service on this machine whether it lives, not who it is.
	}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "argosy-health")
	res, err := client.Do(req)
	if err != nil {
		return plain(err)
	}
	_, err = io.CopyN(io.Discard, res.Body, probeBody)
	if cerr := res.Body.Close(); err == nil || errors.Is(err, io.EOF) {
		err = cerr
	}
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("answered %d", res.StatusCode)
	}
	if err != nil {
		return plain(err)
	}
	return nil
}

// probeExec runs the check command as the unit's user. Its process group ends with it.
func probeExec(ctx context.Context, t *Target) error {
	argv := t.Unit.Argosy.HealthCheck.Command
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // The unit file says what to run, as ExecStart= does.
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MAINPID=" + strconv.Itoa(t.PID)}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = probeKill
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if s := t.Unit.Service; s != nil && s.Exec.User != "" && os.Geteuid() == 0 {
		cred, err := credential(s.Exec)
		if err != nil {
			return err
		}
		cmd.SysProcAttr.Credential = cred
	}
	last := &lastBytes{max: probeOutput}
	cmd.Stdout, cmd.Stderr = last, last
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("no answer in time")
	}
	if words := last.line(); words != "" {
		return fmt.Errorf("%w: %s", err, words)
	}
	return err
}

func credential(e unit.Exec) (*syscall.Credential, error) {
	u, err := user.Lookup(e.User)
	if err != nil {
		if u, err = user.LookupId(e.User); err != nil {
			return nil, fmt.Errorf("User=%s: %w", e.User, err) //nolint:staticcheck // The name of a directive.
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	max int
	buf []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	if n := len(l.buf); n > 2*l.max {
		l.buf = slices.Clone(l.buf[n-l.max:])
	}
	return len(p), nil
}

func (l *lastBytes) line() string {
	lines := strings.Split(strings.TrimSpace(string(l.buf)), "\n")
	s := strings.ToValidUTF8(strings.TrimSpace(lines[len(lines)-1]), "?")
	return s[max(0, len(s)-l.max):]
}

// withListeners adds where the unit's processes listen, when that is elsewhere: the commonest cause of a check that never
// answers is a program on another port, or on another address.
func withListeners(err error, t *Target, sockets SocketTable) error {
	table := sockets()
	if t.PID == 0 || table.Owner == nil {
		return err
	}
	var where []string
	for _, s := range table.List {
		pid, _ := table.Owner(s)
		if pid == 0 || pid != t.PID && !slices.Contains(table.Parents(pid), t.PID) {
			continue
		}
		text := net.JoinHostPort(s.Address, strconv.Itoa(int(s.Port)))
		if s.Proto == "udp" {
			text += "/udp"
		}
		where = append(where, text)
	}
	slices.Sort(where)
	where = slices.Compact(where)
	const most = 8
	switch {
	case len(where) == 0:
		return fmt.Errorf("%w; it listens on nothing", err)
	case len(where) > most:
		where = append(where[:most], "…")
	}
	return fmt.Errorf("%w; it listens on %s", err, strings.Join(where, ", "))
}
