package unit

import (
	"encoding/base64"
	"slices"
	"strings"
)

// maxStdinData is how much StandardInputText= and StandardInputData= may gather (systemd's EXEC_STDIN_DATA_MAX).
const maxStdinData = 64 << 20

// execSetters are the directives of systemd.exec(5) that the model carries.
var execSetters = joinSetters(map[string]setter{
	"User":                     setUser(func(e *Exec) *string { return &e.User }),
	"Group":                    setUser(func(e *Exec) *string { return &e.Group }),
	"SupplementaryGroups":      setSupplementaryGroups,
	"WorkingDirectory":         setWorkingDirectory,
	"RootDirectory":            setPath(func(u *Unit) *string { return &u.Service.Exec.RootDirectory }, true),
	"UMask":                    setMode(func(u *Unit) *uint32 { return &u.Service.Exec.UMask }),
	"Environment":              setEnvironment,
	"EnvironmentFile":          setEnvironmentFile,
	"PassEnvironment":          setEnvNames(func(e *Exec) *[]string { return &e.PassEnvironment }, unquote, false),
	"UnsetEnvironment":         setEnvNames(func(e *Exec) *[]string { return &e.UnsetEnvironment }, unquote|cUnescape, true),
	"LoadCredential":           setLoadCredential,
	"SetCredential":            setSetCredential,
	"RuntimeDirectory":         setDirectories(func(e *Exec) *[]string { return &e.RuntimeDirectory }),
	"StateDirectory":           setDirectories(func(e *Exec) *[]string { return &e.StateDirectory }),
	"CacheDirectory":           setDirectories(func(e *Exec) *[]string { return &e.CacheDirectory }),
	"LogsDirectory":            setDirectories(func(e *Exec) *[]string { return &e.LogsDirectory }),
	"ConfigurationDirectory":   setDirectories(func(e *Exec) *[]string { return &e.ConfigurationDirectory }),
	"RuntimeDirectoryMode":     setMode(func(u *Unit) *uint32 { return &u.Service.Exec.RuntimeDirectoryMode }),
	"StateDirectoryMode":       setMode(func(u *Unit) *uint32 { return &u.Service.Exec.StateDirectoryMode }),
	"CacheDirectoryMode":       setMode(func(u *Unit) *uint32 { return &u.Service.Exec.CacheDirectoryMode }),
	"LogsDirectoryMode":        setMode(func(u *Unit) *uint32 { return &u.Service.Exec.LogsDirectoryMode }),
	"RuntimeDirectoryPreserve": setPreserve,
	"Nice":                     setNumber(-20, 19, func(e *Exec) (*int, *bool) { return &e.Nice, &e.NiceSet }),
	"OOMScoreAdjust":           setNumber(-1000, 1000, func(e *Exec) (*int, *bool) { return &e.OOMScoreAdjust, &e.OOMScoreAdjustSet }),
	"StandardInput":            setStandardInput,
	"StandardOutput":           setStandardOutput(func(e *Exec) *string { return &e.StandardOutput }),
	"StandardError":            setStandardOutput(func(e *Exec) *string { return &e.StandardError }),
	"StandardInputText":        setStandardInputText,
	"StandardInputData":        setStandardInputData,
	"SyslogIdentifier":         setText(func(u *Unit) *string { return &u.Service.Exec.SyslogIdentifier }),
	"IgnoreSIGPIPE":            setBool(func(u *Unit) *bool { return &u.Service.Exec.IgnoreSIGPIPE }),
	"NoNewPrivileges":          setBool(func(u *Unit) *bool { return &u.Service.Exec.NoNewPrivileges }),
	"DynamicUser":              setDynamicUser,

	"ConfigurationDirectoryMode": setMode(func(u *Unit) *uint32 { return &u.Service.Exec.ConfigurationDirectoryMode }),
}, limitSetters())

func limitSetters() map[string]setter {
	out := map[string]setter{}
	for _, kind := range []string{
		"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NOFILE", "AS", "NPROC", "MEMLOCK", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE",
		"RTPRIO", "RTTIME",
	} {
		out["Limit"+kind] = func(l *loader, v string) bool {
			limit, err := parseLimit(kind, v)
			if err != nil {
				return l.ignore("%v", err)
			}
			e := &l.u.Service.Exec
			if e.Limits == nil {
				e.Limits = map[string]Limit{}
			}
			e.Limits[kind] = limit
			return true
		}
	}
	return out
}

// userFault is systemd's relaxed rule for user and group names; empty when it is fine.
func userFault(s string) string {
	switch {
	case s == "":
		return "the name is empty"
	case digitsEnd(s) == len(s):
		if len(s) > 10 || s == "4294967295" || s == "65535" {
			return short(s) + " is not a numeric id"
		}
		return ""
	case !validUTF8(s) || s != strings.Trim(s, whitespace):
		return short(s) + " is not a name"
	case s == "." || s == ".." || len(s) > maxFilename || strings.ContainsAny(s, ":/"):
		return short(s) + " is not a name"
	case s[0] == '-' && digitsEnd(s[1:]) == len(s)-1:
		return short(s) + " is a negative number"
	}
	if _, ok := controlIn(s); ok || strings.ContainsRune(s, '\t') {
		return short(s) + " is not a name"
	}
	return ""
}

// setUser is User= and Group=: a bad one makes systemd refuse the unit.
func setUser(field func(e *Exec) *string) setter {
	return func(l *loader, v string) bool {
		f := field(&l.u.Service.Exec)
		if v == "" {
			*f = ""
			return true
		}
		s, err := l.expand(v, maxExpanded)
		if err != nil {
			return l.fail("%v", err)
		}
		if fault := userFault(s); fault != "" {
			return l.fail("%s", fault)
		}
		*f = s
		return true
	}
}

func setSupplementaryGroups(l *loader, v string) bool {
	e := &l.u.Service.Exec
	if v == "" {
		e.SupplementaryGroups = nil
		return true
	}
	list, err := words(v, whitespace, 0)
	if err != nil {
		return l.fail("%v", err)
	}
	for _, w := range list {
		s, err := l.expand(w, maxExpanded)
		if err != nil {
			return l.fail("%v", err)
		}
		if fault := userFault(s); fault != "" {
			return l.fail("%s", fault)
		}
		e.SupplementaryGroups = append(e.SupplementaryGroups, s)
	}
	return true
}

func setWorkingDirectory(l *loader, v string) bool {
	e := &l.u.Service.Exec
	if v == "" { // Whether it may be missing stays as it was, as in systemd.
		e.WorkingDirectory = ""
		return true
	}
	rest, optional := strings.CutPrefix(v, "-")
	p := rest
	if rest != "~" {
		var fault string
		if p, fault = l.path(rest); fault != "" {
			if optional {
				return l.ignore("%s", fault)
			}
			return l.fail("%s", fault)
		}
	}
	e.WorkingDirectory, e.WorkingDirectoryOptional = p, optional
	return true
}

// setDynamicUser is the one boolean that systemd refuses a unit for.
func setDynamicUser(l *loader, v string) bool {
	b, ok := parseBool(v)
	if !ok {
		return l.fail("%s is not a boolean", short(v))
	}
	l.u.Service.Exec.DynamicUser = b
	return true
}

func setPreserve(l *loader, v string) bool {
	if v == "restart" {
		l.u.Service.Exec.RuntimeDirectoryPreserve = v
		return true
	}
	b, ok := parseBool(v)
	if !ok {
		return l.ignore("%s is none of no, restart, yes", short(v))
	}
	l.u.Service.Exec.RuntimeDirectoryPreserve = "no"
	if b {
		l.u.Service.Exec.RuntimeDirectoryPreserve = "yes"
	}
	return true
}

func setNumber(from, to int64, field func(e *Exec) (*int, *bool)) setter {
	return func(l *loader, v string) bool {
		n, set := field(&l.u.Service.Exec)
		if v == "" {
			*set = false
			return true
		}
		i, err := parseInt(v)
		if err != nil || i < from || i > to {
			return l.ignore("%s is not a number from %d to %d", short(v), from, to)
		}
		*n, *set = int(i), true
		return true
	}
}

// setDirectories is RuntimeDirectory= and its like: relative paths, each with an optional :LINK.
func setDirectories(field func(e *Exec) *[]string) setter {
	return func(l *loader, v string) bool {
		e := &l.u.Service.Exec
		list := field(e)
		if v == "" {
			*list = nil
			key := l.opt.Key + "="
			e.DirectorySymlinks = slices.DeleteFunc(e.DirectorySymlinks, func(s string) bool { return strings.HasPrefix(s, key) })
			return true
		}
		tuples, err := words(v, whitespace, unquote|keepEscapes)
		for _, t := range tuples {
			if !l.directory(t, list) {
				break
			}
		}
		if err != nil {
			l.warn("%v", err)
		}
		return true
	}
}

// directory reads PATH or PATH:LINK; false ends the reading of the whole value, as in systemd.
func (l *loader) directory(tuple string, list *[]string) bool {
	e := &l.u.Service.Exec
	parts, err := words(tuple, ":", cUnescape|unescapeSep)
	if err != nil || len(parts) == 0 {
		return l.ignore("%s is not a directory", short(tuple))
	}
	var link string
	p, err := l.expand(parts[0], maxPath-1)
	if len(parts) > 1 && err == nil {
		link, err = l.expand(parts[1], maxPath-1)
	}
	fault := pathFault(p, false)
	if link != "" && fault == "" {
		fault = pathFault(link, false)
	}
	p = simplifyPath(p)
	switch {
	case err != nil:
		l.ignore("%s: %v", short(tuple), err)
	case fault != "":
		l.ignore("%s", fault)
	case p == "private" || strings.HasPrefix(p, "private/"):
		l.ignore("%s: a directory cannot be named private", short(tuple))
	case link != "" && l.opt.Key == "ConfigurationDirectory":
		l.ignore("%s: ConfigurationDirectory= takes no link", short(tuple))
	default:
		l.addOnce(list, p)
		if link != "" {
			l.addOnce(&e.DirectorySymlinks, l.opt.Key+"="+p+":"+simplifyPath(link))
		}
	}
	return true
}

func setStandardInput(l *loader, v string) bool {
	e := &l.u.Service.Exec
	switch v {
	case "null", "tty", "tty-force", "tty-fail", "socket", "fd", "data":
		e.StandardInput = v
		return true
	}
	s, ok := l.standardFile(v, "fd:", "file:")
	if ok {
		e.StandardInput = s
	}
	return ok
}

func setStandardOutput(field func(e *Exec) *string) setter {
	return func(l *loader, v string) bool {
		f := field(&l.u.Service.Exec)
		switch v {
		case "inherit", "null", "tty", "kmsg", "kmsg+console", "journal", "journal+console", "socket", "fd":
			*f = v
			return true
		case "syslog", "syslog+console":
			*f = "journal" + strings.TrimPrefix(v, "syslog")
			l.warn("%s is obsolete, read as %s", v, *f)
			return true
		}
		s, ok := l.standardFile(v, "fd:", "file:", "append:", "truncate:")
		if ok {
			*f = s
		}
		return ok
	}
}

// standardFile reads KIND:PATH, or fd:NAME.
func (l *loader) standardFile(v string, kinds ...string) (string, bool) {
	for _, k := range kinds {
		rest, ok := strings.CutPrefix(v, k)
		if !ok {
			continue
		}
		if k == "fd:" {
			s, err := l.expand(rest, maxFilename)
			if err != nil || strings.ContainsAny(s, ":") || !isPlainASCII(s) {
				return "", l.ignore("%s is not the name of a file descriptor", short(rest))
			}
			return strings.TrimSuffix(k+s, ":"), true
		}
		p, fault := l.path(rest)
		if fault != "" {
			return "", l.ignore("%s", fault)
		}
		return k + p, true
	}
	return "", l.ignore("%s is not known here", short(v))
}

func isPlainASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func setStandardInputText(l *loader, v string) bool {
	if v == "" {
		l.u.Service.Exec.StandardInputData = nil
		return true
	}
	text, ok := unescape(v, false)
	if !ok {
		return l.ignore("an escape sequence that is not known")
	}
	text, err := l.expand(text, maxStdinData)
	if err != nil {
		return l.ignore("%v", err)
	}
	return l.addStdin(append([]byte(text), '\n'))
}

func setStandardInputData(l *loader, v string) bool {
	if v == "" {
		l.u.Service.Exec.StandardInputData = nil
		return true
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v), ""))
	if err != nil {
		return l.ignore("it is not base64")
	}
	return l.addStdin(data)
}

func (l *loader) addStdin(data []byte) bool {
	e := &l.u.Service.Exec
	if len(e.StandardInputData)+len(data) > maxStdinData {
		return l.ignore("more than %d bytes of input", maxStdinData)
	}
	e.StandardInputData = append(e.StandardInputData, data...)
	return true
}

// finishExec adds the defaults that depend on other directives of systemd.exec(5).
func (l *loader) finishExec(e *Exec) {
	if e.StandardInput == "null" && len(e.StandardInputData) > 0 {
		e.StandardInput = "data"
	}
	switch in, _, _ := strings.Cut(e.StandardInput, ":"); in {
	case "tty", "tty-force", "tty-fail", "socket", "fd":
	default:
		if e.StandardOutput == "inherit" {
			e.StandardOutput = "journal"
		}
	}
	if e.DynamicUser {
		e.NoNewPrivileges = true
		if e.User == "" && strictUser(l.u.Name.Prefix()) {
			e.User = l.u.Name.Prefix()
		}
		if e.Group == "" {
			e.Group = e.User
		}
	}
	for _, list := range []*[]string{&e.RuntimeDirectory, &e.StateDirectory, &e.CacheDirectory, &e.LogsDirectory, &e.ConfigurationDirectory} {
		slices.Sort(*list)
	}
}

// strictUser is systemd's strict rule for user names, which a dynamic user has to keep.
func strictUser(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 31
}
