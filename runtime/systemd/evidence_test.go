package systemd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/unit"
)

const patience = 20 * time.Second

// begin opens a runtime for one test.
func begin(t *testing.T) *Runtime {
	t.Helper()
	needHost(t, "limits")
	t.Cleanup(func() { cleanUp(t) })
	return open(t)
}

func parse(t *testing.T, name, text string) *unit.Unit {
	t.Helper()
	u, err := unit.Load(unit.Name(name), []byte(text), nil, unit.Host{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func load(t *testing.T, rt *Runtime, name, text string) []unit.Warning {
	t.Helper()
	w, err := rt.Load(t.Context(), parse(t, name, text))
	if err != nil {
		t.Fatal(err)
	}
	if err := rt.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func start(t *testing.T, rt *Runtime, name string) {
	t.Helper()
	if err := rt.Start(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, rt *Runtime, name, what string, ok func(cluster.Evidence) bool) cluster.Evidence {
	t.Helper()
	limit := time.After(patience)
	for {
		list, err := rt.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var last cluster.Evidence
		for _, e := range list {
			if e.Name == name {
				if last = e; ok(e) {
					return e
				}
			}
		}
		select {
		case <-rt.Kick():
		case <-limit:
			t.Fatalf("%s is not %s: %+v", name, what, last)
		}
	}
}

func failed(e cluster.Evidence) bool   { return e.Active == "failed" }
func active(e cluster.Evidence) bool   { return e.Active == "active" && e.MainPID > 0 }
func inactive(e cluster.Evidence) bool { return e.Active == "inactive" }

const hog = "[Service]\nMemoryMax=20M\nExecStart=/usr/bin/tail /dev/zero\n"

func TestInHostOOMIsToldFromAKill(t *testing.T) {
	rt := begin(t)
	if w := load(t, rt, "rt-hog.service", hog); len(w) != 0 {
		t.Errorf("a limit that is enforced is warned of: %v", w)
	}
	load(t, rt, "rt-killed.service", "[Service]\nMemoryMax=20M\nExecStart=/bin/sleep inf\n")
	start(t, rt, "rt-hog.service")
	e := await(t, rt, "rt-hog.service", "failed", failed)
	if e.Result != "oom-kill" || e.OOMKills != 1 || len(e.Exits) != 1 || !e.Exits[0].OOM || e.Exits[0].Signal != 9 {
		t.Errorf("OOM: %+v", e)
	}
	if e.MemoryPeak < 19<<20 || e.MemoryPeak > 21<<20 {
		t.Errorf("peak %d of 20M", e.MemoryPeak)
	}
	start(t, rt, "rt-killed.service")
	await(t, rt, "rt-killed.service", "running", active)
	if err := rt.Kill(t.Context(), "rt-killed.service", 9); err != nil {
		t.Fatal(err)
	}
	e = await(t, rt, "rt-killed.service", "failed", failed)
	if e.Result != "signal" || e.OOMKills != 0 || len(e.Exits) != 1 || e.Exits[0].OOM {
		t.Errorf("kill: %+v", e)
	}
	// The kills of an earlier start do not count for the next one.
	load(t, rt, "rt-hog.service", "[Service]\nMemoryMax=20M\nExecStart=/bin/sleep inf\n")
	start(t, rt, "rt-hog.service")
	if e = await(t, rt, "rt-hog.service", "running", active); e.OOMKills != 0 {
		t.Errorf("after a new start: %d kills", e.OOMKills)
	}
}

func TestInHostLimitNotEnforced(t *testing.T) {
	needHost(t, "no limits")
	t.Cleanup(func() { cleanUp(t) })
	rt := open(t)
	w := load(t, rt, "rt-hog.service", "[Service]\nMemoryMax=20M\nTasksMax=7\nCPUQuota=30%\nExecStart=/bin/sleep inf\n")
	var named []string
	for _, x := range w {
		named = append(named, x.Directive)
		if !strings.Contains(x.Message, "is not enforced") {
			t.Errorf("warning %+v", x)
		}
	}
	if got := strings.Join(named, " "); got != "MemoryMax TasksMax CPUQuota" {
		t.Errorf("warned of %q", got)
	}
	start(t, rt, "rt-hog.service")
	await(t, rt, "rt-hog.service", "running", active)
}

func TestInHostExitsWhileNoAgentRan(t *testing.T) {
	rt := begin(t)
	const unfailing = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=20ms\n"
	load(t, rt, "rt-fails.service", unfailing+"ExecStart=/bin/sh -c 'test -e /run/rt-stop && exec sleep inf; exit 5'\n")
	load(t, rt, "rt-ends.service", unfailing+"ExecStart=/bin/sh -c 'test -e /run/rt-stop && exec sleep inf; exit 0'\n")
	load(t, rt, "rt-hog.service", "[Unit]\nStartLimitIntervalSec=0\n"+hog+"Restart=always\nRestartSec=20ms\n")
	if err := rt.Close(); err != nil { // The agent goes…
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove("/run/rt-stop") })
	other := newBus(func(string, string, props) {}, func(string, string) {})
	defer other.close()
	for _, n := range []string{"rt-fails.service", "rt-ends.service", "rt-hog.service"} {
		if err := other.call(t.Context(), "StartUnit", []any{n, "replace"}, new(any)); err != nil {
			t.Fatal(err)
		}
	}
	waitRestarts(t, other, 3, "rt-fails.service", "rt-ends.service", "rt-hog.service")
	if err := os.WriteFile("/run/rt-stop", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rt = open(t) // …and another one comes.
	for name, status := range map[string]int{"rt-fails.service": 5, "rt-ends.service": 0} {
		e := await(t, rt, name, "running at last", active)
		runs := map[string]bool{}
		for _, x := range e.Exits {
			runs[x.Invocation] = true
			if x.Status != status || x.Signal != 0 || x.Success != (status == 0) || x.Asked || x.Path != "/bin/sh" {
				t.Errorf("%s: exit %+v", name, x)
			}
		}
		if len(runs) < 3 || len(runs) != len(e.Exits) {
			t.Errorf("%s: %d exits of %d runs with %d restarts", name, len(e.Exits), len(runs), e.NRestarts)
		}
	}
	e := await(t, rt, "rt-hog.service", "known to have been killed", func(e cluster.Evidence) bool { return len(e.Exits) >= 3 })
	for _, x := range e.Exits[:3] {
		if !x.OOM || x.Signal != 9 {
			t.Errorf("rt-hog: exit %+v", x)
		}
	}
	if e.OOMKills < 3 {
		t.Errorf("rt-hog: %d kills counted", e.OOMKills)
	}
}

// waitRestarts waits for so many restarts of each unit without the runtime's help.
func waitRestarts(t *testing.T, b *bus, n int64, names ...string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for _, name := range names {
		for {
			p, err := b.properties(t.Context(), name, serviceIface)
			if err != nil {
				t.Fatal(err)
			}
			if p.number("NRestarts") >= n {
				break
			}
			select {
			case <-tick.C:
			case <-limit:
				t.Fatalf("%s: %d restarts", name, p.number("NRestarts"))
			}
		}
	}
}

func code(err error) reason.Code {
	if err == nil {
		return ""
	}
	return reason.From(err).Code
}

func TestInHostReadBack(t *testing.T) {
	rt := begin(t)
	const text = "[Service]\nUser=nobody\nNoNewPrivileges=yes\nCapabilityBoundingSet=CAP_CHOWN\nExecStart=/bin/sleep inf\nExecStartPre=-+/bin/true 'a b'\nExecReload=:!/bin/echo $X\n"
	load(t, rt, "rt-a.service", text)
	start(t, rt, "rt-a.service")
	await(t, rt, "rt-a.service", "running", active)
	for name, drop := range map[string]struct {
		dir, text string
		want      reason.Code
		property  string
	}{
		"a drop-in of others":      {"rt-b.service.d", "[Service]\nUser=root\n", reason.PropertyDiffers, "DropInPaths"},
		"more rights for all":      {"service.d", "[Service]\nCapabilityBoundingSet=CAP_SYS_ADMIN\n", reason.PropertyDiffers, "CapabilityBoundingSet"},
		"another user for all":     {"service.d", "[Service]\nUser=daemon\n", reason.PropertyDiffers, "User"},
		"new privileges for all":   {"service.d", "[Service]\nNoNewPrivileges=no\n", reason.PropertyDiffers, "NoNewPrivileges"},
		"one more command for all": {"service.d", "[Service]\nExecStartPre=/bin/false\n", reason.PropertyDiffers, "ExecStartPre"},
		"a group for all":          {"service.d", "[Service]\nSupplementaryGroups=adm\n", reason.PropertyDiffers, "SupplementaryGroups"},
		"policy for all":           {"service.d", "[Service]\nOOMScoreAdjust=5\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("/etc/systemd/system", drop.dir, "10-theirs.conf")
			if _, err := writeFile(path, []byte(drop.text)); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := os.RemoveAll(filepath.Dir(path)); err != nil {
					t.Error(err)
				}
			}()
			load(t, rt, "rt-b.service", text)
			err := rt.Start(t.Context(), "rt-b.service")
			if code(err) != drop.want || err != nil && reason.From(err).Str("property") != drop.property {
				t.Errorf("start: %v, want %s %s", err, drop.want, drop.property)
			}
			if err := rt.Stop(t.Context(), "rt-b.service"); err != nil {
				t.Error(err)
			}
			await(t, rt, "rt-b.service", "down", inactive)
			if err := rt.Unload(t.Context(), "rt-b.service"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInHostForeignFiles(t *testing.T) {
	rt := begin(t)
	const text = "[Service]\nExecStart=/bin/sleep inf\n"
	for _, name := range []string{"redis-server.service", "redis-server@new.service", "redis.service", "-.mount"} {
		unitText := text
		if name == "-.mount" {
			unitText = "[Mount]\nWhat=none\nWhere=/\n"
		}
		if _, err := rt.Load(t.Context(), parse(t, name, unitText)); code(err) != reason.NameTaken {
			t.Errorf("load of %s: %v", name, err)
		}
	}
	// Somebody writes over our file.
	load(t, rt, "rt-a.service", text)
	path := filepath.Join(unitDir, "rt-a.service")
	ours, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(ours, []byte("User=daemon\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rt.Start(t.Context(), "rt-a.service"); code(err) != reason.PropertyDiffers {
		t.Errorf("start of a changed file: %v", err)
	}
	// And one of the same name appears in a folder that goes before ours.
	load(t, rt, "rt-a.service", text)
	theirs := "/etc/systemd/system/rt-a.service"
	if err := os.WriteFile(theirs, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(theirs)
	if err := rt.bus.call(t.Context(), "Reload", nil); err != nil {
		t.Fatal(err)
	}
	if err := rt.Start(t.Context(), "rt-a.service"); code(err) != reason.PropertyDiffers || reason.From(err).Str("have") != theirs {
		t.Errorf("start of a unit of another file: %v", err)
	}
	if _, err := rt.Load(t.Context(), parse(t, "rt-a.service", text)); code(err) != reason.NameTaken {
		t.Errorf("load over a name that was taken meanwhile: %v", err)
	}
}

func TestInHostRefusedStarts(t *testing.T) {
	rt := begin(t)
	const run = "[Service]\nExecStart=/bin/sleep inf\n"
	load(t, rt, "rt-cond.service", "[Unit]\nConditionPathExists=!/etc\n"+run)
	load(t, rt, "rt-missing.service", "[Unit]\nRequires=rt-nowhere.service\nAfter=rt-nowhere.service\n"+run)
	load(t, rt, "rt-bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
	load(t, rt, "rt-needs.service", "[Unit]\nRequires=rt-bad.service\nAfter=rt-bad.service\n"+run)
	load(t, rt, "rt-slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 1\n")
	load(t, rt, "rt-after.service", "[Unit]\nWants=rt-slow.service\nAfter=rt-slow.service\n"+run)
	load(t, rt, "rt-user.service", "[Service]\nUser=rt-nobody\nExecStart=/bin/true\n")

	start(t, rt, "rt-cond.service")
	e := await(t, rt, "rt-cond.service", "refused", func(e cluster.Evidence) bool { return e.Error != nil })
	if e.Error.Code != reason.ConditionFailed || e.Error.Str("condition") != "ConditionPathExists=!/etc" {
		t.Errorf("condition: %v", e.Error)
	}
	err := rt.Start(t.Context(), "rt-missing.service")
	if code(err) != reason.DependencyFailed || reason.From(err).Str("dependency") != "rt-nowhere.service" {
		t.Errorf("missing dependency: %v", err)
	}
	start(t, rt, "rt-needs.service")
	e = await(t, rt, "rt-needs.service", "refused", func(e cluster.Evidence) bool { return e.Error != nil })
	if e.Error.Code != reason.DependencyFailed || e.Error.Str("dependency") != "rt-bad.service" || e.Error.Str("state") != "failed" {
		t.Errorf("failed dependency: %v", e.Error)
	}
	start(t, rt, "rt-after.service")
	e = await(t, rt, "rt-after.service", "waiting", func(e cluster.Evidence) bool { return len(e.WaitingFor) > 0 })
	if strings.Join(e.WaitingFor, " ") != "rt-slow.service" {
		t.Errorf("waits for %v", e.WaitingFor)
	}
	if e = await(t, rt, "rt-after.service", "running", active); len(e.WaitingFor) != 0 {
		t.Errorf("runs and waits for %v", e.WaitingFor)
	}
	start(t, rt, "rt-user.service")
	e = await(t, rt, "rt-user.service", "failed", failed)
	if x := e.Exits[len(e.Exits)-1]; x.Status != 217 || x.Error == nil || x.Error.Code != reason.UserMissing {
		t.Errorf("missing user: %+v", x)
	}
	load(t, rt, "rt-alone.timer", "[Timer]\nOnCalendar=daily\n")
	if err := rt.Start(t.Context(), "rt-alone.timer"); err == nil {
		e = await(t, rt, "rt-alone.timer", "refused", func(e cluster.Evidence) bool { return e.Error != nil })
		if e.Error.Code != reason.DependencyFailed || e.Error.Str("dependency") != "rt-alone.service" {
			t.Errorf("a timer without its unit: %v", e.Error)
		}
	} else if code(err) != reason.DependencyFailed {
		t.Errorf("a timer without its unit: %v", err)
	}
	if err := rt.Unload(t.Context(), "rt-after.service"); err == nil {
		t.Error("a running unit is unloaded")
	}
}

func TestInHostOtherTypes(t *testing.T) {
	rt := begin(t)
	load(t, rt, "rt-echo.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n")
	load(t, rt, "rt-echo.socket", "[Socket]\nListenStream=127.0.0.1:7\nAccept=no\n")
	load(t, rt, "rt-watch.path", "[Path]\nPathExists=/run/rt-path\nUnit=rt-echo.service\n")
	load(t, rt, "rt-all.target", "[Unit]\nWants=rt-echo.socket rt-watch.path\n")
	start(t, rt, "rt-all.target")
	for name, sub := range map[string]string{"rt-all.target": "active", "rt-echo.socket": "listening", "rt-watch.path": "waiting"} {
		e := await(t, rt, name, "active", func(e cluster.Evidence) bool { return e.Active == "active" })
		if e.Sub != sub || e.Result != "success" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// TestInHostPID1Restarts: systemctl daemon-reexec cuts every connection.
func TestInHostPID1Restarts(t *testing.T) {
	rt := begin(t)
	load(t, rt, "rt-a.service", "[Service]\nExecStart=/bin/sleep inf\n")
	start(t, rt, "rt-a.service")
	e := await(t, rt, "rt-a.service", "running", active)
	_ = rt.bus.call(t.Context(), "Reexecute", nil) // It never answers.
	limit := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := rt.List(t.Context()); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("no connection is made anew")
		}
	}
	if err := syscall.Kill(e.MainPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if n := await(t, rt, "rt-a.service", "failed", failed); n.Invocation != e.Invocation || n.Result != "signal" {
		t.Errorf("after: %+v", n)
	}
}

func TestInHostJournalSinceAndBytes(t *testing.T) {
	rt := begin(t)
	load(t, rt, "rt-a.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/printf "+`"a\\377\\033[1mb\\n"`+"\n")
	began := time.Now()
	start(t, rt, "rt-a.service")
	await(t, rt, "rt-a.service", "done", func(e cluster.Evidence) bool { return inactive(e) && len(e.Exits) > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lines, err := rt.Journal(ctx, "rt-a.service", runtime.JournalQuery{Since: began, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	for l := range lines {
		if l.At.Before(began) {
			t.Errorf("a line from before: %+v", l)
		}
		if strings.HasPrefix(l.Text, "a") {
			if l.Text != "a\xff\x1b[1mb" || l.Stream != "stdout" || l.PID == 0 {
				t.Errorf("line %+v", l)
			}
			return
		}
	}
	t.Error("the line did not come")
}
