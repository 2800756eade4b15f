// Package light gives tests many hosts in a fraction of a second: each in namespaces of its own, with an address, a disk, a process
// tree and resource groups, and every fault that a test may want: power loss, a freeze, a cut, a one-way cut, loss, delay,
// another address, a full disk. There is no systemd in them (see package hosttest for such hosts).
//
// All hosts of a bed live in the namespaces of one process, its holder, and end with it. The holder ends when its owner
// does, also by kill -9. Nothing of a bed has a name on the machine but its cgroups, so that beds do not see each other.
//
// The processes of a bed are the calling binary again: its main or TestMain begins with Entry.
package light

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Options of the hosts of a bed.
type Options struct {
	// DiskMiB is the size of each host's own ext4. Choose one where power loss is the subject: with 0 the disk
	// is a tmpfs of 256 MiB, which loses nothing.
	DiskMiB int
	// MemoryMiB and CPUs limit a host, and all that runs in it, together; 0 is no limit.
	MemoryMiB int
	CPUs      float64
	// Binds shows files and folders of this machine in every host, read-only: outside path -> inside path.
	Binds map[string]string
}

// Bed is a network of hosts. Its methods may be used by several goroutines. When a bed belongs to a test, an error that
// a method returns also fails the test.
type Bed struct {
	fail func(error)
	opts Options
	name string
	cmd  *exec.Cmd
	log  *os.File // What the holder and the hosts' PID 1 say.
	conn *net.UnixConn
	gone chan struct{} // Closed when the holder has ended.

	mu    sync.Mutex
	hosts []*Host
	kept  []*Process // Whose output is shown if the test fails.
	ended bool
}

const (
	startTimeout = 60 * time.Second  // Of a holder, on a busy machine.
	callTimeout  = 120 * time.Second // Of one operation on a bed.
	endTimeout   = 30 * time.Second  // Of a bed with all its hosts.
)

// maxHosts of one bed.
const maxHosts = 250

// upAtOnce bounds the hosts that boot at the same time.
const upAtOnce = 6

// New makes a bed without hosts. It needs root.
func New(o Options) (*Bed, error) {
	if err := possible(o); err != nil {
		return nil, err
	}
	var err error
	if o.Binds, err = resolve(o.Binds); err != nil {
		return nil, err
	}
	sweep()
	b := &Bed{opts: o, fail: func(error) {}, gone: make(chan struct{}), name: cgroupPrefix + random(6)}
	if err := b.start(); err != nil {
		return nil, err
	}
	return b, nil
}

// possible says what a bed lacks on this machine.
func possible(o Options) error {
	if os.Getuid() != 0 {
		return errors.New("hosts need root")
	}
	if !exists("/dev/net/tun") && !exists("/sys/class/misc/tun") {
		return errors.New("hosts need a kernel with tun devices, and there is no /dev/net/tun")
	}
	if o.DiskMiB > 0 {
		if _, err := exec.LookPath("mke2fs"); err != nil {
			return errors.New("hosts with a disk need mke2fs: apt-get install e2fsprogs")
		}
		if _, err := os.Stat("/dev/loop-control"); err != nil {
			return fmt.Errorf("hosts with a disk need loop devices: %w", err)
		}
	}
	return nil
}

// resolve follows links here: /proc/self/exe is another file in a host.
func resolve(binds map[string]string) (map[string]string, error) {
	real := make(map[string]string, len(binds))
	for from, to := range binds {
		path, err := filepath.EvalSymlinks(from)
		if err != nil {
			return nil, fmt.Errorf("bind: %w", err)
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		real[path] = to
	}
	return real, nil
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // Never fails (crypto/rand).
	return hex.EncodeToString(b)
}

func (b *Bed) start() error {
	conn, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer func() { _ = theirs.Close() }() // The holder has its own.
	b.conn = conn
	if b.log, err = unnamedFile(); err != nil {
		return errors.Join(err, conn.Close())
	}
	b.cmd = exec.Command("/proc/self/exe") //nolint:noctx // It lives until the bed is down, or its owner ends.
	b.cmd.Args = []string{holderArg, b.name}
	b.cmd.Dir = "/"
	b.cmd.Env = os.Environ()
	if os.Getenv("GORACE") == "" {
		b.cmd.Env = append(b.cmd.Env, "GORACE=atexit_sleep_ms=0") // A bed under the race detector ends at once too.
	}
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.ExtraFiles = []*os.File{theirs}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: namespaces}
	if err := b.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start a holder: %w", err), conn.Close(), b.log.Close())
	}
	go func() {
		_ = b.cmd.Wait() // Its log says why.
		close(b.gone)
	}()
	_ = theirs.Close() // Ours: else its end would not be seen.
	if err := waitReady(conn, startTimeout); err != nil {
		return errors.Join(fmt.Errorf("the bed does not start: %w\n%s", err, content(b.log)), b.Down())
	}
	return nil
}

// Up adds n hosts and returns them when they are ready. They are named h1, h2 … and have the addresses 10.77.0.1, 10.77.0.2 ….
func (b *Bed) Up(n int) ([]*Host, error) {
	b.mu.Lock()
	first := len(b.hosts)
	if n < 1 || first+n > maxHosts {
		b.mu.Unlock()
		return nil, b.report("up", fmt.Errorf("%d hosts more than %d: at most %d", n, first, maxHosts))
	}
	for i := range n {
		number := first + i + 1
		b.hosts = append(b.hosts, &Host{bed: b, Name: "h" + strconv.Itoa(number), number: number, address: fmt.Sprintf("10.77.0.%d", number), MachineID: random(16)})
	}
	added := b.hosts[first:len(b.hosts):len(b.hosts)]
	b.mu.Unlock()
	errs := make([]error, n)
	slots := make(chan struct{}, upAtOnce)
	var all sync.WaitGroup
	for i, h := range added {
		all.Go(func() {
			slots <- struct{}{}
			errs[i] = b.call("up "+h.Name, request{Op: "up", Spec: &spec{Name: h.Name, Number: h.number, Address: h.Address(), MachineID: h.MachineID, Options: b.opts}})
			<-slots
		})
	}
	all.Wait()
	return added, errors.Join(errs...)
}

// Hosts are all that were brought up, also those without power.
func (b *Bed) Hosts() []*Host {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*Host(nil), b.hosts...)
}

// Name is what the bed's processes and cgroups are called on the machine.
func (b *Bed) Name() string { return b.name }

// Cut loses all packets between two hosts, both ways. Connections stay open and hear nothing. ARP passes.
func (b *Bed) Cut(x, y *Host) error {
	return b.link("cut", both(x, y), fault{Cut: true})
}

// CutOneWay loses the packets from one host to the other; those that come back arrive.
func (b *Bed) CutOneWay(from, to *Host) error {
	return b.link("cut one way", [][2]string{{from.Name, to.Name}}, fault{Cut: true})
}

// Split cuts every host of one group from every host of the other.
func (b *Bed) Split(one, other []*Host) error {
	var pairs [][2]string
	for _, x := range one {
		for _, y := range other {
			pairs = append(pairs, both(x, y)...)
		}
	}
	return b.link("split", pairs, fault{Cut: true})
}

// Isolate cuts a host from all others that the bed has now.
func (b *Bed) Isolate(h *Host) error {
	var others []*Host
	for _, o := range b.Hosts() {
		if o != h {
			others = append(others, o)
		}
	}
	return b.Split([]*Host{h}, others)
}

// Loss loses a share of the packets between two hosts, in each direction, at random: 0 to 100 percent. What the kernel sends in
// one piece, up to 64 KiB of a connection, is lost in one piece.
func (b *Bed) Loss(x, y *Host, percent float64) error {
	return b.link("loss", both(x, y), fault{Loss: percent})
}

// Delay makes packets between two hosts arrive later, in each direction: a round trip takes twice as much longer.
func (b *Bed) Delay(x, y *Host, d time.Duration) error {
	return b.link("delay", both(x, y), fault{Delay: d})
}

// Heal takes every fault of the network away.
func (b *Bed) Heal() error { return b.call("heal", request{Op: "heal"}) }

func both(x, y *Host) [][2]string { return [][2]string{{x.Name, y.Name}, {y.Name, x.Name}} }

// pairsAtOnce keeps a request below maxMessage.
const pairsAtOnce = 1000

func (b *Bed) link(what string, pairs [][2]string, f fault) error {
	for len(pairs) > 0 {
		n := min(len(pairs), pairsAtOnce)
		if err := b.call(what, request{Op: "link", Pairs: pairs[:n], Fault: &f}); err != nil {
			return err
		}
		pairs = pairs[n:]
	}
	return nil
}

// Down ends every host and the bed. It may be called again.
func (b *Bed) Down() error {
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return nil
	}
	b.ended = true
	b.mu.Unlock()
	err := b.conn.Close()
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-b.gone:
	case <-timer.C:
		err = errors.Join(err, errors.New("the bed does not end and is killed"), b.cmd.Process.Kill())
		<-b.gone
		sweep()
	}
	if state := b.cmd.ProcessState; !state.Success() {
		err = errors.Join(err, fmt.Errorf("the bed's holder ended with %s: %s", state, content(b.log)))
	}
	return b.report("down", errors.Join(err, b.log.Close()))
}

// maxKept bounds the processes whose output is kept open for a failed test.
const maxKept = 1000

func (b *Bed) keep(p *Process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.kept) < maxKept {
		b.kept = append(b.kept, p)
	}
}

// report names the operation and lets the test know.
func (b *Bed) report(what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", what, err)
	b.fail(err)
	return err
}

// call asks the holder and waits for the last answer.
func (b *Bed) call(what string, r request) error {
	reply, err := b.ask(r)
	if err != nil {
		return b.report(what, err)
	}
	err = reply.SetReadDeadline(time.Now().Add(callTimeout))
	if err == nil {
		var files []*os.File
		_, files, err = drain(reply)
		closeAll(files)
	}
	return b.report(what, errors.Join(err, reply.Close()))
}

// ask sends a request; the answers come out of the connection.
func (b *Bed) ask(r request, files ...*os.File) (*net.UnixConn, error) {
	reply, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	err = send(b.conn, r, append([]*os.File{theirs}, files...)...)
	if err := errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("the bed is down: %w", err), reply.Close())
	}
	return reply, nil
}

// last is drain until ctx ends; it closes the connection.
func last(ctx context.Context, reply *net.UnixConn) (answer, []*os.File, error) {
	stop := context.AfterFunc(ctx, func() { _ = reply.Close() }) // The read ends with it.
	a, files, err := drain(reply)
	if !stop() {
		closeAll(files)
		return a, nil, ctx.Err()
	}
	return a, files, errors.Join(err, reply.Close())
}

// drain reads answers to the last one.
func drain(reply *net.UnixConn) (answer, []*os.File, error) {
	for {
		var a answer
		files, err := receive(reply, &a)
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return a, nil, errPowerLoss
		}
		if err != nil {
			return a, nil, err
		}
		if a.Err != "" {
			closeAll(files)
			return a, nil, errors.New(a.Err)
		}
		if a.Done {
			return a, files, nil
		}
		closeAll(files)
	}
}

var errPowerLoss = errors.New("the host, or its bed, ended before it answered")
