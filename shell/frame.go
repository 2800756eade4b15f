// Package shell runs commands for people on a machine, far from where they sit: argosy exec and argosy ssh. It knows the
// frames that both ends speak over one connection, runs the command (on a terminal of its own, or on pipes; in a
// unit's surroundings, or the machine's), and attaches a person's terminal at the other end.
// Who may do so, and that it is written down, is package api's.
package shell

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Protocol is what a connection is upgraded to (HTTP/1.1 Upgrade).
const Protocol = "argosy-shell/1"

// kind says what a frame carries.
type kind byte

const (
	stdin  kind = iota // Bytes for the command; empty: no more will come.
	stdout             // Bytes of the command.
	stderr             // Bytes of the command.
	resize             // Columns and rows of the terminal, each 2 bytes.
	ended              // The exit status, 4 bytes; or 128 and the signal, as shells have it.
	failed             // Why it could not be run, as text.
)

const (
	headSize = 5         // Kind, and the length in 4 bytes, big endian.
	maxFrame = 64 << 10  // Bytes that a frame carries.
	maxWord  = 128 << 10 // Bytes of all arguments of a command.
)

// frames writes and reads frames; writes may come from several goroutines.
type frames struct {
	mu sync.Mutex
	c  io.ReadWriter
}

func (f *frames) write(k kind, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), maxFrame)
		head := make([]byte, headSize, headSize+n)
		head[0] = byte(k)
		binary.BigEndian.PutUint32(head[1:], uint32(n))
		if _, err := f.c.Write(append(head, b[:n]...)); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (f *frames) read() (kind, []byte, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(f.c, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame || head[0] > byte(failed) {
		return 0, nil, fmt.Errorf("this is not a frame of %s", Protocol)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(f.c, b)
	return kind(head[0]), b, err
}

// stream is an io.Writer that makes frames of one kind.
type stream struct {
	f *frames
	k kind
}

// Write writes frames.
func (s stream) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return len(b), s.f.write(s.k, b)
}

func size(b []byte) (cols, rows uint16, ok bool) {
	if len(b) != 4 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), true
}

func sizeFrame(cols, rows uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, cols), rows)
}
