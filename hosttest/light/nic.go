package light

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nicName is the name of a host's network device, in the host.
const nicName = "eth0"

// prefixBits: all of 10.0.0.0/8 is one network without a way out, so a host may change to any address in it.
const prefixBits = 8

// inNetwork calls f on a thread that is in another network namespace: what it opens belongs there, also afterwards.
func inNetwork(ns *os.File, f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody else gets its network.
		runtime.LockOSThread()
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// hardware is the MAC address of a host: locally administered, with the host's number at the end.
func hardware(number int) [6]byte {
	return [6]byte{0x02, 'a', 'r', 'g', byte(number >> 8), byte(number)}
}

// numberOf is the host that a MAC address belongs to.
func numberOf(mac []byte) int { return int(binary.BigEndian.Uint16(mac[4:6])) }

// tunNode is the holder's own /dev/net/tun: in a container the machine's may be missing.
const tunNode = work + "/tun"

// Numbers of /dev/net/tun (Documentation/networking/tuntap.rst).
const (
	tunMajor = 10
	tunMinor = 200
)

func makeTunNode() error {
	if err := unix.Mknod(tunNode, unix.S_IFCHR|0o600, int(unix.Mkdev(tunMajor, tunMinor))); err != nil {
		return fmt.Errorf("make %s: %w", tunNode, err)
	}
	return nil
}

// newNIC makes the network device of a host, in the network that the calling thread is in. What the host sends is
// read from the file, a frame each time, after a virtio-net header; what is written to it the host receives.
func newNIC(number int, address netip.Addr) (*os.File, error) {
	fd, err := unix.Open(tunNode, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open the kernel's tun device: %w", err)
	}
	if err := setUpNIC(fd, number, address); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), nicName), nil
}

func setUpNIC(fd, number int, address netip.Addr) error {
	r, err := unix.NewIfreq(nicName)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("make %s: %w", nicName, err)
	}
	// Large segments and missing checksums pass as they are: both ends are kernels on this machine.
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6); err != nil {
		return fmt.Errorf("offload: %w", err)
	}
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(sock) }() // Only asked.
	if err := setHardware(sock, hardware(number)); err != nil {
		return err
	}
	if err := setAddress(sock, address); err != nil {
		return err
	}
	return errors.Join(setUp(sock, nicName), setUp(sock, "lo"))
}

// ifreqHardware is struct ifreq with a hardware address (netdevice(7)).
type ifreqHardware struct {
	name   [unix.IFNAMSIZ]byte
	family uint16
	mac    [6]byte
	_      [16]byte
}

func setHardware(sock int, mac [6]byte) error {
	r := ifreqHardware{family: unix.ARPHRD_ETHER, mac: mac}
	copy(r.name[:], nicName)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(sock), unix.SIOCSIFHWADDR, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("set the hardware address: %w", errno)
	}
	return nil
}

// setAddress gives the device its one address and takes the one before it away. The kernel adds the netmask of the
// address's class: 10.x is a class A network, prefixBits.
func setAddress(sock int, address netip.Addr) error {
	r, err := unix.NewIfreq(nicName)
	if err != nil {
		return err
	}
	ip := address.As4()
	if err := r.SetInet4Addr(ip[:]); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(sock, unix.SIOCSIFADDR, r); err != nil {
		return fmt.Errorf("set the address %s: %w", address, err)
	}
	return nil
}

func setUp(sock int, device string) error {
	r, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(sock, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("set %s up: %w", device, err)
	}
	return nil
}

// changeAddress gives the host whose network the calling thread is in another address.
func changeAddress(address netip.Addr) error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(sock) }() // Only asked.
	return setAddress(sock, address)
}

// parseAddress takes what a host may have: an IPv4 address in 10.0.0.0/8.
func parseAddress(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, err
	}
	if !netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), prefixBits).Contains(a) {
		return a, fmt.Errorf("%s is not in 10.0.0.0/%d", a, prefixBits)
	}
	return a, nil
}
