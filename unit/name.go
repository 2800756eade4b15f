package unit

import (
	"cmp"
	"path"
	"strings"

	"argosy.dev/argosy/reason"
)

// MaxName is the longest unit name in bytes (systemd's UNIT_NAME_MAX without the NUL).
const MaxName = 255

// DefaultSuffix is what Mangle appends to a name without a type.
const DefaultSuffix = ".service"

// Name is a valid unit name with its suffix: web.service, web@1.service, web@.service.
type Name string

// Type is the suffix without the dot, such as service or timer.
func (n Name) Type() string { return string(n)[strings.LastIndexByte(string(n), '.')+1:] }

// Base is the name without its suffix (%N).
func (n Name) Base() string { return string(n)[:max(strings.LastIndexByte(string(n), '.'), 0)] }

// Prefix is what stands before the "@", or the whole base (%p).
func (n Name) Prefix() string { p, _, _ := strings.Cut(n.Base(), "@"); return p }

// Instance is what stands between "@" and the suffix (%i); empty for a template and a plain unit.
func (n Name) Instance() string { _, i, _ := strings.Cut(n.Base(), "@"); return i }

// IsTemplate tells whether it is like web@.service.
func (n Name) IsTemplate() bool {
	return strings.HasSuffix(n.Base(), "@") && strings.Count(n.Base(), "@") == 1
}

// IsInstance tells whether it is like web@1.service.
func (n Name) IsInstance() bool { return n.Instance() != "" }

// Template is the name of the template of an instance: web@.service.
func (n Name) Template() Name { return Name(n.Prefix() + "@." + n.Type()) }

// WithInstance is the template's instance i: web@.service and 1 give web@1.service.
func (n Name) WithInstance(i string) Name { return Name(n.Prefix() + "@" + i + "." + n.Type()) }

// isUnitType tells whether s is a type that systemd 252 knows, without the dot.
func isUnitType(s string) bool {
	switch s {
	case "service", "timer", "socket", "path", "mount", "automount", "swap", "device", "target", "slice", "scope":
		return true
	}
	return false
}

// nameByte tells whether systemd takes the character inside a unit name.
func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(`:-_.\`, c) >= 0
}

// ParseName takes a whole unit name by systemd's rules (systemd.unit(5)): at most 255 bytes, letters, digits and :-_.\,
// a known type behind the last dot, something before the first "@". A name is never a path: it holds no "/", and Argosy
// also refuses names that begin with a dot. The error is a reason name-invalid.
func ParseName(s string) (Name, error) {
	if why := nameFault(s); why != "" {
		return "", reason.Because(reason.NameInvalid, reason.Args{"unit": printable(s), "error": why})
	}
	return Name(s), nil
}

// nameFault says what is wrong with a unit name; empty when nothing is.
func nameFault(s string) string {
	if s == "" {
		return "it is empty"
	}
	if len(s) > MaxName {
		return "it is longer than 255 bytes"
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !nameByte(c) && c != '@' {
			switch {
			case c == '/':
				return "it holds a path"
			case c < ' ' || c == 0x7f:
				return "it holds a control character"
			}
			return "it holds a character that unit names cannot hold; systemd-escape shows how to write it"
		}
	}
	dot := strings.LastIndexByte(s, '.')
	switch {
	case dot < 0:
		return "it has no type, such as .service"
	case !isUnitType(s[dot+1:]):
		return "." + s[dot+1:] + " is not a type of unit"
	case dot == 0:
		return "nothing stands before the type"
	case s[0] == '@':
		return "nothing stands before the @"
	case s[0] == '.':
		return "it begins with a dot"
	}
	return ""
}

// printable makes a name safe for a terminal and bounded.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// Mangle makes a unit name of what a person typed: the last part of a path, and .service where no type is given.
func Mangle(arg string) (Name, error) {
	base := path.Base(arg)
	if arg == "" || strings.HasSuffix(arg, "/") {
		base = ""
	}
	if dot := strings.LastIndexByte(base, '.'); base != "" && (dot < 0 || !isUnitType(base[dot+1:])) {
		base += DefaultSuffix
	}
	return ParseName(base)
}

// IsGlob tells whether s is a pattern for MatchGlob instead of a name.
func IsGlob(s string) bool { return strings.ContainsAny(s, "*?[") }

// MatchGlob matches a whole unit name as fleet and systemctl do: * ? and [a-z]. A pattern without a type means services,
// unless it ends in "*". A broken pattern matches nothing.
func MatchGlob(pattern, name string) bool {
	if ok, err := path.Match(pattern, name); ok && err == nil {
		return true
	}
	if dot := strings.LastIndexByte(pattern, '.'); dot >= 0 && isUnitType(pattern[dot+1:]) {
		return false
	}
	ok, err := path.Match(pattern+DefaultSuffix, name)
	return ok && err == nil
}

// CompareNames orders names as people count: runs of digits as numbers, web@2 before web@10; all else by byte.
// It is a total order: names that differ in leading zeros only are ordered as texts.
func CompareNames(a, b string) int {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		if n, m := leadingDigits(a[i:]), leadingDigits(b[j:]); n > 0 && m > 0 {
			x, y := strings.TrimLeft(a[i:i+n], "0"), strings.TrimLeft(b[j:j+m], "0")
			if c := cmp.Or(len(x)-len(y), strings.Compare(x, y)); c != 0 {
				return c
			}
			i, j = i+n, j+m
			continue
		}
		if a[i] != b[j] {
			return int(a[i]) - int(b[j])
		}
		i, j = i+1, j+1
	}
	return cmp.Or((len(a)-i)-(len(b)-j), strings.Compare(a, b))
}

// leadingDigits counts the decimal digits that a text begins with.
func leadingDigits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
