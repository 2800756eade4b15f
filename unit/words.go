package unit

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// wordFlags say how a value is split into words; each directive of systemd has its own set.
type wordFlags uint

const (
	unquote     wordFlags = 1 << iota // Quotes group and are removed.
	cUnescape                         // C escapes are resolved.
	keepEscapes                       // A backslash is an ordinary character.
	keepBad                           // An escape that is not known stays as written, instead of being an error.
	unescapeSep                       // An escaped separator is an ordinary character.
	everySep                          // Each separator ends a word, also an empty one.
	relaxed                           // Unbalanced quotes are taken as they are.
)

var (
	errBadEscape = errors.New("an escape sequence that is not known")
	errQuotes    = errors.New("quotes that are not closed")
)

// nextWord splits off the first word, as systemd's parser does for each list value. more is false when no word was left.
// An empty rest after the last word is reported by done of the next call (more false).
func nextWord(s string, separators string, flags wordFlags) (word, rest string, more bool, err error) {
	if flags&everySep == 0 {
		s = strings.TrimLeft(s, separators)
	}
	if s == "" {
		return "", "", false, nil
	}
	w := wordReader{in: s, separators: separators, flags: flags}
	return w.read()
}

// wordReader is the state while one word is read.
type wordReader struct {
	in         string
	at         int
	separators string
	flags      wordFlags
	out        []byte
	quote      byte
}

func (w *wordReader) read() (word, rest string, more bool, err error) {
	// The common word has no quote, no backslash: no copy.
	if i := strings.IndexAny(w.in, w.separators+"\\\"'"); i < 0 {
		return w.in, "", true, nil
	} else if strings.IndexByte(w.separators, w.in[i]) >= 0 && w.flags&everySep == 0 {
		return w.in[:i], strings.TrimLeft(w.in[i:], w.separators), true, nil
	}
	for w.at < len(w.in) {
		c := w.in[w.at]
		switch {
		case c == '\\' && w.flags&keepEscapes == 0:
			if err := w.escape(); err != nil {
				return "", w.in, false, err
			}
			continue
		case w.quote != 0 && c == w.quote:
			w.quote = 0
		case w.quote != 0:
			w.out = append(w.out, c)
		case (c == '\'' || c == '"') && w.flags&unquote != 0:
			w.quote = c
		case strings.IndexByte(w.separators, c) >= 0:
			rest = w.in[w.at:]
			if w.flags&everySep != 0 {
				rest = rest[1:]
				if rest == "" {
					// systemd leaves an empty rest, so a trailing separator gives no empty word.
					return string(w.out), "", true, nil
				}
				return string(w.out), rest, true, nil
			}
			return string(w.out), strings.TrimLeft(rest, w.separators), true, nil
		default:
			w.out = append(w.out, c)
		}
		w.at++
	}
	if w.quote != 0 && w.flags&relaxed == 0 {
		return "", w.in, false, errQuotes
	}
	return string(w.out), "", true, nil
}

// escape resolves what begins with the backslash at w.at.
func (w *wordReader) escape() error {
	w.at++
	if w.at == len(w.in) {
		return w.trailingBackslash()
	}
	c := w.in[w.at]
	if w.flags&(cUnescape|unescapeSep) == 0 {
		w.out = append(w.out, c)
		w.at++
		return nil
	}
	if w.flags&cUnescape != 0 {
		if b, n, ok := unescapeOne(w.in[w.at:], false); ok {
			w.out = append(w.out, b...)
			w.at += n
			return nil
		}
	}
	switch {
	case w.flags&unescapeSep != 0 && (c == '\\' || strings.IndexByte(w.separators, c) >= 0):
		w.out = append(w.out, c)
	case w.flags&keepBad != 0:
		w.out = append(w.out, '\\', c)
	default:
		return errBadEscape
	}
	w.at++
	return nil
}

func (w *wordReader) trailingBackslash() error {
	switch {
	case w.flags&keepBad != 0 && (w.quote == 0 || w.flags&relaxed != 0):
		w.out = append(w.out, '\\')
		w.quote = 0
		return nil
	case w.flags&relaxed != 0:
		w.quote = 0
		return nil
	case w.quote != 0:
		return errQuotes
	}
	return errBadEscape
}

// words splits a whole value; what was read before an error is returned with it.
func words(s string, separators string, flags wordFlags) ([]string, error) {
	var out []string
	for s != "" {
		word, rest, more, err := nextWord(s, separators, flags)
		if err != nil {
			return out, err
		}
		if !more {
			break
		}
		out = append(out, word)
		s = rest
	}
	return out, nil
}

// unescapeOne resolves the C escape that follows a backslash: the bytes it stands for and how many were read.
func unescapeOne(s string, acceptNUL bool) (out []byte, n int, ok bool) {
	if s == "" {
		return nil, 0, false
	}
	if i := strings.IndexByte(`abfnrtv\"'s`, s[0]); i >= 0 {
		return []byte{"\a\b\f\n\r\t\v\\\"' "[i]}, 1, true
	}
	switch c := s[0]; {
	case c == 'x':
		v, ok := digits(s[1:], 2, 16)
		if !ok || (v == 0 && !acceptNUL) {
			return nil, 0, false
		}
		return []byte{byte(v)}, 3, true
	case c == 'u':
		v, ok := digits(s[1:], 4, 16)
		if !ok || (v == 0 && !acceptNUL) {
			return nil, 0, false
		}
		return encodeRune(v), 5, true
	case c == 'U':
		v, ok := digits(s[1:], 8, 16)
		if !ok || (v == 0 && !acceptNUL) || !validRune(v) {
			return nil, 0, false
		}
		return encodeRune(v), 9, true
	case c >= '0' && c <= '7':
		v, ok := digits(s, 3, 8)
		if !ok || (v == 0 && !acceptNUL) || v > 255 {
			return nil, 0, false
		}
		return []byte{byte(v)}, 3, true
	}
	return nil, 0, false
}

// digits reads exactly n digits.
func digits(s string, n int, base uint32) (uint32, bool) {
	if len(s) < n {
		return 0, false
	}
	var v uint32
	for i := range n {
		d := unhex(s[i])
		if d < 0 || uint32(d) >= base {
			return 0, false
		}
		v = v*base + uint32(d)
	}
	return v, true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func validRune(v uint32) bool {
	return v < 0x110000 && (v < 0xD800 || v > 0xDFFF) && (v < 0xFDD0 || v > 0xFDEF) && v&0xFFFE != 0xFFFE
}

// encodeRune writes UTF-8 without a check, as systemd does for \uXXXX.
func encodeRune(v uint32) []byte {
	if v >= 0xD800 && v <= 0xDFFF {
		return []byte{0xE0 | byte(v>>12), 0x80 | byte(v>>6)&0x3F, 0x80 | byte(v)&0x3F}
	}
	return utf8.AppendRune(nil, rune(v))
}

// unescape resolves the C escapes of a whole value; false when one is not known.
func unescape(s string, acceptNUL bool) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			out = append(out, s[i])
			i++
			continue
		}
		b, n, ok := unescapeOne(s[i+1:], acceptNUL)
		if !ok {
			return "", false
		}
		out = append(out, b...)
		i += 1 + n
	}
	return string(out), true
}
