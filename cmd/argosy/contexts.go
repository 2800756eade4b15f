package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/reason"
)

// Of the renewal of a context's certificate, beside what a person asked for.
const (
	renewWithin = 5 * time.Second
	warnBefore  = 5 * 24 * time.Hour // From then on a renewal that fails is said.
)

// contexts is the directory of this person's contexts.
func (a *app) contexts() client.Contexts {
	dir := a.env("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // As the XDG base directory specification has it.
		dir = filepath.Join(a.env("HOME"), ".config")
	}
	return client.Contexts{Dir: filepath.Join(dir, "argosy")}
}

// target is the cluster that is meant: the address of one, or the name of a context.
type target struct{ host, context string }

// target finds it: --host, --context, ARGOSY_HOST, ARGOSY_CONTEXT, the socket of this machine if there is one, the
// current context.
func (a *app) target() (target, error) {
	if a.host != "" && a.context != "" {
		return target{}, usagef("one of them is enough", "--host and --context name two clusters")
	}
	for _, t := range []target{{a.host, a.context}, {host: a.env("ARGOSY_HOST")}, {context: a.env("ARGOSY_CONTEXT")}} {
		if t != (target{}) {
			return t, nil
		}
	}
	if _, err := os.Stat(strings.TrimPrefix(defaultHost, "unix://")); err != nil && a.dial == nil {
		if name := a.contexts().Current(); name != "" {
			return target{context: name}, nil
		}
	}
	return target{host: defaultHost}, nil
}

// desk is the client of the cluster that is meant.
func (a *app) desk() (*client.Client, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	if t.context == "" {
		return client.New(t.host)
	}
	c, err := a.contexts().Get(t.context)
	if err != nil {
		return nil, withHint(err, "argosy context ls shows what there is")
	}
	s, err := c.Open(a.now())
	if err != nil {
		return nil, err
	}
	a.session = s
	return s.Client, nil
}

// renew gets another certificate, when a verb has done its work, for a context whose present one has lived the most of
// its life.
func (a *app) renew(ctx context.Context) {
	s := a.session
	if s == nil || !s.Due(a.now()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, renewWithin)
	defer cancel()
	if err := s.Renew(ctx, a.contexts()); err != nil && s.Until().Sub(a.now()) < warnBefore {
		a.note("warning: the certificate of context %s ends on %s and could not be renewed: %v",
			s.Context.Name, s.Until().Local().Format(time.DateTime), err)
	}
}

// withHint adds what helps, unless the error says it itself.
func withHint(err error, hint string) error {
	if r, ok := errors.AsType[*reason.Reason](err); ok && r.Hint() != "" {
		return err
	}
	return &exitError{code: exitCode(err), err: err, hint: hint}
}
