package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
)

// The exit codes, the same for every verb (argosy help exit-codes).
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotActive   = 3
	exitNoUnit      = 4 // status, cat, journal, why: there is no such unit.
	exitNoUnitToAct = 5 // start, stop, restart and the like: there is no such unit.
	exitInvalid     = 6
	exitNoRoom      = 11
	exitGuard       = 12
	exitUnreachable = 69
	exitNotAllowed  = 77
	exitTimeout     = 124
	exitInterrupted = 130
)

// exitError is an error that knows its exit code. Without an err everything was said already.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitWith ends the command with a code when everything was said.
func exitWith(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitError{code: code}
}

// usagef is a mistake in how argosy was called.
func usagef(hint, format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// interrupted is why a context ended: a person or the system asked the program to stop.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string { return i.signal.String() }

// codeOf gives the exit code of a reason that came as an error.
func codeOf(r *reason.Reason) int {
	switch r.Code { //nolint:exhaustive // Every other code is a failure.
	case reason.UnitInvalid:
		return exitInvalid
	case reason.NameInvalid, reason.TemplateOnly, reason.TooLarge, reason.BadRequest:
		return exitUsage
	case reason.NoSuchUnit:
		return exitNoUnitToAct
	case reason.Stale:
		return exitGuard
	case reason.BadToken:
		return exitUsage
	case reason.NotAllowed, reason.TokenUnknown, reason.TokenExpired, reason.TokenUsed, reason.TokenRole,
		reason.CertificateInvalid, reason.CertificateExpired, reason.CertificateEarly, reason.CertificateRevoked, reason.CertificateRefused,
		reason.WrongCluster, reason.WrongIdentity, reason.CAUnknown, reason.CAMismatch, reason.IdentityExposed:
		return exitNotAllowed
	case reason.CARotating, reason.MajorityThere:
		return exitGuard
	case reason.NoSuchContext:
		return exitUsage
	case reason.StoreUnavailable, reason.NotReachable, reason.NoServer, reason.NotServer, reason.NoCluster:
		return exitUnreachable
	}
	if isNoRoom(r) {
		return exitNoRoom
	}
	return exitFailed
}

// isNoRoom tells whether a reason says that no machine has room or may take the unit.
func isNoRoom(r *reason.Reason) bool {
	return r != nil && (strings.HasPrefix(string(r.Code), "no-room") || strings.HasPrefix(string(r.Code), "no-machine"))
}

// reasonsOf takes an error apart into its reasons, in order, without repeats.
func reasonsOf(err error) []*reason.Reason {
	var out []*reason.Reason
	var walk func(error)
	walk = func(e error) {
		switch v := e.(type) { //nolint:errorlint // It walks the whole tree itself: errors.As would stop at the first.
		case *reason.Reason:
			for _, o := range out {
				if reason.Equal(o, v) {
					return
				}
			}
			out = append(out, v)
		case interface{ Unwrap() []error }:
			for _, sub := range v.Unwrap() {
				walk(sub)
			}
		default:
			if sub := errors.Unwrap(e); sub != nil {
				walk(sub)
			}
		}
	}
	if err != nil {
		walk(err)
	}
	return out
}

// exitCode is the code that an error ends the program with.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[interrupted](err); ok {
		return exitInterrupted
	}
	worst := exitFailed
	for i, r := range reasonsOf(err) {
		if c := codeOf(r); i == 0 || c == exitInvalid {
			worst = c
		}
	}
	return worst
}

// tell writes an error as people read it: error: and hint: lines, lower case, no full stop, every fault of a file.
// Lines are at most so wide; 0: as long as they are.
func tell(w io.Writer, s show.Style, width int, err error) {
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*exitError](err); ok && e.err == nil {
		return
	}
	if _, ok := errors.AsType[interrupted](err); ok {
		return
	}
	line := func(tone show.Tone, head, text string) {
		for _, l := range show.Wrap(s.Paint(tone, head)+" "+text, width, "    ") {
			fmt.Fprintln(w, l)
		}
	}
	reasons := reasonsOf(err)
	hints := []string{}
	if e, ok := errors.AsType[*exitError](err); ok && e.hint != "" {
		hints = append(hints, e.hint)
	}
	if len(reasons) == 0 {
		line(show.Bad, "error:", decapitalise(show.Clean(err.Error())))
	}
	for _, r := range reasons {
		line(show.Bad, "error:", decapitalise(show.Clean(r.Message())))
		if h := strings.ReplaceAll(show.Clean(r.Hint()), "UNIT", show.Name(r.Str("unit"))); h != "" && len(hints) == 0 {
			hints = append(hints, h)
		}
	}
	for _, h := range hints {
		line(show.Faint, "hint:", h)
	}
}

// decapitalise lets a message begin in lower case after "error: ", when its first word is an ordinary word.
func decapitalise(s string) string {
	s = strings.TrimSuffix(s, ".")
	word, _, _ := strings.Cut(s, " ")
	if len(word) < 2 || word[0] < 'A' || word[0] > 'Z' || strings.ToLower(word[1:]) != word[1:] || strings.ContainsAny(word, "=:/.@_") {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
