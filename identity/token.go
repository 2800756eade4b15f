package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"argosy.dev/argosy/reason"
)

// Bounds of tokens.
const (
	MaxTokenText  = 4096                // Bytes of a token's text.
	MaxAddresses  = 8                   // Servers that a token lists.
	MaxTokenTTL   = 30 * 24 * time.Hour // A token that never ends is a password.
	MaxTokenUses  = 10_000
	UnlimitedUses = -1

	secretSize  = 20 // Bytes: 160 bits.
	tokenIDSize = 5  // Bytes: 8 digits.
	tokenPrefix = "ARG1"
)

// Token is what a machine needs to join: where, whom to believe there, and the secret that admits it.
// Its text is ARG1.PIN.ID.SECRET.ADDRESSES, each part in base32 without padding: letters, digits and dots only, so that
// it needs no quotes in a shell or a URL and survives being read aloud. Case does not matter.
type Token struct {
	Pin       [32]byte // SHA-256 of the API root's DER.
	ID        string   // Names the grant; not secret.
	Secret    []byte   // 20 bytes.
	Addresses []string // host:port of servers, 1 to MaxAddresses.
}

var digits = base32.StdEncoding.WithPadding(base32.NoPadding)

// String is the token's text. It holds the secret: it is for the person who asked for it and for nobody's log.
func (t Token) String() string {
	parts := []string{digits.EncodeToString(t.Pin[:]), t.ID, digits.EncodeToString(t.Secret), digits.EncodeToString([]byte(strings.Join(t.Addresses, ",")))}
	return tokenPrefix + "." + strings.ToLower(strings.Join(parts, "."))
}

// LogValue keeps the secret out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue("token " + t.ID) }

// ParseToken reads a token's text. The error is a *reason.Reason bad-token.
func ParseToken(text string) (Token, error) {
	t, err := parseToken(text)
	if err != nil {
		return Token{}, reason.Because(reason.BadToken, reason.Args{"error": err.Error()})
	}
	return t, nil
}

func parseToken(text string) (Token, error) {
	if len(text) > MaxTokenText {
		return Token{}, fmt.Errorf("%d bytes are more than the limit of %d", len(text), MaxTokenText)
	}
	parts := strings.Split(text, ".")
	if !strings.EqualFold(parts[0], tokenPrefix) {
		return Token{}, errors.New("it does not begin with " + tokenPrefix + " and a dot")
	}
	if len(parts) != 5 {
		return Token{}, fmt.Errorf("it has %d parts, not 5: it was cut off, or something was added", len(parts))
	}
	var t Token
	var bytes [4][]byte
	for i, name := range []string{"the CA's hash", "the id", "the secret", "the list of addresses"} {
		b, err := fromDigits(parts[i+1])
		if err != nil {
			return Token{}, fmt.Errorf("%s: %w", name, err)
		}
		bytes[i] = b
	}
	if len(bytes[0]) != len(t.Pin) || len(bytes[1]) != tokenIDSize || len(bytes[2]) != secretSize {
		return Token{}, errors.New("one of its parts has the wrong length: it was cut off, or something was added")
	}
	copy(t.Pin[:], bytes[0])
	t.ID, t.Secret, t.Addresses = strings.ToLower(parts[2]), bytes[2], strings.Split(string(bytes[3]), ",")
	return t, checkAddresses(t.Addresses)
}

// fromDigits reads canonical base32 in either case: each value has one text.
func fromDigits(s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (s[i] < '2' || s[i] > '7') {
			return nil, fmt.Errorf("%q is not a digit of base32", s[i])
		}
	}
	b, err := digits.DecodeString(strings.ToUpper(s))
	if err != nil || digits.EncodeToString(b) != strings.ToUpper(s) {
		return nil, errors.New("this is not base32")
	}
	return b, nil
}

func checkAddresses(addresses []string) error {
	if len(addresses) == 0 || len(addresses) > MaxAddresses {
		return fmt.Errorf("it lists %d servers, not 1 to %d", len(addresses), MaxAddresses)
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			return fmt.Errorf("%.100q is not HOST:PORT", a)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%.100q has no port", a)
		}
		ip, err := netip.ParseAddr(host)
		if err == nil && (ip.IsUnspecified() || ip.Zone() != "") {
			return fmt.Errorf("%.100q is not an address that another machine can call", a)
		}
		if err != nil && (len(host) > 253 || !dnsName.MatchString(host)) {
			return fmt.Errorf("%.100q has neither an IP address nor a DNS name", a)
		}
	}
	return nil
}

// Grant is the store's record of a token: everything but the secret, of which it has the hash.
// SHA-256 without salt serves, since the secret is 160 random bits and not a word.
type Grant struct {
	ID      string    `json:"id"`
	Hash    string    `json:"hash"`    // SHA-256 of the secret, hex.
	Role    Kind      `json:"role"`    // machine or server.
	Expires time.Time `json:"expires"` // The first moment when it is no longer good.
	Uses    int       `json:"uses"`    // Left; -1: as many as may come.
	By      string    `json:"by"`      // Who made it.
	At      time.Time `json:"at"`
}

// ReadGrant reads a stored grant.
func ReadGrant(record []byte) (Grant, error) {
	var g Grant
	if err := json.Unmarshal(record, &g); err != nil {
		return Grant{}, err
	}
	if g.ID == "" || len(g.Hash) != 2*sha256.Size {
		return Grant{}, errors.New("this is not the record of a token")
	}
	return g, nil
}

// NewToken makes a token and its record.
func NewToken(root [32]byte, addrs []string, role Kind, ttl time.Duration, uses int, by string, now time.Time) (Token, Grant, error) {
	if role != KindMachine && role != KindServer {
		return Token{}, Grant{}, fmt.Errorf("%q is not a role for a token: machine or server", role)
	}
	if ttl <= 0 || ttl > MaxTokenTTL {
		return Token{}, Grant{}, fmt.Errorf("a token lives for up to %s, not %s", MaxTokenTTL, ttl)
	}
	if uses != UnlimitedUses && (uses < 1 || uses > MaxTokenUses) {
		return Token{}, Grant{}, fmt.Errorf("a token has 1 to %d uses, or %d for as many as may come; not %d", MaxTokenUses, UnlimitedUses, uses)
	}
	if err := checkAddresses(addrs); err != nil {
		return Token{}, Grant{}, err
	}
	b := make([]byte, tokenIDSize+secretSize)
	if _, err := rand.Read(b); err != nil {
		return Token{}, Grant{}, err
	}
	t := Token{Pin: root, ID: strings.ToLower(digits.EncodeToString(b[:tokenIDSize])), Secret: b[tokenIDSize:], Addresses: addrs}
	if n := len(t.String()); n > MaxTokenText {
		return Token{}, Grant{}, fmt.Errorf("the addresses make a token of %d bytes, more than the limit of %d", n, MaxTokenText)
	}
	return t, Grant{ID: t.ID, Hash: hashSecret(t.Secret), Role: role, Expires: now.Add(ttl), Uses: uses, By: by, At: now}, nil
}

func hashSecret(secret []byte) string {
	h := sha256.Sum256(secret)
	return hex.EncodeToString(h[:])
}

// Admit tells whether a token opens this grant and gives the grant as it is after that use. The caller writes it back
// under the condition that the stored one has not changed, or one use becomes two; and issues a certificate for
// Grant.Role, whatever was asked for. For a token that is not found, ask the zero Grant: the answer to a wrong id and
// to a wrong secret is the same. Errors are *reason.Reason token-unknown, token-expired or token-used.
func (g Grant) Admit(t Token, now time.Time) (*Grant, error) {
	known := subtle.ConstantTimeCompare([]byte(hashSecret(t.Secret)), []byte(g.Hash))
	if known != 1 || g.ID == "" || t.ID != g.ID {
		return nil, reason.Because(reason.TokenUnknown, reason.Args{"id": t.ID})
	}
	if !now.Before(g.Expires) {
		return nil, reason.Because(reason.TokenExpired, reason.Args{"id": g.ID, "after": now.Sub(g.Expires).Milliseconds()})
	}
	if g.Uses == 0 || g.Uses < UnlimitedUses {
		return nil, reason.Because(reason.TokenUsed, reason.Args{"id": g.ID})
	}
	if g.Uses > 0 {
		g.Uses--
	}
	return &g, nil
}

// Permit tells whether the grant is for the role that was asked for. The error is a *reason.Reason token-role.
func (g Grant) Permit(asked Kind) error {
	if asked != g.Role {
		return reason.Because(reason.TokenRole, reason.Args{"id": g.ID, "role": string(g.Role), "want": string(asked)})
	}
	return nil
}
