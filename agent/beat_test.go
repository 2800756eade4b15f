package agent_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"argosy.dev/argosy/agent"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/runtime/fake"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

// sign is what the store holds of m1's life.
func sign(t *testing.T, s *memory.Store) (cluster.Sign, bool) {
	t.Helper()
	pic, err := s.Read(t.Context(), cluster.AliveKey("m1"))
	if err != nil {
		t.Fatal(err)
	}
	p := cluster.NewPicture()
	for _, e := range pic.Entries {
		if _, err := p.Apply(e.Key, e.Value, e.Revision); err != nil {
			t.Fatal(err)
		}
	}
	return p.Signs["m1"], p.Alive["m1"]
}

// TestBeat: a condemned machine stops what is exclusive and takes a new epoch; one that ends leaves its sign of life.
func TestBeat(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	s, r := memory.New(), fake.New(func() time.Time { return now }, 1)
	b := &agent.Beat{Machine: "m1", Store: s, Part: cluster.PlacementsPrefix + "m1/", Fencer: r, BootClock: r.BootClock, Log: slog.New(slog.DiscardHandler)}
	if wait := b.Step(t.Context()); wait != fence.RenewEvery {
		t.Fatalf("the first beat is followed by one in %v", wait)
	}
	first, alive := sign(t, s)
	if !alive || first.Epoch == 0 {
		t.Fatalf("its sign is %+v, alive %v", first, alive)
	}
	if k, err := r.Held(t.Context()); err != nil || k.Epoch != first.Epoch || k.Sent != r.BootClock() {
		t.Fatalf("the keeper holds %+v (%v)", k, err)
	}
	leader := s.Elect("m2")
	_, err := s.Write(t.Context(), leader.Writer, store.Put(cluster.CondemnedKey("m1"), cluster.Condemned{Machine: "m1"}), store.Delete(cluster.AliveKey("m1")))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		b.Step(t.Context())
	}
	second, alive := sign(t, s)
	if !alive || second.Epoch <= first.Epoch {
		t.Errorf("condemned, its sign is %+v after %+v", second, first)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Run(ctx)
	if after, alive := sign(t, s); !alive || after != second {
		t.Errorf("a daemon that ends leaves %+v, alive %v", after, alive)
	}
	if err := b.Leave(t.Context(), s.Write); err != nil {
		t.Fatal(err)
	}
	if left, alive := sign(t, s); alive || !left.Left {
		t.Errorf("a machine that leaves says %+v, alive %v", left, alive)
	}
}
