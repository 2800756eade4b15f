package unit

import (
	"strings"
	"unicode/utf8"
)

// MaxLine is the longest logical line in bytes, as in systemd (LONG_LINE_MAX).
const MaxLine = 1 << 20

// whitespace is what systemd strips and splits at.
const whitespace = " \t\n\r"

const byteOrderMark = "\ufeff"

// ParseFile reads the lines of a unit file as systemd 252 does (systemd.syntax(7), and where that is silent, its
// parser): a line ends at \n or \r or a pair of the two; a line whose first visible character is # or ; is skipped,
// also between continued lines; an unpaired backslash at the end continues the line and becomes a space; a broken
// section header and a line that is not UTF-8 end the whole reading. Lines without a key or a section are
// skipped with a warning. Beyond systemd, NUL and control characters other than tab are refused: no text that a
// person cannot see reaches PID 1. Values keep their quotes and escapes.
func ParseFile(source string, text []byte) (*File, []Warning, error) {
	p := &fileParser{file: &File{Source: source}}
	if err := p.run(string(text)); err != nil {
		return nil, p.warnings, err
	}
	return p.file, p.warnings, nil
}

// fileParser holds what carries over from line to line.
type fileParser struct {
	file     *File
	warnings []Warning
	current  *Section // Nil before the first header.
}

func (p *fileParser) run(text string) error {
	var logical strings.Builder // What a continuation has gathered.
	var continued, bomSeen bool
	line, first := 0, 0
	for len(text) > 0 {
		var l string
		l, text = cutLine(text)
		line++
		if len(l) >= MaxLine || logical.Len()+len(l) > MaxLine {
			return Errors{invalid(p.file.Source, line, "line is longer than %d bytes", MaxLine)}
		}
		if t := strings.TrimLeft(l, whitespace); t != "" && (t[0] == '#' || t[0] == ';') {
			continue
		}
		if !bomSeen && strings.HasPrefix(l, byteOrderMark) {
			l, bomSeen = l[len(byteOrderMark):], true
		}
		if !continued {
			first = line
		}
		if endsInBackslash(l) {
			logical.WriteString(l[:len(l)-1])
			logical.WriteByte(' ')
			continued = true
			continue
		}
		if continued {
			logical.WriteString(l)
			l = logical.String()
			logical.Reset()
			continued = false
		}
		if err := p.logicalLine(l, first); err != nil {
			return err
		}
	}
	if continued {
		return p.logicalLine(logical.String(), first)
	}
	return nil
}

// cutLine splits off one physical line. Like systemd it takes each of \n and \r at most once into one line end.
// NUL ends a line for systemd too; here it stays and is refused later.
func cutLine(s string) (line, rest string) {
	i := strings.IndexAny(s, "\n\r")
	if i < 0 {
		return s, ""
	}
	j := i + 1
	if j < len(s) && s[j] != s[i] && (s[j] == '\n' || s[j] == '\r') {
		j++
	}
	return s[:i], s[j:]
}

// endsInBackslash tells whether the last backslash is not itself escaped. Pairs are counted from the left, so
// that `\\` at the end does not continue the line.
func endsInBackslash(l string) bool {
	n := 0
	for i := len(l) - 1; i >= 0 && l[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// logicalLine takes one line after comments and continuations.
func (p *fileParser) logicalLine(l string, line int) error {
	l = strings.Trim(l, whitespace)
	if l == "" {
		return nil
	}
	if !validUTF8(l) {
		return Errors{invalid(p.file.Source, line, "the line is not valid UTF-8")}
	}
	if c, ok := controlIn(l); ok {
		return Errors{invalid(p.file.Source, line, "control character %#02x: write it as an escape, such as \\n or \\x%02x, inside quotes", c, c)}
	}
	if l[0] == '[' {
		return p.header(l, line)
	}
	key, value, ok := strings.Cut(l, "=")
	switch {
	case p.current == nil:
		p.warn(line, "", "assignment outside of a section, ignored")
		return nil
	case !ok:
		p.warn(line, "", "no '=', line ignored: "+short(l))
		return nil
	case key == "":
		p.warn(line, "", "no key before '=', line ignored: "+short(l))
		return nil
	}
	p.current.Options = append(p.current.Options, Option{
		Key: strings.Trim(key, whitespace), Value: strings.Trim(value, whitespace), Source: p.file.Source, Line: line,
	})
	return nil
}

func (p *fileParser) header(l string, line int) error {
	if len(l) < 2 || l[len(l)-1] != ']' {
		return Errors{invalid(p.file.Source, line, "section header %s has no ']' at its end", short(l))}
	}
	name := l[1 : len(l)-1]
	if !isSafe(name) {
		return Errors{invalid(p.file.Source, line, "section header %s holds a quote, a backslash or a control character", short(l))}
	}
	p.file.Sections = append(p.file.Sections, Section{Name: name, Line: line})
	p.current = &p.file.Sections[len(p.file.Sections)-1]
	return nil
}

func (p *fileParser) warn(line int, key, message string) {
	if len(p.warnings) >= MaxWarnings {
		return
	}
	w := Warning{File: p.file.Source, Line: line, Directive: key, Message: message}
	if p.current != nil {
		w.Section = p.current.Name
	}
	p.warnings = append(p.warnings, w)
}

// validUTF8 is systemd's rule: no surrogates, and none of Unicode's noncharacters either.
func validUTF8(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return !strings.ContainsFunc(s[i:], func(r rune) bool { return (r >= 0xFDD0 && r <= 0xFDEF) || r&0xFFFE == 0xFFFE })
		}
	}
	return true
}

// controlIn finds a control character other than tab.
func controlIn(s string) (byte, bool) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < ' ' && c != '\t') || c == 0x7f {
			return c, true
		}
	}
	return 0, false
}

// isSafe is systemd's string_is_safe: no control characters, quotes or backslashes.
func isSafe(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || strings.ContainsRune("\"'\\\x7f", r) })
}

// short quotes what a person wrote, bounded, for a message.
func short(s string) string {
	const most = 60
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return "\"" + s + "\""
}
