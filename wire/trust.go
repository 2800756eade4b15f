package wire

import (
	"time"

	"argosy.dev/argosy/cluster"
)

// JoinRequest is POST /v1/join. The caller has no certificate yet: it has checked the server's by the token's pin, and
// the token speaks for it.
type JoinRequest struct {
	Token     string   `json:"token"`
	Machine   string   `json:"machine"` // Its id: 32 hex digits.
	Name      string   `json:"name"`
	Role      string   `json:"role,omitempty"` // agent or server, if it insists on what the token is to be for.
	PublicKey []byte   `json:"public_key"`     // PKIX, DER. The private key never leaves the machine.
	PeerKey   []byte   `json:"peer_key,omitempty"`
	Hosts     []string `json:"hosts"` // Addresses that its certificate is to name.
	Version   string   `json:"version"`
}

// Credentials answer a join and a renewal: what a machine needs to be known.
type Credentials struct {
	Cluster     string   `json:"cluster"`
	Kind        string   `json:"kind"`                  // machine or server.
	Certificate []byte   `json:"certificate"`           // PEM, with the authorities that issued it.
	Roots       []byte   `json:"roots"`                 // PEM.
	PeerCert    []byte   `json:"peer_cert,omitempty"`   // Servers only: for the store's own traffic.
	PeerRoots   []byte   `json:"peer_roots,omitempty"`  // Servers only.
	ClusterKey  []byte   `json:"cluster_key,omitempty"` // Servers only, at a join: opens the authority.
	Servers     []string `json:"servers"`               // host:port of every server's API.
}

// RenewRequest is POST /v1/renew: a machine or user asks for new certificates with the one that it has.
type RenewRequest struct {
	PublicKey []byte   `json:"public_key"`
	PeerKey   []byte   `json:"peer_key,omitempty"`
	Hosts     []string `json:"hosts"`
}

// LateRequest is POST /v1/renew/late: a machine whose certificate has ended shows it, and asks for one for the same key.
type LateRequest struct {
	Certificate []byte `json:"certificate"` // PEM, the whole chain.
}

// TokenRequest is POST /v1/tokens.
type TokenRequest struct {
	Role string `json:"role,omitempty"` // agent (default) or server.
	TTL  int64  `json:"ttl,omitempty"`  // Seconds; 0: an hour.
	Uses int    `json:"uses,omitempty"` // 0: once; -1: as often as wanted.
}

// TokenInfo is what may be seen of a join token: never its secret.
type TokenInfo struct {
	ID      string    `json:"id"`
	Role    string    `json:"role"` // agent or server.
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"` // Left; -1: as often as wanted.
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at"`
}

// TokenAnswer answers POST /v1/tokens: the only time that the token is seen.
type TokenAnswer struct {
	Token string `json:"token"`
	TokenInfo
}

// TokenList answers GET /v1/tokens.
type TokenList struct {
	Tokens []TokenInfo `json:"tokens"`
}

// UserRequest is POST /v1/users: makes a user, or changes the role of one; with a key it issues a certificate.
type UserRequest struct {
	Name      string       `json:"name"`
	Role      cluster.Role `json:"role"`
	PublicKey []byte       `json:"public_key,omitempty"`
}

// UserAnswer answers POST /v1/users.
type UserAnswer struct {
	cluster.User
	Credentials *Credentials `json:"credentials,omitempty"`
}

// UserList answers GET /v1/users.
type UserList struct {
	Users []cluster.User `json:"users"`
}

// RevokeRequest is POST /v1/machines/{id}/revoke and POST /v1/users/{name}/revoke.
type RevokeRequest struct {
	Why string `json:"why,omitempty"`
}

// RotateRequest is POST /v1/ca/rotate and POST /v1/ca/retire.
type RotateRequest struct {
	// Force retires the old root although some still have certificates of it: they will have to be let in again.
	Force bool `json:"force,omitempty"`
}

// CAStatus answers GET /v1/ca and what changes it.
type CAStatus struct {
	Cluster     string    `json:"cluster"`
	Root        string    `json:"root"` // SHA-256, hex: what join tokens pin.
	RootUntil   time.Time `json:"root_until"`
	Issuing     time.Time `json:"issuing_until"` // When the CA that signs ends; it is renewed by itself.
	PeerUntil   time.Time `json:"peer_root_until"`
	PeerIssuing time.Time `json:"peer_issuing_until"`
	// While the root is being replaced: the one before it, since when, and who still has a certificate of it.
	Rotating     bool          `json:"rotating,omitempty"`
	OldRoot      string        `json:"old_root,omitempty"`
	Since        time.Time     `json:"since"` // When the present root was made.
	Pending      []Certificate `json:"pending,omitempty"`
	Certificates []Certificate `json:"certificates"`
}

// Certificate is what is known of one that a machine or user has.
type Certificate struct {
	Kind   string    `json:"kind"` // machine, server or user.
	ID     string    `json:"id"`   // The machine's id, or the user's name.
	Name   string    `json:"name"`
	Serial string    `json:"serial,omitempty"`
	Root   string    `json:"root,omitempty"` // SHA-256 of the root that it is of, hex; empty: of the cluster's first days, not known.
	At     time.Time `json:"at,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	Alive  bool      `json:"alive,omitempty"` // Of machines: heard of now.
}

// ForHeader of a request names who uses the machine that calls, for the record.
const ForHeader = "Argosy-For"

// RenewHeader of an answer asks a user to renew: the certificate is of a root that is being replaced.
const RenewHeader = "Argosy-Renew"

// LocalHeader of a request, when it is set, asks a machine for what it knows itself, without any server.
const LocalHeader = "Argosy-Local"
