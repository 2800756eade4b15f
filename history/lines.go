package history

import (
	"bufio"
	"errors"
	"io"
)

// lines reads lines of bounded length; a longer one is skipped, one without an end is not given.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) *lines { return &lines{bufio.NewReaderSize(r, maxLine)} }

func (l *lines) next() ([]byte, error) {
	for {
		line, err := l.r.ReadSlice('\n')
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = l.r.ReadSlice('\n')
			}
			if err != nil {
				return nil, err
			}
		default:
			return nil, err // io.EOF with or without a torn line.
		}
	}
}
