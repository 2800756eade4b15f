package unit

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"argosy.dev/argosy/reason"
)

func TestParseName(t *testing.T) {
	for _, s := range []string{
		"web.service", "web@.service", "web@1.service", "a-b_c:d.e@f@g.timer", `dev-sda\x2d1.device`, "-.mount", "x.y.service",
		strings.Repeat("a", 247) + ".service", "A.target", "1.slice",
	} {
		n, err := ParseName(s)
		if err != nil || string(n) != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", ".", ".service", "web", "web.", "web.conf", "web.Service", "@.service", "@1.service", "a/b.service", "../x.service", "/etc/x.service",
		"a b.service", "a\nb.service", "a\x00.service", "ä.service", "web%i.service", "web.service ", strings.Repeat("a", 248) + ".service",
		"..service", "a+b.service", "a~.service", "wеb.service", "web.service/..", `a"b.service`, "web.snapshot", "web.busname", ".hidden.service",
	} {
		_, err := ParseName(s)
		r, ok := errors.AsType[*reason.Reason](err)
		if !ok || r.Code != reason.NameInvalid {
			t.Errorf("%q was taken: %v", s, err)
			continue
		}
		if m := r.Message(); strings.ContainsAny(m, "\n\x00") || len(m) > 300 {
			t.Errorf("%q: the refusal is not fit for a terminal: %q", s, m)
		}
	}
}

func TestNameParts(t *testing.T) {
	for _, c := range []struct {
		name                             Name
		base, prefix, instance, template string
		isTemplate, isInstance           bool
	}{
		{"web.service", "web", "web", "", "", false, false},
		{"web@.service", "web@", "web", "", "web@.service", true, false},
		{"web@1.service", "web@1", "web", "1", "web@.service", false, true},
		{"web@a@b.c.timer", "web@a@b.c", "web", "a@b.c", "web@.timer", false, true},
	} {
		n := c.name
		if n.Base() != c.base || n.Prefix() != c.prefix || n.Instance() != c.instance || n.IsTemplate() != c.isTemplate || n.IsInstance() != c.isInstance {
			t.Errorf("%s: %q %q %q %v %v", n, n.Base(), n.Prefix(), n.Instance(), n.IsTemplate(), n.IsInstance())
		}
		if c.template != "" && string(n.Template()) != c.template {
			t.Errorf("%s: template %s", n, n.Template())
		}
	}
	if n := Name("web@.service").WithInstance("7"); n != "web@7.service" {
		t.Error(n)
	}
}

func TestMangle(t *testing.T) {
	for in, want := range map[string]Name{
		"web": "web.service", "web@1": "web@1.service", "web.timer": "web.timer", "./units/web.service": "web.service",
		"/etc/x/web@": "web@.service", "my.app": "my.app.service", "a.b.socket": "a.b.socket",
	} {
		if got, err := Mangle(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "/", "a/", "..", ".", "a b", "web@{1..3}"} {
		if got, err := Mangle(in); err == nil {
			t.Errorf("%q became %s", in, got)
		}
	}
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"web@*", "web@1.service", true},
		{"web@*.service", "web@1.service", true},
		{"web@*.service", "web@1.timer", false},
		{"web@?", "web@1.service", true},
		{"web@?", "web@12.service", false},
		{"w*", "web@1.timer", true},
		{"web@[1-3]", "web@2.service", true},
		{"web@[", "web@1.service", false},
		{"*", "a.service", true},
		{"web.service", "web.service", true},
		{"web", "web.service", true},
	} {
		if got := MatchGlob(c.pattern, c.name); got != c.want {
			t.Errorf("%s against %s: %v", c.pattern, c.name, got)
		}
	}
	if !IsGlob("web@*") || IsGlob("web@1.service") || IsGlob("web@{1..3}") {
		t.Error("IsGlob")
	}
}

func TestExpandBraces(t *testing.T) {
	for in, want := range map[string]string{
		"web": "web", "web@{1..3}": "web@1 web@2 web@3", "web@{3..1}": "web@3 web@2 web@1", "{a,b}.service": "a.service b.service",
		"web@{01..03}": "web@01 web@02 web@03", "x{8..10}": "x8 x9 x10", "x{08..10}": "x08 x09 x10", "x{1..9..4}": "x1 x5 x9",
		"{a,b{1,2},c}": "a b1 b2 c", "{a,b}{1..2}": "a1 a2 b1 b2", "{a..d}": "a b c d", "{a,}": "a ", "{,a}x": "x ax",
		"{a}": "{a}", "{}": "{}", "a{b": "a{b", "a}b": "a}b", "{a{1..2}": "{a1 {a2", "{1..x}": "{1..x}", "{-1..1}": "-1 0 1", "{1..1}": "1",
		"{{a,b},c}": "a b c", "{x{1..2}}": "{x1} {x2}", "{3..1..2}": "3 1", "web@{a..c}.timer": "web@a.timer web@b.timer web@c.timer",
	} {
		got, err := ExpandBraces(in, 100)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
}

// TestExpandBracesLikeBash asks the shell that people know.
func TestExpandBracesLikeBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	for _, in := range []string{
		"web@{1..10}", "{a,b}{c,d{1..3}}", "a{01..10..3}b", "{5..1}", "{a,b", "{a,{b}}", "x{,1,22}y{0..2}", "{-3..3..2}", "{{1..2},{a..c}}", "{1..3}{",
		"{a,b}}", "{{a,b}", "{a..e..2}", "{001..3}",
	} {
		out, err := exec.CommandContext(t.Context(), bash, "-c", "printf '%s\\n' "+in).Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if got, err := ExpandBraces(in, 1000); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q (%v), bash has %q", in, got, err, want)
		}
	}
}

func TestExpandBracesIsBounded(t *testing.T) {
	for _, in := range []string{
		"web@{1..101}", "{1..10}{1..11}", "{1..2000000000}", strings.Repeat("{a,b}", 40), "{-2000000000..2000000000}",
		strings.Repeat("{", 5000), "{" + strings.Repeat("a,", 101) + "b}", "{{1..60},{1..60}}",
	} {
		_, err := ExpandBraces(in, 100)
		if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.TooLarge {
			t.Errorf("%.30s: %v", in, err)
		}
	}
	if got, err := ExpandBraces("web@{1..100}", 100); err != nil || len(got) != 100 {
		t.Errorf("%d, %v", len(got), err)
	}
	if _, err := ExpandBraces(strings.Repeat("{a,", 30)+"b"+strings.Repeat("}", 30), 100); err == nil {
		t.Error("thirty braces deep was taken")
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"a/b": "a-b", "a-b": `a\x2db`, ".hidden": `\x2ehidden`, "ä": `\xc3\xa4`, "a b": `a\x20b`, "": "", `a\b`: `a\x5cb`, "a:b_c.d": "a:b_c.d", "@": `\x40`,
	} {
		got := Escape(in)
		back, err := Unescape(got)
		if got != want || err != nil || back != in {
			t.Errorf("%q: %q, back %q (%v)", in, got, back, err)
		}
	}
	for in, want := range map[string]string{"/": "-", "/var//lib/x/": "var-lib-x", "/a-b/./c": `a\x2db-c`, "": "-"} {
		if got, err := EscapePath(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := EscapePath("/a/../b"); err == nil {
		t.Error(".. was taken")
	}
	for _, in := range []string{`a\`, `a\x`, `a\x4`, `a\y41`, `\xzz`} {
		if got, err := Unescape(in); err == nil {
			t.Errorf("%q became %q", in, got)
		}
	}
	if p, err := UnescapePath(`var-a\x2db`); err != nil || p != "/var/a-b" {
		t.Error(p, err)
	}
	for _, in := range []string{"", "-a", "a-", "a--b", "a-..-b"} {
		if p, err := UnescapePath(in); err == nil {
			t.Errorf("%q became %q", in, p)
		}
	}
}

// TestEscapeLikeSystemd asks systemd-escape where it is installed.
func TestEscapeLikeSystemd(t *testing.T) {
	tool, err := exec.LookPath("systemd-escape")
	if err != nil {
		t.Skip("no systemd-escape")
	}
	for _, in := range []string{"a/b", "a-b c", "/x//y", "ü~", ".a.b", `\x2d`, "foo@bar:baz_1", "a\tb", "%i"} {
		out, err := exec.CommandContext(t.Context(), tool, "--", in).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.TrimSuffix(string(out), "\n"); Escape(in) != want {
			t.Errorf("%q: %q, systemd-escape has %q", in, Escape(in), want)
		}
	}
}
