package light

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// short is how long a test waits for what is not to happen. A slow machine makes such a test weaker, never red.
const short = 300 * time.Millisecond

// echo serves in the host: what comes is sent back.
func echo(t *testing.T, h *Host) {
	t.Helper()
	var l net.Listener
	must(t, h.InNetwork(t.Context(), func() (err error) {
		l, err = net.Listen("tcp4", ":7")
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

// reaches says whether a new connection from one host to the other carries a byte there and back.
func reaches(t *testing.T, from, to *Host, wait time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	c, err := from.Dial(ctx, "tcp4", to.Address()+":7")
	if err != nil {
		return false
	}
	defer c.Close()
	return speaks(c, wait)
}

// speaks says whether a byte goes there and back.
func speaks(c net.Conn, wait time.Duration) bool {
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err == nil
}

const long = 20 * time.Second

func TestCutAndHeal(t *testing.T) {
	b := Hosts(t, 3, Options{})
	h := b.Hosts()
	for _, x := range h {
		echo(t, x)
	}
	open, err := h[0].Dial(t.Context(), "tcp4", h[1].Address()+":7")
	must(t, err)
	defer open.Close()
	if !speaks(open, long) {
		t.Fatal("h1 does not reach h2")
	}
	must(t, b.Cut(h[0], h[1]))
	if reaches(t, h[0], h[1], short) || reaches(t, h[1], h[0], short) {
		t.Error("a new connection passes a cut")
	}
	if speaks(open, short) {
		t.Error("an open connection passes a cut")
	}
	if !reaches(t, h[0], h[2], long) || !reaches(t, h[2], h[1], long) {
		t.Error("the third host is cut off too")
	}
	must(t, b.Heal())
	if !reaches(t, h[0], h[1], long) {
		t.Error("not healed")
	}
	_ = open.SetDeadline(time.Now().Add(long))
	if _, err := io.ReadFull(open, make([]byte, 1)); err != nil {
		t.Errorf("the open connection does not deliver what was on its way: %v", err)
	}
	must(t, b.Isolate(h[2]))
	if reaches(t, h[2], h[0], short) || reaches(t, h[1], h[2], short) || !reaches(t, h[0], h[1], long) {
		t.Error("not isolated, or too much")
	}
}

// listenUDP opens a socket in the host.
func listenUDP(t *testing.T, h *Host) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	must(t, h.InNetwork(t.Context(), func() (err error) {
		c, err = net.ListenPacket("udp4", h.Address()+":9")
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// arrive counts how many of n datagrams arrive. They are sent some at a time, so that no queue is too short.
func arrive(t *testing.T, from, to *Host, n int) int {
	t.Helper()
	out, in := listenUDP(t, from), listenUDP(t, to)
	defer out.Close()
	defer in.Close()
	addr, err := net.ResolveUDPAddr("udp4", to.Address()+":9")
	must(t, err)
	got := 0
	read := func(wait time.Duration) {
		for {
			_ = in.SetReadDeadline(time.Now().Add(wait))
			if _, _, err := in.ReadFrom(make([]byte, 64)); err != nil {
				return
			}
			got++
		}
	}
	const batch = 50
	for i := range n {
		_, err := out.WriteTo([]byte(strconv.Itoa(i)), addr)
		must(t, err)
		if i%batch == batch-1 {
			read(10 * time.Millisecond)
		}
	}
	read(2 * short)
	return got
}

func TestOneWayAndLoss(t *testing.T) {
	b := Hosts(t, 2, Options{})
	x, y := b.Hosts()[0], b.Hosts()[1]
	if got := arrive(t, x, y, 20); got != 20 {
		t.Fatalf("%d of 20 arrive without a fault", got)
	}
	must(t, b.CutOneWay(x, y))
	if got := arrive(t, x, y, 20); got != 0 {
		t.Errorf("%d of 20 arrive against the cut", got)
	}
	if got := arrive(t, y, x, 20); got != 20 {
		t.Errorf("%d of 20 arrive where nothing is cut", got)
	}
	must(t, b.Heal())
	must(t, b.Loss(x, y, 40))
	// 500 of which 60 % arrive: 300, and six standard deviations of 11.
	if got := arrive(t, x, y, 500); got < 234 || got > 366 {
		t.Errorf("%d of 500 arrive with a loss of 40 %%", got)
	}
	must(t, b.Heal())
	if got := arrive(t, x, y, 20); got != 20 {
		t.Errorf("%d of 20 arrive after healing", got)
	}
}

func TestDelay(t *testing.T) {
	b := Hosts(t, 2, Options{})
	x, y := b.Hosts()[0], b.Hosts()[1]
	echo(t, y)
	c, err := x.Dial(t.Context(), "tcp4", y.Address()+":7")
	must(t, err)
	defer c.Close()
	trip := func() time.Duration {
		began := time.Now()
		if !speaks(c, long) {
			t.Fatal("nothing comes back")
		}
		return time.Since(began)
	}
	t.Logf("round trip without a delay: %v", trip())
	const delay = 50 * time.Millisecond
	must(t, b.Delay(x, y, delay))
	if got := trip(); got < 2*delay {
		t.Errorf("a round trip of %v with %v each way", got, delay)
	} else {
		t.Logf("round trip with %v each way: %v", delay, got)
	}
	// Much goes through, in its order, also when it waits.
	const size = 1 << 20
	_ = c.SetDeadline(time.Now().Add(long))
	go func() { _, _ = c.Write(make([]byte, size)) }()
	if n, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Errorf("%d of %d bytes: %v", n, size, err)
	}
}

func TestThroughput(t *testing.T) {
	b := Hosts(t, 2, Options{})
	x, y := b.Hosts()[0], b.Hosts()[1]
	echo(t, y)
	c, err := x.Dial(t.Context(), "tcp4", y.Address()+":7")
	must(t, err)
	defer c.Close()
	const size = 50 << 20
	began := time.Now()
	go func() { _, _ = c.Write(make([]byte, size)) }()
	if n, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Fatalf("%d of %d bytes: %v", n, size, err)
	}
	t.Logf("%d MiB there and back in %v", size>>20, time.Since(began).Round(time.Millisecond))
}

// knows says whether a host has the other's device for an address in its ARP table.
func knows(t *testing.T, who *Host, address string, whose *Host) bool {
	t.Helper()
	mac := hardware(whose.number)
	for line := range strings.Lines(who.Run(t, "cat", "/proc/net/arp")) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == address && f[3] == net.HardwareAddr(mac[:]).String() {
			return true
		}
	}
	return false
}

func TestChangeIP(t *testing.T) {
	b := Hosts(t, 3, Options{})
	x, y, z := b.Hosts()[0], b.Hosts()[1], b.Hosts()[2]
	echo(t, y)
	old := y.Address()
	if !reaches(t, z, y, long) || !knows(t, z, old, y) {
		t.Fatal("z does not know y")
	}
	open, err := x.Dial(t.Context(), "tcp4", old+":7")
	must(t, err)
	defer open.Close()
	must(t, y.ChangeIP("10.99.3.4"))
	if !reaches(t, x, y, long) {
		t.Error("the new address does not answer")
	}
	if speaks(open, short) {
		t.Error("the old connection goes on")
	}
	if got := x.Run(t, "cat", "/etc/hosts"); got != "10.77.0.1 h1\n10.77.0.3 h3\n10.99.3.4 h2\n127.0.0.1 localhost\n" {
		t.Errorf("/etc/hosts: %q", got)
	}
	// Another host takes the old address over, and who knew it learns that without asking.
	must(t, x.ChangeIP(old))
	eventually(t, "z knows that the address is x's now", func() bool { return knows(t, z, old, x) })
	echo(t, x)
	if !reaches(t, y, x, long) || !reaches(t, z, x, long) {
		t.Error("a taken over address does not answer")
	}
	must(t, y.Reboot())
	echo(t, y)
	if !reaches(t, x, y, long) {
		t.Error("the new address is lost with the power")
	}
	fails := 0
	b.fail = func(error) { fails++ }
	if err := y.ChangeIP("192.0.2.1"); err == nil || fails != 1 {
		t.Errorf("an address outside of 10.0.0.0/8: %v, the test failed %d times", err, fails)
	}
}

// A host that loses its power says nothing: who is connected waits, and does not get an end.
func TestPowerLossIsSilent(t *testing.T) {
	b := Hosts(t, 2, Options{Binds: map[string]string{"/proc/self/exe": "/opt/test"}})
	x, y := b.Hosts()[0], b.Hosts()[1]
	var l net.Listener
	must(t, x.InNetwork(t.Context(), func() (err error) {
		l, err = net.Listen("tcp4", ":7")
		return err
	}))
	defer l.Close()
	_, err := y.Start("bash", "-c", "exec 3<>/dev/tcp/"+x.Address()+"/7; echo hello >&3; read -u 3")
	must(t, err)
	c, err := l.Accept()
	must(t, err)
	defer c.Close()
	buf := make([]byte, 6)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello\n" {
		t.Fatalf("%q, %v", buf, err)
	}
	must(t, y.Kill())
	_ = c.SetReadDeadline(time.Now().Add(short))
	var timeout net.Error
	if _, err := c.Read(buf); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("the death of the other side is heard: %v", err)
	}
}
