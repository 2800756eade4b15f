package shell

import (
	"encoding/binary"
	"errors"
	"io"
)

// Person is what sits at the near end.
type Person struct {
	In       io.Reader // Nil: nothing will come.
	Out, Err io.Writer
	// Sizes tells the terminal's size whenever it changes; nil: no terminal.
	Sizes <-chan [2]uint16 // Columns, rows.
}

// Attach connects a person with a command that runs at the other end, until it ends. The status is the command's.
func Attach(conn io.ReadWriter, p Person) (status int, err error) {
	f := &frames{c: conn}
	go send(f, p.In)
	if p.Sizes != nil {
		go func() {
			for s := range p.Sizes {
				if f.write(resize, sizeFrame(s[0], s[1])) != nil {
					return // The connection has gone; the reader below says so.
				}
			}
		}()
	}
	for {
		k, b, err := f.read()
		if err != nil {
			return 0, errors.Join(errors.New("the connection to the command broke"), err)
		}
		switch k {
		case stdout:
			_, err = p.Out.Write(b)
		case stderr:
			_, err = p.Err.Write(b)
		case ended:
			if len(b) != 4 {
				return 0, errors.New("the other end does not say how the command ended")
			}
			return int(binary.BigEndian.Uint32(b)), nil
		case failed:
			return 0, errors.New(string(b))
		case stdin, resize: // Ours to send.
		}
		if err != nil {
			return 0, err
		}
	}
}

func send(f *frames, in io.Reader) {
	if in != nil {
		_, _ = io.Copy(stream{f, stdin}, in) // The connection has gone; the reader says so.
	}
	_ = f.write(stdin, nil) // As above.
}
