package supervisor

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/account"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/runtime/native/internal/spawn"
	"argosy.dev/argosy/unit"
)

// searchPath is where a bare program name is looked for, and the PATH that services get (systemd.exec(5)).
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// systemd's exit statuses for what we find out before the helper runs; it ends with them for us.
const (
	statusGroup       = 216
	statusUser        = 217
	statusRuntimeDir  = 233
	statusCredentials = 243
)

// identity is whom a process runs as.
type identity struct {
	user   account.User
	set    bool // User= or Group= is given.
	gid    int
	groups []int
}

// setup makes the set-up of one process. A reason means that there cannot be a process at all; what systemd finds out
// in the child goes into the set-up's Fail and comes back as an exit status.
func (in *Init) setup(a *attached, s *service.Service, d string, c unit.Command) (*spawn.Setup, *reason.Reason) {
	x := &s.Unit.Service.Exec
	set := &spawn.Setup{
		Directive: d, Path: lookPath(c.Path), UMask: int(x.UMask), SIGPIPE: x.IgnoreSIGPIPE, Cgroups: a.group.Procs(),
		DirOptional: x.WorkingDirectoryOptional, NNP: x.NoNewPrivileges, Limits: limitsOf(x),
	}
	if x.NiceSet {
		set.Nice = &x.Nice
	}
	if x.OOMScoreAdjustSet {
		set.OOM = &x.OOMScoreAdjust
	} else if in.oomAdjusted {
		set.OOM = new(int) // Ours is low; a unit's is not.
	}
	id, fail := identify(s.Name, x)
	set.Fail = fail
	if !c.FullPrivileges && !c.Ambient && !c.NoSetuid && id.set {
		set.SetUser, set.UID, set.GID, set.Groups = true, id.user.UID, id.gid, id.groups
	}
	dirs, fail := in.directories(x, id)
	if set.Fail == nil {
		set.Fail = fail
	}
	env, why := in.environ(a, s, id, dirs)
	if why != nil {
		return nil, why
	}
	if set.Fail == nil && len(x.Credentials) > 0 {
		var dir string
		dir, set.Fail = in.credentials(a, s, id)
		env = append(env, "CREDENTIALS_DIRECTORY="+dir)
	}
	set.Env = env
	set.Argv = argv(c, env)
	set.Dir = x.WorkingDirectory
	if set.Dir == "~" {
		set.Dir = id.user.Home
	}
	uid := -1
	if set.SetUser {
		uid = set.UID
	}
	if err := in.streams(a, x, set, uid); err != nil {
		return nil, reason.From(fmt.Errorf("open the unit's streams: %w", err))
	}
	return set, nil
}

func argv(c unit.Command, env []string) []string {
	out := c.Argv
	if !c.NoExpand {
		out = unit.ExpandCommand(c, env)
	}
	if len(out) == 0 {
		out = []string{c.Path}
	}
	return out
}

// identify looks up User=, Group= and SupplementaryGroups=.
func identify(name string, x *unit.Exec) (identity, *spawn.Failure) {
	db := account.System()
	id := identity{set: x.User != "" || x.Group != "" || len(x.SupplementaryGroups) > 0}
	id.user = account.User{UID: os.Geteuid(), GID: os.Getegid(), Home: "/root", Shell: "/bin/sh"}
	if os.Geteuid() != 0 {
		id.user.Home = os.Getenv("HOME")
	}
	switch {
	case x.DynamicUser && os.Geteuid() == 0:
		id.set, id.user = true, dynamicUser(db, name, x.User)
	case x.User != "":
		u, err := db.User(x.User)
		if err != nil {
			return id, missing(err, statusUser, reason.UserMissing, "user", x.User)
		}
		id.user = u
		id.groups = db.Member(u.Name)
	}
	id.gid = id.user.GID
	if x.Group != "" {
		g, err := db.Group(x.Group)
		if x.DynamicUser && errors.Is(err, account.ErrUnknown) {
			g, err = id.user.GID, nil // Made with the user.
		}
		if err != nil {
			return id, missing(err, statusGroup, reason.GroupMissing, "group", x.Group)
		}
		id.gid = g
	}
	for _, name := range x.SupplementaryGroups {
		g, err := db.Group(name)
		if err != nil {
			return id, missing(err, statusGroup, reason.GroupMissing, "group", name)
		}
		id.groups = append(id.groups, g)
	}
	return id, nil
}

// The numbers that systemd sets aside for DynamicUser= (systemd.io, "Users, Groups, UIDs and GIDs on systemd systems").
const (
	firstDynamic = 61184
	lastDynamic  = 65519
)

// dynamicUser is DynamicUser=: a number of its own, made from the name, so that it is the same in every run.
func dynamicUser(db account.DB, unitName, user string) account.User {
	if user == "" {
		user = strings.TrimSuffix(unitName, ".service")
	}
	if u, err := db.User(user); err == nil {
		return u // A user that is there is taken, as systemd does.
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(user)) // Never fails (hash.Hash).
	n := firstDynamic + int(h.Sum32()%(lastDynamic-firstDynamic+1))
	return account.User{Name: user, UID: n, GID: n, Home: "/", Shell: "/usr/sbin/nologin"}
}

func missing(err error, status int, code reason.Code, key, name string) *spawn.Failure {
	if !errors.Is(err, account.ErrUnknown) {
		return &spawn.Failure{Status: status, Reason: reason.Because(reason.SetupFailed, reason.Args{"step": key, "status": status, "error": err.Error()})}
	}
	return &spawn.Failure{Status: status, Reason: reason.Because(code, reason.Args{key: name})}
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

// streams says where a process's standard streams lead.
func (in *Init) streams(a *attached, x *unit.Exec, set *spawn.Setup, uid int) error {
	switch path, kind := fileOf(x.StandardInput); {
	case x.StandardInput == "data":
		set.Stdin = spawn.Stream{AsData: true, Data: x.StandardInputData}
	case kind == "file":
		set.Stdin = spawn.Stream{Path: path, Flags: unix.O_RDONLY}
	}
	out, journal, err := a.outStream(x.StandardOutput, 0, uid)
	if err != nil {
		return err
	}
	set.Stdout = out
	if !journal && (x.StandardError == "inherit" || x.StandardError == "") {
		set.Stderr = spawn.Stream{AsOut: true}
		return nil
	}
	set.Stderr, _, err = a.outStream(x.StandardError, 1, uid)
	return err
}

// fileOf takes file:PATH, append:PATH and truncate:PATH apart.
func fileOf(s string) (path, kind string) {
	k, p, ok := strings.Cut(s, ":")
	if ok && (k == "file" || k == "append" || k == "truncate") {
		return p, k
	}
	return "", ""
}

func (a *attached) outStream(s string, i, uid int) (st spawn.Stream, journal bool, err error) {
	path, kind := fileOf(s)
	switch {
	case s == "null":
		return spawn.Stream{}, false, nil
	case kind == "file":
		return spawn.Stream{Path: path, Flags: unix.O_WRONLY | unix.O_CREAT}, false, nil
	case kind == "append":
		return spawn.Stream{Path: path, Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND}, false, nil
	case kind == "truncate":
		return spawn.Stream{Path: path, Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC}, false, nil
	}
	p, err := a.stream(i, uid)
	return spawn.Stream{Path: p, Flags: unix.O_RDWR}, true, err
}

// limitsOf lists Limit…= in a fixed order.
func limitsOf(x *unit.Exec) []spawn.Limit {
	var out []spawn.Limit
	for _, r := range rlimits() {
		if l, ok := x.Limits[r.name]; ok {
			out = append(out, spawn.Limit{Name: r.name, Resource: r.number, Soft: rlimit(l.Soft), Hard: rlimit(l.Hard)})
		}
	}
	return out
}

func rlimit(n int64) uint64 {
	if n == unit.Infinity || n < 0 {
		return unix.RLIM_INFINITY
	}
	return uint64(n)
}

type resource struct {
	name   string
	number int
}

func rlimits() []resource {
	return []resource{
		{"AS", unix.RLIMIT_AS},
		{"CORE", unix.RLIMIT_CORE},
		{"CPU", unix.RLIMIT_CPU},
		{"DATA", unix.RLIMIT_DATA},
		{"FSIZE", unix.RLIMIT_FSIZE},
		{"LOCKS", unix.RLIMIT_LOCKS},
		{"MEMLOCK", unix.RLIMIT_MEMLOCK},
		{"MSGQUEUE", unix.RLIMIT_MSGQUEUE},
		{"NICE", unix.RLIMIT_NICE},
		{"NOFILE", unix.RLIMIT_NOFILE},
		{"NPROC", unix.RLIMIT_NPROC},
		{"RSS", unix.RLIMIT_RSS},
		{"RTPRIO", unix.RLIMIT_RTPRIO},
		{"RTTIME", unix.RLIMIT_RTTIME},
		{"SIGPENDING", unix.RLIMIT_SIGPENDING},
		{"STACK", unix.RLIMIT_STACK},
	}
}
