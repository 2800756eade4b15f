package etcd

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// revisionBump is added to the revision by a restore. Whoever watched the store that was lost has seen revisions
// that the snapshot does not know; after the bump none of them comes a second time with another meaning.
const revisionBump = 1_000_000

// Snapshot writes all keys at one revision, with a checksum, as Restore and etcdutl read it. Any member can do it,
// also one that reaches no majority.
func (s *Store) Snapshot(ctx context.Context, w io.Writer) error {
	if s.ctx.Err() != nil {
		return s.away()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	r, err := s.client.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("snapshot of the store: %w", s.explain(err))
	}
	_, err = io.Copy(w, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("snapshot of the store: %w", err)
	}
	return nil
}

// SnapshotInfo is what is in a snapshot.
type SnapshotInfo struct {
	Revision int64 // Of the newest key.
	Keys     int
	Size     int64 // Bytes.
}

// Verify reads a whole snapshot: its checksum, then its tree. An error says what is wrong with the file.
func Verify(file string) (SnapshotInfo, error) {
	if err := checksum(file); err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot %s: %w", file, err)
	}
	st, err := snapshot.NewV3(zap.NewNop()).Status(file)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot %s: %w", file, err)
	}
	return SnapshotInfo{Revision: st.Revision, Keys: st.TotalKey, Size: st.TotalSize}, nil
}

// checksum compares the last bytes of the file with the hash of all before them.
func checksum(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // Only read.
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const sector = 512 // bbolt writes whole pages; what is over is the hash.
	if info.Size()%sector != sha256.Size {
		return fmt.Errorf("%d bytes with no checksum at their end: cut off, or not a snapshot", info.Size())
	}
	h := sha256.New()
	if _, err := io.CopyN(h, f, info.Size()-sha256.Size); err != nil {
		return err
	}
	want, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return errors.New("the checksum does not match: the file has changed since it was written")
	}
	return nil
}

// Restore makes a data directory from a snapshot: a new cluster with this member alone, a new cluster id, and a
// revision far above the snapshot's. Open it with the same Options afterwards. A directory that holds a member is
// refused.
func Restore(file string, o Options) error {
	if err := o.Peer.check(); err != nil {
		return err
	}
	if _, err := Verify(file); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("the store's directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return err
	}
	return errors.Join(restore(file, o), lock.Close())
}

func restore(file string, o Options) error {
	data, half := filepath.Join(o.Dir, "etcd"), filepath.Join(o.Dir, "etcd.restoring")
	if _, err := os.Stat(data); err == nil {
		return fmt.Errorf("restore: %s holds a store already: move it away first", data)
	}
	if err := os.RemoveAll(half); err != nil { // Of a restore that was cut off.
		return fmt.Errorf("restore: %w", err)
	}
	name := o.Name
	if name == "" {
		name = memberName
	}
	failed, done := make(chan error, 1), make(chan error, 1)
	go func() { // etcd's last words end the goroutine that says them.
		done <- snapshot.NewV3(newLogger(o.Log, failed)).Restore(snapshot.RestoreConfig{
			SnapshotPath: file, Name: name, OutputDataDir: half, PeerURLs: []string{o.Peer.URL()},
			InitialCluster: name + "=" + o.Peer.URL(), InitialClusterToken: rand.Text(),
			RevisionBump: revisionBump, MarkCompacted: true,
		})
	}()
	var err error
	select {
	case err = <-done:
	case err = <-failed:
	}
	if err == nil {
		err = os.Rename(half, data)
	}
	if err != nil {
		return fmt.Errorf("restore %s to %s: %w", file, o.Dir, err)
	}
	return syncDir(o.Dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Wipe takes a member's data out of its directory, for a machine that was removed or that joins anew. The caller has
// closed the store.
func Wipe(dir string) error {
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(filepath.Join(dir, "etcd")), lock.Close())
}
