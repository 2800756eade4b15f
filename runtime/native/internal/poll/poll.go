// Package poll waits for many file descriptors with one goroutine: the pipes of a thousand processes cost
// a thread and a buffer, not a goroutine each.
package poll

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Poller calls a function when its file descriptor can be read.
type Poller struct {
	epoll, wake int
	mu          sync.Mutex
	ready       map[int32]func()
	closed      bool
	done        chan struct{}
}

// New starts a poller.
func New() (*Poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(err, unix.Close(ep))
	}
	p := &Poller{epoll: ep, wake: wake, ready: map[int32]func(){}, done: make(chan struct{})}
	if err := p.Add(wake, func() {}); err != nil {
		return nil, err
	}
	go p.run()
	return p, nil
}

// Add calls f from the poller's goroutine whenever fd can be read, until Remove.
func (p *Poller) Add(fd int, f func()) error { return p.add(fd, unix.EPOLLIN, f) }

// Once calls f one time, when fd can be read or has ended; Remove is still due.
func (p *Poller) Once(fd int, f func()) error { return p.add(fd, unix.EPOLLIN|unix.EPOLLONESHOT, f) }

// Gone calls f one time, when fd hangs up; Remove is still due.
func (p *Poller) Gone(fd int, f func()) error { return p.add(fd, unix.EPOLLONESHOT, f) }

func (p *Poller) add(fd int, events uint32, f func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready[int32(fd)] = f
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		delete(p.ready, int32(fd))
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// Remove ends the calls; one may still be under way.
func (p *Poller) Remove(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.ready[int32(fd)]; ok {
		delete(p.ready, int32(fd))
		_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

func (p *Poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			p.mu.Lock()
			f, closed := p.ready[ev.Fd], p.closed
			p.mu.Unlock()
			if closed {
				return
			}
			if f != nil {
				f()
			}
		}
	}
}

// Close ends the poller and waits for its goroutine.
func (p *Poller) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-p.done
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.wake)
}
