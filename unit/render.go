package unit

import (
	"crypto/sha1" // fleet's unit hash: an identity for people, not a protection.
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// String is the file as canonical text: sections and options in order, without comments and continuations. systemd reads
// it back to the same options.
func (f *File) String() string { return string(f.render()) }

func (f *File) render() []byte {
	n := 0
	for i := range f.Sections {
		n += len(f.Sections[i].Name) + 4
		for _, o := range f.Sections[i].Options {
			n += len(o.Key) + len(o.Value) + 3
		}
	}
	b := make([]byte, 0, n)
	for i := range f.Sections {
		s := &f.Sections[i]
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, '[')
		b = append(b, s.Name...)
		b = append(b, "]\n"...)
		for _, o := range s.Options {
			b = append(b, o.Key...)
			b = append(b, '=')
			b = append(b, o.Value...)
			if endsInBackslash(o.Value) {
				// Only `\ ` at a line's end gives such a value. The space keeps the line from being continued, and is
				// stripped again by whoever reads it.
				b = append(b, ' ')
			}
			b = append(b, '\n')
		}
	}
	return b
}

// Render is the canonical text of the unit: what systemd gets instead of the user's bytes, drop-ins merged, ignored lines
// left out, specifiers not expanded. Loading it again gives the same unit.
func (u *Unit) Render() []byte { return u.File.render() }

// Hash names the canonical text: the first 32 hex digits of the SHA-256 of Render.
func (u *Unit) Hash() string {
	sum := sha256.Sum256(u.Render())
	return hex.EncodeToString(sum[:])[:32]
}

// FileOption is one option as fleet's API carries it.
type FileOption struct {
	Section string `json:"section"`
	Name    string `json:"name"`
	Value   string `json:"value"`
}

// Options lists the file's options as fleet's API does. A section without options has none to show.
func (f *File) Options() []FileOption {
	var out []FileOption
	for i := range f.Sections {
		for _, o := range f.Sections[i].Options {
			out = append(out, FileOption{Section: f.Sections[i].Name, Name: o.Key, Value: o.Value})
		}
	}
	return out
}

// FileFromOptions makes a file of what fleet's API was given. The parts are checked as if they had been read from a
// text: an option can bring neither a line of its own nor a section. Line numbers count options.
func FileFromOptions(source string, options []FileOption) (*File, error) {
	f := &File{Source: source}
	for i, o := range options {
		o.Value = joinContinued(o.Value)
		_, control := controlIn(o.Section + o.Name + o.Value)
		switch {
		case control || !validUTF8(o.Section+o.Name+o.Value):
			return nil, Errors{invalid(source, i+1, "option %s: control characters or invalid UTF-8", short(o.Name))}
		case !isSafe(o.Section) || o.Section == "":
			return nil, Errors{invalid(source, i+1, "%s is not the name of a section", short(o.Section))}
		case !plainKey(o.Name):
			return nil, Errors{invalid(source, i+1, "%s is not the name of a directive", short(o.Name))}
		}
		if n := len(f.Sections); n == 0 || f.Sections[n-1].Name != o.Section {
			f.Sections = append(f.Sections, Section{Name: o.Section, Line: i + 1})
		}
		s := &f.Sections[len(f.Sections)-1]
		s.Options = append(s.Options, Option{Key: o.Name, Value: strings.Trim(o.Value, whitespace), Source: source, Line: i + 1})
	}
	return f, nil
}

// joinContinued joins a value that old fleetctl sent with its continued lines inside: backslash, line end.
func joinContinued(v string) string {
	v = strings.ReplaceAll(v, "\\\r\n", " ")
	return strings.ReplaceAll(v, "\\\n", " ")
}

// FleetHash is fleet's identity of a unit: the SHA-1 of its options written section by section, 40 hex digits. It equals
// fleet's for files without continued lines, which fleet's reader keeps as they are.
func FleetHash(f *File) string {
	var order []string
	lines := map[string][]string{}
	for _, o := range f.Options() {
		if _, seen := lines[o.Section]; !seen {
			order = append(order, o.Section)
		}
		lines[o.Section] = append(lines[o.Section], o.Name+"="+o.Value+"\n")
	}
	h := sha1.New()
	for i, s := range order {
		if i > 0 {
			h.Write([]byte("\n"))
		}
		h.Write([]byte("[" + s + "]\n" + strings.Join(lines[s], "")))
	}
	return hex.EncodeToString(h.Sum(nil))
}
