package unit

import (
	"slices"
	"strings"
)

// envName tells whether s can be the name of an environment variable.
func envName(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isAlphanumeric(s[i]) && s[i] != '_' {
			return false
		}
	}
	return true
}

// envAssignment tells whether s is NAME=VALUE.
func envAssignment(s string) bool {
	name, value, ok := strings.Cut(s, "=")
	return ok && envName(name) && validUTF8(value) && len(s) < maxArg
}

// replaceEnv puts an assignment into a list: in the place of an earlier one of the same name, else at the end.
func replaceEnv(list []string, assignment string) []string {
	name := assignment[:strings.IndexByte(assignment, '=')+1]
	for i, a := range list {
		if strings.HasPrefix(a, name) {
			list[i] = assignment
			return list
		}
	}
	return append(list, assignment)
}

func setEnvironment(l *loader, v string) bool {
	e := &l.u.Service.Exec
	if v == "" {
		e.Environment = nil
		return true
	}
	list, broken := words(v, whitespace, unquote|cUnescape)
	for _, w := range list {
		s, err := l.expand(w, maxArg)
		switch {
		case err != nil:
			l.ignore("%s: %v", short(w), err)
		case !envAssignment(s):
			l.ignore("%s is not NAME=VALUE", short(w))
		default:
			if e.Environment = replaceEnv(e.Environment, s); len(e.Environment) > MaxList {
				l.tooMany(MaxList)
				return false
			}
		}
	}
	if broken != nil {
		l.warn("%v: the rest of the line is ignored, as systemd does", broken)
	}
	return true
}

func setEnvironmentFile(l *loader, v string) bool {
	e := &l.u.Service.Exec
	if v == "" {
		e.EnvironmentFiles = nil
		return true
	}
	s, err := l.expand(v, maxPath)
	if err != nil {
		return l.ignore("%v", err)
	}
	rest, optional := strings.CutPrefix(s, "-")
	if fault := pathFault(rest, true); fault != "" {
		return l.ignore("%s", fault)
	}
	e.EnvironmentFiles = append(e.EnvironmentFiles, EnvFile{Path: simplifyPath(rest), Optional: optional})
	return true
}

// setEnvNames is PassEnvironment= and UnsetEnvironment=; the latter takes assignments as well.
func setEnvNames(field func(e *Exec) *[]string, flags wordFlags, assignments bool) setter {
	return func(l *loader, v string) bool {
		list := field(&l.u.Service.Exec)
		if v == "" {
			*list = nil
			return true
		}
		ws, broken := words(v, whitespace, flags)
		for _, w := range ws {
			s, err := l.expand(w, maxArg)
			switch {
			case err != nil:
				l.ignore("%s: %v", short(w), err)
			case envName(s) || assignments && envAssignment(s):
				l.addOnce(list, s)
			default:
				l.ignore("%s is not the name of a variable", short(w))
			}
		}
		if broken != nil {
			l.warn("%v: the rest of the line is ignored, as systemd does", broken)
		}
		return true
	}
}

// credentialName is systemd's rule: a file name of printable ASCII without a colon.
func credentialName(s string) bool {
	return validFilename(s) && isPlainASCII(s) && !strings.Contains(s, ":")
}

func setLoadCredential(l *loader, v string) bool {
	e := &l.u.Service.Exec
	if v == "" {
		e.Credentials = slices.DeleteFunc(e.Credentials, func(c Credential) bool { return !c.Set })
		return true
	}
	word, rest, _, err := nextWord(v, ":", everySep)
	if err != nil {
		return l.ignore("%v", err)
	}
	id, err := l.expand(word, maxFilename)
	if err != nil || !credentialName(id) {
		return l.ignore("%s is not the name of a credential", short(word))
	}
	c := Credential{ID: id, Path: id}
	if rest != "" {
		if c.Path, err = l.expand(rest, maxPath-1); err != nil {
			return l.ignore("%v", err)
		}
		if strings.HasPrefix(c.Path, "/") && !normalizedPath(c.Path) || !strings.HasPrefix(c.Path, "/") && !credentialName(c.Path) {
			return l.ignore("%s is not a place to load a credential from", short(rest))
		}
	}
	return l.putCredential(c)
}

func setSetCredential(l *loader, v string) bool {
	e := &l.u.Service.Exec
	if v == "" {
		e.Credentials = slices.DeleteFunc(e.Credentials, func(c Credential) bool { return c.Set })
		return true
	}
	word, rest, _, err := nextWord(v, ":", everySep)
	if err != nil || rest == "" {
		return l.ignore("it is not ID:VALUE")
	}
	id, err := l.expand(word, maxFilename)
	if err != nil || !credentialName(id) {
		return l.ignore("%s is not the name of a credential", short(word))
	}
	data, ok := unescape(rest, true)
	if !ok {
		return l.ignore("an escape sequence that is not known")
	}
	return l.putCredential(Credential{ID: id, Data: data, Set: true})
}

// putCredential replaces the one of the same id and kind.
func (l *loader) putCredential(c Credential) bool {
	e := &l.u.Service.Exec
	for i := range e.Credentials {
		if e.Credentials[i].ID == c.ID && e.Credentials[i].Set == c.Set {
			e.Credentials[i] = c
			return true
		}
	}
	if len(e.Credentials) >= MaxList {
		l.tooMany(MaxList)
		return false
	}
	e.Credentials = append(e.Credentials, c)
	return true
}
