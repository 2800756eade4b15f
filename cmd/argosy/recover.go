package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/node"
	"argosy.dev/argosy/wire"
)

// recoverWords are what a recovery was told.
type recoverWords struct {
	data, from, key string
	force           bool
}

func (r *recoverWords) flags(c *cobra.Command) {
	c.Flags().StringVar(&r.data, "data", "/var/lib/argosy", "the machine's directory")
	c.Flags().BoolVar(&r.force, "force", false, "also over a store that is there (it is set aside), also while a majority answers")
}

func (a *app) recoverCommand() *cobra.Command {
	var r recoverWords
	c := doc{
		use: "recover [--data=DIR] [--from=SNAPSHOT] [--force]", short: "After the majority of the servers is lost for good: go on with this one",
		long: `
Makes this server the only one that holds the store, with every key that it has, and makes the store writable again.
It is for servers that do not come back: while a majority answers it is refused. It works while argosy up runs here,
and when it does not. No unit is stopped or restarted, here or on any other machine.

The other servers need nothing: one that comes back after all finds out that the store went on without it, sets its
part of it aside, and joins again as a new member. New servers (argosy token create --role server, argosy join) become
members by themselves.

--from takes a snapshot in place of what this server has; then nothing is stopped that the snapshot does not know
(argosy help snapshot).`,
		example: `
  argosy recover
  argosy recover --data /var/lib/argosy --from /var/lib/argosy/snapshots/snapshot-20261122T214600Z.db`,
		exits: []int{exitOK, exitFailed, exitUsage, exitGuard, exitTimeout},
	}.command()
	r.flags(c)
	c.Flags().StringVar(&r.from, "from", "", "a snapshot, in place of this server's own part of the store")
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		if socket, running := node.Running(c.Context(), a.path(r.data)); running {
			return a.recoverOnline(c.Context(), socket, r)
		}
		return a.recoverOffline(c.Context(), r)
	}
	return c
}

// recoverWithin bounds the wait for a store that is being recovered.
const recoverWithin = 2 * time.Minute

// recoverOnline has the machine that runs do it, and waits until the store can be written.
func (a *app) recoverOnline(ctx context.Context, socket string, r recoverWords) error {
	begun := a.now()
	c, err := client.New("unix://" + socket)
	if err != nil {
		return err
	}
	defer c.Close()
	q := wire.RecoverRequest{Force: r.force}
	if r.from != "" {
		q.From = a.path(r.from)
	}
	told, err := c.Local().Recover(ctx, q)
	if err != nil {
		return err
	}
	s, err := a.awaitStore(ctx, c, told.Machine)
	if err != nil {
		return err
	}
	if !a.text() {
		return a.emit(s)
	}
	a.note("the store can be written after %.1fs: %s alone holds it; no unit was touched", a.now().Sub(begun).Seconds(), told.Machine)
	a.sayRest(told.Lost, r.from != "")
	return nil
}

// awaitStore waits until one machine alone holds the store.
func (a *app) awaitStore(ctx context.Context, c *client.Client, machine string) (*wire.StoreInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, recoverWithin)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	var why string
	for {
		s, err := c.Store(ctx)
		switch {
		case err != nil:
			why = err.Error()
		case s.OK && voters(*s) >= 1 && s.Asked != "" && len(s.Members) >= 1 && s.Decision != nil:
			return s, nil
		default:
			why = cmp.Or(s.Why, "nobody leads yet")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, &exitError{code: exitTimeout, err: fmt.Errorf("%s did not recover the store within %v: %s", machine, recoverWithin, why), hint: "its log says why"}
		}
	}
}

// recoverOffline does it for a machine that does not run.
func (a *app) recoverOffline(ctx context.Context, r recoverWords) error {
	log, err := a.logger("error", "text")
	if err != nil {
		return err
	}
	cfg := node.RecoverConfig{Data: a.path(r.data), Over: r.force, Force: r.force, Log: log}
	if r.from != "" {
		cfg.From = a.path(r.from)
	}
	if r.key != "" {
		cfg.Key = a.path(r.key)
	}
	done, err := node.Recover(ctx, cfg)
	if err != nil {
		return err
	}
	if !a.text() {
		return a.emit(done)
	}
	a.note("the store was recovered in %.1fs: %d keys, this machine alone holds it; argosy up --data %s goes on from here", done.Took.Seconds(), done.Keys, r.data)
	if done.Aside != "" {
		a.note("what was here before lies in %s", done.Aside)
	}
	a.sayRest(done.Lost, r.from != "")
	return nil
}

// sayRest says what is left to do.
func (a *app) sayRest(lost []string, snapshot bool) {
	if len(lost) > 0 {
		a.note("no members any more: %s. One that comes back joins again by itself; argosy token create --role server makes room for new ones", strings.Join(lost, ", "))
	}
	if snapshot {
		a.note("nothing is stopped that the snapshot does not know: argosy etcd status lists it, argosy snapshot settle ends that")
	}
}
