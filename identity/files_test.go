package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
)

// joined makes the files of a server that has joined.
func joined(t *testing.T, a *Authority) Files {
	t.Helper()
	f := Files{Dir: filepath.Join(t.TempDir(), "identity")}
	if f.Joined() {
		t.Error("an empty directory has joined")
	}
	id, b := ID{a.cluster, KindServer, m1}, a.Bundle()
	must(0, f.SaveCertificate(must(a.Issue(id, must(f.Key())(t).Public(), nil, time.Now()))(t), b.Roots))(t)
	must(0, f.SavePeer(must(a.IssuePeer(id, must(f.PeerKey())(t).Public(), nil, time.Now()))(t), b.PeerRoots))(t)
	must(0, f.SaveClusterKey(bytes.Repeat([]byte{7}, KeySize)))(t)
	return f
}

func TestFiles(t *testing.T) {
	a := found(t, "prod")
	f := joined(t, a)
	k := must(f.Keeper(nil, nil))(t)
	if k.ID() != (ID{"prod", KindServer, m1}) || !f.Joined() || !bytes.Equal(must(f.ClusterKey())(t), bytes.Repeat([]byte{7}, KeySize)) {
		t.Errorf("read back as %v", k.ID())
	}
	entries := must(os.ReadDir(f.Dir))(t)
	for _, e := range entries {
		if info := must(e.Info())(t); info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if info := must(os.Stat(f.Dir))(t); len(entries) != 7 || info.Mode().Perm() != 0o700 {
		t.Errorf("%d files in a directory of mode %v", len(entries), info.Mode())
	}
	before := must(os.ReadFile(f.Path(CertFile)))(t)
	other := found(t, "prod")
	err := f.SaveCertificate(must(other.Issue(k.ID(), k.key.Public(), nil, time.Now()))(t), a.Bundle().Roots)
	wantCode(t, "another CA's", err, reason.CAUnknown)
	wantCode(t, "a peer's", f.SaveCertificate(must(a.IssuePeer(k.ID(), k.key.Public(), nil, time.Now()))(t), a.Bundle().Roots), reason.CAUnknown)
	if !bytes.Equal(before, must(os.ReadFile(f.Path(CertFile)))(t)) {
		t.Error("a bad certificate was kept")
	}
	_, err = Files{Dir: t.TempDir() + "/none"}.ClusterKey()
	wantCode(t, "no file", err, reason.IdentityFile)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("a missing file does not look like one")
	}
}

// TestHalfAnIdentity: whatever is missing, broken or exposed, there is no keeper.
func TestHalfAnIdentity(t *testing.T) {
	a := found(t, "prod")
	write := func(name, text string) func(*testing.T, Files) {
		return func(t *testing.T, f Files) { must(0, os.WriteFile(f.Path(name), []byte(text), 0o600))(t) }
	}
	remove := func(name string) func(*testing.T, Files) {
		return func(t *testing.T, f Files) { must(0, os.Remove(f.Path(name)))(t) }
	}
	mode := func(name string, m os.FileMode) func(*testing.T, Files) {
		return func(t *testing.T, f Files) { must(0, os.Chmod(f.Path(name), m))(t) }
	}
	for what, c := range map[string]struct {
		spoil func(*testing.T, Files)
		code  reason.Code
		hint  string
	}{
		"no key": {remove(KeyFile), reason.IdentityFile, ""}, "no certificate": {remove(CertFile), reason.IdentityFile, ""}, "no roots": {remove(RootsFile), reason.IdentityFile, ""},
		"empty roots": {write(RootsFile, ""), reason.IdentityFile, ""}, "broken roots": {write(RootsFile, "hello"), reason.IdentityFile, ""}, "broken key": {write(KeyFile, "hello"), reason.IdentityFile, ""},
		"others' roots":       {write(RootsFile, string(found(t, "prod").Bundle().Roots)), reason.CAUnknown, ""},
		"a key that many see": {mode(KeyFile, 0o640), reason.IdentityExposed, "chmod 600 "}, "roots that many write": {mode(RootsFile, 0o602), reason.IdentityExposed, "chmod 600 "},
		"an open directory": {mode("", 0o755), reason.IdentityExposed, "chmod 700 "}, "a huge file": {write(RootsFile, strings.Repeat("x", maxFile+1)), reason.IdentityFile, ""},
		"a link": {func(t *testing.T, f Files) {
			must(0, os.Rename(f.Path(KeyFile), f.Path("k")))(t)
			must(0, os.Symlink("k", f.Path(KeyFile)))(t)
		}, reason.IdentityFile, ""},
	} {
		f := joined(t, a)
		c.spoil(t, f)
		_, err := f.Keeper(nil, nil)
		wantCode(t, what, err, c.code)
		if r, ok := errors.AsType[*reason.Reason](err); ok && !strings.HasPrefix(r.Hint(), c.hint) {
			t.Errorf("%s: the hint is %q", what, r.Hint())
		}
	}
}

// TestCutOffSave cuts a save off between its writes, while the CA changes under it: the files still fit.
func TestCutOffSave(t *testing.T) {
	for cut := range 4 {
		a := found(t, "prod")
		f := joined(t, a)
		k := must(f.Keeper(nil, nil))(t)
		must(0, a.Rotate(time.Now()))(t)
		must(0, a.Retire())(t) // This machine slept through the rotation: neither fits what it had.
		chain, writes := must(a.Issue(k.ID(), k.key.Public(), nil, time.Now()))(t), 0
		err := f.save(func(name string, text []byte) error {
			if writes++; writes > cut {
				return errors.New("the power is gone")
			}
			return f.write(name, text)
		}, f.Key, chain, a.Bundle().Roots, CertFile, RootsFile)
		if (err == nil) != (cut == 3) {
			t.Errorf("cut after %d writes: %v", cut, err)
		}
		must(f.Keeper(nil, nil))(t)
		must(0, f.SaveCertificate(chain, a.Bundle().Roots))(t)
		if got := must(os.ReadFile(f.Path(RootsFile)))(t); !bytes.Equal(got, a.Bundle().Roots) {
			t.Error("an old root is left over")
		}
	}
}
