package store_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
)

var ann = store.Writer{Role: store.Person, ID: "ann"}

func TestCheckNamesTheLimit(t *testing.T) {
	err := store.Check(ann, store.Change{Key: "units/a.service", Value: []byte(strings.Repeat("x", store.MaxValue+1))})
	r, ok := errors.AsType[*reason.Reason](err)
	if !ok || r.Code != reason.TooLarge || r.Int("have") != store.MaxValue || r.Int("need") != store.MaxValue+1 {
		t.Errorf("got %v", err)
	}
	if err := store.Check(ann, store.Delete("placements/m1/a.service")); !errors.Is(err, store.ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

// TestViewFollows: each fork has its own memory of what was touched, and a view reads again when its watch breaks.
func TestViewFollows(t *testing.T) {
	s := memory.New()
	view := store.NewView(slog.New(slog.DiscardHandler))
	fork := view.Fork()
	go view.Run(t.Context(), s, "")
	<-view.Ready()
	if _, err := s.Write(t.Context(), ann, store.Put(cluster.UnitKey("a.service"), cluster.Wanted{Name: "a.service"})); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*store.View{view, fork} {
		for seen := false; !seen; {
			select {
			case <-v.Kick():
			case <-time.After(10 * time.Second):
				t.Fatal("a view was not kicked")
			}
			v.Look(func(p *cluster.Picture, _ map[cluster.Touched]struct{}, _ bool) { seen = p.Units["a.service"] != nil })
		}
	}
	fork.Look(func(_ *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
		if len(touched) > 0 || all {
			t.Errorf("a second look finds %v, %v", touched, all)
		}
	})
	fork.Forget()
	fork.Look(func(_ *cluster.Picture, _ map[cluster.Touched]struct{}, all bool) {
		if !all {
			t.Error("Forget was forgotten")
		}
	})
}
