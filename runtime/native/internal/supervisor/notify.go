package supervisor

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The bounds of sd_notify(3): one message, the longest path of a socket (unix(7)), messages taken at a time.
const (
	maxNotify     = 8192
	maxSocketPath = 107
	notifyBatch   = 64
)

// notifySocket opens the unit's own notification socket and tells its address.
func (a *attached) notifySocket() (string, error) {
	if a.notifyFD >= 0 {
		return a.notifyPath, nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	path, err := a.bindNotify(fd)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}
	if err == nil {
		err = a.in.poller.Add(fd, func() { a.readNotify(fd) })
	}
	if err != nil {
		return "", errors.Join(err, unix.Close(fd))
	}
	a.notifyFD, a.notifyPath = fd, path
	return path, nil
}

// bindNotify binds to a path, or, where the path would be too long, to a random abstract name. The socket may be written
// by every user: who wrote is told by the kernel and checked against NotifyAccess=.
func (a *attached) bindNotify(fd int) (string, error) {
	dir := filepath.Join(a.in.runDir, "notify")
	path := filepath.Join(dir, shortName(a.name))
	if len(path) > maxSocketPath {
		b := make([]byte, 16)
		_, _ = rand.Read(b) // Never fails (crypto/rand).
		name := "@argosy/" + hex.EncodeToString(b)
		return name, unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o777)
}

// readNotify takes messages in the poller's goroutine.
func (a *attached) readNotify(fd int) {
	buf, oob := make([]byte, maxNotify), make([]byte, 4096)
	for range notifyBatch {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		pid, ok := sender(oob[:oobn])
		if !ok {
			continue
		}
		text := string(buf[:n])
		a.in.do(func() {
			if u := a.in.engine.Get(a.name); u != nil && u.Service != nil {
				u.Service.Notify(pid, text)
			}
		})
	}
}

// sender reads the credentials that the kernel vouches for, and closes file descriptors that came along: closing
// them is also how BARRIER=1 is answered (sd_notify(3)).
func sender(oob []byte) (pid int, ok bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for i := range msgs {
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			continue
		}
		if c, err := unix.ParseUnixCredentials(&msgs[i]); err == nil {
			pid, ok = int(c.Pid), true
		}
	}
	return pid, ok
}
