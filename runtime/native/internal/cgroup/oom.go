package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WatchOOM gives a file descriptor that can be read whenever the kernel's OOM killer was called for the group: inotify
// of memory.events (cgroup v2), or an eventfd (cgroup v1, memory.txt section 9). The counter may grow a moment later.
func (g *Group) WatchOOM() (int, error) {
	switch {
	case g.m.v2[memory]:
		fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		if err != nil {
			return -1, err
		}
		if _, err := unix.InotifyAddWatch(fd, filepath.Join(g.m.unified, g.name, "memory.events"), unix.IN_MODIFY); err != nil {
			return -1, errors.Join(err, unix.Close(fd))
		}
		return fd, nil
	case g.m.v1[memory] != "":
		return g.eventFD(filepath.Join(g.m.v1[memory], g.name))
	}
	return -1, errors.New("no memory cgroup")
}

func (g *Group) eventFD(folder string) (int, error) {
	control, err := os.Open(filepath.Join(folder, "memory.oom_control"))
	if err != nil {
		return -1, err
	}
	defer func() { _ = control.Close() }()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	if err := os.WriteFile(filepath.Join(folder, "cgroup.event_control"), fmt.Appendf(nil, "%d %d", fd, control.Fd()), 0); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}
