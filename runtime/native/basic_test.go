package native

import (
	"strings"
	"testing"

	"argosy.dev/argosy/unit"
)

func simple(name, script string) *unit.Unit {
	return &unit.Unit{Name: unit.Name(name), StartLimitBurst: 5, StartLimitInterval: 10e9, Service: &unit.Service{
		Type: unit.TypeSimple, ExecStart: []unit.Command{{Path: "/bin/sh", Argv: []string{"/bin/sh", "-c", script}}},
		Restart: "no", RestartSec: 100e6, TimeoutStart: 90e9, TimeoutStop: 90e9, RuntimeMax: unit.Infinity, KillMode: "control-group", KillSignal: 15, SendSIGKILL: true,
		Exec: unit.Exec{UMask: 0o022, IgnoreSIGPIPE: true},
	}}
}

func TestStartStop(t *testing.T) {
	r := open(t)
	load(t, r, simple("a.service", "echo hello; echo oops >&2; printf partial; exec sleep 1000"))
	start(t, r, "a.service")
	e := await(t, r, "a.service", "running", sub("running"))
	if e.MainPID == 0 || e.Invocation == "" {
		t.Errorf("no main process: %+v", e)
	}
	awaitLine(t, r, "a.service", "hello")
	if err := r.Stop(t.Context(), "a.service"); err != nil {
		t.Fatal(err)
	}
	e = await(t, r, "a.service", "dead", sub("dead"))
	if len(e.Exits) != 1 || e.Exits[0].Signal != 15 || !e.Exits[0].Asked || !e.Exits[0].Success {
		t.Errorf("exits: %+v", e.Exits)
	}
	j := journalOf(t, r, "a.service")
	for _, want := range []string{"stdout: hello\n", "stderr: oops\n", "stdout: partial\n", "argosy: Started.\n"} {
		if !strings.Contains(j, want) {
			t.Errorf("no %q in the journal:\n%s", want, j)
		}
	}
}

func TestExitEvidence(t *testing.T) {
	r := open(t)
	load(t, r, simple("x.service", "exit 3"))
	start(t, r, "x.service")
	e := await(t, r, "x.service", "failed", sub("failed"))
	if e.Result != "exit-code" || len(e.Exits) != 1 || e.Exits[0].Status != 3 {
		t.Errorf("%+v", e)
	}
	u := simple("n.service", "")
	u.Service.ExecStart[0] = unit.Command{Path: "/no/such/program", Argv: []string{"/no/such/program"}}
	load(t, r, u)
	start(t, r, "n.service")
	e = await(t, r, "n.service", "failed", sub("failed"))
	if len(e.Exits) != 1 || e.Exits[0].Status != 203 || e.Exits[0].Error == nil || e.Exits[0].Error.Code != "exec-not-found" {
		t.Errorf("%+v", e)
	}
}
