package systemd

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/unit"
)

func TestUnsetNumbersAreNoAmounts(t *testing.T) {
	p := props{"a": dbus.MakeVariant(uint64(math.MaxUint64)), "b": dbus.MakeVariant(uint32(math.MaxUint32)), "c": dbus.MakeVariant(uint64(7)), "d": dbus.MakeVariant("7")}
	for key, want := range map[string]int64{"a": 0, "b": 0, "c": 7, "d": 0, "none": 0} {
		if got := p.number(key); got != want {
			t.Errorf("%s: %d, want %d", key, got, want)
		}
	}
	if !p.time("a").IsZero() || p.time("c") != time.UnixMicro(7) {
		t.Errorf("times: %v %v", p.time("a"), p.time("c"))
	}
}

func TestJournalFieldsInEveryForm(t *testing.T) {
	for in, want := range map[string]string{
		`{"MESSAGE":"text"}`: "text", `{"MESSAGE":null}`: "", `{"MESSAGE":[97,255,10]}`: "a\xff\n",
		`{"MESSAGE":["one","two"]}`: "two", `{"MESSAGE":["one",[255]]}`: "\xff", `{}`: "", `{"MESSAGE":[]}`: "",
	} {
		var e entry
		if err := json.Unmarshal([]byte(in), &e); err != nil || string(e.Message) != want {
			t.Errorf("%s: %q, %v", in, e.Message, err)
		}
	}
	var e entry
	if err := json.Unmarshal([]byte(`{"MESSAGE":[1,300]}`), &e); err == nil {
		t.Error("300 is no byte")
	}
}

func TestUnitPathsGoBothWays(t *testing.T) {
	for _, name := range []string{"a.service", "web@1.service", "-.mount", `dev-disk-by\x2duuid.mount`, "9.timer", "a_b:c.path", "_.slice"} {
		if got, ok := unitOfPath(unitPath(name)); !ok || got != name {
			t.Errorf("%s: %s -> %s", name, unitPath(name), got)
		}
	}
	if _, ok := unitOfPath("/org/freedesktop/systemd1/job/7"); ok {
		t.Error("a job is taken for a unit")
	}
}

func TestCapabilityRules(t *testing.T) {
	names := func(s ...string) (set uint64) {
		for _, n := range s {
			set |= 1 << slices.Index(capabilities, n)
		}
		return set
	}
	const full = math.MaxUint64
	for text, want := range map[string]uint64{
		"":                       full,
		"CapabilityBoundingSet=": 0,
		"CapabilityBoundingSet=CAP_CHOWN cap_bpf":                                   names("cap_chown", "cap_bpf"),
		"CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=CAP_KILL":           names("cap_chown", "cap_kill"),
		"CapabilityBoundingSet=~CAP_SYS_ADMIN":                                      full &^ names("cap_sys_admin"),
		"CapabilityBoundingSet=CAP_CHOWN CAP_KILL\nCapabilityBoundingSet=~CAP_KILL": names("cap_chown"),
		"CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=":                   0,
	} {
		u, err := unit.Load("a.service", []byte("[Service]\nExecStart=/bin/true\n"+text+"\n"), nil, unit.Host{})
		if err != nil {
			t.Fatal(err)
		}
		if got, known := capabilitySet(u.File, "CapabilityBoundingSet", full); !known || got != want {
			t.Errorf("%q: %x, want %x", text, got, want)
		}
	}
}

func message(id, name, run string, at time.Time, more ...string) entry {
	m := map[string]any{"MESSAGE_ID": id, "UNIT": name, "INVOCATION_ID": run, "__REALTIME_TIMESTAMP": json.Number(jsonMicro(at)).String()}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	var e entry
	if err := json.Unmarshal(raw, &e); err != nil {
		panic(err)
	}
	return e
}

func jsonMicro(at time.Time) string {
	raw, err := json.Marshal(at.UnixMicro())
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestHistoryMergesItsSources(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	exit := func(run string, after time.Duration) entry {
		return message(msgProcessExit, "a.service", run, at.Add(after), "EXIT_CODE", "killed", "EXIT_STATUS", "9", "COMMAND", "ExecStart")
	}
	exact := cluster.Exit{At: at.Add(995 * time.Millisecond), Directive: "ExecStart", Path: "/bin/a", Signal: 9, Uptime: 900 * time.Millisecond, Invocation: "one"}
	orders := map[string][]func(h *history){
		"journal first":    {func(h *history) { h.take(exit("one", time.Second)) }, func(h *history) { h.addExit(exact) }},
		"properties first": {func(h *history) { h.addExit(exact) }, func(h *history) { h.take(exit("one", time.Second)) }},
		"kill known late":  {func(h *history) { h.addExit(exact) }, func(h *history) { h.take(message(msgOOM, "a.service", "one", at.Add(time.Second))) }},
	}
	for name, steps := range orders {
		h := &history{}
		h.take(message(msgStarted, "a.service", "one", at))
		for _, s := range steps {
			s(h)
		}
		if len(h.exits) != 1 || h.exits[0].Path != "/bin/a" || h.exits[0].Uptime != 900*time.Millisecond || h.exits[0].Signal != 9 || h.exits[0].OOM != (name == "kill known late") {
			t.Errorf("%s: %+v", name, h.exits)
		}
	}
	h := &history{}
	for i := range 3 * cluster.MaxExits {
		h.take(exit(strings.Repeat("x", i+1), time.Duration(i)*time.Second))
	}
	if len(h.exits) != cluster.MaxExits || len(h.runs) != maxRuns || h.exits[len(h.exits)-1].Invocation != strings.Repeat("x", 3*cluster.MaxExits) {
		t.Errorf("not bounded to the newest: %d exits, %d runs", len(h.exits), len(h.runs))
	}
}

func TestAskedIsOnlyWhatCameAfterTheStop(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, stopFirst := range []bool{true, false} {
		h := &history{}
		stop := func() { h.take(message(msgStopping, "a.service", "one", at.Add(10*time.Second))) }
		if stopFirst {
			stop()
		}
		h.addExit(cluster.Exit{At: at.Add(5 * time.Second), Directive: "ExecReload", Invocation: "one", Status: 1})
		h.addExit(cluster.Exit{At: at.Add(11 * time.Second), Directive: "ExecStart", Invocation: "one", Signal: 15})
		if !stopFirst {
			stop()
		}
		if h.exits[0].Asked || !h.exits[1].Asked {
			t.Errorf("stop first %v: %+v", stopFirst, h.exits)
		}
	}
}

func TestStartLimitIsSeen(t *testing.T) {
	at := time.Now()
	h := &history{}
	h.take(message(msgRestart, "a.service", "one", at))
	h.take(message(msgJobFailed, "a.service", "one", at, "JOB_RESULT", "failed"))
	if !h.runs[0].refused {
		t.Error("a restart that was refused is the start limit")
	}
	h = &history{}
	h.take(message(msgJobFailed, "a.service", "one", at, "JOB_RESULT", "failed"))
	if h.runs[0].refused {
		t.Error("a first start that failed is no start limit")
	}
}

func TestFilesOfOthersAreFound(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"theirs.service", "web@.service"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("[Service]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/null", filepath.Join(dir, "masked.service")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[unit.Name]string{"theirs.service": "theirs.service", "web@1.service": "web@.service", "masked.service": "masked.service", "free.service": ""} {
		if want != "" {
			want = filepath.Join(dir, want)
		}
		if got := takenBy(name, []string{"/nonexistent", dir}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestMemoryKillsAreCountedOnce: the journal and the hook tell of kills that the running unit's cgroup counts, too.
func TestMemoryKillsAreCountedOnce(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	u := &loaded{name: "no-such-unit-of-argosy.service"}
	u.evidence.Active, u.evidence.Invocation = "active", "two"
	for _, run := range []string{"one", "two"} {
		u.history.take(message(msgStarted, u.name, run, at))
		u.history.take(message(msgOOM, u.name, run, at.Add(time.Second)))
	}
	r := &Runtime{}
	for live, want := range map[int]int{0: 2, 1: 2, 3: 4} { // The cgroup's count, with one of it noted.
		u.evidence.kills = live
		if e := r.compose(u); e.OOMKills != want {
			t.Errorf("with %d kills in the cgroup: %d, want %d", live, e.OOMKills, want)
		}
	}
}
