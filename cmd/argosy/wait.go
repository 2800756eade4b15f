package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// defaultTimeout is how long a verb waits for a verdict.
const defaultTimeout = 5 * time.Minute

// order is a verb that changes units: what it asks, and what it waits for.
type order struct {
	verb  string
	good  string // The word for success.
	past  string // "started": for --no-block.
	undo  string // The verb that takes it back.
	goal  judge.Goal
	stand func(cluster.Answer) show.Standing // nil: there is nothing to wait for.
	gone  show.Standing

	began   time.Time // When the verb began; zero: when it waits.
	noBlock bool
	timeout time.Duration
	expect  int64
	replace bool
}

// waitFlags gives a verb the flags of waiting.
func (o *order) waitFlags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.noBlock, "no-block", false, "do not wait for what becomes of it")
	f.BoolVarP(&o.noBlock, "detach", "d", false, "the same as --no-block")
	f.DurationVar(&o.timeout, "timeout", defaultTimeout, "how long to wait for a verdict; 0 waits for ever")
	o.expectFlag(c)
}

func (o *order) expectFlag(c *cobra.Command) {
	c.Flags().Int64Var(&o.expect, "expect-revision", -1, "change the unit only if it is at this revision; 0: only if it does not exist")
	c.Flags().Lookup("expect-revision").DefValue = "any"
}

func (o *order) replaceFlag(c *cobra.Command) {
	c.Flags().BoolVar(&o.replace, "replace", false, "send a local file also where the cluster has another text")
}

// apply sends the changes and tells the warnings that came back.
func (a *app) apply(ctx context.Context, d door, o *order, changes []wire.Change) (wire.ApplyResponse, error) {
	if o.expect >= 0 {
		if len(changes) != 1 {
			return wire.ApplyResponse{}, usagef("name one unit", "--expect-revision is about one unit, not %d", len(changes))
		}
		changes[0].Expect = &o.expect
	}
	if len(changes) > wire.MaxUnitsCall {
		return wire.ApplyResponse{}, reason.Because(reason.TooLarge, reason.Args{"what": "units in one call", "need": len(changes), "have": wire.MaxUnitsCall})
	}
	resp, err := d.Apply(ctx, wire.ApplyRequest{Changes: changes})
	if err != nil {
		return resp, err
	}
	a.tellWarnings(resp)
	return resp, nil
}

// tellWarnings names each thing that is not honoured in a text, once for all units that carry it.
func (a *app) tellWarnings(resp wire.ApplyResponse) {
	s := a.errStyle()
	units := map[string][]string{}
	var order, differs []string
	for _, u := range resp.Units {
		if u.Differs {
			differs = append(differs, u.Name)
		}
		for _, w := range u.Warnings {
			text := warningText(w)
			if units[text] == nil {
				order = append(order, text)
			}
			units[text] = append(units[text], u.Name)
		}
	}
	head := s.Paint(show.Busy, "warning:")
	for _, text := range order {
		a.note("%s %s: %s", head, show.Names(units[text]), text)
	}
	if len(differs) > 0 {
		a.note("%s %s differs from the local file, the cluster's text is kept", head, show.Names(differs))
		a.note("%s --replace sends the file", s.Paint(show.Faint, "hint:"))
	}
}

// warningText is a warning with its place and the directive that it is about.
func warningText(w unit.Warning) string {
	text := w.Message
	if w.Directive != "" && !strings.Contains(text, w.Directive) {
		text = w.Directive + "=: " + text
	}
	switch {
	case w.File != "" && w.Line > 0:
		text = fmt.Sprintf("%s:%d: %s", w.File, w.Line, text)
	case w.Line > 0:
		text = fmt.Sprintf("line %d: %s", w.Line, text)
	}
	return show.Clean(text)
}

// carryOutArgs makes changes of what was named on the command line, files included, and carries them out.
func (a *app) carryOutArgs(ctx context.Context, o *order, args []string, changes func(submission) []wire.Change) error {
	d, err := a.connect()
	if err != nil {
		return err
	}
	sub, err := a.resolve(ctx, d, args, o.replace)
	if err != nil {
		return err
	}
	return a.carryOut(ctx, d, o, changes(sub), sub.units)
}

// carryOut asks for the changes, waits for what becomes of them, and tells it.
func (a *app) carryOut(ctx context.Context, d door, o *order, changes []wire.Change, units []string) error {
	if o.noBlock || o.stand == nil {
		resp, err := a.apply(ctx, d, o, changes)
		if err != nil {
			return err
		}
		return a.asked(o, resp, units)
	}
	w, err := a.ask(ctx, d, o, changes, units)
	if err != nil {
		return err
	}
	out, err := a.follow(ctx, d, w)
	if err != nil {
		return err
	}
	out.words = lastWords(ctx, d, o, out)
	return a.close(o, w, out)
}

// ask asks for the changes, and tells what there is to wait for.
func (a *app) ask(ctx context.Context, d door, o *order, changes []wire.Change, units []string) (wait, error) {
	resp, err := a.apply(ctx, d, o, changes)
	w := wait{
		title: o.verb + " " + show.Names(units), good: o.good, units: units, since: resp.Revision,
		revisions: map[string]int64{}, goal: o.goal, stand: o.stand, gone: o.gone, limit: o.timeout, began: o.began,
	}
	for _, u := range resp.Units {
		w.revisions[u.Name] = u.Revision
	}
	return w, err
}

// asked tells that the wish is stored and nobody waits.
func (a *app) asked(o *order, resp wire.ApplyResponse, units []string) error {
	if !a.text() {
		return a.emit(resp)
	}
	if a.quiet {
		return nil
	}
	s := a.errStyle()
	a.note("%s: %s", o.past, show.Names(units))
	if o.stand != nil {
		a.note("%s argosy status %s", s.Paint(show.Faint, "follow it:"), show.Names(units))
	}
	return nil
}

// close tells how a wait ended: the verdict for programs or the closing block for people, and the exit code.
func (a *app) close(o *order, w wait, out outcome) error {
	code := out.verdict.Exit
	c := show.Close{Good: o.good, Wanted: out.wanted, Met: len(out.met), Took: out.took, Failed: out.missed, Pending: out.open, OK: out.met, Words: out.words}
	if errors.Is(out.end, errTimeout) {
		c.End = "no verdict about the others within " + show.Took(w.limit)
	}
	interrupt := isInterrupt(out.end)
	if interrupt {
		c.End = "interrupted"
	}
	if !a.text() {
		keepWords(&out.verdict, out.words)
		if err := a.emit(out.verdict); err != nil {
			return err
		}
	} else if !a.quiet || len(out.missed) > 0 {
		if err := a.printAll(c.Lines(a.outStyle(), a.width(a.stdout))); err != nil {
			return err
		}
	}
	a.annotate(w.title, c)
	if interrupt {
		a.sayDetached(o, w)
	}
	if out.end != nil && !errors.Is(out.end, errTimeout) && !interrupt {
		return out.end
	}
	return exitWith(code)
}

func isInterrupt(err error) bool {
	_, ok := errors.AsType[interrupted](err)
	return ok
}

// sayDetached tells that the work goes on, how to follow it and how to take it back.
func (a *app) sayDetached(o *order, w wait) {
	s := a.errStyle()
	names := show.Names(w.units)
	a.note("%s the cluster goes on with: %s", s.Paint(show.Busy, "detached:"), w.title)
	a.note("%s argosy status %s", s.Paint(show.Faint, "follow it:"), names)
	if o.undo != "" {
		a.note("%s argosy %s %s", s.Paint(show.Faint, "undo it:  "), o.undo, names)
	}
}

// annotate tells failures where GitHub shows them.
func (a *app) annotate(title string, c show.Close) {
	if a.env("GITHUB_ACTIONS") != "true" {
		return
	}
	for _, l := range c.Annotations() {
		a.note("%s", l)
	}
	path := a.env("GITHUB_STEP_SUMMARY")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // The runner names the file.
	if err != nil {
		a.note("warning: %v", err)
		return
	}
	if _, err := f.WriteString(c.Markdown(title) + "\n"); err != nil {
		a.note("warning: %v", err)
	}
	if err := f.Close(); err != nil {
		a.note("warning: %v", err)
	}
}
