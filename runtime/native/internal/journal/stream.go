package journal

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ReadSize is how much one reading takes; drainMax bounds how much Flush takes from a flooding unit.
const (
	ReadSize = 64 << 10
	drainMax = 1 << 20
)

// Stream reads what a unit writes to one of its standard streams. It is a named pipe that both we and the
// unit's processes hold open for reading and writing: so it never ends, and when the init process is killed
// the unit neither gets EPIPE nor loses what is in the pipe.
type Stream struct {
	log  *Log
	name string // stdout, stderr.
	path string

	mu   sync.Mutex
	fd   int
	part []byte // A line without its end yet.
}

// OpenStream makes or reopens the pipe at path; uid owns it, so that a service of another user can open /dev/stdout.
func OpenStream(log *Log, name, path string, uid int) (*Stream, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	s := &Stream{log: log, name: name, path: path, fd: fd}
	return s, s.Own(uid)
}

// Own gives the pipe to a user.
func (s *Stream) Own(uid int) error {
	if uid < 0 || os.Geteuid() != 0 {
		return nil
	}
	return unix.Fchown(s.fd, uid, -1)
}

// Path is where a process of the unit opens it.
func (s *Stream) Path() string { return s.path }

// FD is for the poller.
func (s *Stream) FD() int { return s.fd }

// Read takes what is there, at most one buffer.
func (s *Stream) Read(buf []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read(buf)
}

func (s *Stream) read(buf []byte) int {
	if s.fd < 0 {
		return 0
	}
	n, err := unix.Read(s.fd, buf)
	if err != nil || n <= 0 {
		return 0
	}
	s.take(time.Now(), buf[:n])
	return n
}

// take cuts what was read into lines.
func (s *Stream) take(at time.Time, b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		line, rest := b, []byte(nil)
		if i >= 0 {
			line, rest = b[:i], b[i+1:]
		}
		s.part = append(s.part, line...)
		for len(s.part) > maxLine {
			s.log.Append(at, s.name, string(s.part[:maxLine]))
			s.part = append(s.part[:0], s.part[maxLine:]...)
		}
		if i >= 0 {
			s.log.Append(at, s.name, string(s.part))
			s.part = s.part[:0]
		}
		b = rest
	}
	if len(s.part) == 0 {
		s.part = nil // Idle units keep no buffer.
	}
}

// Flush takes everything that is in the pipe and ends a partial line: a run is over. buf is room to read into.
func (s *Stream) Flush(buf []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for total := 0; total < drainMax; {
		n := s.read(buf)
		if n == 0 {
			break
		}
		total += n
	}
	if len(s.part) > 0 {
		s.log.Append(time.Now(), s.name, string(s.part))
		s.part = nil
	}
}

// Close lets go of the pipe; it stays in the folder.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}
