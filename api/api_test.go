package api_test

import (
	"errors"
	"testing"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

// TestStory is the one story: submit a template, start instances, see them become healthy, fail, and go.
func TestStory(t *testing.T) {
	h, ctx := start(t), deadline(t)
	h.machine()
	lead := leads(h.store)
	resp, err := h.client.Apply(ctx, wire.ApplyRequest{Changes: []wire.Change{
		{Name: "web@.service", Text: new(sleepUnit)},
		{Name: "web@1.service", Desired: cluster.Launched},
		{Name: "web@2.service", Desired: cluster.Launched},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Units) != 3 || !resp.Units[1].Created || !resp.Units[1].Changed || resp.Units[1].Revision != resp.Revision {
		t.Fatalf("apply answered %+v", resp)
	}
	updates, err := h.client.Watch(ctx, resp.Revision, "web@*")
	if err != nil {
		t.Fatal(err)
	}
	got := collect(t, updates, func(e wire.WatchEvent) bool { return e.Synced })
	if len(got) != 3 || got["web@1.service"].State != cluster.Starting || !got["web@.service"].Template {
		t.Fatalf("the first answers are %+v", got)
	}
	for _, n := range []string{"web@1.service", "web@2.service"} {
		h.write(lead, store.Put(cluster.PlacementKey(m1, n), cluster.Placement{
			Unit: n, Machine: m1, Epoch: 1, At: at,
			Reason: reason.Because(reason.Placed, reason.Args{"machine": "m1", "candidates": 1}),
		}))
	}
	h.status("web@1.service", resp.Revision, cluster.Healthy, reason.Because(reason.Healthy, nil))
	h.status("web@2.service", resp.Revision, cluster.Failed, reason.Because(reason.ExecNotFound, reason.Args{"path": "/bin/slep"}))
	got = collect(t, updates, func(e wire.WatchEvent) bool { return e.Answer != nil && e.Answer.State == cluster.Failed })
	if a := got["web@2.service"]; a.Message != "/bin/slep not found (203)" || a.Machine != "m1" {
		t.Fatalf("web@2 answers %+v", a)
	}
	list, err := h.client.Units(ctx, "web@1")
	if err != nil || len(list.Units) != 1 || list.Units[0].State != cluster.Healthy {
		t.Fatalf("the list is %+v, %v", list, err)
	}
	d, err := h.client.Unit(ctx, "web@1")
	if err != nil || d.Text != sleepUnit || d.By == "" {
		t.Fatalf("the detail is %+v, %v", d, err)
	}
	if _, err := h.client.Destroy(ctx, "web@1.service", nil); err != nil {
		t.Fatal(err)
	}
	collect(t, updates, func(e wire.WatchEvent) bool { return e.Gone == "web@1.service" })
	_, err = h.client.Unit(ctx, "web@1.service")
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.NoSuchUnit {
		t.Fatalf("a destroyed unit is found, or not told well: %v", err)
	}
}

// collect reads updates until one is what is wanted, and gives the latest answers.
func collect(t *testing.T, updates <-chan client.Update, done func(wire.WatchEvent) bool) map[string]cluster.Answer {
	t.Helper()
	out := map[string]cluster.Answer{}
	for u := range updates {
		if u.Err != nil {
			t.Fatalf("the watch broke: %v", u.Err)
		}
		if u.Answer != nil {
			out[u.Answer.Unit] = *u.Answer
		}
		if done(u.WatchEvent) {
			return out
		}
	}
	t.Fatal("the watch ended")
	return nil
}

func TestJournal(t *testing.T) {
	h, ctx := start(t), deadline(t)
	if _, err := h.client.Apply(ctx, wire.ApplyRequest{Changes: []wire.Change{{Name: "a.service", Text: new(sleepUnit)}}}); err != nil {
		t.Fatal(err)
	}
	h.journal.lines = []cluster.Line{{At: at, Unit: "a.service", Text: "one"}, {At: at, Unit: "a.service", Text: "two \x1b[31m\r"}}
	enough := errors.New("enough")
	var got []string
	go func() { h.journal.more <- cluster.Line{Text: "three"} }()
	err := h.client.Journal(ctx, "a", runtime.JournalQuery{Lines: 5, Follow: true, Invocation: "previous"}, func(l cluster.Line) error {
		if got = append(got, l.Text); l.Text == "three" {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || len(got) != 3 || got[1] != "two \x1b[31m\r" {
		t.Fatalf("got %q, %v", got, err)
	}
	if q := h.journal.asked[0]; q.Lines != 5 || !q.Follow || q.Invocation != "previous" {
		t.Fatalf("the runtime was asked %+v", q)
	}
	err = h.client.Journal(ctx, "none", runtime.JournalQuery{}, nil)
	if r, ok := errors.AsType[*reason.Reason](err); !ok || r.Code != reason.NoSuchUnit {
		t.Fatalf("the journal of no unit: %v", err)
	}
}
