package light

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host is one machine of a bed. Its methods may be used by several goroutines.
type Host struct {
	Name      string
	MachineID string // As in its /etc/machine-id.

	bed    *Bed
	number int

	mu      sync.Mutex
	address string
}

// Address is the host's address now.
func (h *Host) Address() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.address
}

// Kill takes the host's power away. All its processes are gone, nothing of it is heard on the network, no FIN and no RST, and with
// an ext4 (Options.DiskMiB) everything that was not synced is lost.
func (h *Host) Kill() error { return h.do("kill") }

// On gives a killed host its power again: the same disk, machine id and address, another boot id. Nothing runs in it.
func (h *Host) On() error { return h.do("on") }

// Reboot is Kill and On: nothing is synced before.
func (h *Host) Reboot() error { return errors.Join(h.Kill(), h.On()) }

// Freeze stops every process of the host. Its kernel goes on: connections are accepted and data acknowledged,
// but nobody answers. Exec waits until the host is thawed.
func (h *Host) Freeze() error { return h.do("freeze") }

// Thaw lets a frozen host go on.
func (h *Host) Thaw() error { return h.do("thaw") }

// FillDisk takes all room on the host's disk: who writes there gets ENOSPC, also after a power loss.
func (h *Host) FillDisk() error { return h.do("fill") }

// FreeDisk undoes FillDisk.
func (h *Host) FreeDisk() error { return h.do("free") }

// ChangeIP gives the host another address, any of 10.0.0.0/8, and takes its old one away at once, as when a lease
// ends: its connections hear nothing any more. The /etc/hosts of all hosts follow.
func (h *Host) ChangeIP(address string) error {
	if err := h.bed.call("change the address of "+h.Name, request{Op: "address", Host: h.Name, Address: address}); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.address = address
	return nil
}

func (h *Host) do(op string) error {
	return h.bed.call(op+" "+h.Name, request{Op: op, Host: h.Name})
}

// Exec runs a command in the host to its end. The code is the exit status, 128 and the signal, or -1 with the
// error in stderr when it could not be run, or ctx ended, or the host lost its power. Processes that it leaves behind
// live on; what they write later is not waited for.
func (h *Host) Exec(ctx context.Context, argv ...string) (stdout, stderr string, code int) {
	return h.ExecInput(ctx, nil, argv...)
}

// ExecInput is Exec with a standard input.
func (h *Host) ExecInput(ctx context.Context, input []byte, argv ...string) (stdout, stderr string, code int) {
	in, err := inputFile(input)
	if err != nil {
		return "", err.Error(), -1
	}
	defer func() { _ = in.Close() }() // Only read.
	out, outEnd, err := newOutput()
	if err != nil {
		return "", err.Error(), -1
	}
	errs, errsEnd, err := newOutput()
	if err != nil {
		closeAll([]*os.File{outEnd})
		return "", err.Error(), -1
	}
	reply, err := h.bed.ask(request{Op: "exec", Host: h.Name, Argv: argv}, in, outEnd, errsEnd)
	closeAll([]*os.File{outEnd, errsEnd})
	if err != nil {
		return out.end(), errs.end() + err.Error(), -1
	}
	a, _, err := last(ctx, reply)
	out.expect()
	errs.expect()
	if err != nil {
		return out.end(), errs.end() + err.Error(), -1
	}
	return out.end(), errs.end(), a.Code
}

// inputFile is /dev/null without an input.
func inputFile(input []byte) (*os.File, error) {
	if input == nil {
		return os.Open(os.DevNull)
	}
	f, err := unnamedFile()
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(input, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// maxOutput bounds what is kept of a command's output; the rest is read and thrown away.
const maxOutput = 64 << 20

// leftBehind is how long output is still read after the command's end, when a process that it left behind could write.
const leftBehind = time.Second

// output collects what comes out of a pipe.
type output struct {
	r    *os.File
	buf  bytes.Buffer
	done chan struct{}
}

func newOutput() (o *output, end *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	// Our end alone does not block, so that a deadline ends its reads.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	o = &output{r: os.NewFile(uintptr(fds[0]), "output"), done: make(chan struct{})}
	go func() {
		defer close(o.done)
		if _, err := io.CopyN(&o.buf, o.r, maxOutput); err == nil {
			_, _ = io.Copy(io.Discard, o.r) // The writer must not wait for us.
		}
	}()
	return o, os.NewFile(uintptr(fds[1]), "input"), nil
}

// expect says that the command has ended.
func (o *output) expect() {
	_ = o.r.SetReadDeadline(time.Now().Add(leftBehind)) // A pipe takes one.
}

func (o *output) end() string {
	<-o.done
	_ = o.r.Close() // Read.
	return o.buf.String()
}

// Process is a command that runs in a host, in the background.
type Process struct {
	PID  int // As the host numbers it.
	host *Host
	log  *os.File
	done chan struct{}
	code int
	err  error // Why there is no code.
}

// Start runs a command in the background. What it writes, to either output, is kept outside of the host and so is there after a
// power loss: see Output. The process ends with the host's power, the bed, or a Signal.
func (h *Host) Start(argv ...string) (*Process, error) {
	p := &Process{host: h, done: make(chan struct{})}
	err := p.start(argv)
	if err != nil {
		return nil, h.bed.report(fmt.Sprintf("start %v in %s", argv, h.Name), err)
	}
	h.bed.keep(p)
	return p, nil
}

func (p *Process) start(argv []string) error {
	log, err := unnamedFile()
	if err != nil {
		return err
	}
	p.log = log
	in, err := inputFile(nil)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	defer func() { _ = in.Close() }() // Only read.
	reply, err := p.host.bed.ask(request{Op: "exec", Host: p.host.Name, Argv: argv}, in, log, log)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	if err := reply.SetReadDeadline(time.Now().Add(callTimeout)); err != nil {
		return errors.Join(err, reply.Close(), log.Close())
	}
	var started answer
	_, err = receive(reply, &started)
	if err == nil && started.Err != "" {
		err = errors.New(started.Err)
	}
	if err := errors.Join(err, reply.SetReadDeadline(time.Time{})); err != nil {
		return errors.Join(err, reply.Close(), log.Close())
	}
	p.PID = started.PID
	go func() {
		defer close(p.done)
		var a answer
		a, _, p.err = last(context.Background(), reply)
		p.code = a.Code
	}()
	return nil
}

// Done is closed when the process has ended, or its host has no power any more.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end. The code is as Exec's; an error says that the host lost its power, or that ctx ended.
func (p *Process) Wait(ctx context.Context) (code int, err error) {
	select {
	case <-p.done:
		return p.code, p.err
	case <-ctx.Done():
		return -1, ctx.Err()
	}
}

// Signal sends a signal to the process, and to none of its children.
func (p *Process) Signal(s syscall.Signal) error {
	return p.host.bed.call(fmt.Sprintf("signal %d in %s", p.PID, p.host.Name), request{Op: "signal", Host: p.host.Name, PID: p.PID, Signal: int(s)})
}

// Output is everything that the process, and its children, have written so far.
func (p *Process) Output() string { return string(content(p.log)) }

// InNetwork calls f where sockets are the host's: what f opens stays in the host's network, also after f. Only calls of the
// goroutine that f runs in count; a dialer has to have FallbackDelay -1 and an address, not a name.
// Such sockets belong to this process: they live on when the host is frozen or loses its power, but hear nothing then.
func (h *Host) InNetwork(ctx context.Context, f func() error) error {
	reply, err := h.bed.ask(request{Op: "network", Host: h.Name})
	if err != nil {
		return err
	}
	_, files, err := last(ctx, reply)
	if err != nil {
		return err
	}
	defer closeAll(files)
	if len(files) != 1 {
		return fmt.Errorf("%d files instead of a network", len(files))
	}
	return inNetwork(files[0], f)
}

// Dial connects from the host, as a program in it would: to its own 127.0.0.1, to another host's address.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var c net.Conn
	err := h.InNetwork(ctx, func() (err error) {
		d := net.Dialer{FallbackDelay: -1} // One attempt at a time: a second one would be made by another thread.
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}
