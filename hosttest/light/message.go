package light

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds one message: the arguments of a command, not its output.
const maxMessage = 1 << 16

// maxFiles bounds the descriptors that come with a message: where the answer goes, and a command's three.
const maxFiles = 4

// request is what the owner of a bed asks its holder, and the holder a host. It comes with the descriptor of a socket for
// the answers; a request to run a command also brings its standard input, output and error.
type request struct {
	Op      string
	Host    string        `json:",omitempty"`
	Spec    *spec         `json:",omitempty"` // Op up.
	Argv    []string      `json:",omitempty"` // Op exec.
	PID     int           `json:",omitempty"` // Op signal, with Signal.
	Signal  int           `json:",omitempty"`
	Pairs   [][2]string   `json:",omitempty"` // Op link: from, to.
	Fault   *fault        `json:",omitempty"`
	Address string        `json:",omitempty"` // Op address.
	Wait    time.Duration `json:",omitempty"` // How long the operation may take.
}

// answer is one of the answers to a request; the last one says Done.
type answer struct {
	Err  string `json:",omitempty"`
	PID  int    `json:",omitempty"` // Of the command, as its host numbers it.
	Code int    `json:",omitempty"` // Its exit status, or 128 and the signal that ended it.
	Done bool   `json:",omitempty"`
}

// spec is a host as its holder has to know it, and its PID 1.
type spec struct {
	Name      string
	Number    int // Its place on the network: the MAC address comes from it.
	Address   string
	MachineID string
	BootID    string
	Options   Options
}

// socketPair makes two ends of an unnamed socket that keeps messages apart: ours and one to hand on.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "theirs")
	if ours, err = connOf(os.NewFile(uintptr(fds[0]), "ours")); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// connOf takes the file over.
func connOf(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T, not a unix socket", c), c.Close())
	}
	return u, nil
}

func send(c *net.UnixConn, message any, files ...*os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(text) > maxMessage {
		return fmt.Errorf("a message of %d bytes, at most %d", len(text), maxMessage)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(text, rights, nil)
	return err
}

// receive reads one message; the files that came with it are the caller's to close. At the end it says io.EOF.
func receive(c *net.UnixConn, message any) ([]*os.File, error) {
	buf, oob := make([]byte, maxMessage), make([]byte, syscall.CmsgSpace(maxFiles*4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, err
	}
	files, err := filesIn(oob[:oobn])
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		err = json.Unmarshal(buf[:n], message)
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func filesIn(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			closeAll(files)
			return nil, err
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

// closeAll closes files that somebody else has a copy of, or that nobody writes to.
func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
