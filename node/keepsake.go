package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// keepsake keeps this machine's part of the picture on disk: with it the machine runs, restarts and reboots while
// no server answers. The file has a checksum and a generation before it.
type keepsake struct {
	id   string
	path string
	last []byte          // What was written last.
	own  map[string]bool // Units that the part holds.
}

const (
	keepsakeFile  = "part.json"
	keepsakePause = time.Second     // Changes that come together are written together.
	keepsakeWait  = 3 * time.Second // How long the store is waited for before the kept part is taken.
	keepsakeSum   = "sha256:"
)

func newKeepsake(data, id string) *keepsake {
	return &keepsake{id: id, path: filepath.Join(data, keepsakeFile), own: map[string]bool{}}
}

// kept waits for the store, and gives the kept part when it does not answer in time; nil: it did, or nothing is kept.
func (l *life) kept(ctx context.Context, k *keepsake) *store.Picture {
	wait := time.NewTimer(keepsakeWait)
	defer wait.Stop()
	select {
	case <-l.view.Ready():
		return nil
	case <-ctx.Done():
		return nil
	case <-wait.C:
	}
	pic, err := k.read()
	switch {
	case errors.Is(err, os.ErrNotExist):
		l.Log.Warn("the store does not answer, and nothing is known here from before", "after", keepsakeWait)
		return nil
	case err != nil:
		l.Log.Error("the store does not answer, and what was kept here cannot be read", "error", err)
		return nil
	}
	l.Log.Warn("the store does not answer: going on with what was known here", "revision", pic.Revision, "records", len(pic.Entries))
	return &pic
}

// keepPart writes the part whenever it has changed, and once more at the end.
func (l *life) keepPart(ctx context.Context, k *keepsake) error {
	view := l.view.Fork()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-view.Kick():
		}
		k.look(view, l.Log)
		pause(ctx, keepsakePause)
	}
	k.look(view, l.Log)
	return nil
}

func (k *keepsake) look(view *store.View, log *slog.Logger) {
	var pic *store.Picture
	view.Look(func(p *cluster.Picture, touched map[cluster.Touched]struct{}, all bool) {
		if p.Machines[k.id] != nil && (all || k.concerns(touched)) { // Else the picture is not there yet.
			pic = k.part(p)
		}
	})
	if pic == nil {
		return
	}
	if err := k.write(*pic); err != nil {
		log.Error("this machine's part of the store cannot be kept on disk", "error", err)
	}
}

func (k *keepsake) concerns(touched map[cluster.Touched]struct{}) bool {
	for t := range touched {
		if t.Machine == k.id && t.Prefix != cluster.AlivePrefix || t.Prefix == cluster.UnitsPrefix && k.own[t.Unit] {
			return true
		}
	}
	return false
}

// part is what this machine needs of a picture.
func (k *keepsake) part(p *cluster.Picture) *store.Picture {
	out := &store.Picture{Revision: p.Revision}
	add := func(key string, v any, revision int64) {
		out.Entries = append(out.Entries, store.Entry{Key: key, Value: cluster.Encode(v), Revision: revision})
	}
	clear(k.own)
	for on, pl := range p.Placements {
		if on.Machine == k.id {
			add(cluster.PlacementKey(on.Machine, on.Unit), pl, 0)
			k.own[on.Unit] = true
		}
	}
	for on, s := range p.Statuses {
		if on.Machine == k.id {
			add(cluster.StatusKey(on.Machine, on.Unit), s, 0)
			k.own[on.Unit] = true
		}
	}
	for name := range k.own {
		if w := p.Units[name]; w != nil {
			add(cluster.UnitKey(name), w, w.Revision)
		}
	}
	out.Entries = append(out.Entries, store.Entry{Key: cluster.AliveKey(k.id), Value: []byte("{}")}) // Who reads this lives.
	if m := p.Machines[k.id]; m != nil {
		add(cluster.MachineKey(k.id), m, 0)
	}
	if a := p.Admin[k.id]; a != nil {
		add(cluster.AdminKey(k.id), a, 0)
	}
	slices.SortFunc(out.Entries, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// write keeps a part, and the one before it under another name.
func (k *keepsake) write(pic store.Picture) error {
	body, err := json.Marshal(pic)
	if err != nil {
		return err
	}
	if same, err := json.Marshal(pic.Entries); err == nil {
		if bytes.Equal(same, k.last) {
			return nil
		}
		k.last = same
	}
	sum := sha256.Sum256(body)
	text := append([]byte(keepsakeSum+hex.EncodeToString(sum[:])+"\n"), body...)
	if err := os.Rename(k.path, k.path+".before"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeFile(k.path, text)
}

// read gives the kept part, else the one before it.
func (k *keepsake) read() (store.Picture, error) {
	pic, err := readKeepsake(k.path)
	if err == nil {
		return pic, nil
	}
	before, again := readKeepsake(k.path + ".before")
	if again == nil {
		return before, nil
	}
	return store.Picture{}, err
}

func readKeepsake(path string) (store.Picture, error) {
	var pic store.Picture
	text, err := os.ReadFile(path)
	if err != nil {
		return pic, err
	}
	head, body, _ := bytes.Cut(text, []byte("\n"))
	sum := sha256.Sum256(body)
	if string(head) != keepsakeSum+hex.EncodeToString(sum[:]) {
		return pic, fmt.Errorf("%s is damaged: its checksum does not fit", path)
	}
	return pic, json.Unmarshal(body, &pic)
}

// ownWords is a store whose machine goes on telling itself what it cannot tell the store: with no server to be reached,
// the machine's own view shows what its units do now.
type ownWords struct {
	store.Store
	view *store.View
}

// Write applies what could not be written to the view. The agent goes on trying, and writes it when it can.
func (o ownWords) Write(ctx context.Context, by store.Writer, changes ...store.Change) (int64, error) {
	rev, err := o.Store.Write(ctx, by, changes...)
	if why, ok := errors.AsType[*reason.Reason](err); ok && why.Code == reason.StoreUnavailable && store.Check(by, changes...) == nil {
		var b store.Batch
		for _, c := range changes {
			b.Entries = append(b.Entries, store.Entry{Key: c.Key, Value: c.Value})
		}
		o.view.Apply(b)
	}
	return rev, err
}
