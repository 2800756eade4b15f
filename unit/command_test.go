package unit

import (
	"slices"
	"strings"
	"testing"
)

// expandCases are argv words and what systemd makes of them with expandEnv; TestBootedCommand asks systemd itself.
var expandEnv = []string{"A=one", "B=two words", "C=", "Q='x y' \"z\" a\\ b", "D=$A ${A}", "A=first"}

var expandCases = []struct {
	in   string
	want []string
}{
	{"$A", []string{"first"}},
	{"${A}", []string{"first"}},
	{"$B", []string{"two", "words"}},
	{"${B}", []string{"two words"}},
	{"$C", nil},
	{"${C}", []string{""}},
	{"$UNSET", nil},
	{"${UNSET}", []string{""}},
	{"a${A}b", []string{"afirstb"}},
	{"a$A", []string{"a$A"}},
	{"$$A", []string{"$A"}},
	{"$${A}", []string{"${A}"}},
	{"a$$b", []string{"a$b"}},
	{"$", nil},
	{"a$", []string{"a$"}},
	{"${A", []string{"${A"}},
	{"$Q", []string{"x y", "z", "a b"}},
	{"${Q}", []string{"'x y' \"z\" a\\ b"}},
	{"$D", []string{"$A", "${A}"}},
	{"${A:-x}", []string{"${A:-x}"}},
	{"${A}${B}", []string{"firsttwo words"}},
	{"$A$B", nil},
	{"$A-x", nil},
	{"x${A:+${B}}y", []string{"x${A:+two words}y"}},
	{"plain", []string{"plain"}},
	{"${}", []string{""}},
	{"$ {A}", nil},
}

func TestExpandCommand(t *testing.T) {
	for _, c := range expandCases {
		got := ExpandCommand(Command{Argv: []string{"/bin/x", c.in}}, expandEnv)
		if !slices.Equal(got[1:], c.want) {
			t.Errorf("%s: %q, want %q", c.in, got[1:], c.want)
		}
	}
	if got := ExpandCommand(Command{Argv: []string{"x", "$A", "${A}"}, NoExpand: true}, expandEnv); !slices.Equal(got, []string{"x", "$A", "${A}"}) {
		t.Errorf("with the prefix ':': %q", got)
	}
}

// envFileCases are texts of environment files; TestBootedCommand asks systemd what it makes of them.
var envFileCases = []struct {
	text string
	want []string
}{
	{"A=1\nB=2\n", []string{"A=1", "B=2"}},
	{"# c\n; d\n\n  A = 1 2  \nB\nC=\n", []string{"A=1 2", "C="}},
	{"A=\"x y\"\nB='x \"y\"'\nC=\"a\"'b'c\nD=\"a\\\"b\\$c\\`d\\\\e\\f\"\n", []string{"A=x y", `B=x "y"`, "C=abc", "D=a\"b$c`d\\e\\f"}},
	{"A=\"two\nlines\"\nB='two\nlines'\n", []string{"A=two\nlines", "B=two\nlines"}},
	{"A=a\\\nb\nB=\"a\\\nb\"\nC=a\\ b\\c\n", []string{"A=ab", "B=ab", "C=a bc"}},
	{"# comment \\\nA=1\nB=2\n", []string{"B=2"}},
	{"A=1\rB=2\r\nC=3\r\n", []string{"A=1", "B=2", "C=3"}},
	{"A=1\nA=2\nB=$A\n", []string{"A=2", "B=$A"}},
	{"export A=1\n1A=2\nA.B=3\nB=4\n", []string{"B=4"}},
	{"A=1 # no comment\nB=a#b\n", []string{"A=1 # no comment", "B=a#b"}},
	{"A=x 'y' z\nB= \"a\" b\nC=\"a\" \"b\"\nD=a\"b c\"\n", []string{"A=x 'y' z", "B=ab", "C=ab", "D=a\"b c\""}},
	{"A=unfinished \"q\nB='open", []string{`A=unfinished "q`, "B=open"}},
	{"A=end  \\", []string{"A=end  "}},
	{"A=1", []string{"A=1"}},
	{"A", nil},
	{"A=ü\n", []string{"A=ü"}},
	{"=x\n A=\t1\t\nB\tC=1\n", []string{"A=1"}},
}

func TestParseEnvFile(t *testing.T) {
	for _, c := range envFileCases {
		got, err := ParseEnvFile([]byte(c.text))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q (%v), want %q", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"A=\xff\n", "A=1\x00\n", strings.Repeat("x", MaxEnvFile+1)} {
		if got, err := ParseEnvFile([]byte(text)); err == nil {
			t.Errorf("%.20q: %q", text, got)
		}
	}
}
