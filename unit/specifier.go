package unit

import (
	"errors"
	"fmt"
	"strings"
)

// Lengths that systemd holds expanded values to.
const (
	maxExpanded = MaxLine
	maxArg      = 2 << 20 // ARG_MAX: one argument or one environment variable.
)

var errTooLong = errors.New("too long after its specifiers are expanded")

// expand replaces the specifiers of systemd.unit(5). Specifiers that only the machine can answer stay as they are
// while the host is not known (the zero Host), and so do those that depend on the file's place (%y %Y), the deprecated
// ones of the cgroup (%c %r %R), and in a template those of the instance.
func (l *loader) expand(s string, most int) (string, error) { return l.specifiers(s, most, false) }

// expandName is expand for unit names, which know fewer specifiers.
func (l *loader) expandName(s string) (string, error) { return l.specifiers(s, MaxName+1, true) }

func (l *loader) specifiers(s string, most int, nameOnly bool) (string, error) {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		if len(s) > most {
			return "", errTooLong
		}
		return s, nil
	}
	out := make([]byte, 0, len(s)+32)
	for ; i >= 0; i = strings.IndexByte(s, '%') {
		out = append(out, s[:i]...)
		if i+1 == len(s) {
			out, s = append(out, '%'), ""
			break
		}
		c := s[i+1]
		s = s[i+2:]
		switch {
		case c == '%':
			out = append(out, '%')
		case isAlphanumeric(c):
			v, err := l.specifier(c, nameOnly)
			if err != nil {
				return "", err
			}
			out = append(out, v...)
		default:
			out = append(out, '%', c)
		}
		if len(out) > most {
			return "", errTooLong
		}
	}
	if out = append(out, s...); len(out) > most {
		return "", errTooLong
	}
	return string(out), nil
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// specifier answers one letter.
func (l *loader) specifier(c byte, nameOnly bool) (string, error) {
	n := l.u.Name
	if n.IsTemplate() && strings.IndexByte("nNiIf", c) >= 0 {
		return "%" + string(c), nil // The instance will know.
	}
	switch c {
	case 'n':
		return string(n), nil
	case 'N':
		return n.Base(), nil
	case 'p':
		return n.Prefix(), nil
	case 'i':
		return n.Instance(), nil
	case 'j':
		return lastComponent(n), nil
	case 'g', 'u':
		return "root", nil
	case 'G', 'U':
		return "0", nil
	}
	if v, ok := l.hostSpecifier(c); ok {
		return v, nil
	}
	if nameOnly {
		return "", fmt.Errorf("specifier %%%c is not known here", c)
	}
	return l.fullSpecifier(c)
}

// fullSpecifier answers what unit names do not know.
func (l *loader) fullSpecifier(c byte) (string, error) {
	n, h := l.u.Name, &l.host
	switch c {
	case 'I':
		return Unescape(n.Instance())
	case 'P':
		return Unescape(n.Prefix())
	case 'J':
		return Unescape(lastComponent(n))
	case 'f':
		if i := n.Instance(); i != "" {
			return UnescapePath(i)
		}
		return UnescapePath(n.Prefix())
	case 't':
		return orElse(h.RuntimeDir, "/run"), nil
	case 'S':
		return orElse(h.StateDir, "/var/lib"), nil
	case 'C':
		return orElse(h.CacheDir, "/var/cache"), nil
	case 'L':
		return orElse(h.LogsDir, "/var/log"), nil
	case 'E':
		return orElse(h.ConfigDir, "/etc"), nil
	case 'T':
		return orElse(h.TmpDir, "/tmp"), nil
	case 'V':
		return orElse(h.VarTmpDir, "/var/tmp"), nil
	case 'd':
		return orElse(h.RuntimeDir, "/run") + "/credentials/" + string(n), nil
	case 'h':
		return "/root", nil
	case 's':
		return "/bin/bash", nil
	case 'y', 'Y', 'c', 'r', 'R':
		return "%" + string(c), nil
	}
	return "", fmt.Errorf("specifier %%%c is not known", c)
}

// hostSpecifier answers what only the machine knows.
func (l *loader) hostSpecifier(c byte) (string, bool) {
	h := &l.host
	var v string
	switch c {
	case 'H':
		v = h.Hostname
	case 'l', 'q':
		v, _, _ = strings.Cut(h.Hostname, ".")
	case 'm':
		v = h.MachineID
	case 'b':
		v = h.BootID
	case 'v':
		v = h.Kernel
	case 'a':
		v = h.Arch
	case 'o':
		v = h.OSID
	case 'w':
		v = h.OSVersionID
	case 'B':
		v = h.OSBuildID
	case 'W':
		v = h.OSVariantID
	case 'A', 'M': // Image version and id: only image-based systems have them.
	default:
		return "", false
	}
	if l.host == (Host{}) {
		return "%" + string(c), true
	}
	return v, true
}

// lastComponent is what stands behind the last dash of the prefix (%j).
func lastComponent(n Name) string {
	p := n.Prefix()
	return p[strings.LastIndexByte(p, '-')+1:]
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
