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
// Production feeds it with Run; the simulator feeds it with Load and Apply.
type View struct {
	mu      sync.Mutex
	picture *cluster.Picture
	touched map[cluster.Touched]struct{}
	all     bool // Everything has to be looked at: the picture was read anew.
	kick    chan struct{}
	ready   chan struct{}
	once    sync.Once
	log     *slog.Logger
}

// NewView is an empty view.
func NewView(log *slog.Logger) *View {
	return &View{
		picture: cluster.NewPicture(), touched: map[cluster.Touched]struct{}{}, all: true,
		kick: make(chan struct{}, 1), ready: make(chan struct{}), log: log,
	}
}

// Kick is signalled after every change. Signals may merge.
func (v *View) Kick() <-chan struct{} { return v.kick }

// Ready is closed when the first picture is there.
func (v *View) Ready() <-chan struct{} { return v.ready }

// Look calls f with the picture and with what was touched since the last Look (nil with all=true: everything).
// f must not keep the picture, and must not change it.
func (v *View) Look(f func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	touched, all := v.touched, v.all
	v.touched, v.all = map[cluster.Touched]struct{}{}, false
	f(v.picture, touched, all)
}

// Peek calls f with the picture and leaves what was touched for the next Look.
func (v *View) Peek(f func(p *cluster.Picture)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(v.picture)
}

// Forget makes the next Look see everything as touched: after a write of which nobody knows whether it was done.
func (v *View) Forget() {
	v.mu.Lock()
	v.all = true
	v.mu.Unlock()
	v.signal()
}

// Load replaces the picture by one that was read.
func (v *View) Load(pictures ...Picture) {
	v.mu.Lock()
	v.picture, v.all = cluster.NewPicture(), true
	for _, pic := range pictures {
		for _, e := range pic.Entries {
			v.apply(e)
		}
		v.picture.Revision = max(v.picture.Revision, pic.Revision)
	}
	v.mu.Unlock()
	v.once.Do(func() { close(v.ready) })
	v.signal()
}

// Apply takes a batch of a watch into the picture.
func (v *View) Apply(b Batch) {
	v.mu.Lock()
	for _, e := range b.Entries {
		v.apply(e)
	}
	v.picture.Revision = max(v.picture.Revision, b.Revision)
	v.mu.Unlock()
	v.signal()
}

func (v *View) apply(e Entry) {
	t, err := v.picture.Apply(e.Key, e.Value, e.Revision)
	if err != nil {
		v.log.Error("a record cannot be read and is left out", "key", e.Key, "error", err)
		return
	}
	v.touched[t] = struct{}{}
}

func (v *View) signal() {
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
			v.log.Warn("the watch on the store broke, reading again", "prefix", prefix, "error", err)
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
