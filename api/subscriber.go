package api

import (
	"encoding/json"
	"slices"

	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// maxBatch bounds how many events are gathered for one write of a watch.
const maxBatch = 256

// subscriber is one watch. It holds names, not events: a slow reader gets the latest answer of each unit,
// and needs no more memory than the cluster has units.
type subscriber struct {
	hub     *hub
	matcher *matcher
	dirty   map[string]struct{}
	order   []string // The dirty names that were not sent yet, sorted; made anew when it ran out.
	synced  bool     // "synced" was sent.
	full    bool     // The first part is all there is, not only what changed.
	wake    chan struct{}
}

// batch is what a watch writes at once.
type batch struct {
	events [][]byte // Encoded wire.WatchEvent.
	// id is the revision that a broken watch may resume from, after all events of the batch; 0: not yet.
	id int64
}

// subscribe begins a watch. With resume > 0 only what has changed since that revision is sent, if the hub still knows.
func (h *hub) subscribe(m *matcher, resume int64) *subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &subscriber{hub: h, matcher: m, dirty: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	s.full = resume <= 0 || resume < h.resumable || resume > h.revision
	for _, n := range h.matching(m) {
		if s.full || h.units[n].revision > resume {
			s.dirty[n] = struct{}{}
		}
	}
	if !s.full {
		for _, t := range h.tombs {
			if t.revision > resume && m.match(t.unit) {
				s.dirty[t.unit] = struct{}{}
			}
		}
	}
	h.subs[s] = struct{}{}
	s.signal()
	return s
}

func (s *subscriber) close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs, s)
}

// touch marks a unit as changed. The caller holds the hub's mu.
func (s *subscriber) touch(name string) {
	if !s.matcher.match(name) {
		return
	}
	s.dirty[name] = struct{}{}
	s.signal()
}

func (s *subscriber) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next gathers the next events; an empty batch means: wait for wake.
func (s *subscriber) next() batch {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	var b batch
	for len(b.events) < maxBatch {
		name, ok := s.pop()
		if !ok {
			break
		}
		b.events = append(b.events, h.event(name))
	}
	if len(s.dirty) > 0 {
		s.signal()
		return b
	}
	if !s.synced {
		s.synced = true
		b.events = append(b.events, encode(wire.WatchEvent{Revision: h.revision, Synced: true, Complete: s.full}))
	}
	if len(b.events) > 0 {
		b.id = h.revision
	}
	return b
}

func (s *subscriber) pop() (string, bool) {
	for {
		if len(s.order) == 0 {
			if len(s.dirty) == 0 {
				return "", false
			}
			for n := range s.dirty {
				s.order = append(s.order, n)
			}
			slices.SortFunc(s.order, unit.CompareNames)
		}
		name := s.order[0]
		s.order = s.order[1:]
		if _, ok := s.dirty[name]; ok {
			delete(s.dirty, name)
			return name, true
		}
	}
}

// event is the encoded watch event of one unit. The caller holds mu.
func (h *hub) event(name string) []byte {
	k := h.units[name]
	if k == nil {
		return encode(wire.WatchEvent{Revision: h.revision, Gone: name})
	}
	if k.json == nil {
		k.json = encode(wire.WatchEvent{Revision: k.revision, Answer: &k.answer})
	}
	return k.json
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // wire's types always encode; a reason's Args hold only what encodes.
		return []byte(`{"revision":0}`)
	}
	return b
}
