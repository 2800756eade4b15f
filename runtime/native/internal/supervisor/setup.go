package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/runtime/native/internal/spawn"
	"argosy.dev/argosy/unit"
	"golang.org/x/sys/unix"
)

// searchPath is where a bare program name is looked for, and the PATH that services get (systemd.exec(5)).
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// setup makes the set-up of one process.
func (in *Init) setup(a *attached, s *service.Service, d string, c unit.Command) (*spawn.Setup, *reason.Reason) {
	x := &s.Unit.Service.Exec
	set := &spawn.Setup{Directive: d, Path: lookPath(c.Path), UMask: int(x.UMask), SIGPIPE: x.IgnoreSIGPIPE, Cgroups: a.group.Procs(), Dir: x.WorkingDirectory}
	set.Env = in.environ(s, d)
	set.Argv = c.Argv
	if err := in.streams(a, x, set, -1); err != nil {
		return nil, reason.From(fmt.Errorf("open the unit's streams: %w", err))
	}
	return set, nil
}

func lookPath(p string) string {
	if strings.Contains(p, "/") {
		return p
	}
	for dir := range strings.SplitSeq(searchPath, ":") {
		full := filepath.Join(dir, p)
		if info, err := os.Stat(full); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return full
		}
	}
	return "/usr/bin/" + p // The helper says that it is not there.
}

func (in *Init) environ(s *service.Service, d string) []string {
	env := []string{"PATH=" + searchPath, "INVOCATION_ID=" + s.Invocation, "ARGOSY_UNIT=" + s.Name}
	if p := s.MainPID(); p > 0 {
		env = append(env, fmt.Sprintf("MAINPID=%d", p))
	}
	return append(env, s.Unit.Service.Exec.Environment...)
}

func (in *Init) streams(a *attached, x *unit.Exec, set *spawn.Setup, uid int) error {
	out, err := a.stream(0, uid)
	if err != nil {
		return err
	}
	errs, err := a.stream(1, uid)
	if err != nil {
		return err
	}
	set.Stdout = spawn.Stream{Path: out, Flags: unix.O_RDWR}
	set.Stderr = spawn.Stream{Path: errs, Flags: unix.O_RDWR}
	return nil
}
