package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
)

func kinds(list []cluster.Condition) (out []string) {
	for _, c := range list {
		out = append(out, c.Kind)
	}
	return out
}

// A condition begins after three looks above its limit, stays in between, and ends after six below the lower one.
func TestPressureHasMemory(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "proc/pressure")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &Sensors{Machine: "m1", Root: root}
	set := func(memory string) {
		text := "some avg10=99.00 avg60=" + memory + " avg300=1.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
		if err := os.WriteFile(filepath.Join(dir, "memory"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		memory string
		looks  int
		want   bool
	}{{"30.00", 2, false}, {"5.00", 1, false}, {"25.50", 2, false}, {"25.50", 1, true}, {"15.00", 10, true}, {"9.99", 5, true}, {"12.00", 1, true}, {"9.00", 5, true}, {"9.00", 1, false}} {
		set(step.memory)
		changed := false
		for range step.looks {
			changed = s.look(t.Context()) || changed
		}
		if got := slices.Contains(kinds(s.Conditions()), cluster.ConditionMemory); got != step.want {
			t.Errorf("step %d: pressure %t, want %t", i, got, step.want)
		}
		if (i == 3 || i == 8) != changed {
			t.Errorf("step %d: changed %t", i, changed)
		}
	}
	for range 3 {
		set("31.00")
		s.look(t.Context())
	}
	c := s.Conditions()[0]
	if want := "m1 is short of memory: programs waited for it 31 % of the last minute (limit 20 %)"; !c.NoNew || c.Reason.Message() != want {
		t.Errorf("%+v: %s", c, c.Reason.Message())
	}
	if err := os.Remove(filepath.Join(dir, "memory")); err != nil {
		t.Fatal(err)
	}
	s.look(t.Context())
	if len(s.Conditions()) != 1 {
		t.Error("what cannot be read any more has changed the condition")
	}
}

func TestClockAndDisk(t *testing.T) {
	ahead, ok := 7*time.Second, false
	s := &Sensors{Machine: "m1", Root: t.TempDir(), Dir: "/data", Skew: func(context.Context) (time.Duration, bool) { return ahead, ok }}
	looks := func(n int) {
		for range n {
			s.look(t.Context())
		}
	}
	looks(9)
	if len(s.Conditions()) > 0 {
		t.Errorf("nobody knows the time, and it is %v", kinds(s.Conditions()))
	}
	ok = true
	looks(9)
	if got := s.Conditions(); len(got) != 1 || got[0].Kind != cluster.ConditionClock || got[0].Reason.Message() != "the clock of m1 is 7s off the servers' (limit 5s)" {
		t.Errorf("%+v", got)
	}
	ahead = -time.Second
	looks(18)
	if len(s.Conditions()) > 0 {
		t.Errorf("the clock is right, and it is %v", kinds(s.Conditions()))
	}
	for range 3 {
		s.full(96, 1<<30)
	}
	if got := s.Conditions(); len(got) != 1 || got[0].Reason.Message() != "the disk of m1 is 96 % full at /data, 1G are left (limit 95 %)" {
		t.Errorf("%+v", got)
	}
	for range 6 {
		s.full(96, 20<<30)
	}
	if len(s.Conditions()) > 0 {
		t.Error("20G are left, and the disk is full")
	}
}
