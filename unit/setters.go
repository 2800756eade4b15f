package unit

import (
	"slices"
	"strings"
	"time"
)

// The kinds of value that many directives share. Each follows the parser of the same name in systemd 252.

func setBool(field func(u *Unit) *bool) setter {
	return func(l *loader, v string) bool {
		b, ok := parseBool(v)
		if !ok {
			return l.ignore("%s is not a boolean", short(v))
		}
		*field(l.u) = b
		return true
	}
}

func setSpan(field func(u *Unit) *time.Duration) setter {
	return func(l *loader, v string) bool {
		d, err := ParseSpan(v)
		if err != nil {
			return l.ignore("%v", err)
		}
		*field(l.u) = d
		return true
	}
}

// setTimeout is setSpan where 0 means none.
func setTimeout(field func(u *Unit) *time.Duration) setter {
	return func(l *loader, v string) bool {
		d, err := ParseSpan(v)
		if err != nil {
			return l.ignore("%v", err)
		}
		if d == 0 {
			d = Infinity
		}
		*field(l.u) = d
		return true
	}
}

func setEnum(field func(u *Unit) *string, values ...string) setter {
	return func(l *loader, v string) bool {
		if slices.Contains(values, v) {
			*field(l.u) = v
			return true
		}
		return l.ignore("%s is none of %s", short(v), strings.Join(values, ", "))
	}
}

// setText is a text with specifiers; empty takes it away.
func setText(field func(u *Unit) *string) setter {
	return func(l *loader, v string) bool {
		s, err := l.expand(v, maxExpanded)
		if err != nil {
			return l.ignore("%v", err)
		}
		*field(l.u) = s
		return true
	}
}

func setMode(field func(u *Unit) *uint32) setter {
	return func(l *loader, v string) bool {
		m, err := parseMode(v)
		if err != nil {
			return l.ignore("%v", err)
		}
		*field(l.u) = m
		return true
	}
}

func setSignal(field func(u *Unit) *int) setter {
	return func(l *loader, v string) bool {
		n, err := ParseSignal(v)
		if err != nil {
			return l.ignore("%v", err)
		}
		*field(l.u) = n
		return true
	}
}

// setUnits is a list of units to depend on. There is no reset: an empty value adds nothing (systemd.unit(5)).
func setUnits(fields ...func(u *Unit) *[]string) setter {
	return func(l *loader, v string) bool {
		list, _ := words(v, whitespace, keepEscapes) // Without quotes and escapes it cannot fail.
		for _, w := range list {
			n, ok := l.dependency(w)
			if !ok {
				continue
			}
			for _, f := range fields {
				l.addOnce(f(l.u), n)
			}
		}
		return true
	}
}

// dependency reads the name of a unit that is depended on. A template stands for its instance of the same name.
func (l *loader) dependency(w string) (string, bool) {
	s, err := l.expandName(w)
	if err != nil {
		return "", l.ignore("%s: %v", short(w), err)
	}
	if nameFault(s) != "" {
		return "", l.ignore("%s is not the name of a unit: %s", short(w), nameFault(s))
	}
	if n := Name(s); n.IsTemplate() {
		instance := l.u.Name.Instance()
		if instance == "" {
			instance = l.u.Name.Base()
		}
		if l.u.Name.IsTemplate() {
			return s, true
		}
		s = string(n.WithInstance(instance))
	}
	return s, true
}

// pathFault is what systemd says of a path after path_simplify; empty when it is fine.
func pathFault(p string, absolute bool) string {
	switch {
	case !validUTF8(p):
		return "the path is not UTF-8"
	case absolute && !strings.HasPrefix(p, "/"):
		return "the path " + short(p) + " is not absolute"
	case !absolute && strings.HasPrefix(p, "/"):
		return "the path " + short(p) + " has to be relative"
	}
	p = simplifyPath(p)
	if !validPath(p) {
		return "the path is too long or empty"
	}
	if !normalizedPath(p) {
		return "the path " + short(p) + " holds a .."
	}
	return ""
}

// path expands and checks an absolute path.
func (l *loader) path(v string) (p, fault string) {
	s, err := l.expand(v, maxPath-1)
	if err != nil {
		return "", err.Error()
	}
	if fault := pathFault(s, true); fault != "" {
		return "", fault
	}
	return simplifyPath(s), ""
}

// setPath is an absolute path; empty takes it away. With fatal a bad path makes systemd refuse the unit.
func setPath(field func(u *Unit) *string, fatal bool) setter {
	return func(l *loader, v string) bool {
		if v == "" {
			*field(l.u) = ""
			return true
		}
		p, fault := l.path(v)
		switch {
		case fault != "" && fatal:
			return l.fail("%s", fault)
		case fault != "":
			return l.ignore("%s", fault)
		}
		*field(l.u) = p
		return true
	}
}
