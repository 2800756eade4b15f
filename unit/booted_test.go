package unit

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/hosttest"
)

// quoteWord writes any word so that systemd's Exec lines and Environment= read it back.
func quoteWord(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "\n", `\n`).Replace(s)
	return `"` + s + `"`
}

// TestBootedCommand starts services in a booted systemd and compares what their processes were given.
func TestBootedCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a host")
	}
	host := hosttest.Systemd(t, hosttest.Options{})
	host.Write("/run/cases/args", 0o755, []byte("#!/bin/sh\nfor a; do printf '%s\\0' \"$a\"; done\n"))
	var units []string
	for i, c := range expandCases {
		var env strings.Builder
		for _, e := range expandEnv {
			fmt.Fprintf(&env, "Environment=%s\n", quoteWord(e))
		}
		n := fmt.Sprintf("case-args-%d.service", i)
		units = append(units, n)
		host.Write("/run/systemd/system/"+n, 0o644, fmt.Appendf(nil, "[Service]\nType=oneshot\nStandardOutput=truncate:/run/cases/%s\n%sExecStart=/run/cases/args %s\n", n, env.String(), quoteWord(c.in)))
	}
	for i, c := range envFileCases {
		n := fmt.Sprintf("case-env-%d.service", i)
		units = append(units, n)
		host.Write("/run/cases/"+n+".conf", 0o644, []byte(c.text))
		host.Write("/run/systemd/system/"+n, 0o644, fmt.Appendf(nil, "[Service]\nType=oneshot\nStandardOutput=truncate:/run/cases/%s\nEnvironmentFile=/run/cases/%s.conf\nExecStart=/usr/bin/env -0\n", n, n))
	}
	host.Run("systemctl", "daemon-reload")
	host.Run(append([]string{"systemctl", "start"}, units...)...)
	read := func(n string) []string {
		out := host.Run("cat", "/run/cases/"+n)
		return strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	}
	for i, c := range expandCases {
		got := read(units[i])
		if len(got) == 1 && got[0] == "" && len(c.want) == 0 {
			got = nil
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: systemd gives %q, we %q", c.in, got, c.want)
		}
	}
	for i, c := range envFileCases {
		var got []string
		for _, a := range read(units[len(expandCases)+i]) {
			if name, _, _ := strings.Cut(a, "="); len(name) == 1 {
				got = append(got, a)
			}
		}
		want := slices.Clone(c.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: systemd gives %q, we %q", c.text, got, want)
		}
	}
	t.Logf("%d words and %d environment files compared", len(expandCases), len(envFileCases))
}

var seedFlag = flag.Uint64("seed", 0, "draw the units of TestBootedRandom from this seed")

// TestBootedRandom lets systemd and us read unit files put together at random from nasty pieces.
func TestBootedRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a host")
	}
	host := hosttest.Systemd(t, hosttest.Options{})
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-seed draws the same units again)", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	texts := map[string][]byte{}
	var names []string
	for i := range randomUnits {
		n := fmt.Sprintf("random-%d.service", i)
		names = append(names, n)
		for {
			// The file's place and the cgroup are left to the runtime.
			if texts[n] = []byte(randomUnit(r)); !placeSpecifier.Match(texts[n]) {
				break
			}
		}
	}
	answers := ask(t, host, texts, names)
	props, taken := 0, 0
	for _, n := range names {
		u, err := Load(Name(n), texts[n], nil, goldenHost)
		load := answers[n].Load
		if (err == nil) != (load == "loaded") {
			var why []json.RawMessage
			_ = json.Unmarshal(answers[n].Props["LoadError"], &why)
			t.Errorf("systemd says %s %s, we: %v\n%q", load, why, err, texts[n])
			continue
		}
		if err == nil {
			t.Run(n, func(t *testing.T) {
				if props += compareUnit(t, n, u, answers[n]); t.Failed() {
					t.Logf("%q", texts[n])
				}
			})
			taken++
		}
	}
	t.Logf("%d random units, %d of them valid, %d properties compared", len(names), taken, props)
}

var placeSpecifier = regexp.MustCompile("%[yYcrR]")

// randomUnits is how many random texts one run compares.
const randomUnits = 200

func oneOf(r *rand.Rand, s []string) string { return s[r.IntN(len(s))] }

// randomUnit draws a text: mostly sensible keys, values from pieces that are hard to read, odd line ends.
func randomUnit(r *rand.Rand) string {
	var b strings.Builder
	ends := []string{"\n", "\n", "\n", "\n", "\n", "\r\n", "\r", "\n\n", " \n", "\\\n", " \\\n", "\n# c \\\n", "\\\n; c\n"}
	b.WriteString("[Service]" + oneOf(r, []string{"\n", "\r\n", " \n"}))
	for range 1 + r.IntN(8) {
		if r.IntN(15) == 0 {
			b.WriteString(oneOf(r, []string{"[Service]\n", "[Unit]\n", "[X-Foo]\n", "[Install]\n", "# c\n", "junk\n", "=junk\n", "\ufeff"}))
		}
		key := oneOf(r, []string{
			"ExecStart", "ExecStartPre", "ExecStop", "ExecStartPost", "Environment", "Environment", "EnvironmentFile", "PassEnvironment", "UnsetEnvironment",
			"User", "Group", "SupplementaryGroups", "WorkingDirectory", "RuntimeDirectory", "StateDirectory", "SyslogIdentifier", "PIDFile", "Type",
			"Restart", "RestartSec", "TimeoutStopSec", "SuccessExitStatus", "KillSignal", "LimitNOFILE", "UMask", "MemoryMax", "CPUQuota", "TasksMax",
			"Nice", "StandardOutput", "StandardInputText", "SetCredential", "LoadCredential", "RemainAfterExit", "Description", "Documentation", "Delegate", "KillMode",
		})
		b.WriteString(key + oneOf(r, []string{"=", "=", "=", " = ", "\t=\t"}))
		if strings.HasPrefix(key, "Exec") {
			b.WriteString(oneOf(r, []string{"/bin/true", "/bin/echo", "-/bin/a", "@/bin/x", "+/bin/y", "!!/b", ":/c", "bare", "\"/bin/q q\"", "-", "/", "-!@:/x", ""}) + " ")
		}
		for range r.IntN(6) {
			b.WriteString(oneOf(r, randomPieces))
		}
		b.WriteString(oneOf(r, ends))
	}
	if r.IntN(4) > 0 {
		b.WriteString("\n[Service]\nExecStart=\nExecStart=/bin/true\nType=simple\n")
	}
	return b.String()
}

var randomPieces = []string{
	" ", " ", " ", "\t", "a", "b c", "\"", "'", "\\", "\\\\", "\\\"", "\\n", "\\t", "\\s", "\\x41", "\\101", "\\u00e4", "\\q", "\\;", ";", " ; ", " ; /bin/true ", "#", "%", "%%", "%n",
	"%i", "%p", "%j", "%t", "%z", "$A", "${A}", "$$", "=", "A=1", " B=2 ", "C=\"x y\"", ":", "/", "//", "/a/b", "../", ".", "-", "@", "+", "!", "~", "ü", "1", "0", "22", "0x10", "007", "-1", "5s", "1min", "infinity",
	"10%", "1M", "1G", "yes", "no", "on-failure", "always", "oneshot", "TERM", "SIGKILL", "simple", "root", "daemon", "nobody", "man:a(1)", "https://x/y", "1024:2048", "null", "journal", "file:/x",
	"'a b'", "\"a b\"", "\"a\\\"b\"", "\\ ", "{", "}", "[", "]", "*", "\\\n ", "\\\n# c\n", "a\\", "A=\\", "\"\"", "''",
}
