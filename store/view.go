package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"argosy.dev/argosy/cluster"
)

// View keeps a picture of a part of the store current, remembers what changed, and kicks whoever looks at it.
// Production feeds it with Run; the simulator feeds it with Load and Apply. Each loop that looks has a View of
// its own, since looking takes what was touched; Fork makes one over the same picture.
type View struct {
	shared  *shared
	touched map[cluster.Touched]struct{}
	all     bool // Everything has to be looked at: the picture was read anew.
	kick    chan struct{}
}

// shared is the one picture of a View and its forks.
type shared struct {
	mu      sync.Mutex
	picture *cluster.Picture
	views   []*View
	ready   chan struct{} // Closed with the first Load.
	loaded  bool
	log     *slog.Logger
}

// NewView is an empty view.
func NewView(log *slog.Logger) *View {
	s := &shared{picture: cluster.NewPicture(), ready: make(chan struct{}), log: log}
	return s.add()
}

// Fork is another view of the same picture, with its own memory of what was touched and its own kick.
func (v *View) Fork() *View {
	v.shared.mu.Lock()
	defer v.shared.mu.Unlock()
	return v.shared.add()
}

func (s *shared) add() *View {
	v := &View{shared: s, touched: map[cluster.Touched]struct{}{}, all: true, kick: make(chan struct{}, 1)}
	s.views = append(s.views, v)
	return v
}

// Kick is signalled after every change. Signals may merge.
func (v *View) Kick() <-chan struct{} { return v.kick }

// Ready is closed when the first picture is there.
func (v *View) Ready() <-chan struct{} { return v.shared.ready }

// Look calls f with the picture and with what was touched since the last Look; with all, everything counts as
// touched, and touched may be empty.
// f must not keep the picture, and must not change it.
func (v *View) Look(f func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool)) {
	v.shared.mu.Lock()
	defer v.shared.mu.Unlock()
	touched, all := v.touched, v.all
	v.touched, v.all = map[cluster.Touched]struct{}{}, false
	f(v.shared.picture, touched, all)
}

// Peek calls f with the picture and leaves what was touched for the next Look.
func (v *View) Peek(f func(p *cluster.Picture)) {
	v.shared.mu.Lock()
	defer v.shared.mu.Unlock()
	f(v.shared.picture)
}

// Forget makes the next Look see everything as touched: after a write of which nobody knows whether it was done.
func (v *View) Forget() {
	v.shared.mu.Lock()
	v.all = true
	v.shared.mu.Unlock()
	v.wake()
}

// Load replaces the picture by one that was read.
func (v *View) Load(pictures ...Picture) {
	v.shared.mu.Lock()
	v.load(pictures)
	v.shared.mu.Unlock()
	v.signal()
}

// Begin is Load for what was kept from an earlier time: it does nothing, and is false, once a picture is there.
func (v *View) Begin(pictures ...Picture) bool {
	v.shared.mu.Lock()
	if v.shared.loaded {
		v.shared.mu.Unlock()
		return false
	}
	v.load(pictures)
	v.shared.mu.Unlock()
	v.signal()
	return true
}

func (v *View) load(pictures []Picture) {
	v.shared.picture = cluster.NewPicture()
	for _, each := range v.shared.views {
		each.all = true
	}
	for _, pic := range pictures {
		for _, e := range pic.Entries {
			v.apply(e)
		}
		v.shared.picture.Revision = max(v.shared.picture.Revision, pic.Revision)
	}
	if !v.shared.loaded {
		v.shared.loaded = true
		close(v.shared.ready)
	}
}

// Apply takes a batch of a watch into the picture.
func (v *View) Apply(b Batch) {
	v.shared.mu.Lock()
	for _, e := range b.Entries {
		v.apply(e)
	}
	v.shared.picture.Revision = max(v.shared.picture.Revision, b.Revision)
	v.shared.mu.Unlock()
	v.signal()
}

func (v *View) apply(e Entry) {
	t, err := v.shared.picture.Apply(e.Key, e.Value, e.Revision)
	if err != nil {
		v.shared.log.Error("a record cannot be read and is left out", "key", e.Key, "error", err)
		return
	}
	for _, each := range v.shared.views {
		each.remember(t)
	}
}

// maxTouched bounds what a view remembers for a loop that does not look; above it everything counts as touched.
const maxTouched = 100_000

func (v *View) remember(t cluster.Touched) {
	if v.all {
		return
	}
	v.touched[t] = struct{}{}
	if len(v.touched) > maxTouched {
		v.touched, v.all = map[cluster.Touched]struct{}{}, true
	}
}

func (v *View) signal() {
	v.shared.mu.Lock()
	views := v.shared.views
	v.shared.mu.Unlock()
	for _, each := range views {
		each.wake()
	}
}

func (v *View) wake() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// Run reads a prefix and follows it until ctx ends. It reads again when the watch breaks.
func (v *View) Run(ctx context.Context, s Store, prefix string) {
	const pause = 200 * time.Millisecond
	for ctx.Err() == nil {
		if err := v.follow(ctx, s, prefix); err != nil && ctx.Err() == nil {
			v.shared.log.Warn("the watch on the store broke, reading again", "prefix", prefix, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

func (v *View) follow(ctx context.Context, s Store, prefix string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pic, err := s.Read(ctx, prefix)
	if err != nil {
		return err
	}
	v.Load(pic)
	for b := range s.Watch(ctx, prefix, pic.Revision) {
		if b.Err != nil {
			return b.Err
		}
		v.Apply(b)
	}
	if ctx.Err() == nil {
		return errors.New("the watch ended")
	}
	return nil
}
