package light

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// holder is PID 1 of a bed: in its namespaces lie the hosts with their disks and devices, and the switch between them
// is in its memory. When it ends, in whatever way, the kernel takes it all.
type holder struct {
	name    string // Of the bed.
	procs   *procs
	cgroups *cgroups
	lan     *lan

	mu     sync.Mutex // Guards guests and their addresses.
	guests map[string]*guest
}

// work is where a bed's own tmpfs lies in its mount namespace: a folder that every machine has and no bed needs.
const work = "/run"

// namesFile becomes every host's /etc/hosts.
const namesFile = work + "/hosts"

// maxCalls bounds the requests that are served at once.
const maxCalls = 256

// control is the descriptor that a holder, and PID 1 of a host, is given its requests on.
const control = 3

// hold is the life of a holder: until the owner of the bed ends.
func hold(name string) error {
	conn, err := connOf(os.NewFile(control, "control"))
	if err != nil {
		return err
	}
	h := &holder{name: name, procs: newProcs(), lan: newLAN(), guests: map[string]*guest{}}
	if err := h.prepare(); err != nil {
		return errors.Join(err, send(conn, answer{Err: err.Error(), Done: true}))
	}
	if err := send(conn, answer{Done: true}); err != nil {
		return err
	}
	serving := make(chan struct{}, maxCalls)
	for {
		var r request
		files, err := receive(conn, &r)
		if err != nil {
			ended := h.end()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, ended)
		}
		serving <- struct{}{}
		go func() {
			h.serve(r, files)
			<-serving
		}()
	}
}

func (h *holder) prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", work, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", work, err)
	}
	if err := makeTunNode(); err != nil {
		return err
	}
	if err := os.WriteFile(namesFile, []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		return err
	}
	var err error
	h.cgroups, err = newCgroups(h.name)
	return err
}

// end kills every host and takes away what the kernel would leave: the cgroups.
func (h *holder) end() error {
	h.mu.Lock()
	guests := make([]*guest, 0, len(h.guests))
	for _, g := range h.guests {
		guests = append(guests, g)
	}
	h.mu.Unlock()
	errs := make([]error, len(guests))
	var wg sync.WaitGroup
	for i, g := range guests {
		wg.Go(func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.on {
				errs[i] = h.cutPower(g)
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, h.cgroups.remove(""))...)
}

// serve carries one request out. The first of the files is where the answer goes.
func (h *holder) serve(r request, files []*os.File) {
	defer closeAll(files)
	if len(files) == 0 {
		return
	}
	if r.Op == "exec" || r.Op == "signal" {
		g, err := h.guest(r.Host)
		if err == nil {
			err = g.forward(r, files)
		}
		if err == nil {
			return // The host answers.
		}
		h.reply(files, func(c *net.UnixConn) error { return send(c, answer{Err: err.Error(), Done: true}) })
		return
	}
	if r.Op == "network" {
		h.reply(files, func(c *net.UnixConn) error {
			g, err := h.guest(r.Host)
			if err == nil {
				err = g.withPower(func() error { return send(c, answer{Done: true}, g.netns) })
			}
			if err != nil {
				return send(c, answer{Err: err.Error(), Done: true})
			}
			return nil
		})
		return
	}
	done := answer{Done: true}
	if err := h.do(r); err != nil {
		done.Err = err.Error()
	}
	h.reply(files, func(c *net.UnixConn) error { return send(c, done) })
}

func (h *holder) reply(files []*os.File, say func(*net.UnixConn) error) {
	fd, err := unix.FcntlInt(files[0].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	c, err := connOf(os.NewFile(uintptr(fd), "reply"))
	if err != nil {
		return
	}
	_ = say(c)    // The caller may have gone.
	_ = c.Close() // Said.
}

func (h *holder) guest(name string) (*guest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.guests[name]; g != nil {
		return g, nil
	}
	return nil, fmt.Errorf("no host %q", name)
}

func (h *holder) do(r request) error {
	switch r.Op {
	case "up":
		return h.up(r.Spec)
	case "link":
		return h.link(r.Pairs, r.Fault)
	case "heal":
		h.lan.heal()
		return nil
	}
	g, err := h.guest(r.Host)
	if err != nil {
		return err
	}
	switch r.Op {
	case "on":
		return h.powerOn(g)
	case "kill":
		return h.powerOff(g)
	case "freeze":
		return g.withPower(func() error { return h.cgroups.freeze(r.Host, true) })
	case "thaw":
		return g.withPower(func() error { return h.cgroups.freeze(r.Host, false) })
	case "address":
		return h.changeAddress(g, r.Address)
	case "fill":
		return g.withPower(g.disk.takeRoom)
	case "free":
		return g.withPower(g.disk.giveRoom)
	default:
		return fmt.Errorf("unknown operation %q", r.Op)
	}
}

func (h *holder) up(s *spec) error {
	if s == nil {
		return errors.New("no host described")
	}
	dir := filepath.Join(work, h.name, s.Name)
	g := &guest{spec: *s, disk: &disk{dir: dir, mib: s.Options.DiskMiB, procs: h.procs}}
	h.mu.Lock()
	if h.guests[s.Name] != nil {
		h.mu.Unlock()
		return fmt.Errorf("there is a host %s already", s.Name)
	}
	h.guests[s.Name] = g
	h.mu.Unlock()
	if err := h.writeNames(); err != nil {
		return err
	}
	return h.powerOn(g)
}

func (h *holder) link(pairs [][2]string, f *fault) error {
	if f == nil {
		return errors.New("no fault described")
	}
	for _, p := range pairs {
		from, err := h.guest(p[0])
		if err != nil {
			return err
		}
		to, err := h.guest(p[1])
		if err != nil {
			return err
		}
		h.lan.fail(from.spec.Number, to.spec.Number, *f)
	}
	return nil
}

// writeNames writes the hosts' /etc/hosts, in place: it is mounted in each of them.
func (h *holder) writeNames() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := []string{"127.0.0.1 localhost"}
	for name, g := range h.guests {
		lines = append(lines, g.spec.Address+" "+name)
	}
	slices.Sort(lines)
	return os.WriteFile(namesFile, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}
