package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"argosy.dev/argosy/agent"
	"argosy.dev/argosy/api"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/kv"
	"argosy.dev/argosy/store/etcd"
)

// ConfigOff as Config.ConfigListen keeps the machine's door to the users' configuration closed.
const ConfigOff = "off"

// configAgain is how often a machine looks whether its door's address has become free.
const configAgain = 10 * time.Second

// openConfig keeps this machine's door to the users' configuration open. When another program has its address the machine
// goes on without, says who that is, and looks again.
func (n *node) openConfig(ctx context.Context) error {
	if n.ConfigListen == "" || n.ConfigListen == ConfigOff {
		return nil
	}
	for said := ""; ctx.Err() == nil; pause(ctx, configAgain) {
		l, err := kv.Listen(ctx, n.ConfigListen)
		if err == nil {
			if said != "" {
				n.Log.Info("the users' configuration is reached on this machine now", "address", n.ConfigListen)
			}
			return kv.Serve(ctx, l, n.config, n.Log)
		}
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("--config-listen: %w", err)
		}
		if ctx.Err() == nil && said != err.Error() {
			said = err.Error()
			n.Log.Warn("the users' configuration is not reached on this machine: its address is taken; trying again",
				"address", n.ConfigListen, "by", holderOf(n.ConfigListen), "error", err, "cure", "stop what listens there, or start with --config-listen ADDR:PORT or --config-listen "+ConfigOff)
		}
	}
	return nil
}

// holderOf names the process that listens on an address, as far as can be seen from here.
func holderOf(address string) string {
	table := agent.ProcSockets("/proc")()
	for _, s := range table.List {
		if s.Proto != "tcp" || !listensOn(s, address) {
			continue
		}
		if pid, command := table.Owner(s); pid != 0 {
			return command + ", process " + strconv.Itoa(pid)
		}
	}
	return "a process that cannot be seen from here"
}

func listensOn(s agent.Socket, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return err == nil && strconv.Itoa(int(s.Port)) == port && (s.Address == host || s.Address == "0.0.0.0" || s.Address == "::" || s.Address == "")
}

// configServer makes a server's half, and the machine's own over it.
func (l *life) configServer(s *etcd.Store) (*kv.Server, error) {
	return kv.NewServer(kv.Options{
		Etcd: s.Server(), Log: l.Log,
		MayWrite: func() error {
			var settings cluster.Settings
			l.view.Peek(func(p *cluster.Picture) { settings = p.Settings })
			return api.MayWriteKeys(settings, l.Name, true)
		},
		Machine: func(id string) (name, address string) {
			l.view.Peek(func(p *cluster.Picture) {
				if m := p.Machines[id]; m != nil {
					name, address = m.Name, m.Address
				}
			})
			return name, address
		},
	})
}

// forwardConfig puts the users' configuration behind this machine's door, for this life. local is nil on agents.
func (l *life) forwardConfig(ctx context.Context, local *kv.Server, servers func() []string) {
	f := kv.NewForward(kv.ForwardOptions{
		Local: local, Servers: servers, TLS: l.keeper.ClientTLS(identity.KindServer, ""), URL: "http://" + l.ConfigListen, Log: l.Log,
	})
	l.begin(ctx, "configuration", func(ctx context.Context) error {
		f.Run(ctx)
		if local != nil {
			local.Close()
		}
		return nil
	})
	l.config.Open(ctx, f)
}

// otherServers lists the servers but this one.
func (l *life) otherServers() []string {
	var out []string
	l.view.Peek(func(p *cluster.Picture) {
		for _, address := range serversIn(p, l.id) {
			if m := p.Machines[l.id]; m == nil || m.Address != address {
				out = append(out, address)
			}
		}
	})
	return out
}
