// Package identity says who is who in a cluster: the cluster's own certificate authorities, the certificates of
// machines, servers and users, the tokens with which machines join, and the TLS settings that let nobody else in.
//
// An identity is a name and no more. What a user may do and who is revoked stands in the store; whether a machine
// is to hold the store too. The package asks nobody: it is given the record of the authority, the revocations as a
// function and the files' directory. Who may ask for a certificate is decided by api.
package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"argosy.dev/argosy/reason"
)

// Kind says what an identity may be taken for.
type Kind string

// The kinds. A server is a machine that may also hold the store and speak for the cluster.
const (
	KindMachine Kind = "machine"
	KindServer  Kind = "server"
	KindUser    Kind = "user"
)

// Names are bounded and hold nothing that has a meaning in a path, a shell or a URL
// (SPIFFE-ID.md 2.1 and 2.2: trust domains are lower case; segments are letters, digits and ._-).
var (
	clusterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	userName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	machineID   = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// ID is who somebody is: one of a cluster's machines, servers or users.
type ID struct {
	Cluster string
	Kind    Kind
	Name    string // The machine's id (32 hex digits, machine-id(5)), or the user's name.
}

// String is the identity as it stands in a certificate: spiffe://CLUSTER/KIND/NAME.
func (id ID) String() string { return id.URI().String() }

// URI is the identity's one URI (SPIFFE-ID.md).
func (id ID) URI() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: id.Cluster, Path: "/" + string(id.Kind) + "/" + id.Name}
}

// Check tells what is wrong with an identity that was made from words.
func (id ID) Check() error {
	name := machineID
	switch id.Kind {
	case KindMachine, KindServer:
	case KindUser:
		name = userName
	default:
		return fmt.Errorf("%q is not a kind of identity: machine, server or user", id.Kind)
	}
	if !clusterName.MatchString(id.Cluster) {
		return fmt.Errorf("%q is not a cluster's name: up to 63 lower-case letters, digits, dots and dashes", id.Cluster)
	}
	if !name.MatchString(id.Name) {
		return fmt.Errorf("%q is not the name of a %s", id.Name, id.Kind)
	}
	return nil
}

// ParseURI reads an identity. Only the exact form is one: what String would write.
func ParseURI(u *url.URL) (ID, error) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	id := ID{Cluster: u.Host, Kind: Kind(kind), Name: name}
	if err := id.Check(); err != nil {
		return ID{}, err
	}
	if u.String() != id.String() {
		return ID{}, fmt.Errorf("%.100q is not of the form spiffe://CLUSTER/KIND/NAME", u.String())
	}
	return id, nil
}

// FromCertificate reads the identity that a certificate names. It must have exactly one, as its only name of the
// kind URI. It does not tell whether the certificate is to be believed: that is the work of the TLS settings below.
// The error is a *reason.Reason certificate-invalid.
func FromCertificate(c *x509.Certificate) (ID, error) {
	id, err := fromCertificate(c)
	if err != nil {
		return ID{}, reason.Because(reason.CertificateInvalid, reason.Args{"who": fmt.Sprintf("%.80q", c.Subject.CommonName), "error": err.Error()})
	}
	return id, nil
}

func fromCertificate(c *x509.Certificate) (ID, error) {
	if c.IsCA {
		return ID{}, fmt.Errorf("it is a CA's own")
	}
	if len(c.URIs) != 1 {
		return ID{}, fmt.Errorf("it has %d URI names, not one", len(c.URIs))
	}
	return ParseURI(c.URIs[0])
}

// Caller is the identity of the other side of a verified connection, and whether it showed any.
// A caller without a certificate is nobody: the zero ID, which has no rights.
func Caller(state *tls.ConnectionState) (ID, bool) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return ID{}, false
	}
	id, err := FromCertificate(state.VerifiedChains[0][0])
	return id, err == nil
}

// who names a certificate in a refusal.
func who(c *x509.Certificate) string {
	if id, err := fromCertificate(c); err == nil {
		return id.String()
	}
	return fmt.Sprintf("%.80q", c.Subject.CommonName)
}
