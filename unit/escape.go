package unit

import (
	"errors"
	"strings"
)

var errNotEscaped = errors.New("not a text that systemd-escape wrote")

const hexDigits = "0123456789abcdef"

// Escape makes any text fit for a unit name, as systemd-escape(1) does: "/" becomes "-", other characters \xHH.
func Escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '/':
			b.WriteByte('-')
		case c == '-' || c == '\\' || !nameByte(c) || (c == '.' && i == 0):
			b.WriteString(`\x`)
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Unescape undoes Escape.
func Unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return strings.ReplaceAll(s, "-", "/"), nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '-':
			out = append(out, '/')
		case '\\':
			if i+1 >= len(s) || s[i+1] != 'x' {
				return "", errNotEscaped
			}
			v, ok := digits(s[i+2:], 2, 16)
			if !ok {
				return "", errNotEscaped
			}
			out = append(out, byte(v))
			i += 3
		default:
			out = append(out, c)
		}
	}
	return string(out), nil
}

// EscapePath is systemd-escape --path: the path without slashes at its ends; "-" for the root.
func EscapePath(p string) (string, error) {
	p = simplifyPath(p)
	if p == "" || p == "/" {
		return "-", nil
	}
	if !normalizedPath(p) {
		return "", errors.New("a part of the path is two dots")
	}
	return Escape(strings.Trim(p, "/")), nil
}

// UnescapePath undoes EscapePath.
func UnescapePath(s string) (string, error) {
	if s == "-" {
		return "/", nil
	}
	p, err := Unescape(s)
	if err != nil {
		return "", err
	}
	p = "/" + p
	if s == "" || strings.HasSuffix(p, "/") || !normalizedPath(p) {
		return "", errNotEscaped
	}
	return p, nil
}

// simplifyPath removes doubled slashes, slashes at the end and parts that are a dot, like systemd's path_simplify. It
// leaves ".." alone: what lies behind a link is not known here.
func simplifyPath(p string) string {
	if p == "" || (!strings.Contains(p, "//") && !strings.Contains(p, "./") && !strings.HasSuffix(p, "/") && !strings.HasSuffix(p, "/.")) {
		return p
	}
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	out := strings.Join(parts, "/")
	if p[0] == '/' {
		return "/" + out
	}
	if out == "" {
		return "."
	}
	return out
}

// normalizedPath is systemd's path_is_normalized: no "..", no ".", no doubled slash, bounded.
func normalizedPath(p string) bool {
	if p == "" || len(p) >= maxPath || strings.Contains(p, "//") {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "." || part == ".." {
			return false
		}
	}
	return true
}

const (
	maxPath     = 4096 // With the NUL, as Linux counts.
	maxFilename = 255
)

// validFilename is systemd's filename_is_valid.
func validFilename(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= maxFilename && !strings.ContainsRune(s, '/')
}

// validPath is systemd's path_is_valid: each part bounded.
func validPath(p string) bool {
	if p == "" || len(p) >= maxPath {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if len(part) > maxFilename {
			return false
		}
	}
	return true
}
