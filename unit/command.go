package unit

import (
	"slices"
	"strings"
)

// setExec reads one Exec…= line: one command, or several parted by a lone ";".
func setExec(field func(s *Service) *[]Command) setter {
	return func(l *loader, v string) bool {
		list := field(l.u.Service)
		if v == "" {
			*list = nil
			return true
		}
		before := len(*list)
		for more := true; more; {
			var c *Command
			c, v, more = l.command(v)
			if c != nil {
				*list = append(*list, *c)
			}
		}
		return len(*list) > before
	}
}

// command reads the first command of v (systemd.service(5), "Command lines"): rest and more are set when a ";" follows.
// No command comes back from an empty one, and from a faulty one: that is a warning when its prefix is "-", else an error.
func (l *loader) command(v string) (c *Command, rest string, more bool) {
	first, v, ok, err := l.execWord(v)
	if err != nil || !ok {
		if err != nil {
			l.ignore("%v", err)
		}
		return nil, "", false
	}
	if first == ";" {
		return nil, v, true
	}
	c = &Command{Line: l.opt.Line}
	first = c.prefixes(first)
	path, fault := l.program(first)
	if fault != "" {
		return l.badCommand(c, fault)
	}
	if !c.Argv0 {
		c.Argv = append(c.Argv, path)
	}
	c.Path = simplifyPath(path)
	for v != "" {
		if isLone(v, ";") {
			rest, more = strings.TrimLeft(v[1:], whitespace), true
			break
		}
		if isLone(v, `\;`) {
			v = strings.TrimLeft(v[2:], whitespace)
			c.Argv = append(c.Argv, ";")
			continue
		}
		var word string
		word, v, ok, err = l.execWord(v)
		if err != nil {
			return l.badCommand(c, err.Error())
		}
		if !ok {
			break
		}
		if word, err = l.expand(word, maxArg); err != nil {
			return l.badCommand(c, err.Error())
		}
		if !validUTF8(word) {
			// Beyond systemd: it would start this, but could never show it, and so nobody could check it (D-Bus).
			l.fail("an escape gives bytes that are not UTF-8")
			return nil, "", false
		}
		c.Argv = append(c.Argv, word)
	}
	if len(c.Argv) == 0 || c.Argv[0] == "" && len(c.Argv) == 0 {
		return l.badCommand(c, "the command has no argv[0]")
	}
	return c, rest, more
}

func (l *loader) badCommand(c *Command, fault string) (*Command, string, bool) {
	if c.IgnoreFailure {
		l.ignore("%s", fault)
	} else {
		l.fail("%s", fault)
	}
	return nil, "", false
}

// isLone tells whether v begins with the token and a space, or ends with it.
func isLone(v, token string) bool {
	rest, ok := strings.CutPrefix(v, token)
	return ok && (rest == "" || strings.IndexByte(whitespace, rest[0]) >= 0)
}

// execWord splits off one word. Escapes that are not known stay as written, with a warning, as in systemd.
func (l *loader) execWord(v string) (word, rest string, ok bool, err error) {
	word, rest, ok, err = nextWord(v, whitespace, unquote|cUnescape)
	if err == nil {
		return word, rest, ok, nil
	}
	if word, rest, ok, retryErr := nextWord(v, whitespace, unquote|cUnescape|keepBad); retryErr == nil {
		l.warn("%s holds an escape sequence that systemd does not know; it is taken as written", short(word))
		return word, rest, ok, nil
	}
	return "", "", false, errQuotes
}

// prefixes takes "-" "@" ":" "+" "!" "!!" off the front, each at most once.
func (c *Command) prefixes(s string) string {
	for ; s != ""; s = s[1:] {
		privileged := c.FullPrivileges || c.Ambient
		switch p := s[0]; {
		case p == '-' && !c.IgnoreFailure:
			c.IgnoreFailure = true
		case p == '@' && !c.Argv0:
			c.Argv0 = true
		case p == ':' && !c.NoExpand:
			c.NoExpand = true
		case p == '+' && !privileged && !c.NoSetuid:
			c.FullPrivileges = true
		case p == '!' && !privileged && !c.NoSetuid:
			c.NoSetuid = true
		case p == '!' && !privileged:
			c.NoSetuid, c.Ambient = false, true
		default:
			return s
		}
	}
	return s
}

// program expands and checks the path of a command.
func (l *loader) program(s string) (path, fault string) {
	path, err := l.expand(s, maxPath-1)
	switch {
	case err != nil:
		return "", err.Error()
	case path == "":
		return "", "the command has no path"
	case !isSafe(path):
		return "", "the path " + short(path) + " holds a quote, a backslash or a control character"
	case strings.HasSuffix(path, "/"):
		return "", "the path " + short(path) + " is a directory"
	case strings.HasPrefix(path, "/") && !validPath(path), !strings.HasPrefix(path, "/") && !validFilename(path):
		return "", short(path) + " is neither an absolute path nor the bare name of a program"
	}
	return path, ""
}

// ExpandCommand gives the argv that is executed: variables of env (KEY=VALUE, the last of a name counts) replaced by
// systemd's rules (systemd.service(5), "Command lines"): ${X} anywhere is replaced and stays one word, $X alone is split
// at spaces with quotes honoured, $$ is a dollar sign, an unset variable is empty. The program's path is never expanded,
// and nothing is with the prefix ":".
func ExpandCommand(c Command, env []string) []string {
	if c.NoExpand {
		return append([]string(nil), c.Argv...)
	}
	out := make([]string, 0, len(c.Argv))
	for _, a := range c.Argv {
		if len(a) > 0 && a[0] == '$' && (len(a) == 1 || a[1] != '{' && a[1] != '$') {
			if v, ok := lookupEnv(env, a[1:]); ok {
				list, _ := words(v, whitespace, unquote|relaxed) // Relaxed: it cannot fail.
				out = append(out, list...)
			}
			continue
		}
		out = append(out, expandBraced(a, env))
	}
	return out
}

// lookupEnv finds the last assignment of a name.
func lookupEnv(env []string, name string) (string, bool) {
	for _, e := range slices.Backward(env) {
		if rest, ok := strings.CutPrefix(e, name); ok && strings.HasPrefix(rest, "=") {
			return rest[1:], true
		}
	}
	return "", false
}

// expandBraced replaces ${X} and $$ inside one word. A name with a colon, and braces that are not closed, stay.
func expandBraced(s string, env []string) string {
	if strings.IndexByte(s, '$') < 0 {
		return s
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		switch s[i+1] {
		case '$':
			b.WriteString(s[:i+1])
			s = s[i+2:]
		case '{':
			end := strings.IndexAny(s[i+2:], "}:")
			if end < 0 {
				b.WriteString(s)
				return b.String()
			}
			end += i + 2
			if s[end] == ':' {
				b.WriteString(s[:end+1])
			} else {
				v, _ := lookupEnv(env, s[i+2:end])
				b.WriteString(s[:i])
				b.WriteString(v)
			}
			s = s[end+1:]
		default:
			b.WriteString(s[:i+2])
			s = s[i+2:]
		}
	}
}
