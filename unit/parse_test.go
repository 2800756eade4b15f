package unit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
)

// load is Load for texts of tests.
func load(t *testing.T, name Name, text string) *Unit {
	t.Helper()
	u, err := Load(name, []byte(text), nil, Host{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return u
}

// refuse wants an error that holds the words, with file and line.
func refuse(t *testing.T, name Name, text string, line int64, words string) {
	t.Helper()
	_, err := Load(name, []byte(text), nil, Host{})
	r, ok := errors.AsType[*reason.Reason](err)
	if !ok || r.Code != reason.UnitInvalid {
		t.Errorf("%q was taken: %v", text, err)
		return
	}
	if !strings.Contains(r.Str("error"), words) || r.Int("line") != line || r.Str("file") != string(name) {
		t.Errorf("%q: %s; want line %d, %q", text, r.Message(), line, words)
	}
}

// TestAttacks are the texts by which another parser reads another user than systemd runs (the systemd side of the same
// texts is in testdata/hostile).
func TestAttacks(t *testing.T) {
	for _, c := range []struct{ what, text, user string }{
		{"two backslashes at the end", "User=nobody\nSyslogIdentifier=x\\\\\nUser=root\n", "root"},
		{"comment that ends in a backslash", "User=nobody\n# comment \\\nUser=root\n", "root"},
		{"repeated", "User=nobody\nUser=daemon\n", "daemon"},
		{"reset", "User=nobody\nUser=\n", ""},
		{"carriage return", "User=nobody\rUser=root\n", "root"},
		{"carriage return in a comment", "User=nobody\n# x\rUser=root\n", "root"},
		{"continued over a comment", "User=\\\n# x\nnobody\n", "nobody"},
		{"long line", "User=nobody\nEnvironment=A=" + strings.Repeat("x", 4096) + "\nUser=daemon\n", "daemon"},
	} {
		u := load(t, "a.service", "[Service]\nExecStart=/bin/true\n"+c.text)
		if u.Service.Exec.User != c.user {
			t.Errorf("%s: runs as %q, systemd as %q", c.what, u.Service.Exec.User, c.user)
		}
		if back := load(t, "a.service", string(u.Render())); back.Service.Exec.User != c.user {
			t.Errorf("%s: rendered, runs as %q", c.what, back.Service.Exec.User)
		}
	}
	u := load(t, "a.service", "[Service]\nExecStart=/bin/true \\\n# c\nUser=nobody\n")
	if got := u.Service.ExecStart[0].Argv; !slices.Equal(got, []string{"/bin/true", "User=nobody"}) || u.Service.Exec.User != "" {
		t.Errorf("comment inside a continuation: %q, user %q", got, u.Service.Exec.User)
	}
}

func TestControlCharactersAreRefused(t *testing.T) {
	for _, c := range []string{"\x00", "\x01", "\x1b", "\x7f", "\v", "\f"} {
		refuse(t, "a.service", "[Service]\nExecStart=/bin/true\nEnvironment=A="+c+"b\n", 3, "control character")
	}
	load(t, "a.service", "[Service]\nExecStart=/bin/true\t-x\n# \x01 in a comment is skipped\n")
	if _, err := FileFromOptions("a.service", []FileOption{{"Service", "Environment", "A=1\nUser=root"}}); err == nil {
		t.Error("an option of fleet's API brought a line of its own")
	}
	if _, err := FileFromOptions("a.service", []FileOption{{"Service]\n[X", "A", "1"}}); err == nil {
		t.Error("an option of fleet's API brought a section of its own")
	}
	f, err := FileFromOptions("a.service", []FileOption{{"Service", "ExecStart", "/bin/a \\\n -b"}, {"Service", "User", "x"}, {"Unit", "After", "b.service"}})
	if err != nil || f.String() != "[Service]\nExecStart=/bin/a   -b\nUser=x\n\n[Unit]\nAfter=b.service\n" {
		t.Errorf("%v\n%s", err, f)
	}
}

func TestParseFileLinesAndWarnings(t *testing.T) {
	f, warnings, err := ParseFile("x.service", []byte("A=1\n[Unit]\n\nDescription=a \\\n b\n; c\nnothing\n=x\nAfter=c\n"))
	if err != nil {
		t.Fatal(err)
	}
	o := f.Sections[0].Options
	if len(o) != 2 || o[0].Line != 4 || o[0].Value != "a   b" || o[1].Line != 9 || o[1].Source != "x.service" {
		t.Errorf("%+v", o)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, fmt.Sprint(w.Line, " ", w.Message))
	}
	want := []string{"1 assignment outside of a section, ignored", `7 no '=', line ignored: "nothing"`, `8 no key before '=', line ignored: "=x"`}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if _, _, err := ParseFile("x", []byte("[A]\nB="+strings.Repeat("x", MaxLine))); err == nil {
		t.Error("a line of a mebibyte was taken")
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		text  string
		line  int64
		words string
	}{
		{"[Service]\nUser=a\n", 1, "no ExecStart="},
		{"[Unit]\nA=1\n\n[Service]\nType=oneshot\nExecStart=/bin/a\nRestart=always\n", 7, "cannot go with Type=oneshot"},
		{"[Service]\nExecStart=/bin/a\nType=dbus\n", 3, "needs a BusName="},
		{"[Service]\nExecStart=/bin/a\nExecStart=/bin/b\n", 3, "more than one command"},
		{"[Service]\nExecStart=a/b\n", 2, "neither an absolute path"},
		{"[Service]\nExecStart=/bin/a \"b\n", 2, "not closed"},
		{"[Service]\nExecStart=/bin/a \\xff\n", 2, "not UTF-8"},
		{"[Service]\nExecStart=/bin/a\nUser=a:b\n", 3, "User=: "},
		{"[Service\nExecStart=/bin/a\n", 1, "no ']'"},
		{"", 0, "empty"},
		{" \n\n", 0, "empty"},
		{"[Service]\nExecStart=/bin/a\nWorkingDirectory=x\n", 3, "not absolute"},
	} {
		refuse(t, "a.service", c.text, c.line, c.words)
	}
	refuse(t, "a.timer", "[Timer]\nPersistent=yes\n", 1, "no OnCalendar=")
	_, err := Load("a.service", []byte("[Service]\nUser=a:b\nGroup=c/d\n"), []Source{{"x.conf", []byte("[X-Argosy]\nPort=0\n")}}, Host{})
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) != 3 || errs[2].Str("file") != "a.service.d/x.conf" || len(errs.Unwrap()) != 3 || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("all faults at once: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	u := load(t, "a.service", "[Service]\nExecStart=/bin/a\nRestrat=always\nRestart=allways\nFoo=1\nX-Mine=1\nPrivateTmp=yes\nCapabilities=x\n[Foo]\nA=1\n[Timer]\nOnBootSec=1\n[X-Mine]\nA=1\n")
	want := []string{
		"3 Service Restrat systemd 252 does not know this directive and ignores it; did you mean Restart=?",
		`4 Service Restart ignored, as systemd does: "allways" is none of no, on-success, on-failure, on-abnormal, on-watchdog, on-abort, always`,
		"5 Service Foo systemd 252 does not know this directive and ignores it",
		"8 Service Capabilities this directive was removed from systemd and does nothing",
		"9 Foo  section [Foo] is not known for a .service: systemd ignores it",
		"11 Timer  section [Timer] is not known for a .service: systemd ignores it",
	}
	var got []string
	for _, w := range u.Warnings {
		got = append(got, fmt.Sprint(w.Line, " ", w.Section, " ", w.Directive, " ", w.Message))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	text := "[Service]\nExecStart=/bin/a\nRestrat=always\nFoo=1\nX-Mine=1\nPrivateTmp=yes\n\n[X-Mine]\nA=1\n"
	if string(u.Render()) != text {
		t.Errorf("canonical:\n%s", u.Render())
	}
}

func TestDropInsAndHash(t *testing.T) {
	main := []byte("[Service]\nExecStart=/bin/a # no comment\nUser=x\n")
	u, err := Load("a.service", main, []Source{{"20.conf", []byte("[Service]\nUser=z\n")}, {"10.conf", []byte("[Service]\nUser=y\n[Unit]\nDescription=d\n")}}, Host{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "[Service]\nExecStart=/bin/a # no comment\nUser=x\nUser=y\n\n[Unit]\nDescription=d\n\n[Service]\nUser=z\n"; string(u.Render()) != want || u.Service.Exec.User != "z" {
		t.Errorf("%s", u.Render())
	}
	a := load(t, "a.service", "# comment\n[Service]\n\nExecStart = /bin/a \\\n  -b\n")
	b := load(t, "a.service", "[Service]\nExecStart=/bin/a    -b")
	if a.Hash() != b.Hash() || a.Hash() == u.Hash() {
		t.Errorf("hashes %s %s %s", a.Hash(), b.Hash(), u.Hash())
	}
}

func TestSpecifiersOfTheMachine(t *testing.T) {
	text := "[Service]\nExecStart=/bin/a %H %l %m %b %v %a %t %S %%H\nEnvironmentFile=/etc/%H.env\n"
	u := load(t, "a.service", text)
	if got := strings.Join(u.Service.ExecStart[0].Argv, " "); got != "/bin/a %H %l %m %b %v %a /run /var/lib %H" {
		t.Errorf("a placed model: %s", got)
	}
	u, err := Load("a.service", []byte(text), nil, Host{Hostname: "m1.example.com", MachineID: "id", BootID: "boot", Kernel: "6.1", Arch: "x86-64", RuntimeDir: "/r"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(u.Service.ExecStart[0].Argv, " "); got != "/bin/a m1.example.com m1 id boot 6.1 x86-64 /r /var/lib %H" {
		t.Errorf("a model that runs: %s", got)
	}
	if u.Service.Exec.EnvironmentFiles[0].Path != "/etc/m1.example.com.env" || !strings.Contains(string(u.Render()), "/etc/%H.env") {
		t.Errorf("%+v\n%s", u.Service.Exec.EnvironmentFiles, u.Render())
	}
}

func TestTemplateIsTakenWhole(t *testing.T) {
	u := load(t, "web@.service", "[Unit]\nBindsTo=%i.device\n[Service]\nUser=%i\nExecStart=/bin/%i --port 80%i %n\nRuntimeDirectory=%I\n[X-Argosy]\nPort=80%i\nHealthCheck=http://:80%i/\n[X-Fleet]\nMachineMetadata=\"n=%i\"\nMachineOf=db@%i.service\n")
	if len(u.Warnings) > 0 || len(u.Argosy.Ports) != 0 || u.Fleet.MachineOf[0] != "db@%i.service" {
		t.Errorf("%v %+v", u.Warnings, u)
	}
	i := load(t, "web@81.service", string(u.Render()))
	if i.Argosy.Ports[0].Number != 8081 || i.Service.Exec.User != "81" || i.Fleet.MachineOf[0] != "db@81.service" || i.Argosy.HealthCheck.Target != "http://127.0.0.1:8081/" || i.BindsTo[0] != "81.device" {
		t.Errorf("%+v %+v", i.Argosy, i.Service)
	}
}

func TestParseSpanAndSize(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"5": 5 * time.Second, "1min 30s": 90 * time.Second, "1.5h": 90 * time.Minute, "infinity": Infinity, "100ms": 100 * time.Millisecond, "0": 0,
		"1d2h": 26 * time.Hour, "5us": 5 * time.Microsecond, "2w": 14 * 24 * time.Hour, "1000y": Infinity,
	} {
		if got, err := ParseSpan(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "x", "-1", "5 parsecs", "1.2.3", "infinity x", "99999999999999999999"} {
		if got, err := ParseSpan(in); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
	for in, want := range map[string]Size{
		"512M": {Set: true, Value: 512 << 20}, "1.5G": {Set: true, Value: 3 << 29}, "100": {Set: true, Value: 100}, "20%": {Set: true, Percent: 2000},
		"12.25%": {Set: true, Percent: 1225}, "infinity": {Set: true, Value: Infinity}, "1G 1M": {Set: true, Value: 1<<30 + 1<<20}, "0": {Set: true},
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "x", "-1", "1X", "1M 1G", "101%", "5GiB", "1_000"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
	if SignalName(15) != "SIGTERM" || SignalName(37) != "SIGRTMIN+3" {
		t.Error(SignalName(37))
	}
}

func TestNotModelled(t *testing.T) {
	u := load(t, "a.service", simple+"PrivateTmp=yes\nUser=x\nPAMName=y\nPrivateTmp=no\nNewThing=1\n[Unit]\nCollectMode=inactive\n[X-Fleet]\nGlobal=yes\n")
	var got []string
	for _, w := range u.NotModelled() {
		got = append(got, fmt.Sprint(w.Line, w.Section, ".", w.Directive))
	}
	if !slices.Equal(got, []string{"3Service.PrivateTmp", "5Service.PAMName", "7Service.NewThing", "9Unit.CollectMode"}) {
		t.Error(got)
	}
	// Each setter of a systemd section is for a directive that systemd knows.
	for section, setters := range map[string]map[string]setter{"Unit": unitSetters, "Service": serviceSetters, "Timer": timerSetters, "Install": installSetters} {
		for k := range setters {
			if !IsDirective(section, k) {
				t.Errorf("systemd has no %s= in [%s]", k, section)
			}
		}
	}
}

// TestHostileSizes: texts as large as the caller lets through, made to be dear. Each is refused or bounded, none hangs.
func TestHostileSizes(t *testing.T) {
	const size = 256 << 10
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for what, text := range map[string]string{
		"dependencies":   "[Unit]\nAfter=" + numbered("a%d.service "),
		"variables":      simple + numbered("Environment=A%d=1\n"),
		"names to pass":  simple + "PassEnvironment=" + numbered("A%d "),
		"credentials":    simple + numbered("LoadCredential=a%d\n"),
		"directories":    simple + "StateDirectory=" + numbered("a%d:b%d "),
		"unknown keys":   simple + numbered("ExecStrat%d=x\n"),
		"fleet keys":     simple + "[X-Fleet]\n" + numbered("Conflict%d=x\n"),
		"conflicts":      simple + "[X-Fleet]\nMachineOf=x.service\nConflicts=" + numbered("*a%d*b*c* "),
		"peers":          simple + "[X-Fleet]\n" + numbered("MachineOf=a%d.service\n"),
		"ports":          simple + "[X-Argosy]\nPort=" + numbered("%d "),
		"sections":       simple + numbered("[X-%d]\n"),
		"junk":           simple + numbered("junk%d\n"),
		"continuations":  simple + numbered("\\\n%d"),
		"backslashes":    simple + "SyslogIdentifier=" + strings.Repeat("\\", size),
		"semicolons":     "[Service]\nType=oneshot\nExecStart=" + strings.Repeat("/a ; ", size/5),
		"conditions":     simple + "[Unit]\n" + strings.Repeat("ConditionUser=a\n", size/16),
		"exit statuses":  simple + "SuccessExitStatus=" + numbered("%d "),
		"open quotes":    simple + "Environment=" + strings.Repeat("\"", size+1),
		"documentations": simple + "[Unit]\nDocumentation=" + numbered("http://a/%d "),
	} {
		began := time.Now()
		u, err := Load("a.service", []byte(text), nil, Host{})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: %v", what, took)
		}
		if u != nil && len(u.Warnings) > MaxWarnings {
			t.Errorf("%s: %d warnings", what, len(u.Warnings))
		}
		if errs, ok := errors.AsType[Errors](err); ok && len(errs) > MaxErrors+10 {
			t.Errorf("%s: %d errors", what, len(errs))
		}
	}
}
