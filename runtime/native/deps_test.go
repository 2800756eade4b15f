package native

import (
	"strings"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

func TestRequiresPullsInAndOrders(t *testing.T) {
	r := open(t)
	load(t, r, "db.service", sh("exec sleep 1000", "ExecStartPre=/bin/sleep 0.2"))
	w := load(t, r, "lone.service", "[Unit]\nRequires=docker.service\nAfter=docker.service\n"+sh("exec sleep 1000"))
	if len(w) != 1 || w[0].Directive != "Requires" || !strings.Contains(w[0].Message, "docker.service") {
		t.Errorf("a unit that is not here: %+v", w)
	}
	start(t, r, "lone.service")
	await(t, r, "lone.service", "running", sub("running"))
	load(t, r, "web.service", "[Unit]\nRequires=db.service\nAfter=db.service network.target docker.service\nWants=etcd2.service\n"+sh("exec sleep 1000"))
	start(t, r, "web.service")
	e := await(t, r, "web.service", "waiting for db", func(e cluster.Evidence) bool { return len(e.WaitingFor) > 0 })
	if strings.Join(e.WaitingFor, " ") != "db.service" {
		t.Errorf("waits for %v", e.WaitingFor)
	}
	web := await(t, r, "web.service", "running", sub("running"))
	db := await(t, r, "db.service", "running", sub("running"))
	if web.ActiveSince.Before(db.ActiveSince) || len(web.WaitingFor) != 0 {
		t.Errorf("web since %s, db since %s", web.ActiveSince, db.ActiveSince)
	}
	stop(t, r, "db.service") // Takes web with it, web first.
	db = await(t, r, "db.service", "dead", sub("dead"))
	web = await(t, r, "web.service", "dead", sub("dead"))
	if db.InactiveSince.Before(web.InactiveSince) {
		t.Errorf("db went down %s, web %s", db.InactiveSince, web.InactiveSince)
	}
}

func TestDependencyFailed(t *testing.T) {
	r := open(t)
	load(t, r, "a.service", sh("exit 9", "Type=oneshot"))
	load(t, r, "b.service", "[Unit]\nRequires=a.service\nAfter=a.service\n"+sh("exec sleep 1000"))
	load(t, r, "w.service", "[Unit]\nWants=a.service\nAfter=a.service\n"+sh("exec sleep 1000"))
	load(t, r, "q.service", "[Unit]\nRequisite=a.service\n"+sh("exec sleep 1000"))
	start(t, r, "b.service")
	e := await(t, r, "b.service", "the failed dependency", func(e cluster.Evidence) bool { return e.Error != nil })
	if e.Error.Code != reason.DependencyFailed || e.Error.Str("dependency") != "a.service" || e.Sub != "dead" {
		t.Errorf("%+v", e)
	}
	start(t, r, "w.service")
	await(t, r, "w.service", "running", sub("running"))
	start(t, r, "q.service")
	e = await(t, r, "q.service", "the missing requisite", func(e cluster.Evidence) bool { return e.Error != nil })
	if e.Error.Str("kind") != "Requisite" {
		t.Errorf("%+v", e.Error)
	}
}

func TestBindsToPartOfConflicts(t *testing.T) {
	r := open(t)
	load(t, r, "main.service", sh("exec sleep 1000"))
	load(t, r, "bound.service", "[Unit]\nBindsTo=main.service\nAfter=main.service\n"+sh("exec sleep 1000"))
	load(t, r, "part.service", "[Unit]\nPartOf=main.service\n"+sh("exec sleep 1000"))
	load(t, r, "foe.service", "[Unit]\nConflicts=main.service\n"+sh("exec sleep 1000"))
	for _, n := range []string{"bound.service", "part.service"} {
		start(t, r, n)
		await(t, r, n, "running", sub("running"))
	}
	m := await(t, r, "main.service", "running", sub("running"))
	if err := r.Kill(t.Context(), "main.service", 9); err != nil {
		t.Fatal(err)
	}
	await(t, r, "bound.service", "dead", sub("dead"))
	p := await(t, r, "part.service", "running", sub("running"))
	start(t, r, "main.service")
	await(t, r, "main.service", "running anew", func(e cluster.Evidence) bool { return e.Sub == "running" && e.MainPID != m.MainPID })
	if err := r.Restart(t.Context(), "main.service"); err != nil {
		t.Fatal(err)
	}
	await(t, r, "part.service", "a restart with main", func(e cluster.Evidence) bool { return e.Sub == "running" && e.MainPID != p.MainPID })
	await(t, r, "main.service", "running", sub("running"))
	start(t, r, "foe.service")
	await(t, r, "foe.service", "running", sub("running"))
	await(t, r, "main.service", "dead", sub("dead"))
	await(t, r, "part.service", "dead", sub("dead"))
	start(t, r, "main.service")
	await(t, r, "main.service", "running", sub("running"))
	await(t, r, "foe.service", "dead", sub("dead"))
}

func TestOnFailureAndOrderingCycle(t *testing.T) {
	r := open(t)
	load(t, r, "f.service", "[Unit]\nOnFailure=rescue.service\n"+sh("exit 1"))
	load(t, r, "rescue.service", sh("exec sleep 1000"))
	start(t, r, "f.service")
	await(t, r, "rescue.service", "running", sub("running"))
	load(t, r, "x.service", "[Unit]\nRequires=y.service\nAfter=y.service\n"+sh("exec sleep 1000"))
	load(t, r, "y.service", "[Unit]\nRequires=x.service\nAfter=x.service\n"+sh("exec sleep 1000"))
	start(t, r, "x.service")
	await(t, r, "x.service", "running", sub("running"))
	await(t, r, "y.service", "running", sub("running"))
}
