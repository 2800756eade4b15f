package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/identity"
)

// tunnelLook is how often the socket that ssh makes is looked for.
const tunnelLook = 50 * time.Millisecond

// reach are fleetctl's flags that say how the cluster is reached, and the tunnel while it is open.
type reach struct {
	endpoint, tunnel, driver  string
	caFile, certFile, keyFile string
	sshUser, knownHosts       string
	sshTimeout                float64
	strict                    bool
	flags                     *pflag.FlagSet
	closeTunnel               func()
}

func (r *reach) reachFlags(p *pflag.FlagSet) {
	r.flags, r.closeTunnel = p, func() {}
	p.StringVar(&r.endpoint, "endpoint", "", "location of the API: unix:///PATH, http://HOST:PORT, or https://HOST:PORT of any server (default $ARGOSY_HOST, else "+defaultHost+")")
	p.StringVar(&r.tunnel, "tunnel", "", "reach the endpoint over ssh to HOST or HOST:PORT, as seen from there")
	p.StringVar(&r.driver, "driver", "API", "API; etcd is not supported")
	p.StringVar(&r.sshUser, "ssh-username", "core", "user for --tunnel; when it is not said, ssh's own configuration counts")
	p.Float64Var(&r.sshTimeout, "ssh-timeout", 10, "seconds for --tunnel to connect")
	p.StringVar(&r.knownHosts, "known-hosts-file", "~/.fleetctl/known_hosts", "for --tunnel; when it is not said, ssh's own configuration counts")
	p.BoolVar(&r.strict, "strict-host-key-checking", true, "for --tunnel; false takes host keys that are not known")
	p.StringVar(&r.keyFile, "key-file", "", "private key for an https endpoint (default: a context's)")
	p.StringVar(&r.certFile, "cert-file", "", "certificate for an https endpoint (default: a context's)")
	p.StringVar(&r.caFile, "ca-file", "", "certificate authority for an https endpoint (default: a context's)")
}

// checkDriver refuses fleet's way around its API: Argosy's units lie in no etcd that others reach.
func (f *fleetctl) checkDriver() error {
	if f.driver == "" || strings.EqualFold(f.driver, "api") {
		return nil
	}
	return usagef("--driver=API, with --endpoint of a machine", "--driver=%s is not supported: units are reached by the API only", f.driver)
}

// open connects to what --endpoint and --tunnel name.
func (f *fleetctl) open(ctx context.Context) (door, error) {
	if f.dial != nil && f.tunnel == "" {
		f.host = f.endpoint
		return f.connect()
	}
	c, err := f.desk(ctx)
	if err != nil {
		return nil, err
	}
	return remote{c}, nil
}

// desk is the client of what is named. fleet's own default socket is taken for ours when nothing listens there.
func (f *fleetctl) desk(ctx context.Context) (*client.Client, error) {
	if f.tunnel != "" {
		socket, err := f.openTunnel(ctx)
		if err != nil {
			return nil, err
		}
		return client.New("unix://" + socket)
	}
	if address, ok := strings.CutPrefix(f.endpoint, "https://"); ok {
		return f.overTLS(strings.TrimRight(address, "/"))
	}
	f.host = f.endpoint
	if isFleetSocket(f.endpoint) {
		if _, err := os.Stat(strings.TrimPrefix(f.endpoint, "unix://")); err != nil {
			f.host = ""
		}
	}
	return f.app.desk()
}

func isFleetSocket(endpoint string) bool {
	return endpoint == fleetSocket || endpoint == "unix:///run/fleet.sock"
}

// overTLS reaches a server by its address, as the person of a certificate: of the files that are named, else of
// $ARGOSY_CONTEXT, of a context that has this server, or of the current one.
func (f *fleetctl) overTLS(address string) (*client.Client, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "7443")
	}
	if f.certFile != "" || f.keyFile != "" {
		return f.byFiles(address)
	}
	c, err := f.contextOf(address)
	if err != nil {
		return nil, err
	}
	c.Servers = append([]string{address}, slices.DeleteFunc(c.Servers, func(s string) bool { return s == address })...)
	s, err := c.Open(f.now())
	if err != nil {
		return nil, err
	}
	f.session = s
	return s.Client, nil
}

func (f *fleetctl) contextOf(address string) (*client.Context, error) {
	d := f.contexts()
	name := f.env("ARGOSY_CONTEXT")
	if name == "" {
		names, err := d.Names()
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if c, err := d.Get(n); err == nil && slices.Contains(c.Servers, address) {
				return c, nil
			}
		}
		name = d.Current()
	}
	if name == "" {
		return nil, usagef("argosy help contexts says how you get one; or --cert-file, --key-file and --ca-file",
			"https://%s asks for a certificate, and there is no context here", address)
	}
	return d.Get(name)
}

// byFiles is a client with a certificate from files in PEM: what fleet's flags of the same names were.
func (f *fleetctl) byFiles(address string) (*client.Client, error) {
	read := func(flag, path string) ([]byte, error) {
		if path == "" {
			return nil, usagef("", "--%s is missing: --cert-file, --key-file and --ca-file go together", flag)
		}
		b, err := f.readInput(path)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		return b, nil
	}
	chain, err := read("cert-file", f.certFile)
	if err != nil {
		return nil, err
	}
	pem, err := read("key-file", f.keyFile)
	if err != nil {
		return nil, err
	}
	roots, err := read("ca-file", f.caFile)
	if err != nil {
		return nil, err
	}
	key, err := identity.ParseKeyPEM(pem)
	if err != nil {
		return nil, fmt.Errorf("--key-file: %w", err)
	}
	k, err := identity.NewKeeper(identity.KeeperOptions{Key: key, Chain: chain, Roots: roots})
	if err != nil {
		return nil, err
	}
	return client.NewServers("https://"+address, func() []string { return []string{address} }, k.ClientTLS(identity.KindServer, "")), nil
}

// tunnelArgs is the command line of ssh that makes socket lead to the endpoint as the other host sees it.
func (f *fleetctl) tunnelArgs(socket string) ([]string, error) {
	host, port := f.tunnel, ""
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	if host == "" || strings.HasPrefix(host, "-") {
		return nil, usagef("--tunnel HOST or HOST:PORT", "%q is not a host", f.tunnel)
	}
	there, err := f.endpointThere()
	if err != nil {
		return nil, err
	}
	args := []string{
		"-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15", "-o", "ControlPath=none",
		"-o", "ConnectTimeout=" + strconv.Itoa(max(1, int(f.sshTimeout))),
	}
	if port != "" {
		args = append(args, "-p", port)
	}
	if f.flags.Changed("ssh-username") {
		args = append(args, "-l", f.sshUser)
	}
	if f.flags.Changed("known-hosts-file") {
		args = append(args, "-o", "UserKnownHostsFile="+f.knownHosts)
	}
	if f.flags.Changed("strict-host-key-checking") {
		args = append(args, "-o", "StrictHostKeyChecking="+map[bool]string{true: "yes", false: "no"}[f.strict])
	}
	return append(args, "-L", socket+":"+there, "--", host), nil
}

// endpointThere is the endpoint as the host at the other end of the tunnel sees it, in ssh's words.
func (f *fleetctl) endpointThere() (string, error) {
	if f.endpoint == "" || isFleetSocket(f.endpoint) {
		return strings.TrimPrefix(defaultHost, "unix://"), nil
	}
	u, err := url.Parse(f.endpoint)
	switch {
	case err == nil && u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return u.Path, nil
	case err == nil && u.Scheme == "http" && u.Port() != "":
		return u.Host, nil
	}
	return "", usagef("leave --endpoint out, or name the socket there: unix:///PATH", "--tunnel does not lead to %q", f.endpoint)
}

// openTunnel runs ssh until the call ends, and gives the socket at this end. Only this user can reach it.
func (f *fleetctl) openTunnel(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "argosy-tunnel-")
	if err != nil {
		return "", err
	}
	socket := filepath.Join(dir, "s")
	args, err := f.tunnelArgs(socket)
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	ssh := exec.CommandContext(ctx, "ssh", args...)
	ssh.Stdin, ssh.Stderr = os.Stdin, f.stderr // It may ask for a passphrase, and says what is wrong.
	ssh.Cancel = func() error { return ssh.Process.Signal(os.Interrupt) }
	ssh.WaitDelay = time.Second
	ended := make(chan error, 1)
	if err := ssh.Start(); err != nil {
		cancel()
		_ = os.RemoveAll(dir)
		return "", &exitError{code: exitUnreachable, err: fmt.Errorf("--tunnel: %w", err), hint: "ssh is needed for it: the package openssh-client"}
	}
	go func() { ended <- ssh.Wait() }()
	f.closeTunnel = func() {
		cancel()
		<-ended //nolint:errcheck // It was told to end.
		_ = os.RemoveAll(dir)
	}
	if err := f.awaitTunnel(ctx, socket, ended); err != nil {
		return "", err
	}
	return socket, nil
}

// awaitTunnel waits until something answers at the socket. A person may have to type a passphrase meanwhile: only ssh's own
// time-outs and its end count.
func (f *fleetctl) awaitTunnel(ctx context.Context, socket string, ended chan error) error {
	tick := time.NewTicker(tunnelLook)
	defer tick.Stop()
	var dialer net.Dialer
	for {
		if c, err := dialer.DialContext(ctx, "unix", socket); err == nil {
			_ = c.Close()
			return nil
		}
		select {
		case err := <-ended:
			ended <- err
			if err == nil {
				err = errors.New("ssh ended")
			}
			return &exitError{code: exitUnreachable, err: fmt.Errorf("no tunnel to %s: %w", f.tunnel, err), hint: "try: ssh " + f.tunnel + " argosy status"}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
