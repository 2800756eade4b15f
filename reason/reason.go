// Package reason is the one vocabulary of why: why a unit is not running, why a machine
// was refused, why a request was turned down. A Reason is a code with numbers; its
// sentence and its hint are made from one table (table.go), in the order a unit can meet
// the codes on its way up. Codes are API: they are added, never renamed.
//
// The package does nothing else. It is imported by everything and imports nothing of Argosy.
package reason

import (
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Code names a reason. It appears in JSON, in metrics labels, in logs and in docs/reasons.md.
type Code string

// Scope says what a reason is about, and so what may be done about it:
// a unit's own fault stops a rollout, a machine's fault moves the unit away,
// a cluster's fault waits for room.
type Scope string

// The three scopes.
const (
	ScopeUnit    Scope = "unit"
	ScopeMachine Scope = "machine"
	ScopeCluster Scope = "cluster"
)

// Cure says whether waiting may help.
type Cure string

// The kinds of cure.
const (
	Fine      Cure = "fine"      // Nothing is wrong: the reason only explains (stopped by a person, finished).
	Transient Cure = "transient" // Waiting may cure it: somebody or something is already at work.
	Permanent Cure = "permanent" // Waiting does not cure it: something has to be changed.
)

// Args are the numbers and names of a reason: string, bool, int64, float64 or []string.
// Sizes are bytes, cpu is thousandths of a core, times are milliseconds, unless the key says otherwise.
type Args map[string]any

// Reason is why something is as it is. It is also an error, so a runtime or a plan can return it as one.
type Reason struct {
	Code Code `json:"code"`
	Args Args `json:"args,omitempty"`
	// Candidates are the machines that were looked at and why each was refused; only on placement reasons, bounded.
	Candidates []Candidate `json:"candidates,omitempty"`
}

// Candidate is one machine that was refused, with every reason that speaks against it.
type Candidate struct {
	Machine string    `json:"machine"` // The machine's name.
	ID      string    `json:"id,omitempty"`
	Because []*Reason `json:"because"`
}

// Because makes a reason. An unknown code or a missing argument is a programmer's mistake and panics.
func Because(code Code, args Args) *Reason {
	e, ok := index[code]
	if !ok {
		panic("reason: unknown code " + string(code))
	}
	for _, k := range e.Args {
		if _, ok := args[k]; !ok && !strings.HasSuffix(k, "?") {
			panic(fmt.Sprintf("reason: code %s needs argument %q", code, k))
		}
	}
	return &Reason{Code: code, Args: normal(args)}
}

// normal brings numbers to int64 so that a reason is the same before and after JSON.
func normal(args Args) Args {
	out := make(Args, len(args))
	for k, v := range args {
		switch n := v.(type) {
		case int:
			out[k] = int64(n)
		case int32:
			out[k] = int64(n)
		case uint16:
			out[k] = int64(n)
		case uint32:
			out[k] = int64(n)
		case uint64:
			out[k] = int64(n)
		default:
			out[k] = v
		}
	}
	return out
}

// From finds the Reason inside an error; any other error becomes code cannot-start with the error's text.
func From(err error) *Reason {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*Reason](err); ok {
		return r
	}
	return Because(CannotStart, Args{"error": err.Error()})
}

// Error is the sentence: what was needed, what there is, where.
func (r *Reason) Error() string { return r.entry().sentence(r) }

// Message is the same sentence, for people who do not think of a reason as an error.
func (r *Reason) Message() string { return r.Error() }

// Hint is what a person can do about it; empty when nothing has to be done.
func (r *Reason) Hint() string {
	if h := r.entry().hint; h != nil {
		return h(r)
	}
	return ""
}

// Scope says what the reason is about.
func (r *Reason) Scope() Scope { return r.entry().Scope }

// Cure says whether waiting may help.
func (r *Reason) Cure() Cure { return r.entry().Cure }

// Short is the two or three words for a column: "no room", "crash loop".
func (r *Reason) Short() string { return r.entry().Short }

func (r *Reason) entry() *Entry {
	if e, ok := index[r.Code]; ok {
		return e
	}
	return unknown // A newer peer may send a code that we do not know yet: say its name, lose nothing.
}

// Str gives an argument as text; empty when it is not there.
func (r *Reason) Str(key string) string {
	switch v := r.Args[key].(type) {
	case nil:
		return ""
	case string:
		return v
	case []string:
		return strings.Join(v, ", ")
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = fmt.Sprint(p)
		}
		return strings.Join(parts, ", ")
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprint(int64(v))
		}
		return fmt.Sprint(v)
	default:
		return fmt.Sprint(v)
	}
}

// Int gives an argument as a number; 0 when it is not there.
func (r *Reason) Int(key string) int64 {
	switch v := r.Args[key].(type) {
	case int64:
		return v
	case float64:
		return int64(v)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

// Has tells whether an argument was given.
func (r *Reason) Has(key string) bool { _, ok := r.Args[key]; return ok }

// Equal tells whether two reasons say the same, candidates left out.
func Equal(a, b *Reason) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Code == b.Code && a.signature() == b.signature()
}

func (r *Reason) signature() string {
	keys := make([]string, 0, len(r.Args))
	for k := range r.Args {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%s=%s\x00", k, r.Str(k))
	}
	return b.String()
}
