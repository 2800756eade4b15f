package native

import (
	"strings"
	"testing"
)

// sh is a service that runs a script; single quotes must not be in it.
func sh(script string, more ...string) string {
	return "[Service]\nExecStart=/bin/sh -c '" + script + "'\n" + strings.Join(more, "\n") + "\n"
}

func TestStartStop(t *testing.T) {
	r := open(t)
	load(t, r, "a.service", sh("echo hello; printf partial; echo oops >&2; exec sleep 1000"))
	start(t, r, "a.service")
	e := await(t, r, "a.service", "running", sub("running"))
	if e.MainPID == 0 || e.Invocation == "" {
		t.Errorf("no main process: %+v", e)
	}
	awaitLine(t, r, "a.service", "oops")
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
	load(t, r, "x.service", sh("exit 3"))
	start(t, r, "x.service")
	e := await(t, r, "x.service", "failed", sub("failed"))
	if e.Result != "exit-code" || len(e.Exits) != 1 || e.Exits[0].Status != 3 {
		t.Errorf("%+v", e)
	}
	load(t, r, "n.service", "[Service]\nExecStart=/no/such/program\n")
	start(t, r, "n.service")
	e = await(t, r, "n.service", "failed", sub("failed"))
	if len(e.Exits) != 1 || e.Exits[0].Status != 203 || e.Exits[0].Error == nil || e.Exits[0].Error.Code != "exec-not-found" {
		t.Errorf("%+v", e)
	}
}
