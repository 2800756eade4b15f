package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/runtime/native/internal/spawn"
	"argosy.dev/argosy/unit"
)

// maxCredential is systemd's bound on one credential.
const maxCredential = 1 << 20

func (in *Init) credentialDir(unit string) string {
	return filepath.Join(in.runDir, "credentials", unit)
}

// credentials fills $CREDENTIALS_DIRECTORY: on memory when we may mount, readable by the unit's user only.
func (in *Init) credentials(a *attached, s *service.Service, id identity) (string, *spawn.Failure) {
	dir := in.credentialDir(s.Name)
	if a.credRun == s.Invocation {
		return dir, nil // Filled for this run already.
	}
	if err := in.makeCredentialDir(dir); err != nil {
		return dir, credentialFailure("the folder", err)
	}
	have := map[string]bool{}
	for _, c := range s.Unit.Service.Exec.Credentials {
		if c.Set || have[c.ID] {
			continue
		}
		raw, err := loadCredential(c)
		if errors.Is(err, os.ErrNotExist) && hasSet(s.Unit.Service.Exec.Credentials, c.ID) {
			continue // SetCredential= is what it falls back on.
		}
		if err == nil {
			err = writeCredential(dir, c.ID, raw, id)
		}
		if err != nil {
			return dir, credentialFailure(c.ID, err)
		}
		have[c.ID] = true
	}
	for _, c := range s.Unit.Service.Exec.Credentials {
		if !c.Set || have[c.ID] {
			continue
		}
		if err := writeCredential(dir, c.ID, []byte(c.Data), id); err != nil {
			return dir, credentialFailure(c.ID, err)
		}
		have[c.ID] = true
	}
	if id.set && os.Geteuid() == 0 {
		if err := os.Chown(dir, id.user.UID, id.gid); err != nil {
			return dir, credentialFailure("the folder", err)
		}
	}
	a.credRun = s.Invocation
	return dir, nil
}

func credentialFailure(what string, err error) *spawn.Failure {
	text := err.Error()
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		text = n.Error()
	}
	return &spawn.Failure{Status: statusCredentials, Reason: reason.Because(reason.SecretMissing, reason.Args{"credential": what, "error": text})}
}

func hasSet(all []unit.Credential, id string) bool {
	for _, c := range all {
		if c.Set && c.ID == id {
			return true
		}
	}
	return false
}

func loadCredential(c unit.Credential) ([]byte, error) {
	path := c.Path
	if path == "" {
		path = c.ID
	}
	if filepath.IsAbs(path) {
		return readBounded(path, maxCredential)
	}
	for _, store := range []string{"/etc/credstore", "/run/credstore", "/usr/lib/credstore"} {
		raw, err := readBounded(filepath.Join(store, filepath.Base(path)), maxCredential)
		if !errors.Is(err, os.ErrNotExist) {
			return raw, err
		}
	}
	return nil, syscall.ENOENT
}

func writeCredential(dir, id string, raw []byte, who identity) error {
	if id == "" || strings.ContainsAny(id, "/\x00") || strings.HasPrefix(id, ".") {
		return fmt.Errorf("%q is not a credential's name", id)
	}
	f, err := os.OpenFile(filepath.Join(dir, id), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil && who.set && os.Geteuid() == 0 {
		err = f.Chown(who.user.UID, who.gid)
	}
	return errors.Join(err, f.Close())
}

// makeCredentialDir makes the folder anew, on memory where that is possible and not so already.
func (in *Init) makeCredentialDir(dir string) error {
	in.removeCredentials(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var st unix.Statfs_t
	if os.Geteuid() != 0 || unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC {
		return nil
	}
	if err := unix.Mount("ramfs", dir, "ramfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		in.log.Info("credentials lie in a plain folder: no ramfs may be mounted here", "error", err)
	}
	return nil
}

// removeCredentials takes the folder away; nothing there is no error.
func (in *Init) removeCredentials(dir string) {
	if _, err := os.Lstat(dir); err != nil {
		return
	}
	_ = unix.Unmount(dir, unix.MNT_DETACH) // Not mounted: a plain folder.
	if err := os.RemoveAll(dir); err != nil {
		in.log.Warn("credentials stay on disk", "folder", dir, "error", err)
	}
}
