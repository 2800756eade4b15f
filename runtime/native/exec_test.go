package native

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// oneshot runs a oneshot to its end and gives what it wrote to stdout and its evidence.
func oneshot(t *testing.T, r *Runtime, name, text string) (string, cluster.Evidence) {
	t.Helper()
	load(t, r, name, text)
	start(t, r, name)
	e := await(t, r, name, "its end", sub("dead", "failed"))
	var out []string
	for line := range strings.Lines(journalOf(t, r, name)) {
		if s, ok := strings.CutPrefix(line, "stdout: "); ok {
			out = append(out, strings.TrimSpace(s))
		}
	}
	return strings.Join(out, "\n"), e
}

func script(body string, more ...string) string {
	return sh(body, append([]string{"Type=oneshot"}, more...)...)
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestEnvironment(t *testing.T) {
	r := open(t)
	f := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(f, []byte("# comment\nFROM_FILE=\"a b\"\nBOTH=file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := oneshot(t, r, "env.service", script("echo $$FROM_FILE/$$BOTH/$$GONE/$$ARGOSY_UNIT; echo $$INVOCATION_ID | wc -c; echo $$PATH; echo ${FROM_FILE}",
		"Environment=BOTH=unit GONE=1", "EnvironmentFile="+f, "EnvironmentFile=-/no/such/file", "UnsetEnvironment=GONE"))
	want := "a b/file//env.service\n33\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\na b"
	if out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestConfigMissing(t *testing.T) {
	r := open(t)
	_, e := oneshot(t, r, "c.service", script("true", "EnvironmentFile=/no/such/env"))
	if e.Result != "resources" || e.Error == nil || e.Error.Code != reason.ConfigMissing || e.Error.Str("path") != "/no/such/env" {
		t.Errorf("%+v", e)
	}
}

// TestSetupFailures is the table of systemd.exec(5) "Process Exit Codes" as far as units meet it, each with its reason.
func TestSetupFailures(t *testing.T) {
	asRoot(t)
	r := open(t)
	dir := t.TempDir()
	noExec, badInterp, noHeader := filepath.Join(dir, "noexec"), filepath.Join(dir, "interp"), filepath.Join(dir, "header")
	for p, c := range map[string]struct {
		text string
		mode os.FileMode
	}{noExec: {"#!/bin/sh\n", 0o644}, badInterp: {"#!/no/such/shell -x\n", 0o755}, noHeader: {"\x00\x01junk", 0o755}} {
		if err := os.WriteFile(p, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		text   string
		status int
		code   reason.Code
		says   string
	}{
		{"ExecStart=/no/such/program", 203, reason.ExecNotFound, "/no/such/program not found"},
		{"ExecStart=no-such-program-by-name", 203, reason.ExecNotFound, "no-such-program-by-name"},
		{"ExecStart=" + badInterp, 203, reason.ExecNotFound, "/no/such/shell"},
		{"ExecStart=" + noExec, 203, reason.Permission, noExec},
		{"ExecStart=" + noHeader, 203, reason.SetupFailed, "exec format error"},
		{"ExecStart=/bin/true\nUser=no-such-user", 217, reason.UserMissing, "no-such-user"},
		{"ExecStart=/bin/true\nGroup=no-such-group", 216, reason.GroupMissing, "no-such-group"},
		{"ExecStart=/bin/true\nSupplementaryGroups=no-such-group", 216, reason.GroupMissing, "no-such-group"},
		{"ExecStart=/bin/true\nWorkingDirectory=/no/such/dir", 200, reason.DirectoryMissing, "/no/such/dir"},
		{"ExecStart=/bin/true\nLoadCredential=key:/no/such/key", 243, reason.SecretMissing, "key"},
		{"ExecStart=/bin/true\nStandardOutput=append:/no/such/dir/log", 209, reason.SetupFailed, "/no/such/dir/log"},
	} {
		name := "f" + strconv.Itoa(i) + ".service"
		_, e := oneshot(t, r, name, "[Service]\n"+c.text+"\n")
		if e.Sub != "failed" || e.Result != "exit-code" || len(e.Exits) != 1 {
			t.Errorf("%s: %+v", c.text, e)
			continue
		}
		x := e.Exits[0]
		if x.Status != c.status || x.Error == nil || x.Error.Code != c.code || !strings.Contains(x.Error.Message(), c.says) {
			t.Errorf("%s: status %d, error %v; want %d %s with %q", c.text, x.Status, x.Error, c.status, c.code, c.says)
		}
	}
}

func TestUserAndDirectories(t *testing.T) {
	asRoot(t)
	r := open(t)
	out, e := oneshot(t, r, "user.service", script("id -u; id -g; id -G; echo $$USER $$HOME $$LOGNAME; echo ok > /dev/stdout; stat -c %%U:%%a $$RUNTIME_DIRECTORY $$STATE_DIRECTORY; umask; pwd",
		"User=daemon", "Group=adm", "SupplementaryGroups=sys", "RuntimeDirectory=argosy-t", "StateDirectory=argosy-t/x", "StateDirectoryMode=0750", "UMask=0077", "WorkingDirectory=/usr"))
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Join(r.opt.Bases.State, "argosy-t")) })
	want := "1\n4\n4 3\ndaemon /usr/sbin daemon\nok\ndaemon:755\ndaemon:750\n0077\n/usr"
	if out != want {
		t.Errorf("got %q, want %q; %+v", out, want, e)
	}
	if _, err := os.Stat(filepath.Join(r.opt.Bases.Runtime, "argosy-t")); !os.IsNotExist(err) {
		t.Errorf("the runtime directory stays after the run: %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.opt.Bases.State, "argosy-t/x")); err != nil {
		t.Errorf("the state directory is gone: %v", err)
	}
}

func TestDynamicUserIsNotRoot(t *testing.T) {
	asRoot(t)
	r := open(t)
	out, _ := oneshot(t, r, "dyn.service", script("id -u", "DynamicUser=yes"))
	if n, err := strconv.Atoi(out); err != nil || n < 61184 || n > 65519 {
		t.Errorf("uid %q; journal:\n%s", out, journalOf(t, r, "dyn.service"))
	}
}

func TestCredentials(t *testing.T) {
	r := open(t)
	f := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(f, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	more := []string{"LoadCredential=a:" + f, "SetCredential=b:told", "LoadCredential=c:/no/such", "SetCredential=c:fallback"}
	if os.Geteuid() == 0 {
		more = append(more, "User=daemon")
	}
	out, e := oneshot(t, r, "cred.service", script("cat $$CREDENTIALS_DIRECTORY/a; echo; cat $$CREDENTIALS_DIRECTORY/b; echo; cat $$CREDENTIALS_DIRECTORY/c; echo; stat -c %%a $$CREDENTIALS_DIRECTORY $$CREDENTIALS_DIRECTORY/a", more...))
	if out != "hush\ntold\nfallback\n700\n400" {
		t.Errorf("got %q, %+v", out, e)
	}
	if _, err := os.Stat(filepath.Join(r.opt.RunDir, "credentials", "cred.service")); !os.IsNotExist(err) {
		t.Errorf("credentials stay after the run: %v", err)
	}
}

func TestProcessSettings(t *testing.T) {
	asRoot(t)
	r := open(t)
	out, e := oneshot(t, r, "p.service", script("ulimit -n; ulimit -Hn; nice; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status; cat; ps -o sid= -p $$$$ | tr -d \" \" | grep -cx $$$$",
		"LimitNOFILE=100:200", "Nice=5", "OOMScoreAdjust=123", "NoNewPrivileges=yes", "StandardInput=data", "StandardInputText=typed"))
	if want := "100\n200\n5\n123\nNoNewPrivs:\t1\ntyped\n1"; out != want {
		t.Errorf("got %q, want %q; %+v", out, want, e)
	}
}

func TestStandardOutputFiles(t *testing.T) {
	r := open(t)
	dir := t.TempDir()
	p := filepath.Join(dir, "out")
	for range 2 {
		oneshot(t, r, "append.service", script("echo out; echo err >&2", "StandardOutput=append:"+p, "StandardError=inherit"))
	}
	if raw, err := os.ReadFile(p); err != nil || string(raw) != "out\nerr\nout\nerr\n" {
		t.Errorf("append: %q, %v", raw, err)
	}
	oneshot(t, r, "trunc.service", script("echo new", "StandardOutput=truncate:"+p))
	if raw, err := os.ReadFile(p); err != nil || string(raw) != "new\n" {
		t.Errorf("truncate: %q, %v", raw, err)
	}
	out, _ := oneshot(t, r, "null.service", script("echo lost", "StandardOutput=null"))
	if out != "" {
		t.Errorf("null: %q", out)
	}
}

func TestOneshotSequenceAndStopEnv(t *testing.T) {
	r := open(t)
	out, e := oneshot(t, r, "seq.service", "[Service]\nType=oneshot\nExecStartPre=/bin/echo pre\nExecStartPre=-/bin/false\nExecStart=/bin/echo one\nExecStart=/bin/sh -c 'exit 4'\nExecStart=/bin/echo never\nExecStartPost=/bin/echo nor\n"+
		"ExecStop=/bin/echo not-stopped\nExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS'\n")
	if out != "pre\none\nexit-code exited 4" || e.Result != "exit-code" {
		t.Errorf("got %q, %+v", out, e)
	}
}

func TestExecCondition(t *testing.T) {
	r := open(t)
	_, e := oneshot(t, r, "skip.service", script("echo ran", "ExecCondition=/bin/sh -c \"exit 2\""))
	if e.Sub != "dead" || e.Result != "exec-condition" || e.Error == nil || e.Error.Code != reason.ConditionFailed {
		t.Errorf("skipped: %+v", e)
	}
	_, e = oneshot(t, r, "cfail.service", script("echo ran", "ExecCondition=/bin/sh -c \"exit 255\""))
	if e.Sub != "failed" || e.Result != "exit-code" {
		t.Errorf("failed: %+v", e)
	}
}

func TestConditions(t *testing.T) {
	r := open(t)
	load(t, r, "cond.service", "[Unit]\nConditionPathExists=/no/such/path\n"+script("true"))
	start(t, r, "cond.service")
	e := await(t, r, "cond.service", "the condition", func(e cluster.Evidence) bool { return e.Error != nil })
	if e.Sub != "dead" || e.Error.Code != reason.ConditionFailed || e.Error.Str("condition") != "ConditionPathExists=/no/such/path" {
		t.Errorf("%+v", e)
	}
	out, _ := oneshot(t, r, "cond2.service", "[Unit]\nConditionPathExists=|/no/such/path\nConditionPathExists=|!/no/such/path\nConditionDirectoryNotEmpty=/etc\n"+script("echo yes"))
	if out != "yes" {
		t.Errorf("triggering and negated conditions: %q", out)
	}
}

func TestWarnings(t *testing.T) {
	r := open(t)
	w := load(t, r, "w.service", "[Unit]\nUpholds=x.service\nConditionFirstBoot=yes\n"+sh("true", "PrivateTmp=yes", "ProtectSystem=full", "RootDirectory=/srv", "CapabilityBoundingSet=CAP_CHOWN", "StandardOutput=tty", "Restart=no"))
	var got []string
	for _, x := range w {
		got = append(got, x.Directive)
		if x.Line == 0 || x.Message == "" {
			t.Errorf("a warning without a line: %+v", x)
		}
	}
	if s := strings.Join(got, " "); s != "Upholds ConditionFirstBoot PrivateTmp ProtectSystem RootDirectory CapabilityBoundingSet StandardOutput" {
		t.Errorf("warned of %q", s)
	}
}
