// Package show draws what argosy says to people: words with colour, tables, the progress of a start and the
// block that closes it. It is pure drawing: text in, lines out; it asks no cluster and knows no flags.
// Everything that comes from units, machines and logs is cleaned before it reaches a terminal.
package show

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"argosy.dev/argosy/cluster"
)

// Tone is what a word means, and so how it is coloured.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Busy
	Bad
	Faint
	Strong
)

// Style says how lines are drawn.
type Style struct {
	Color bool
	ASCII bool // No signs beyond ASCII: the terminal's locale has none.
}

// Paint colours text, when the style has colour.
func (s Style) Paint(t Tone, text string) string {
	if !s.Color || text == "" {
		return text
	}
	codes := [...]string{Plain: "", Good: "32", Busy: "33", Bad: "31", Faint: "2", Strong: "1"}
	if codes[t] == "" {
		return text
	}
	return "\x1b[" + codes[t] + "m" + text + "\x1b[0m"
}

// sign gives one of two spellings of a sign.
func (s Style) sign(utf, ascii string) string {
	if s.ASCII {
		return ascii
	}
	return utf
}

// Arrow stands before what a person can do.
func (s Style) Arrow() string { return s.sign("→", "->") }

// Dot separates facts on one line.
func (s Style) Dot() string { return s.sign("·", "-") }

// Dash stands where nothing is.
func (s Style) Dash() string { return s.sign("—", "-") }

// Cross stands before a failure.
func (s Style) Cross() string { return s.sign("✗", "x") }

// Tick stands before what is well.
func (s Style) Tick() string { return s.sign("✓", "+") }

// Mark is the sign and the tone of a state.
func (s Style) Mark(st cluster.State) (string, Tone) {
	switch st {
	case cluster.Healthy:
		return s.sign("●", "*"), Good
	case cluster.FinishedOK:
		return s.sign("✓", "+"), Good
	case cluster.Stopped:
		return s.sign("○", "o"), Faint
	case cluster.Starting, cluster.Waiting, cluster.Draining:
		return s.sign("◌", "."), Busy
	case cluster.BackingOff, cluster.Lost:
		return "!", Busy
	case cluster.Failed, cluster.Failing, cluster.CrashLooping, cluster.Unhealthy, cluster.Unplaced:
	}
	return s.Cross(), Bad
}

// Clean makes text from a unit, a machine or a log safe for a terminal: control characters, escape sequences and
// marks that turn the direction of writing are left out, tabs become spaces, broken UTF-8 becomes U+FFFD.
func Clean(text string) string {
	if clean(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := escape(text[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		i += n
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r == '\n':
			b.WriteByte(' ')
		case hidden(r):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func clean(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// escape gives the length of the escape sequence at the start of text; 0 when there is none.
func escape(text string) int {
	if len(text) < 2 || text[0] != 0x1b {
		return 0
	}
	switch text[1] {
	case '[': // CSI: ends with a byte from @ to ~.
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				return i + 1
			}
		}
		return len(text)
	case ']', 'P', '_', '^', 'X': // OSC and other strings: end with BEL or ESC \.
		for i := 2; i < len(text); i++ {
			if text[i] == 0x07 {
				return i + 1
			}
			if text[i] == 0x1b && i+1 < len(text) && text[i+1] == '\\' {
				return i + 2
			}
		}
		return len(text)
	}
	return 2
}

func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// Width is how many columns of a terminal text takes; colours take none.
func Width(text string) int {
	w := 0
	for i := 0; i < len(text); {
		if n := escape(text[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		i += n
		w += runeWidth(r)
	}
	return w
}

func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 ||
		r >= 0xffe0 && r <= 0xffe6 || r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd):
		return 2
	}
	return 1
}

// Cut shortens text to a width, with a sign where something is missing. Colours survive.
func (s Style) Cut(text string, width int) string {
	if width <= 0 || Width(text) <= width {
		return text
	}
	end := s.sign("…", "~")
	var b strings.Builder
	w, painted := 0, false
	for i := 0; i < len(text); {
		if n := escape(text[i:]); n > 0 {
			b.WriteString(text[i : i+n])
			painted = text[i:i+n] != "\x1b[0m"
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if w+runeWidth(r) > width-1 {
			break
		}
		w += runeWidth(r)
		b.WriteString(text[i : i+n])
		i += n
	}
	b.WriteString(end)
	if painted {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// Pad fills text with spaces to a width.
func Pad(text string, width int) string {
	if n := width - Width(text); n > 0 {
		return text + strings.Repeat(" ", n)
	}
	return text
}

// Wrap breaks text at spaces into lines of at most width columns; later lines begin with indent.
// A word that is too long stays whole: a path or a command must be copied in one piece.
func Wrap(text string, width int, indent string) []string {
	if width <= 0 || Width(text) <= width {
		return []string{text}
	}
	lead := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var out []string
	line := lead
	empty := true
	for word := range strings.FieldsSeq(text) {
		if !empty && Width(line)+1+Width(word) > width {
			out = append(out, line)
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	return append(out, line)
}

// Took writes a time that was measured: 0.4s, 14s, 2min 5s.
func Took(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return trimZero(d.Round(100*time.Millisecond), 1)
	case d < time.Minute:
		return trimZero(d.Round(time.Second), 0)
	}
	return Ago(d)
}

func trimZero(d time.Duration, digits int) string {
	s := d.Seconds()
	if digits == 0 {
		return itoa(int64(s)) + "s"
	}
	tenths := int64(s*10 + 0.5)
	return itoa(tenths/10) + "." + itoa(tenths%10) + "s"
}

// Ago writes how long ago something was, in the two greatest units: 6min, 2h 5min, 3d 4h.
func Ago(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	s := int64(d / time.Second)
	two := func(a int64, an string, b int64, bn string) string {
		if b == 0 {
			return itoa(a) + an
		}
		return itoa(a) + an + " " + itoa(b) + bn
	}
	switch {
	case s < 60:
		return itoa(s) + "s"
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "min")
	}
	return two(s/86400, "d", s%86400/3600, "h")
}
