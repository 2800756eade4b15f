package supervisor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/runtime/native/internal/spawn"
	"argosy.dev/argosy/unit"
)

// Bases are the folders below which RuntimeDirectory= and its like are made (systemd.exec(5), table 2).
type Bases struct {
	Runtime, State, Cache, Logs, Config string
}

// SystemBases are systemd's own, those of the user manager when we are not root.
func SystemBases() Bases {
	if os.Geteuid() == 0 {
		return Bases{Runtime: "/run", State: "/var/lib", Cache: "/var/cache", Logs: "/var/log", Config: "/etc"}
	}
	home := os.Getenv("HOME")
	get := func(key, otherwise string) string {
		if v := os.Getenv(key); filepath.IsAbs(v) {
			return v
		}
		return otherwise
	}
	state := get("XDG_STATE_HOME", filepath.Join(home, ".local/state"))
	return Bases{
		Runtime: get("XDG_RUNTIME_DIR", filepath.Join(os.TempDir(), fmt.Sprintf("argosy-run-%d", os.Getuid()))),
		State:   state, Cache: get("XDG_CACHE_HOME", filepath.Join(home, ".cache")),
		Logs: filepath.Join(state, "log"), Config: get("XDG_CONFIG_HOME", filepath.Join(home, ".config")),
	}
}

// kind is one of the five …Directory= directives.
type kind struct {
	key    string // The directive.
	env    string
	base   string
	names  []string
	mode   uint32
	status int
	own    bool // Given to the unit's user.
}

func (in *Init) kinds(x *unit.Exec) []kind {
	b := in.bases
	return []kind{
		{"RuntimeDirectory", "RUNTIME_DIRECTORY", b.Runtime, x.RuntimeDirectory, x.RuntimeDirectoryMode, statusRuntimeDir, true},
		{"StateDirectory", "STATE_DIRECTORY", b.State, x.StateDirectory, x.StateDirectoryMode, 238, true},
		{"CacheDirectory", "CACHE_DIRECTORY", b.Cache, x.CacheDirectory, x.CacheDirectoryMode, 239, true},
		{"LogsDirectory", "LOGS_DIRECTORY", b.Logs, x.LogsDirectory, x.LogsDirectoryMode, 240, true},
		{"ConfigurationDirectory", "CONFIGURATION_DIRECTORY", b.Config, x.ConfigurationDirectory, x.ConfigurationDirectoryMode, 241, false},
	}
}

// directories makes the unit's folders and gives the variables that name them.
func (in *Init) directories(x *unit.Exec, id identity) ([]string, *spawn.Failure) {
	var env []string
	for _, k := range in.kinds(x) {
		var paths []string
		for _, n := range k.names {
			p, err := dirPath(k.base, n)
			if err == nil {
				err = makeDir(p, k, id)
			}
			if err != nil {
				return nil, &spawn.Failure{Status: k.status, Reason: reason.Because(reason.SetupFailed, reason.Args{
					"step": "make " + filepath.Join(k.base, n), "status": k.status, "error": err.Error(),
				})}
			}
			paths = append(paths, p)
		}
		if len(paths) > 0 {
			env = append(env, k.env+"="+strings.Join(paths, ":"))
		}
	}
	return env, in.links(x)
}

// links makes the symbolic links that PATH:LINK asks for.
func (in *Init) links(x *unit.Exec) *spawn.Failure {
	for _, k := range in.kinds(x) {
		for _, l := range x.DirectorySymlinks {
			rest, ok := strings.CutPrefix(l, k.key+"=")
			if !ok {
				continue
			}
			to, link, _ := strings.Cut(rest, ":")
			p, err := dirPath(k.base, to)
			if err == nil {
				link, err = dirPath(k.base, link)
			}
			if err == nil {
				err = os.Symlink(p, link)
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return &spawn.Failure{Status: k.status, Reason: reason.Because(reason.SetupFailed, reason.Args{
					"step": k.key + "=" + rest, "status": k.status, "error": err.Error(),
				})}
			}
		}
	}
	return nil
}

// dirPath refuses what leaves the base.
func dirPath(base, name string) (string, error) {
	switch {
	case name == "" || filepath.Clean(name) == ".":
		return "", errors.New("an empty name")
	case !filepath.IsLocal(name):
		return "", fmt.Errorf("%q leaves %s", name, base)
	}
	return filepath.Join(base, name), nil
}

func makeDir(path string, k kind, id identity) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(k.mode)
	if k.mode == 0 {
		mode = 0o755
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if k.own && id.set && os.Geteuid() == 0 {
		if err := giveAway(f, path, id); err != nil {
			return err
		}
	}
	return f.Chmod(unixMode(mode))
}

// unixMode brings sticky, setuid and setgid bits to where package os wants them.
func unixMode(m os.FileMode) os.FileMode {
	out := m & 0o777
	for bit, flag := range map[os.FileMode]os.FileMode{0o1000: os.ModeSticky, 0o2000: os.ModeSetgid, 0o4000: os.ModeSetuid} {
		if m&bit != 0 {
			out |= flag
		}
	}
	return out
}

// giveAway makes a folder the user's; what lies in it too, when the folder was somebody else's.
func giveAway(f *os.File, path string, id identity) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if int(st.Uid) == id.user.UID && int(st.Gid) == id.gid {
		return nil
	}
	err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || p == path {
			return err
		}
		return os.Lchown(p, id.user.UID, id.gid)
	})
	if err != nil {
		return err
	}
	return f.Chown(id.user.UID, id.gid)
}

// removeDirs is RuntimeDirectoryPreserve=: what is removed after a run.
func (in *Init) removeDirs(s *service.Service, again bool) {
	x := &s.Unit.Service.Exec
	switch x.RuntimeDirectoryPreserve {
	case "yes":
		return
	case "restart":
		if again || s.Restarting {
			return
		}
	}
	for _, n := range x.RuntimeDirectory {
		p, err := dirPath(in.bases.Runtime, n)
		if err == nil {
			err = os.RemoveAll(p)
		}
		if err != nil {
			in.log.Warn("a runtime directory stays", "unit", s.Name, "error", err)
		}
	}
}

func readFull(r io.Reader, buf []byte) (int, error) {
	n, err := io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}
