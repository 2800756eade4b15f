package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store/remote"
)

// memory is what a machine keeps of its cluster: where it listens, and which servers it knows. Data/node.json.
type memory struct {
	*remembered
	path string
}

type remembered struct {
	mu         sync.Mutex
	Listen     string   `json:"listen,omitempty"`
	PeerListen string   `json:"peer_listen,omitempty"`
	Servers    []string `json:"servers,omitempty"`
	Socket     string   `json:"socket,omitempty"` // Where this machine answers when it runs.
}

func remember(dir string) (memory, error) {
	m := memory{&remembered{}, filepath.Join(dir, "node.json")}
	b, err := os.ReadFile(m.path)
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, m.remembered)
	}
	if err != nil {
		return m, fmt.Errorf("what this machine knows of its cluster, %s: %w", m.path, err)
	}
	return m, nil
}

func (m memory) save() error {
	b, err := json.MarshalIndent(m.remembered, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(m.path, append(b, '\n'))
}

// addresses fills in where the machine listens: what was said now, else what was said before.
func (m memory) addresses(listen, peer *string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *listen == "" {
		*listen = m.Listen
	}
	if *peer == "" && *listen == m.Listen {
		*peer = m.PeerListen
	}
	if *listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(*listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", *listen, err)
	}
	if *peer == "" {
		n, err := strconv.Atoi(port)
		if err != nil {
			return fmt.Errorf("--listen %s: %q is not a port", *listen, port)
		}
		*peer = net.JoinHostPort(host, strconv.Itoa(n+1))
	}
	m.Listen, m.PeerListen = *listen, *peer
	return m.save()
}

// answersAt keeps where the machine answers.
func (m memory) answersAt(socket string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Socket == socket || socket == "" {
		return nil
	}
	m.Socket = socket
	return m.save()
}

// runningWithin bounds the look whether a machine runs.
const runningWithin = time.Second

// Running tells whether the machine of a data directory runs, and the socket at which it answers.
func Running(ctx context.Context, data string) (socket string, yes bool) {
	m, err := remember(data)
	if err != nil || m.Socket == "" {
		return "", false
	}
	d := net.Dialer{Timeout: runningWithin}
	c, err := d.DialContext(ctx, "unix", m.Socket)
	if err != nil {
		return m.Socket, false
	}
	_ = c.Close() // It was only a look.
	return m.Socket, true
}

// servers gives the other servers that are known, the best first: a machine that was a server may stand in its own list.
func (m memory) servers() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	own, err := advertised(m.Listen)
	if m.Listen == "" || err != nil {
		return slices.Clone(m.Servers)
	}
	return slices.DeleteFunc(slices.Clone(m.Servers), func(address string) bool { return address == own })
}

// learn keeps a new list of servers. An empty one teaches nothing.
func (m memory) learn(servers []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(servers) == 0 || slices.Equal(servers, m.Servers) {
		return nil
	}
	m.Servers = servers
	return m.save()
}

// serversIn lists the API addresses of the servers of a picture in the order in which a machine asks them: the living
// first, and among equals each machine in an order of its own.
func serversIn(p *cluster.Picture, machine string) []string {
	var alive, silent []string
	for id, m := range p.Machines {
		switch {
		case !m.Server || m.Address == "":
		case p.Alive[id]:
			alive = append(alive, m.Address)
		default:
			silent = append(silent, m.Address)
		}
	}
	return append(remote.Spread(alive, machine), remote.Spread(silent, machine)...)
}

// writeFile replaces a file as a whole: a crash leaves the old or the new one.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// advertised is the address that others dial for one that we listen on: an unspecified host becomes the machine's first
// address that is not a loopback one.
func advertised(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return listen, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range addrs {
		if ipn, ok := a.(*net.IPNet); ok && ipn.IP.IsGlobalUnicast() && ipn.IP.To4() != nil {
			return net.JoinHostPort(ipn.IP.String(), port), nil
		}
	}
	return "", fmt.Errorf("--listen %s: this machine has no address that others reach; name one", listen)
}

// machineID reads the id that this machine has in the cluster, and makes one at the first start.
func machineID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil {
		if raw, bad := hex.DecodeString(id); bad != nil || len(raw) != 16 {
			return "", fmt.Errorf("%s holds %q, which is not a machine id (32 hex digits)", path, id)
		}
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("machine id: %w", err)
	}
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("machine id: %w", err)
	}
	id := hex.EncodeToString(raw)
	if err := writeFile(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("machine id: %w", err)
	}
	return id, nil
}
