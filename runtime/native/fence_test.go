package native

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
)

func bootNow() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

const exclusiveText = "[Service]\nExecStart=/bin/sh -c 'echo epoch=$ARGOSY_EPOCH; exec sleep 1000'\nRestart=always\n[X-Argosy]\nExclusive=yes\n"

// TestKeeper: an exclusive unit runs with leave only, and ends at the deadline although no agent is there.
func TestKeeper(t *testing.T) {
	r := open(t)
	ctx := t.Context()
	load(t, r, "x.service", exclusiveText)
	load(t, r, "u.service", sh("exec sleep 1000"))
	start(t, r, "u.service")
	await(t, r, "u.service", "running", sub("running"))
	if err := r.Start(ctx, "x.service"); err != nil {
		t.Fatal(err)
	}
	await(t, r, "x.service", "a refusal", func(e cluster.Evidence) bool {
		return e.Active == "inactive" && e.Error != nil && e.Error.Code == reason.NoLease
	})
	if err := r.BeginEpoch(ctx, 7); err != nil {
		t.Fatal(err)
	}
	if err := r.Allow(ctx, "x.service", 42, 7); !errors.Is(err, fence.ErrNotLive) {
		t.Fatalf("leave without a lease: %v", err)
	}
	// Two seconds are left.
	sent := bootNow() - fence.Deadline(0) + 2*time.Second
	if err := r.Renewed(ctx, 6, sent); !errors.Is(err, fence.ErrOldEpoch) {
		t.Fatalf("a renewal of another epoch: %v", err)
	}
	if err := errors.Join(r.Renewed(ctx, 7, sent), r.Allow(ctx, "x.service", 42, 7)); err != nil {
		t.Fatal(err)
	}
	start(t, r, "x.service")
	await(t, r, "x.service", "running", sub("running"))
	awaitLine(t, r, "x.service", "epoch=42")
	if err := r.BeginEpoch(ctx, 8); !errors.Is(err, fence.ErrBusy) {
		t.Fatalf("a new epoch while a unit runs: %v", err)
	}
	await(t, r, "x.service", "stopped", sub("dead"))
	if late := bootNow() - fence.Deadline(sent); late < 0 || late > 2*time.Second {
		t.Errorf("it was stopped %v after the deadline", late)
	}
	if out := journalOf(t, r, "x.service"); !strings.Contains(out, "lease") {
		t.Errorf("the journal does not say why:\n%s", out)
	}
	await(t, r, "u.service", "running", sub("running")) // An ordinary unit goes on.
	k, err := r.Held(ctx)
	if err != nil || !k.Cut["x.service"] || len(k.Allowed) > 0 {
		t.Errorf("the keeper holds %+v (%v)", k, err)
	}
	if err := r.BeginEpoch(ctx, 8); err != nil {
		t.Error(err)
	}
}

// TestKeeperIsReplaced: an init process that takes another one's place, also of one that was killed, knows the deadline.
func TestKeeperIsReplaced(t *testing.T) {
	r := open(t)
	ctx := t.Context()
	load(t, r, "x.service", exclusiveText)
	sent := bootNow() - fence.Deadline(0) + 6*time.Second
	if err := errors.Join(r.BeginEpoch(ctx, 7), r.Renewed(ctx, 7, sent), r.Allow(ctx, "x.service", 1, 7)); err != nil {
		t.Fatal(err)
	}
	start(t, r, "x.service")
	before := await(t, r, "x.service", "running", sub("running"))
	if err := unix.Kill(r.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after := await(t, r, "x.service", "running", sub("running"))
	if after.MainPID != before.MainPID {
		t.Errorf("the unit was not taken over: %d became %d", before.MainPID, after.MainPID)
	}
	k, err := r.Held(ctx)
	if err != nil || k.Epoch != 7 || k.Sent != sent || k.Allowed["x.service"] != 1 {
		t.Errorf("the keeper holds %+v (%v)", k, err)
	}
	await(t, r, "x.service", "stopped", func(e cluster.Evidence) bool { return e.MainPID == 0 && e.Active != "active" })
	if late := bootNow() - fence.Deadline(sent); late < 0 || late > 2*time.Second {
		t.Errorf("it was stopped %v after the deadline", late)
	}
}
