package unit

import (
	"fmt"
	"strings"
)

// MaxEnvFile bounds what ParseEnvFile reads.
const MaxEnvFile = 1 << 20

// envState is where in a line of an environment file the reader stands.
type envState int

const (
	envPreKey envState = iota
	envKey
	envPreValue
	envValue
	envValueEscape
	envSingle
	envDouble
	envDoubleEscape
	envComment
	envCommentEscape
)

// envReader reads one environment file character by character, as systemd 252 does.
type envReader struct {
	state            envState
	line             int
	key, value       []byte
	keyEnd, valueEnd int // Where trailing space begins; -1: there is none.
	out              []string
	err              error
}

// ParseEnvFile reads the text of an EnvironmentFile= by systemd's rules (systemd.exec(5)): KEY=VALUE lines, # and ;
// comments, quotes that may span lines, a backslash before a line end continues. What is not a valid variable is left
// out; text that is not UTF-8 is an error. A later line replaces an earlier one of the same name.
func ParseEnvFile(text []byte) ([]string, error) {
	if len(text) > MaxEnvFile {
		return nil, fmt.Errorf("environment file of %d bytes is larger than %d", len(text), MaxEnvFile)
	}
	r := &envReader{line: 1, keyEnd: -1, valueEnd: -1}
	for _, c := range text {
		if c == 0 {
			return nil, fmt.Errorf("line %d: a NUL byte", r.line)
		}
		if r.step(c); r.err != nil {
			return nil, r.err
		}
	}
	switch r.state {
	case envPreValue, envValue, envValueEscape, envSingle, envDouble, envDoubleEscape:
		if r.state != envValue {
			r.valueEnd = -1
		}
		r.push()
	case envPreKey, envKey, envComment, envCommentEscape: // A key without "=" is nothing.
	}
	return r.out, r.err
}

func isNewline(c byte) bool { return c == '\n' || c == '\r' }

func isSpace(c byte) bool { return strings.IndexByte(whitespace, c) >= 0 }

func (r *envReader) step(c byte) {
	switch r.state {
	case envPreKey:
		if c == '#' || c == ';' {
			r.state = envComment
		} else if !isSpace(c) {
			r.state, r.keyEnd = envKey, -1
			r.key = append(r.key, c)
		}
	case envKey:
		r.inKey(c)
	case envPreValue, envValue, envValueEscape:
		r.inValue(c)
	case envSingle:
		if c == '\'' {
			r.state = envPreValue
		} else {
			r.value = append(r.value, c)
		}
	case envDouble:
		switch c {
		case '"':
			r.state = envPreValue
		case '\\':
			r.state = envDoubleEscape
		default:
			r.value = append(r.value, c)
		}
	case envDoubleEscape:
		r.state = envDouble
		if strings.IndexByte("\"\\`$", c) >= 0 {
			r.value = append(r.value, c)
		} else if c != '\n' {
			r.value = append(r.value, '\\', c)
		}
	case envComment:
		if c == '\\' {
			r.state = envCommentEscape
		} else if isNewline(c) {
			r.state = envPreKey
			r.line++
		}
	case envCommentEscape:
		r.state = envComment
	}
}

func (r *envReader) inKey(c byte) {
	switch {
	case isNewline(c):
		r.state, r.key = envPreKey, r.key[:0]
		r.line++
	case c == '=':
		r.state, r.valueEnd = envPreValue, -1
	default:
		if !isSpace(c) {
			r.keyEnd = -1
		} else if r.keyEnd < 0 {
			r.keyEnd = len(r.key)
		}
		r.key = append(r.key, c)
	}
}

func (r *envReader) inValue(c byte) {
	switch {
	case r.state == envValueEscape:
		r.state = envValue
		if !isNewline(c) { // An escaped line end is eaten.
			r.value = append(r.value, c)
		}
	case isNewline(c):
		if r.state == envPreValue {
			r.valueEnd = -1
		}
		r.line++
		r.push()
		r.state = envPreKey
	case c == '\\':
		r.state, r.valueEnd = envValueEscape, -1
	case r.state == envPreValue && c == '\'':
		r.state = envSingle
	case r.state == envPreValue && c == '"':
		r.state = envDouble
	case r.state == envPreValue && isSpace(c):
	default:
		r.state = envValue
		if !isSpace(c) {
			r.valueEnd = -1
		} else if r.valueEnd < 0 {
			r.valueEnd = len(r.value)
		}
		r.value = append(r.value, c)
	}
}

// push takes one finished assignment.
func (r *envReader) push() {
	key, value := string(r.key), string(r.value)
	if r.keyEnd >= 0 {
		key = key[:r.keyEnd]
	}
	if r.valueEnd >= 0 {
		value = value[:r.valueEnd]
	}
	r.key, r.value, r.valueEnd = r.key[:0], r.value[:0], -1
	if !validUTF8(key) || !validUTF8(value) {
		r.err = fmt.Errorf("line %d: the text is not UTF-8", r.line)
		return
	}
	if s := key + "=" + value; envName(key) && envAssignment(s) {
		if r.out = replaceEnv(r.out, s); len(r.out) > MaxList {
			r.err = fmt.Errorf("line %d: more than %d variables", r.line, MaxList)
		}
	}
}
