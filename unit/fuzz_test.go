package unit

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse: no panic, and what is taken survives rendering.
func FuzzParse(f *testing.F) {
	for _, dir := range corpora() {
		c := readCorpus(f, filepath.Join("testdata", dir))
		names := make([]string, 0, len(c.units))
		for n := range c.units {
			names = append(names, n)
		}
		slices.Sort(names)
		for i, n := range names {
			if dir == "debian" && i%10 != 0 {
				continue
			}
			text, _ := c.text(f, n)
			f.Add(strings.HasSuffix(n, ".timer"), text)
		}
	}
	f.Add(false, []byte(simple+"[X-Fleet]\nMachineMetadata=\"a=b\" \"c=d\"\n[Argosy]\nPort=80 53/udp\nHealthCheck=http://:80/\n"))
	f.Fuzz(func(t *testing.T, timer bool, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		name := Name("fuzz@a-b.service")
		if timer {
			name = "fuzz.timer"
		}
		for _, host := range []Host{{}, goldenHost} {
			u, err := Load(name, text, nil, host)
			if err != nil {
				continue
			}
			if r := u.Render(); !utf8.Valid(r) || bytes.ContainsAny(r, "\x00\r") {
				t.Fatalf("rendered %q", r)
			}
			checkRoundTrip(t, u, host)
			_ = u.Demand()
			_ = FleetHash(u.File)
		}
		_, _ = Load("fuzz@.service", text, nil, Host{})
	})
}

// FuzzName: what is taken is safe as a file's name, and escaping comes back.
func FuzzName(f *testing.F) {
	for _, s := range []string{"web.service", "web@1.timer", "../a.service", "a/b", "-.mount", `a\x2db.service`, "web@{1..3}", "ä", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseName(s); err == nil {
			if len(n) > MaxName || strings.ContainsAny(string(n), "/\x00\n ") || filepath.Base(string(n)) != string(n) || n[0] == '.' {
				t.Fatalf("took %q", s)
			}
			if n.IsInstance() && n.Template().WithInstance(n.Instance()) != n {
				t.Fatalf("%q: template %q, instance %q", n, n.Template(), n.Instance())
			}
		}
		if n, err := Mangle(s); err == nil && strings.Contains(string(n), "/") {
			t.Fatalf("mangled %q to %q", s, n)
		}
		back, err := Unescape(Escape(s))
		if err != nil || back != s {
			t.Fatalf("%q escaped is %q, back %q (%v)", s, Escape(s), back, err)
		}
		if p, err := EscapePath(s); err == nil && p != "-" {
			if q, err := UnescapePath(p); err != nil || q != "/"+strings.Trim(simplifyPath(s), "/") {
				t.Fatalf("path %q escaped is %q, back %q (%v)", s, p, q, err)
			}
		}
		_, _ = UnescapePath(s)
		_ = MatchGlob(s, "web@1.service")
		_, _ = ParseSpan(s)
		_, _ = ParseSize(s)
		_, _ = ParseSignal(s)
	})
}

// FuzzExpandBraces: bounded, and without braces nothing changes.
func FuzzExpandBraces(f *testing.F) {
	for _, s := range []string{"web@{1..10}", "{a,b{c,d}}", "{01..3}{", "{a..z}", "{{{1..3}}}", "{1..9..0}", "{,}{,}"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(1, most%1000)
		out, err := ExpandBraces(s, most)
		if err == nil && (len(out) == 0 || len(out) > most) {
			t.Fatalf("%q: %d results of at most %d", s, len(out), most)
		}
		if err == nil && !strings.Contains(s, "{") && out[0] != s {
			t.Fatalf("%q became %q", s, out)
		}
	})
}

// FuzzEnvFile: no panic, only valid assignments, each name once.
func FuzzEnvFile(f *testing.F) {
	for _, c := range envFileCases {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := ParseEnvFile(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, a := range out {
			name, _, _ := strings.Cut(a, "=")
			if !envAssignment(a) || strings.ContainsRune(a, 0) || seen[name] {
				t.Fatalf("%q gives %q", text, out)
			}
			seen[name] = true
		}
	})
}

// FuzzExpandCommand: no panic; without a dollar nothing changes; an expansion is not expanded again.
func FuzzExpandCommand(f *testing.F) {
	for _, c := range expandCases {
		f.Add(c.in, "A="+c.in)
	}
	f.Fuzz(func(t *testing.T, word, env string) {
		out := ExpandCommand(Command{Argv: []string{"/bin/x", word}}, []string{env, "X=$X"})
		if !strings.Contains(word, "$") && (len(out) != 2 || out[1] != word) {
			t.Fatalf("%q became %q", word, out)
		}
		if got := ExpandCommand(Command{Argv: []string{"${X}"}}, []string{env, "X=$X"}); got[0] != "$X" {
			t.Fatalf("expanded twice: %q", got)
		}
	})
}
