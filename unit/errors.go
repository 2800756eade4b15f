package unit

import (
	"fmt"
	"strings"

	"argosy.dev/argosy/reason"
)

// MaxErrors is how many faults of one unit file are collected before the reading ends.
const MaxErrors = 50

// Errors are all faults of a unit's text, each a reason unit-invalid with file and line.
type Errors []*reason.Reason

// Error joins the sentences, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, r := range e {
		lines[i] = r.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each reason to errors.As.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, r := range e {
		out[i] = r
	}
	return out
}

// invalid makes a reason unit-invalid.
func invalid(file string, line int, format string, args ...any) *reason.Reason {
	return reason.Because(reason.UnitInvalid, reason.Args{"file": file, "line": line, "error": fmt.Sprintf(format, args...)})
}
