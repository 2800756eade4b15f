package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const sleeper = "[Service]\nExecStart=/bin/sleep infinity\n"

// TestStartTellsTheVerdict starts two units of which one crash-loops.
func TestStartTellsTheVerdict(t *testing.T) {
	script := func(_ context.Context, send func(client.Update)) {
		send(told(answered("web@1.service", cluster.Starting, false, nil)))
		send(told(answered("web@1.service", cluster.Healthy, true, reason.Because(reason.Healthy, nil))))
		bad := answered("web@2.service", cluster.CrashLooping, true, crash())
		bad.Status.LogTail = []string{"Error: Cannot find module './config'"}
		send(told(bad))
	}
	dir := t.TempDir()
	write(t, dir, "web@.service", sleeper)
	c := &call{door: &fakeDoor{script: script}, dir: dir}
	if code := c.run(t, "start", "web@{1..2}"); code != exitFailed {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"✗ web@2 on m1: crash loop", "ended 3 times in 9s", "│ Error: Cannot find module", "→ argosy journal web@2 shows", "1 of 2 healthy after", "argosy why web@2"} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("stdout lacks %q:\n%s", want, c.out.String())
		}
	}
	for _, want := range []string{"web@1 healthy m1", "web@2 ✗ crash-loop m1"} {
		if !strings.Contains(c.err.String(), want) {
			t.Errorf("stderr lacks %q:\n%s", want, c.err.String())
		}
	}
	if strings.Contains(c.out.String()+c.err.String(), "\x1b") {
		t.Error("escape sequences without a terminal")
	}
	names := []string{}
	for _, ch := range c.door.applied {
		names = append(names, ch.Name)
	}
	if strings.Join(names, " ") != "web@.service web@1.service web@2.service" {
		t.Errorf("applied %v", names)
	}
	if tmpl := c.door.applied[0]; tmpl.Desired != "" || tmpl.Start || tmpl.Text == nil {
		t.Errorf("the template is only submitted: %+v", tmpl)
	}
	if one := c.door.applied[1]; one.Desired != cluster.Launched || !one.Start || one.Text != nil {
		t.Errorf("the instance is started: %+v", one)
	}
}

func TestStartAsJSONAndYAML(t *testing.T) {
	script := func(_ context.Context, send func(client.Update)) {
		send(told(answered("web.service", cluster.Healthy, true, reason.Because(reason.Healthy, nil))))
	}
	units := map[string]cluster.Answer{"web.service": answered("web.service", cluster.Stopped, true, nil)}
	var v judge.Verdict
	c := &call{door: &fakeDoor{script: script, units: units}}
	if code := c.run(t, "start", "web", "-o", "json"); code != 0 {
		t.Errorf("exit %d: %s", code, c.err.String())
	}
	if err := json.Unmarshal([]byte(c.out.String()), &v); err != nil || v.Schema != "argosy/deploy/v1" || v.Verdict != "healthy" || v.Wanted != 1 || v.Healthy != 1 {
		t.Errorf("%v: %+v\n%s", err, v, c.out.String())
	}
	c = &call{door: &fakeDoor{script: script, units: units}, env: map[string]string{"ARGOSY_OUTPUT": "yaml"}}
	if code := c.run(t, "start", "web"); code != 0 {
		t.Errorf("exit %d: %s", code, c.err.String())
	}
	var m map[string]any
	if err := yaml.Unmarshal([]byte(c.out.String()), &m); err != nil || m["schema"] != "argosy/deploy/v1" {
		t.Errorf("%v\n%s", err, c.out.String())
	}
	c = &call{door: &fakeDoor{script: script, units: units}}
	c.run(t, "start", "web", "-o", "jsonl")
	lines := strings.Split(strings.TrimSpace(c.out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"state":"healthy"`) || !strings.Contains(lines[1], judge.Schema) {
		t.Errorf("jsonl: %q", lines)
	}
}

// TestYAMLKeepsWhatWouldBeReadOtherwise guards words that YAML takes for something else.
func TestYAMLKeepsWhatWouldBeReadOtherwise(t *testing.T) {
	in := map[string]any{"a": "yes", "b": "1.0", "c": "null", "d": "a: b", "e": "# no", "f": []any{}, "g": "line\nline", "h": "0x10"}
	b, err := toYAML(in)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := yaml.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	for k, v := range in {
		if s, ok := v.(string); ok && out[k] != s {
			t.Errorf("%s: %q became %#v\n%s", k, s, out[k], b)
		}
	}
}

func TestNoRoomAndTimeout(t *testing.T) {
	full := reason.Because(reason.NoRoomMemory, reason.Args{"need": 100 << 20, "have": 12 << 20, "where": "m1", "capacity": 512 << 20, "holders": "web 500M"})
	for _, tc := range []struct {
		name  string
		sends []cluster.Answer
		args  []string
		code  int
		want  string
	}{
		{"no room", []cluster.Answer{answered("a.service", cluster.Unplaced, true, full)}, []string{"start", "a"}, exitNoRoom, "held by web 500M"},
		{"failed before no room", []cluster.Answer{answered("a.service", cluster.Unplaced, true, full), answered("b.service", cluster.Failed, true, crash())}, []string{"start", "a", "b"}, exitFailed, "0 of 2 healthy"},
		{"timeout", []cluster.Answer{answered("a.service", cluster.Starting, false, nil)}, []string{"start", "a", "--timeout", "50ms"}, exitTimeout, "no verdict about the others within 0.1s"},
		{"failed before timeout", []cluster.Answer{answered("a.service", cluster.Failed, true, crash())}, []string{"start", "a", "b", "--timeout", "50ms"}, exitFailed, "argosy why a b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &call{door: &fakeDoor{
				units: map[string]cluster.Answer{"a.service": answered("a.service", cluster.Stopped, true, nil), "b.service": answered("b.service", cluster.Stopped, true, nil)},
				script: func(_ context.Context, send func(client.Update)) {
					for _, a := range tc.sends {
						send(told(a))
					}
				},
			}}
			if code := c.run(t, tc.args...); code != tc.code {
				t.Errorf("exit %d, want %d", code, tc.code)
			}
			if !strings.Contains(c.out.String(), tc.want) {
				t.Errorf("stdout lacks %q:\n%s", tc.want, c.out.String())
			}
		})
	}
}

// TestOldAnswersDoNotCount: what was so before the wish says nothing about it.
func TestOldAnswersDoNotCount(t *testing.T) {
	old := answered("web.service", cluster.Healthy, true, reason.Because(reason.Healthy, nil))
	old.Revision = 6
	c := &call{door: &fakeDoor{
		units:  map[string]cluster.Answer{"web.service": old},
		script: func(_ context.Context, send func(client.Update)) { send(told(old)) },
	}}
	if code := c.run(t, "restart", "web", "--timeout", "50ms"); code != exitTimeout {
		t.Errorf("exit %d", code)
	}
}

// TestAClusterThatIsComingUp: no machine at all is no verdict, the cluster's own is about to be there.
func TestAClusterThatIsComingUp(t *testing.T) {
	c := &call{door: &fakeDoor{
		units: map[string]cluster.Answer{"web.service": answered("web.service", cluster.Stopped, true, nil)},
		script: func(_ context.Context, send func(client.Update)) {
			send(told(answered("web.service", cluster.Unplaced, true, reason.Because(reason.NoMachine, reason.Args{"machines": 0}))))
			send(told(answered("web.service", cluster.Healthy, true, reason.Because(reason.Healthy, nil))))
		},
	}}
	if code := c.run(t, "start", "web"); code != exitOK {
		t.Errorf("exit %d: %s", code, c.out.String())
	}
}

func TestInterruptDetaches(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	c := &call{ctx: ctx, door: &fakeDoor{
		units: map[string]cluster.Answer{"web.service": answered("web.service", cluster.Stopped, true, nil)},
		script: func(_ context.Context, send func(client.Update)) {
			send(told(answered("web.service", cluster.Starting, false, nil)))
			cancel(interrupted{syscall.SIGINT})
		},
	}}
	if code := c.run(t, "start", "web"); code != exitInterrupted {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"detached:", "argosy status web", "argosy stop web"} {
		if !strings.Contains(c.err.String(), want) {
			t.Errorf("stderr lacks %q:\n%s", want, c.err.String())
		}
	}
}

func TestBrokenWatchIsTold(t *testing.T) {
	gone := errors.New("connection reset")
	c := &call{door: &fakeDoor{
		units: map[string]cluster.Answer{"web.service": answered("web.service", cluster.Stopped, true, nil)},
		script: func(_ context.Context, send func(client.Update)) {
			send(client.Update{Err: gone, Retrying: true})
			send(told(answered("web.service", cluster.Healthy, true, nil)))
		},
	}}
	if code := c.run(t, "start", "web"); code != 0 {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(c.err.String(), "the connection broke, trying again") {
		t.Errorf("stderr:\n%s", c.err.String())
	}
	c = &call{door: &fakeDoor{
		units: map[string]cluster.Answer{"web.service": answered("web.service", cluster.Stopped, true, nil)},
		script: func(_ context.Context, send func(client.Update)) {
			send(client.Update{Err: reason.Because(reason.NotAllowed, reason.Args{"what": "watch", "who": "you"})})
		},
	}}
	if code := c.run(t, "start", "web"); code != exitNotAllowed {
		t.Errorf("exit %d: %s", code, c.err.String())
	}
}

// TestResolution finds units in fleet's order.
func TestResolution(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "local.service", sleeper)
	write(t, dir, "local.service.d/10-a.conf", "[Service]\nNice=5\n")
	write(t, dir, "both.service", sleeper)
	write(t, dir, "tmpl@.service", sleeper)
	write(t, dir, "tmpl@.service.d/5-t.conf", "[Service]\nNice=1\n")
	write(t, dir, "own@.service", sleeper)
	write(t, dir, "own@1.service", sleeper)
	write(t, dir, "units/far.service", sleeper)
	write(t, dir, "broken.service", "[Service]\nExecStart=/bin/true\nType=nonsense\nWhat\n[Service\n")
	units := map[string]cluster.Answer{
		"known.service": answered("known.service", cluster.Stopped, true, nil), "both.service": answered("both.service", cluster.Stopped, true, nil),
		"far@.service": {Unit: "far@.service", Template: true}, "web@1.service": answered("web@1.service", cluster.Healthy, true, nil), "web@2.service": answered("web@2.service", cluster.Healthy, true, nil),
		"web@.service": {Unit: "web@.service", Template: true}, "broken2.service": answered("broken2.service", cluster.Healthy, true, nil),
	}
	write(t, dir, "broken2.service", "[X-Fleet]\nGlobal=true\nMachineID=a\n")
	for _, tc := range []struct {
		args string
		want string // name, + for a text, d for a drop-in, ! for replace.
		code int
	}{
		{args: "known", want: "known.service"},
		{args: "both", want: "both.service+"},
		{args: "--replace both", want: "both.service+!"},
		{args: "local", want: "local.service+d"},
		{args: "units/far.service", want: "far.service+"},
		{args: "tmpl@1", want: "tmpl@.service+d tmpl@1.service"},
		{args: "tmpl@{1..3}", want: "tmpl@.service+d tmpl@1.service tmpl@2.service tmpl@3.service"},
		{args: "own@1", want: "own@1.service+"},
		{args: "far@7", want: "far@7.service"},
		{args: "web@*", want: "web@1.service web@2.service"},
		{args: "units/*.service", want: "far.service+"},
		{args: "broken2", want: "broken2.service"},
		{args: "nowhere", code: exitNoUnitToAct},
		{args: "nowhere@3", code: exitNoUnitToAct},
		{args: "none*", code: exitNoUnitToAct},
		{args: "broken", code: exitInvalid},
		{args: "nowhere broken", code: exitInvalid},
		{args: "web@{1..2000}", code: exitUsage},
		{args: "../../etc/pass\x07wd", code: exitUsage},
	} {
		t.Run(tc.args, func(t *testing.T) {
			c := &call{dir: dir, door: &fakeDoor{units: units}}
			code := c.run(t, append([]string{"start", "-d"}, strings.Fields(tc.args)...)...)
			if code != tc.code {
				t.Errorf("exit %d, want %d: %s", code, tc.code, c.err.String())
			}
			var got []string
			for _, ch := range c.door.applied {
				s := ch.Name
				if ch.Text != nil {
					s += "+"
				}
				s += strings.Repeat("d", len(ch.DropIns))
				if ch.Replace {
					s += "!"
				}
				got = append(got, s)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("applied %q, want %q", strings.Join(got, " "), tc.want)
			}
		})
	}
}

func TestAllFaultsOfAFileAreNamed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "bad.service", "[X-Fleet]\nMachineID=abc\nGlobal=true\nMachineOf=x.service\n")
	c := &call{dir: dir}
	if code := c.run(t, "start", "bad.service"); code != exitInvalid {
		t.Errorf("exit %d", code)
	}
	if n := strings.Count(c.err.String(), "error: bad.service"); n < 2 {
		t.Errorf("%d faults named:\n%s", n, c.err.String())
	}
	if len(c.door.applied) > 0 {
		t.Error("something was changed")
	}
	c = &call{dir: dir}
	c.run(t, "submit", "bad.service", "-o", "json")
	var f failure
	if err := json.Unmarshal([]byte(c.out.String()), &f); err != nil || f.Exit != exitInvalid || len(f.Errors) < 2 {
		t.Errorf("%v: %+v", err, f)
	}
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"stratt web", exitUsage, `did you mean "start"?`},
		{"list-unit", exitUsage, `did you mean "list-units"?`},
		{"machines", exitUsage, `did you mean "machine"?`},
		{"list-machine", exitUsage, `did you mean "list-machines"?`},
		{"start --tiemout 3s web", exitUsage, "did you mean --timeout?"},
		{"start", exitUsage, "start needs a unit or a file"},
		{"start web --timeout abc", exitUsage, "invalid argument"},
		{"list-units --fields unti", exitUsage, "did you mean unit?"},
		{"list-units --state launched", exitUsage, "states are healthy"},
		{"status -o xml", exitUsage, "not an output format"},
		{"kill web -s WOBBLE", exitUsage, "not a signal"},
		{"completion tcsh", exitUsage, "not a shell"},
		{"help nonsense", exitUsage, "unknown verb"},
		{"up --capacity memory=lots", exitUsage, "is not an amount"},
		{"up --capacity gpu=1", exitUsage, "is not a resource"},
		{"up --metadata zone", exitUsage, "is not key=value"},
		{"up --runtime docker", exitUsage, "is not a runtime"},
		{"up --log-level loud", exitUsage, "is not a log level"},
		{"journal web --since yesterday", exitUsage, "is not a time"},
		{"start a b --expect-revision 3 -d", exitUsage, "is about one unit"},
		{"stop nothing", exitNoUnitToAct, "there is no unit nothing.service"},
		{"status nothing", exitNoUnit, "there is no unit nothing.service"},
		{"cat nothing", exitNoUnit, "argosy list-unit-files"},
		{"why nothing", exitNoUnit, ""},
		{"is-active nothing", exitNotActive, ""},
		{"is-failed nothing", exitFailed, ""},
	} {
		c := &call{door: &fakeDoor{units: map[string]cluster.Answer{"a.service": answered("a.service", cluster.Healthy, true, nil), "b.service": answered("b.service", cluster.Healthy, true, nil), "web.service": answered("web.service", cluster.Healthy, true, nil)}}}
		if code := c.run(t, strings.Fields(tc.args)...); code != tc.code {
			t.Errorf("%s: exit %d, want %d", tc.args, code, tc.code)
		}
		if !strings.Contains(c.err.String(), tc.want) {
			t.Errorf("%s: stderr lacks %q:\n%s", tc.args, tc.want, c.err.String())
		}
		for line := range strings.Lines(c.err.String()) {
			if strings.HasPrefix(line, "error: ") && strings.HasSuffix(strings.TrimSpace(line), ".") {
				t.Errorf("%s: a full stop: %s", tc.args, line)
			}
		}
	}
}

func TestErrorsOfTheClusterBecomeCodes(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
	}{
		{reason.Because(reason.NotReachable, reason.Args{"address": "x", "error": "refused"}), exitUnreachable},
		{reason.Because(reason.StoreUnavailable, reason.Args{"error": "x"}), exitUnreachable},
		{reason.Because(reason.NotAllowed, reason.Args{"what": "x", "who": "you"}), exitNotAllowed},
		{reason.Because(reason.Stale, reason.Args{"unit": "x", "expected": 1, "found": 2}), exitGuard},
		{unit.Errors{reason.Because(reason.UnitInvalid, reason.Args{"file": "x", "line": 3, "error": "no"})}, exitInvalid},
		{&client.Error{Problem: wire.Problem{Code: reason.UnitInvalid, Args: reason.Args{"file": "x", "line": 3, "error": "no"}}}, exitInvalid},
		{errors.New("boom"), exitFailed},
	} {
		c := &call{door: &fakeDoor{down: tc.err, units: map[string]cluster.Answer{}}}
		if code := c.run(t, "list-units"); code != tc.code {
			t.Errorf("%v: exit %d, want %d", tc.err, code, tc.code)
		}
	}
}

func TestActiveWordsAreHonest(t *testing.T) {
	oneshot := answered("x", cluster.FinishedOK, true, nil)
	for _, tc := range []struct {
		a    cluster.Answer
		want string
	}{
		{answered("x", cluster.Healthy, true, nil), "active"},
		{answered("x", cluster.CrashLooping, true, crash()), "failed"},
		{answered("x", cluster.BackingOff, false, nil), "activating"},
		{answered("x", cluster.Unplaced, true, nil), "failed"},
		{answered("x", cluster.Stopped, true, nil), "inactive"},
		{answered("x", cluster.Lost, false, nil), "unknown"},
		{oneshot, "active"},
		{cluster.Answer{State: cluster.FinishedOK}, "inactive"},
		{answered("x", cluster.Draining, false, nil), "deactivating"},
	} {
		if got := activeWord(tc.a); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.a.State, got, tc.want)
		}
	}
}

// TestEveryStateHasAWord: a state that is added must be thought of.
func TestEveryStateHasAWord(t *testing.T) {
	seen := map[string]bool{}
	for _, st := range cluster.States() {
		seen[activeWord(cluster.Answer{State: st})] = true
	}
	for _, w := range []string{"active", "activating", "deactivating", "failed", "inactive", "unknown"} {
		if !seen[w] {
			t.Errorf("no state is %s", w)
		}
	}
}

func TestGitHub(t *testing.T) {
	summary := filepath.Join(t.TempDir(), "summary.md")
	c := &call{
		env: map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": summary},
		door: &fakeDoor{
			units: map[string]cluster.Answer{"web.service": answered("web.service", cluster.Stopped, true, nil)},
			script: func(_ context.Context, send func(client.Update)) {
				send(told(answered("web.service", cluster.Failed, true, crash())))
			},
		},
	}
	c.run(t, "start", "web")
	if !strings.Contains(c.err.String(), "::error title=web crash-loop on m1::ended 3 times") {
		t.Errorf("stderr:\n%s", c.err.String())
	}
	b, err := os.ReadFile(summary)
	if err != nil || !strings.Contains(string(b), "| web | m1 | failed | `crash-loop`") {
		t.Errorf("%v: %s", err, b)
	}
}

// TestTerminal: progress is redrawn in place, fits the terminal, and takes nothing from units but letters.
func TestTerminal(t *testing.T) {
	bad := answered("web.service", cluster.Failed, true, crash())
	bad.Status.LogTail = []string{"\x1b[2Jgotcha\x07", strings.Repeat("long ", 60)}
	c := &call{tty: true, env: map[string]string{"LANG": "C.UTF-8"}, door: &fakeDoor{
		units:  map[string]cluster.Answer{"web.service": answered("web.service", cluster.Stopped, true, nil)},
		script: func(_ context.Context, send func(client.Update)) { send(told(bad)) },
	}}
	if code := c.run(t, "start", "web"); code != exitFailed {
		t.Errorf("exit %d", code)
	}
	if strings.Contains(c.out.String(), "\x1b[2J") || strings.Contains(c.out.String(), "\x07") {
		t.Errorf("control characters of a log reached the terminal: %q", c.out.String())
	}
	if !strings.Contains(c.err.String(), "\x1b[2K") || !strings.Contains(c.out.String(), "\x1b[31m") {
		t.Errorf("not drawn for a terminal:\n%q\n%q", c.err.String(), c.out.String())
	}
	c = &call{tty: true, env: map[string]string{"LANG": "C", "NO_COLOR": "1"}, door: c.door}
	c.run(t, "start", "web")
	for _, r := range c.out.String() {
		if r > 0x7e || r == 0x1b {
			t.Errorf("%q in a terminal without UTF-8 and colours", r)
		}
	}
}

func TestParseSince(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want time.Time
	}{
		{"10min", testNow.Add(-10 * time.Minute)},
		{"2h ago", testNow.Add(-2 * time.Hour)},
		{"14:02", time.Date(2026, 11, 22, 14, 2, 0, 0, time.UTC)},
		{"2026-11-21 10:00:01", time.Date(2026, 11, 21, 10, 0, 1, 0, time.UTC)},
	} {
		got, err := parseSince(tc.in, testNow)
		if err != nil || !got.Equal(tc.want) {
			t.Errorf("%s: %v %v", tc.in, got, err)
		}
	}
}

func TestCapacity(t *testing.T) {
	r, err := parseCapacity("memory=512M,cpu=1.5,disk=10G")
	if err != nil || r.Memory != 512<<20 || r.CPU != 1500 || r.Disk != 10<<30 {
		t.Errorf("%+v %v", r, err)
	}
	for _, bad := range []string{"memory=infinity", "memory=50%", "cpu=-1", "cpu=x", "memory", "memory=1,memory=2"} {
		if _, err := parseCapacity(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
