package light

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"
)

// fault is what a link does to the frames of one direction.
type fault struct {
	Cut   bool          `json:",omitempty"`
	Loss  float64       `json:",omitempty"` // Of each hundred frames, at random.
	Delay time.Duration `json:",omitempty"`
}

// with adds another fault to one that a link has already; the stronger one holds.
func (f fault) with(other fault) fault {
	return fault{Cut: f.Cut || other.Cut, Loss: max(f.Loss, other.Loss), Delay: max(f.Delay, other.Delay)}
}

// lan is the switch that the hosts of a bed are connected to, with a link from each to each that may be at fault.
// It is in this process, not in the kernel: so every link has its own delay, and nothing but /dev/net/tun is needed.
type lan struct {
	mu    sync.RWMutex
	ports map[int]*os.File    // By number of the host.
	links map[[2]int]*fault   // From, to; only those with a fault.
	lanes map[[2]int]chan due // Frames that are on their way.
}

// due is a frame that arrives later.
type due struct {
	at    time.Time
	to    int
	frame []byte
}

// laneLength bounds the frames on a delayed link: what is more is lost, as on a real line.
const laneLength = 4096

// frameSize is the largest that a device with segmentation offload hands out, and its headers.
const frameSize = 70_000

// Layout of a frame: struct virtio_net_hdr, then Ethernet.
const (
	virtioHeader = 10
	etherHeader  = 14
	etherARP     = 0x0806
)

func newLAN() *lan {
	return &lan{ports: map[int]*os.File{}, links: map[[2]int]*fault{}, lanes: map[[2]int]chan due{}}
}

// plug connects a host's device; the lan closes it.
func (l *lan) plug(number int, nic *os.File) {
	l.mu.Lock()
	l.ports[number] = nic
	l.mu.Unlock()
	go l.carry(number, nic)
}

// unplug takes the host's device away, so that from now on nothing of it reaches anybody: no FIN, no RST.
func (l *lan) unplug(number int) {
	l.mu.Lock()
	nic := l.ports[number]
	delete(l.ports, number)
	l.mu.Unlock()
	if nic != nil {
		_ = nic.Close() // The device ends with it.
	}
}

// carry takes every frame of a host to where it goes, until the host is unplugged.
func (l *lan) carry(from int, nic *os.File) {
	buf := make([]byte, frameSize)
	for {
		n, err := nic.Read(buf)
		if err != nil {
			return
		}
		if n >= virtioHeader+etherHeader {
			l.route(from, buf[:n])
		}
	}
}

func (l *lan) route(from int, frame []byte) {
	ether := frame[virtioHeader:]
	const multicast = 1 // Of the first octet of an address (IEEE 802).
	l.mu.RLock()
	defer l.mu.RUnlock()
	if ether[0]&multicast == 0 {
		l.pass(from, numberOf(ether[:6]), frame)
		return
	}
	for to := range l.ports {
		if to != from {
			l.pass(from, to, frame)
		}
	}
}

// pass takes a frame over one link. ARP always arrives: a failed neighbour is not asked again for seconds, so a cut
// would last longer than its healing. The caller holds the lock.
func (l *lan) pass(from, to int, frame []byte) {
	link := l.links[[2]int{from, to}]
	if link == nil || binary.BigEndian.Uint16(frame[virtioHeader+12:]) == etherARP {
		l.deliver(to, frame)
		return
	}
	if link.Cut || rand.Float64()*100 < link.Loss {
		return
	}
	if link.Delay == 0 {
		l.deliver(to, frame)
		return
	}
	select {
	case l.lanes[[2]int{from, to}] <- due{time.Now().Add(link.Delay), to, append([]byte(nil), frame...)}:
	default: // Full.
	}
}

func (l *lan) deliver(to int, frame []byte) {
	if nic := l.ports[to]; nic != nil {
		_, _ = nic.Write(frame) // A frame that a host cannot take is lost.
	}
}

// fail puts a fault on a link, beside those that it has.
func (l *lan) fail(from, to int, f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := [2]int{from, to}
	if old := l.links[key]; old != nil {
		f = f.with(*old)
	}
	l.links[key] = &f
	if f.Delay > 0 && l.lanes[key] == nil {
		lane := make(chan due, laneLength)
		l.lanes[key] = lane
		go l.run(lane)
	}
}

// run delivers the frames of one delayed link in their order, until the bed ends.
func (l *lan) run(lane <-chan due) {
	for d := range lane {
		<-time.After(time.Until(d.at))
		l.mu.RLock()
		l.deliver(d.to, d.frame)
		l.mu.RUnlock()
	}
}

// heal takes every fault away. What is on its way arrives when it would have.
func (l *lan) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.links)
}

// announce tells all hosts that an address is this host's now (RFC 5227, section 3): they may know another's.
func (l *lan) announce(number int, address netip.Addr) {
	mac, ip := hardware(number), address.As4()
	frame := make([]byte, virtioHeader, virtioHeader+etherHeader+28)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, mac[:]...)
	frame = binary.BigEndian.AppendUint16(frame, etherARP)
	frame = append(frame, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, request (RFC 826).
	frame = append(frame, mac[:]...)
	frame = append(frame, ip[:]...)
	frame = append(frame, 0, 0, 0, 0, 0, 0)
	frame = append(frame, ip[:]...)
	l.route(number, frame)
}
