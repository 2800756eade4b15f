package member

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"argosy.dev/argosy/store/etcd"
)

// The schedule of snapshots.
const (
	DefaultEvery = 15 * time.Minute
	DefaultKeep  = 48
	freshEnough  = time.Minute     // Before a change of the members an older one is made anew.
	takeBound    = 5 * time.Minute // A full quota on a slow disk.
)

// Names sort by time: snapshot-20261122T214600Z.db, in UTC.
const (
	namePrefix = "snapshot-"
	nameSuffix = ".db"
	nameTime   = "20060102T150405Z"
)

// Snapshot is one file.
type Snapshot struct {
	Path string
	At   time.Time
	Size int64 // Bytes.
}

// Snapshots lists the snapshots in a directory, the oldest first. Files with other names are no snapshots.
func Snapshots(dir string) ([]Snapshot, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	var out []Snapshot
	for _, e := range entries {
		name, prefixed := strings.CutPrefix(e.Name(), namePrefix)
		name, suffixed := strings.CutSuffix(name, nameSuffix)
		at, err := time.Parse(nameTime, name)
		if err != nil || !prefixed || !suffixed || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // It went between the two looks.
		}
		out = append(out, Snapshot{Path: filepath.Join(dir, e.Name()), At: at, Size: info.Size()})
	}
	slices.SortFunc(out, func(a, b Snapshot) int { return a.At.Compare(b.At) })
	return out, nil
}

// snapshots takes and keeps them.
type snapshots struct {
	cfg Config
	mu  sync.Mutex // One at a time: the schedule and a change of the members.
}

func newSnapshots(cfg Config) *snapshots {
	if cfg.Every <= 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Keep <= 0 {
		cfg.Keep = DefaultKeep
	}
	return &snapshots{cfg: cfg}
}

func (k *Keeper) snapshotPass(ctx context.Context) error {
	err := k.snaps.take(ctx, k.snaps.cfg.Every)
	k.say(func(r *Report) { r.NoSnapshot = text(err) })
	if all, lerr := Snapshots(k.cfg.Snapshots); lerr == nil && len(all) > 0 {
		k.say(func(r *Report) { r.Snapshot = all[len(all)-1].At })
	}
	return err
}

// take makes a snapshot unless there is one of less than age ago, reads it back, and lets the oldest ones go.
func (s *snapshots) take(ctx context.Context, age time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, takeBound)
	defer cancel()
	dir, now := s.cfg.Snapshots, s.cfg.Now().UTC()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	all, err := Snapshots(dir)
	if err != nil {
		return err
	}
	if n := len(all); n > 0 && now.Sub(all[n-1].At) < age && !all[n-1].At.After(now.Add(age)) {
		return nil
	}
	path := filepath.Join(dir, namePrefix+now.Format(nameTime)+nameSuffix)
	if err := s.write(ctx, path); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if all, err = Snapshots(dir); err != nil {
		return err
	}
	var errs []error
	for i := range max(0, len(all)-s.cfg.Keep) {
		errs = append(errs, os.Remove(all[i].Path))
	}
	return errors.Join(errs...)
}

// write makes the file whole or not at all: a half one never has the name of a snapshot.
func (s *snapshots) write(ctx context.Context, path string) (err error) {
	half := filepath.Join(filepath.Dir(path), "unfinished")
	f, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = s.cfg.Store.Snapshot(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		_, err = etcd.Verify(half)
	}
	if err == nil {
		err = os.Rename(half, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(half))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
