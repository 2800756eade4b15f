package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/unit"
)

// maxEnvFile bounds an EnvironmentFile=.
const maxEnvFile = 1 << 20

// environ makes the environment of a process in systemd's order (systemd.exec(5), "Environment Variables in Spawned
// Processes"): later ones win.
func (in *Init) environ(a *attached, s *service.Service, id identity, dirs []string) ([]string, *reason.Reason) {
	x := &s.Unit.Service.Exec
	env := environment{}
	env.add("PATH="+searchPath, "INVOCATION_ID="+s.Invocation, "ARGOSY_UNIT="+s.Name)
	if epoch := in.keeper.Allowed[s.Name]; epoch > 0 {
		env.add(fmt.Sprintf("ARGOSY_EPOCH=%d", epoch)) // Grows with every move: what the program's storage can compare.
	}
	if lang := os.Getenv("LANG"); lang != "" {
		env.add("LANG=" + lang)
	}
	if x.User != "" || x.DynamicUser || os.Geteuid() != 0 {
		env.add("HOME="+id.user.Home, "SHELL="+id.user.Shell)
		if id.user.Name != "" {
			env.add("USER="+id.user.Name, "LOGNAME="+id.user.Name)
		}
	}
	env.add(dirs...)
	if p := s.MainPID(); p > 0 {
		env.add(fmt.Sprintf("MAINPID=%d", p))
	}
	if s.WantsNotify() {
		path, err := a.notifySocket()
		if err != nil {
			return nil, reason.From(fmt.Errorf("open the notification socket: %w", err))
		}
		env.add("NOTIFY_SOCKET=" + path)
		if s.Watchdog > 0 && s.Watchdog < unit.Infinity {
			env.add(fmt.Sprintf("WATCHDOG_USEC=%d", s.Watchdog.Microseconds()))
		}
	}
	if s.State.Active() == service.Deactivating || s.MainExit != nil {
		env.add(s.ExitEnv()...)
	}
	for _, k := range x.PassEnvironment {
		if v, ok := os.LookupEnv(k); ok {
			env.add(k + "=" + v)
		}
	}
	env.add(x.Environment...)
	for _, f := range x.EnvironmentFiles {
		more, why := readEnvFiles(f)
		if why != nil {
			return nil, why
		}
		env.add(more...)
	}
	for _, u := range x.UnsetEnvironment {
		env.unset(u)
	}
	return env.list(), nil
}

// environment keeps each variable once, in the order in which they first came.
type environment struct {
	keys   []string
	values map[string]string
}

func (e *environment) add(kvs ...string) {
	for _, kv := range kvs {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			continue
		}
		if e.values == nil {
			e.values = map[string]string{}
		}
		if _, had := e.values[k]; !had {
			e.keys = append(e.keys, k)
		}
		e.values[k] = v
	}
}

// unset removes a variable by name, or by name and value.
func (e *environment) unset(s string) {
	k, v, exact := strings.Cut(s, "=")
	if have, ok := e.values[k]; ok && (!exact || have == v) {
		delete(e.values, k)
		e.keys = slices.DeleteFunc(e.keys, func(x string) bool { return x == k })
	}
}

func (e *environment) list() []string {
	out := make([]string, 0, len(e.keys))
	for _, k := range e.keys {
		out = append(out, k+"="+e.values[k])
	}
	return out
}

// readEnvFiles reads one EnvironmentFile=, which may hold a glob.
func readEnvFiles(f unit.EnvFile) ([]string, *reason.Reason) {
	paths := []string{f.Path}
	if strings.ContainsAny(f.Path, "*?[") {
		found, err := filepath.Glob(f.Path)
		if err != nil || len(found) == 0 {
			found = nil
			if !f.Optional {
				return nil, configMissing(f.Path, fs.ErrNotExist)
			}
		}
		paths = found
	}
	var out []string
	for _, p := range paths {
		raw, err := readBounded(p, maxEnvFile)
		if err == nil {
			var vars []string
			if vars, err = unit.ParseEnvFile(raw); err == nil {
				out = append(out, vars...)
				continue
			}
		}
		if !f.Optional {
			return nil, configMissing(p, err)
		}
	}
	return out, nil
}

func configMissing(path string, err error) *reason.Reason {
	text := err.Error()
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		text = n.Error()
	} else if errors.Is(err, fs.ErrNotExist) {
		text = syscall.ENOENT.Error()
	}
	return reason.Because(reason.ConfigMissing, reason.Args{"path": path, "error": text})
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > limit:
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	buf := make([]byte, limit+1)
	n, err := readFull(f, buf)
	return buf[:n], err
}
