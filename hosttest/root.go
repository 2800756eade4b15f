package hosttest

import (
	"context"
	"crypto/sha256"
	_ "embed" // The recipe.
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cacheDir keeps what is expensive to make, outside of any clone.
const cacheDir = "/var/cache/argosy-testbed"

// buildTimeout bounds the making of a root file system from Debian's packages.
const buildTimeout = 30 * time.Minute

//go:embed root.sh
var rootScript string

// BuildRoot makes the hosts' root file system if this machine does not have it yet and tells where it is.
// The folder is named by the hash of its recipe, so a changed recipe makes a new one. It takes some minutes the
// first time. Processes that ask at the same time wait for one another.
func BuildRoot(ctx context.Context) (string, error) {
	mirror, suite, err := debianMirror(ctx)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(suite + "\x00" + rootScript))
	dir := filepath.Join(cacheDir, hex.EncodeToString(sum[:8]))
	root := filepath.Join(dir, "root")
	if exists(root) {
		return root, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(dir, "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(root) { // Another process made it while this one waited.
		return root, nil
	}
	return root, buildRoot(ctx, dir, suite, mirror)
}

// buildRoot works on a folder beside the final one and renames it at the end: a root is whole or not there.
func buildRoot(ctx context.Context, dir, suite, mirror string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	part := filepath.Join(dir, "part")
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", rootScript, "root.sh", part, suite, mirror)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	log, err := os.Create(filepath.Join(dir, "build.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // The command has its own.
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the hosts' root file system (see %s): %w", log.Name(), err)
	}
	return os.Rename(part, filepath.Join(dir, "root"))
}

// debianMirror finds the mirror and the release that apt uses on this machine.
func debianMirror(ctx context.Context) (mirror, suite string, err error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages").Output()
	if err != nil {
		return "", "", fmt.Errorf("ask apt for its mirror: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		uri, codename, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasSuffix(strings.TrimSuffix(uri, "/"), "/debian") && codename != "" && !strings.ContainsAny(codename, "-/") {
			return uri, codename, nil
		}
	}
	return "", "", errors.New("apt has no Debian mirror on this machine (apt-get indextargets)")
}

// lockFile takes a lock that other processes see; how is flock(2)'s operation.
func lockFile(path string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
