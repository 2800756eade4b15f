package unit

// File is a unit file as sections and options in order, after systemd's line rules
// (continuations, comments, quoting left as it is). Options of a section that is written twice stay in order.
type File struct {
	Source   string // For errors: the file's name.
	Sections []Section
}

// Section is one [Name] and what follows it.
type Section struct {
	Name    string
	Line    int
	Options []Option
}

// Option is one Key=Value.
type Option struct {
	Key, Value string
	Source     string // The file that it came from: the unit file or a drop-in.
	Line       int    // Of its first line, from 1.
}
