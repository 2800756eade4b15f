package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// Bounds of contexts.
const (
	maxContext    = 64 << 10 // Bytes of one file.
	maxContexts   = 1000
	contextSchema = "argosy/context/v1"
	currentFile   = ".current"
	contextsDir   = "contexts"
)

// Context is how a person reaches one cluster: argosy user add writes it, the person's laptop keeps it in one file.
type Context struct {
	Schema      string   `json:"schema"`
	Name        string   `json:"name"`    // What the person calls the cluster.
	Cluster     string   `json:"cluster"` // What the cluster calls itself, in its certificates.
	User        string   `json:"user"`
	Servers     []string `json:"servers"` // host:port.
	Roots       string   `json:"roots"`
	Certificate string   `json:"certificate"`
	Key         string   `json:"key,omitempty"` // PEM. Missing when the person made it: then it is given when the context is added.
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// NewContext makes a context from what a cluster gave a user.
func NewContext(name, user string, key []byte, c *wire.Credentials) *Context {
	return &Context{
		Schema: contextSchema, Name: name, Cluster: c.Cluster, User: user, Servers: c.Servers,
		Roots: string(c.Roots), Certificate: string(c.Certificate), Key: string(key),
	}
}

// ParseContext reads a context's file and checks all of it but its key, which may be missing.
func ParseContext(text []byte) (*Context, error) {
	if len(text) > maxContext {
		return nil, fmt.Errorf("%d bytes are more than a context has", len(text))
	}
	c := &Context{}
	if err := json.Unmarshal(text, c); err != nil || c.Schema != contextSchema {
		return nil, errors.New("this is not a context as argosy user add writes it")
	}
	if !contextName.MatchString(c.Name) {
		return nil, fmt.Errorf("%q is not a name for a context: up to 64 letters, digits, _ . and -", c.Name)
	}
	if len(c.Servers) == 0 {
		return nil, errors.New("it names no server")
	}
	return c, nil
}

// Encode is the context's file.
func (c *Context) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(c, "", "  ")
	return append(b, '\n'), err
}

// Keeper holds the context's certificate. The error tells what is wrong with it.
func (c *Context) Keeper() (*identity.Keeper, error) {
	if c.Key == "" {
		return nil, errors.New("it has no private key: argosy context add FILE --key KEYFILE adds the one that was made for it")
	}
	key, err := identity.ParseKeyPEM([]byte(c.Key))
	if err != nil {
		return nil, fmt.Errorf("its private key: %w", err)
	}
	return identity.NewKeeper(identity.KeeperOptions{Key: key, Chain: []byte(c.Certificate), Roots: []byte(c.Roots)})
}

// Contexts is the directory with a person's contexts: contexts/NAME, and contexts/.current with the name of the one
// that is used when nothing else is said. Only its owner may read it.
type Contexts struct{ Dir string }

func (d Contexts) files() identity.Files {
	return identity.Files{Dir: filepath.Join(d.Dir, contextsDir)}
}

// Names lists the contexts.
func (d Contexts) Names() ([]string, error) {
	entries, err := os.ReadDir(d.files().Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.Type().IsRegular() && contextName.MatchString(e.Name()) && len(out) < maxContexts {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// Current is the name of the context that is used when nothing else is said; empty: there is none.
func (d Contexts) Current() string {
	b, err := os.ReadFile(d.files().Path(currentFile))
	if name := strings.TrimSpace(string(b)); err == nil && contextName.MatchString(name) {
		return name
	}
	return ""
}

// Use makes a context the current one.
func (d Contexts) Use(name string) error {
	if _, err := d.Get(name); err != nil {
		return err
	}
	return d.files().Write(currentFile, []byte(name+"\n"))
}

// Get reads a context. The error is a *reason.Reason no-such-context when there is none of this name.
func (d Contexts) Get(name string) (*Context, error) {
	known, err := d.Names()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(known, name) {
		return nil, noContext(name, known)
	}
	text, err := d.files().Read(name)
	if err != nil {
		return nil, err
	}
	c, err := ParseContext(text)
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", name, err)
	}
	c.Name = name
	return c, nil
}

func noContext(name string, known []string) error {
	return reason.Because(reason.NoSuchContext, reason.Args{"name": name, "known": strings.Join(known, ", ")})
}

// Put keeps a context under its name, if its certificate, roots and key fit.
func (d Contexts) Put(c *Context) error {
	if !contextName.MatchString(c.Name) {
		return fmt.Errorf("%q is not a name for a context: up to 64 letters, digits, _ . and -", c.Name)
	}
	if _, err := c.Keeper(); err != nil {
		return err
	}
	text, err := c.Encode()
	if err != nil {
		return err
	}
	return d.files().Write(c.Name, text)
}

// Remove forgets a context.
func (d Contexts) Remove(name string) error {
	known, err := d.Names()
	if err != nil {
		return err
	}
	if !slices.Contains(known, name) { // A broken one can be removed, too.
		return noContext(name, known)
	}
	if d.Current() == name {
		if err := os.Remove(d.files().Path(currentFile)); err != nil {
			return err
		}
	}
	return os.Remove(d.files().Path(name))
}

// Session is a context in use.
type Session struct {
	*Client
	Context *Context
	keeper  *identity.Keeper
	mu      sync.Mutex // Of Context.Servers.
}

// Open makes a client of a context's cluster. It does not connect yet. A certificate that has ended is told at once, as
// a *reason.Reason certificate-expired: the servers would only refuse it.
func (c *Context) Open(now time.Time) (*Session, error) {
	k, err := c.Keeper()
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", c.Name, err)
	}
	if end := k.Leaf().NotAfter; now.After(end) {
		return nil, reason.Because(reason.CertificateExpired, reason.Args{
			"who": "user " + c.User + " in context " + c.Name, "after": now.Sub(end).Milliseconds(), "now": now.UTC().Format(time.RFC3339),
		})
	}
	s := &Session{Context: c, keeper: k}
	s.Client = NewServers("cluster "+c.Name, s.servers, k.ClientTLS(identity.KindServer, ""))
	return s, nil
}

func (s *Session) servers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.Context.Servers)
}

// Renew gets a new certificate for the same key, and keeps it in the directory with the servers that there are now.
func (s *Session) Renew(ctx context.Context, d Contexts) error {
	public, err := x509.MarshalPKIXPublicKey(s.keeper.Leaf().PublicKey)
	if err != nil {
		return err
	}
	got, err := s.Client.Renew(ctx, wire.RenewRequest{PublicKey: public})
	if err != nil {
		return err
	}
	if err := s.keeper.Replace(got.Certificate, got.Roots); err != nil {
		return err
	}
	s.http.CloseIdleConnections() // They show the certificate of before.
	s.renew.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Context.Certificate, s.Context.Roots = string(got.Certificate), string(got.Roots)
	if len(got.Servers) > 0 {
		s.Context.Servers = got.Servers
	}
	return d.Put(s.Context)
}

// Due tells whether it is time to renew the context's certificate: by its age, or because a server has asked for it.
func (s *Session) Due(now time.Time) bool { return s.renew.Load() || !s.keeper.RenewAt(now).After(now) }

// Until is when the context's certificate ends.
func (s *Session) Until() time.Time { return s.keeper.Leaf().NotAfter }

// TLS is the setting of the session's calls.
func (s *Session) TLS() *tls.Config { return s.keeper.ClientTLS(identity.KindServer, "") }
