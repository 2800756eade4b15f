package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"argosy.dev/argosy/reason"
)

// The files of an identity. etcd reads those of the peers by itself.
const (
	KeyFile        = "key.pem"
	CertFile       = "cert.pem"
	RootsFile      = "roots.pem"
	PeerKeyFile    = "peer-key.pem"
	PeerCertFile   = "peer-cert.pem"
	PeerRootsFile  = "peer-roots.pem"
	ClusterKeyFile = "cluster.key" // Servers only: 64 hex digits.

	maxFile     = 64 << 10 // Bytes.
	keyBlock    = "PRIVATE KEY"
	publicBlock = "PUBLIC KEY"
	ourFile     = 0o600
	ourDir      = 0o700
)

// Files keeps an identity on disk: a directory that only its owner may enter, files that only their owner may read,
// each replaced as a whole. Private keys are made here and never leave. Errors are *reason.Reason identity-file, or
// identity-exposed when others might have read a file.
type Files struct{ Dir string }

// Path is where one of the files is.
func (f Files) Path(name string) string { return filepath.Join(f.Dir, name) }

// Joined tells whether there is an identity: whether this machine is in a cluster.
func (f Files) Joined() bool {
	_, err := os.Lstat(f.Path(CertFile))
	return err == nil
}

// Key gives this machine's key for the API and makes it the first time.
func (f Files) Key() (crypto.Signer, error) { return f.key(KeyFile) }

// PeerKey gives this machine's key for the store's peers and makes it the first time.
func (f Files) PeerKey() (crypto.Signer, error) { return f.key(PeerKeyFile) }

func (f Files) key(name string) (crypto.Signer, error) {
	text, err := f.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return f.makeKey(name)
	}
	if err != nil {
		return nil, err
	}
	k, err := parseKey(text)
	if err != nil {
		return nil, f.fault(name, err)
	}
	return k, nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != keyBlock || len(rest) > 0 {
		return nil, errors.New("this is not one private key in PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not an ECDSA key")
	}
	return ec, checkKey(&ec.PublicKey)
}

func (f Files) makeKey(name string) (crypto.Signer, error) {
	k, err := NewKey()
	if err != nil {
		return nil, err
	}
	text, err := KeyPEM(k)
	if err != nil {
		return nil, err
	}
	return k, f.write(name, text)
}

// KeyPEM is a private key as text (PKCS #8 in PEM).
func KeyPEM(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// ParseKeyPEM reads a private key as KeyPEM writes it, and no other kind of key.
func ParseKeyPEM(text []byte) (crypto.Signer, error) {
	k, err := parseKey(text)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// PublicPEM is a public key as text (PKIX in PEM).
func PublicPEM(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der}), nil
}

// ParsePublicPEM reads a public key that somebody made (PKIX in PEM, ECDSA P-256) and gives its DER.
func ParsePublicPEM(text []byte) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != publicBlock || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("this is not one public key in PEM (BEGIN PUBLIC KEY)")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return block.Bytes, checkKey(k)
}

// Read gives one of the directory's files, if nobody else could have read or changed it.
func (f Files) Read(name string) ([]byte, error) { return f.read(name) }

// Write replaces one of the directory's files as a whole: after a power loss there is the old or the new one.
func (f Files) Write(name string, text []byte) error { return f.write(name, text) }

// SaveCertificate keeps the API's chain and roots, if they are good and for this machine's key. A machine that dies
// at any moment of it finds a certificate and roots that fit: the roots of before stay until the chain is written.
func (f Files) SaveCertificate(chain, roots []byte) error {
	return f.save(f.write, f.Key, chain, roots, CertFile, RootsFile)
}

// SavePeer keeps the peers' chain and roots, as SaveCertificate.
func (f Files) SavePeer(chain, roots []byte) error {
	return f.save(f.write, f.PeerKey, chain, roots, PeerCertFile, PeerRootsFile)
}

func (f Files) save(write func(name string, text []byte) error, key func() (crypto.Signer, error), chain, roots []byte, certFile, rootsFile string) error {
	k, err := key()
	if err != nil {
		return err
	}
	if _, err := NewKeeper(KeeperOptions{Key: k, Chain: chain, Roots: roots}); err != nil {
		return err
	}
	if before, err := f.read(rootsFile); err == nil && !bytes.Equal(before, roots) {
		if err := write(rootsFile, union(roots, before)); err != nil {
			return err
		}
	}
	if err := write(certFile, chain); err != nil {
		return err
	}
	return write(rootsFile, roots)
}

// union adds roots of before to the present ones, each once and within the bound.
func union(roots, before []byte) []byte {
	all, err := parsePEM(roots)
	more, err2 := parsePEM(before)
	if err != nil || err2 != nil {
		return roots
	}
	for _, c := range more {
		if len(all) < maxCertificates && !slices.ContainsFunc(all, c.Equal) {
			all = append(all, c)
		}
	}
	return toPEM(all...)
}

// ClusterKey gives the key that opens the cluster's authority. It is there on servers only; fs.ErrNotExist elsewhere.
func (f Files) ClusterKey() ([]byte, error) {
	text, err := f.read(ClusterKeyFile)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != KeySize {
		return nil, f.fault(ClusterKeyFile, fmt.Errorf("this is not a key of %d hex digits", 2*KeySize))
	}
	return key, nil
}

// SaveClusterKey keeps the cluster key.
func (f Files) SaveClusterKey(key []byte) error {
	if len(key) != KeySize {
		return fmt.Errorf("a cluster key has %d bytes, not %d", KeySize, len(key))
	}
	return f.write(ClusterKeyFile, []byte(hex.EncodeToString(key)+"\n"))
}

// Keeper reads the API's key, certificate and roots. Any of them missing, broken or exposed is an error: Argosy does
// not start with half an identity.
func (f Files) Keeper(revoked func(ID) bool, now func() time.Time) (*Keeper, error) {
	o := KeeperOptions{Revoked: revoked, Now: now}
	text, err := f.read(KeyFile)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, f.fault(KeyFile, err)
	}
	o.Key = key
	if o.Chain, err = f.read(CertFile); err != nil {
		return nil, err
	}
	if o.Roots, err = f.read(RootsFile); err != nil {
		return nil, err
	}
	if _, err := readRoots(o.Roots); err != nil {
		return nil, f.fault(RootsFile, err)
	}
	return NewKeeper(o)
}

// fault names the file; both the reason and its cause are found in it.
func (f Files) fault(name string, err error) error {
	return &fileError{reason.Because(reason.IdentityFile, reason.Args{"path": f.Path(name), "error": plain(err)}), err}
}

// fileError is a reason that still lets errors.Is find fs.ErrNotExist.
type fileError struct {
	why   *reason.Reason
	cause error
}

func (e *fileError) Error() string   { return e.why.Error() }
func (e *fileError) Unwrap() []error { return []error{e.why, e.cause} }

// plain leaves out the path, which the reason says already.
func plain(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// read reads a file after it has made sure that nobody else could have read or changed it.
func (f Files) read(name string) ([]byte, error) {
	if err := f.private(f.Dir, "700"); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(f.Path(name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, f.fault(name, err)
	}
	defer file.Close() //nolint:errcheck // It was only read.
	info, err := file.Stat()
	if err != nil {
		return nil, f.fault(name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, f.fault(name, fmt.Errorf("it is not a file of at most %d bytes", maxFile))
	}
	if err := exposed(f.Path(name), info, "600"); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, f.fault(name, err)
	}
	return text, nil
}

func (f Files) private(path, want string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return f.fault("", err)
	}
	if !info.IsDir() {
		return f.fault("", errors.New("it is not a directory"))
	}
	return exposed(path, info, want)
}

// exposed refuses what other users may read or change, or own.
func exposed(path string, info fs.FileInfo, want string) error {
	args := reason.Args{"path": path, "mode": fmt.Sprintf("%04o", info.Mode().Perm()), "want": want}
	if info.Mode().Perm()&0o077 != 0 {
		return reason.Because(reason.IdentityExposed, args)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		args["mode"] = fmt.Sprintf("%04o and belongs to user %d", info.Mode().Perm(), s.Uid)
		return reason.Because(reason.IdentityExposed, args)
	}
	return nil
}

// write replaces a file as a whole: after a power loss there is the old or the new one.
func (f Files) write(name string, text []byte) error {
	if err := f.writeFile(name, text); err != nil {
		if _, ok := errors.AsType[*reason.Reason](err); ok {
			return err
		}
		return f.fault(name, err)
	}
	return nil
}

func (f Files) writeFile(name string, text []byte) error {
	if err := os.MkdirAll(f.Dir, ourDir); err != nil {
		return err
	}
	if err := f.private(f.Dir, "700"); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(f.Dir, "."+name+"-*") // 0600.
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(ourFile), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.Path(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	dir, err := os.Open(f.Dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
