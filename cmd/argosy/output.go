package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	yaml "go.yaml.in/yaml/v4"

	"argosy.dev/argosy/reason"
)

// The values of -o.
const (
	formatText  = "text"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatYAML  = "yaml"
)

// errPipe: whoever read our output has gone; there is nobody to tell.
var errPipe = errors.New("the reader of the output has gone")

// setFormat takes -o, or ARGOSY_OUTPUT where it is not given.
func (a *app) setFormat() error {
	if a.output == "" {
		a.output = a.env("ARGOSY_OUTPUT")
	}
	switch a.output {
	case "":
		a.output = formatText
	case formatText, formatJSON, formatJSONL, formatYAML:
	default:
		return usagef("text, json, jsonl and yaml are", "%q is not an output format", a.output)
	}
	return nil
}

// text tells whether people read the output.
func (a *app) text() bool { return a.output == formatText || a.output == "" }

// emit writes one value for programs: one object, or one line.
func (a *app) emit(v any) error {
	var b []byte
	var err error
	switch a.output {
	case formatJSON:
		b, err = json.MarshalIndent(v, "", "  ")
	case formatYAML:
		b, err = toYAML(v)
	default:
		b, err = json.Marshal(v)
	}
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	if len(b) == 0 || b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	return written(a.stdout.Write(b))
}

// emitList writes a list for programs: jsonl gives its items one a line, the others the whole.
func emitList[T any](a *app, whole any, items []T) error {
	if a.output != formatJSONL {
		return a.emit(whole)
	}
	for i := range items {
		if err := a.emit(items[i]); err != nil {
			return err
		}
	}
	return nil
}

// emitStream writes one item of a stream: YAML as documents of their own, JSON one a line.
func (a *app) emitStream(v any) error {
	if a.output == formatYAML {
		if err := a.print("---"); err != nil {
			return err
		}
		return a.emit(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	return written(a.stdout.Write(append(b, '\n')))
}

// showEach fetches something about every unit that was named and shows it: as text, which is told whether it comes
// after another; for programs as one object, or as a stream when there are several units.
func showEach[T any](ctx context.Context, a *app, args []string, fetch func(d door, ctx context.Context, unit string) (T, error), text func(v T, more bool) error) error {
	d, err := a.connect()
	if err != nil {
		return err
	}
	answers, err := a.names(ctx, d, args, exitNoUnit)
	if err != nil {
		return err
	}
	for i, an := range answers {
		v, err := fetch(d, ctx, an.Unit)
		if err != nil {
			return err
		}
		switch {
		case a.text():
			err = text(v, i > 0)
		case len(answers) == 1:
			err = a.emit(v)
		default:
			err = a.emitStream(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// toYAML goes through JSON, so that keys and their order are the same in both.
func toYAML(v any) ([]byte, error) {
	j, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(j, &node); err != nil {
		return nil, err
	}
	unflow(&node)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// unflow takes JSON's brackets and quotes away; the encoder quotes again what needs it.
func unflow(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		unflow(c)
	}
}

// print writes one line of a result.
func (a *app) print(line string) error {
	return written(io.WriteString(a.stdout, line+"\n"))
}

func (a *app) printAll(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	return a.print(strings.Join(lines, "\n"))
}

// note writes one line beside the result: progress, warnings.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

func written(_ int, err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return &exitError{code: exitFailed, err: errPipe}
	}
	return err
}

// failure is an error for programs: -o json carries what went wrong, too.
type failure struct {
	Schema string     `json:"schema"`
	Exit   int        `json:"exit"`
	Error  string     `json:"error"`
	Hint   string     `json:"hint,omitempty"`
	Errors []oneFault `json:"errors,omitempty"`
}

type oneFault struct {
	Code    reason.Code `json:"code"`
	Message string      `json:"message"`
	Hint    string      `json:"hint,omitempty"`
	Args    reason.Args `json:"args,omitempty"`
}

// tellMachine repeats an error on stdout in the format that was asked for.
func (a *app) tellMachine(err error, code int) {
	if a.text() {
		return
	}
	e, ok := errors.AsType[*exitError](err)
	if ok && e.err == nil {
		return
	}
	f := failure{Schema: "argosy/error/v1", Exit: code, Error: err.Error()}
	if ok {
		f.Hint = e.hint
	}
	for _, r := range reasonsOf(err) {
		f.Errors = append(f.Errors, oneFault{Code: r.Code, Message: r.Message(), Hint: r.Hint(), Args: r.Args})
	}
	if emitErr := a.emit(f); emitErr != nil {
		a.note("error: %v", emitErr)
	}
}
