package light

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guest is a host as its holder sees it. Its machine id, disk and place on the network outlast its power.
type guest struct {
	mu   sync.Mutex // Power on and off, one after the other.
	spec spec
	disk *disk

	on     bool
	pid    int // Its PID 1, as the bed numbers it.
	conn   *net.UnixConn
	status <-chan syscall.WaitStatus
	netns  *os.File
}

const (
	namespaces   = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
	bootTimeout  = 60 * time.Second // Until a host's PID 1 is ready, on a busy machine.
	deathTimeout = 20 * time.Second // Until the kernel has ended a host's processes.

	forwardTimeout = 10 * time.Second // Until a host has room for one more request.
)

// powerOn boots the host.
func (h *holder) powerOn(g *guest) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.on {
		return fmt.Errorf("%s is on", g.spec.Name)
	}
	if err := g.disk.mount(); err != nil {
		return errors.Join(err, g.disk.unmount())
	}
	g.on = true
	if err := h.boot(g); err != nil {
		return errors.Join(err, h.cutPower(g))
	}
	return nil
}

func (h *holder) boot(g *guest) error {
	conn, theirs, err := socketPair()
	if err != nil {
		return err
	}
	g.conn = conn
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, theirs.Close())
	}
	argv := []string{hostArg, g.spec.Name, h.name}
	g.pid, g.status, err = h.procs.startPath("/proc/self/exe", argv, os.Environ(), []*os.File{null, os.Stderr, os.Stderr, theirs},
		&syscall.SysProcAttr{Setsid: true, Cloneflags: namespaces})
	closeAll([]*os.File{null, theirs})
	if err != nil {
		return err
	}
	if err := h.cgroups.add(g.spec.Name, g.pid, g.spec.Options); err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	if err := h.plugIn(g); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	g.spec.BootID = newBootID()
	// The first message says that the cgroups are right, the second what to become.
	if err := errors.Join(send(conn, request{Op: "go"}), send(conn, g.spec)); err != nil {
		return err
	}
	return waitReady(conn, bootTimeout)
}

func waitReady(conn *net.UnixConn, timeout time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	var ready answer
	if _, err := receive(conn, &ready); err != nil {
		return fmt.Errorf("its PID 1 is not ready: %w", err)
	}
	if ready.Err != "" {
		return errors.New(ready.Err)
	}
	return nil
}

func (h *holder) plugIn(g *guest) error {
	address, err := parseAddress(g.spec.Address)
	if err != nil {
		return err
	}
	if g.netns, err = os.Open(filepath.Join("/proc", strconv.Itoa(g.pid), "ns/net")); err != nil {
		return err
	}
	var nic *os.File
	err = inNetwork(g.netns, func() (err error) {
		nic, err = newNIC(g.spec.Number, address)
		return err
	})
	if err != nil {
		return err
	}
	h.lan.plug(g.spec.Number, nic)
	h.lan.announce(g.spec.Number, address)
	return nil
}

// powerOff takes the host's power: its cable first, so that nobody hears it die, then its disk, while its processes
// stand still, then those.
func (h *holder) powerOff(g *guest) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.on {
		return fmt.Errorf("%s is off", g.spec.Name)
	}
	return h.cutPower(g)
}

func (h *holder) cutPower(g *guest) error {
	h.lan.unplug(g.spec.Number)
	_ = h.cgroups.freeze(g.spec.Name, true) // No process sees its disk go; if one cannot be stopped, it does.
	errs := []error{g.disk.cutPower(), h.cgroups.kill(g.spec.Name)}
	if g.status != nil {
		if err := syscall.Kill(g.pid, syscall.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, err)
		}
		timer := time.NewTimer(deathTimeout)
		defer timer.Stop()
		select {
		case <-g.status:
		case <-timer.C:
			errs = append(errs, fmt.Errorf("the processes of %s do not end", g.spec.Name))
		}
		g.status = nil
	}
	if g.conn != nil {
		errs = append(errs, g.conn.Close())
		g.conn = nil
	}
	if g.netns != nil {
		errs = append(errs, g.netns.Close())
		g.netns = nil
	}
	errs = append(errs, g.disk.unmount(), h.cgroups.remove(g.spec.Name))
	g.on = false
	return errors.Join(errs...)
}

// changeAddress gives the host another address, as a new lease would.
func (h *holder) changeAddress(g *guest, text string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	address, err := parseAddress(text)
	if err != nil {
		return err
	}
	if g.on {
		if err := inNetwork(g.netns, func() error { return changeAddress(address) }); err != nil {
			return err
		}
		h.lan.announce(g.spec.Number, address)
	}
	h.setAddress(g, address)
	return h.writeNames()
}

func (h *holder) setAddress(g *guest, a netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g.spec.Address = a.String()
}

// forward hands a request to the host's PID 1, which answers by itself.
func (g *guest) forward(r request, files []*os.File) error {
	return g.withPower(func() error {
		// A frozen host takes requests until its socket is full.
		if err := g.conn.SetWriteDeadline(time.Now().Add(forwardTimeout)); err != nil {
			return err
		}
		if err := send(g.conn, r, files...); err != nil {
			return fmt.Errorf("%s does not take a request: %w", g.spec.Name, err)
		}
		return nil
	})
}

// withPower does something that the host must not lose its power during.
func (g *guest) withPower(do func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.on {
		return fmt.Errorf("%s is off", g.spec.Name)
	}
	return do()
}

// newBootID is a random UUID, as /proc/sys/kernel/random/boot_id holds one.
func newBootID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // Never fails (crypto/rand).
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	x := hex.EncodeToString(b[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}
