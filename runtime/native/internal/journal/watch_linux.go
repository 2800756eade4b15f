package journal

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/cluster"
)

// Stream gives the selected lines, and with follow what comes after them until ctx ends. The channel is closed at the end.
func (r *Reader) Stream(ctx context.Context, q Query, follow bool) (<-chan cluster.Line, error) {
	var watch *os.File
	if follow {
		w, err := watchDir(r.dir) // Before the first reading, so that nothing falls between.
		if err != nil {
			return nil, err
		}
		watch = w
	}
	lines, err := r.Last(ctx, q)
	if err != nil {
		if watch != nil {
			_ = watch.Close()
		}
		return nil, err
	}
	out := make(chan cluster.Line, 64)
	go func() {
		defer close(out)
		if !send(ctx, out, lines) || watch == nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = watch.Close() })
		defer func() {
			if stop() {
				_ = watch.Close()
			}
		}()
		r.follow(ctx, q, watch, out)
	}()
	return out, nil
}

func (r *Reader) follow(ctx context.Context, q Query, watch *os.File, out chan<- cluster.Line) {
	buf := make([]byte, 4096)
	for {
		lines, err := r.Next(q)
		if err != nil || !send(ctx, out, lines) {
			return
		}
		if _, err := watch.Read(buf); err != nil {
			return
		}
	}
}

func send(ctx context.Context, out chan<- cluster.Line, lines []cluster.Line) bool {
	for _, l := range lines {
		select {
		case out <- l:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// watchDir tells of each write in a journal's folder, which is made when it is not there yet.
func watchDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}
