package show

import (
	"fmt"
	"io"
	"strings"
)

// Live redraws a block of lines in place on a terminal. Lines are cut to the terminal's width, the block to its height.
type Live struct {
	W     io.Writer
	Style Style

	drawn []string
}

// Draw puts lines where the last ones stood. Only lines that changed are written.
func (l *Live) Draw(lines []string, width, height int) error {
	if height > 1 && len(lines) > height-1 {
		more := len(lines) - (height - 2)
		lines = append(lines[:height-2:height-2], l.Style.Paint(Faint, fmt.Sprintf("  %s %d more lines", l.Style.sign("…", "..."), more)))
	}
	var b strings.Builder
	if n := len(l.drawn); n > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", n)
	}
	now := make([]string, 0, len(lines))
	for i, line := range lines {
		line = l.Style.Cut(line, width-1)
		now = append(now, line)
		if i < len(l.drawn) && l.drawn[i] == line {
			b.WriteString("\r\n")
			continue
		}
		b.WriteString("\r\x1b[2K" + line + "\r\n")
	}
	if len(l.drawn) > len(lines) {
		b.WriteString("\x1b[J")
	}
	l.drawn = now
	_, err := io.WriteString(l.W, b.String())
	return err
}

// Forget leaves what is drawn on the screen; the next Draw starts below it. Call it also after the terminal was resized.
func (l *Live) Forget() { l.drawn = nil }

// Erase takes what is drawn off the screen.
func (l *Live) Erase() error {
	if len(l.drawn) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(l.W, "\x1b[%dA\r\x1b[J", len(l.drawn))
	l.drawn = nil
	return err
}
