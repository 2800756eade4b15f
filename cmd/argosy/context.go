package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/reason"
)

func (a *app) contextCommand() *cobra.Command {
	return group("context VERB", "Clusters that this person reaches from here", `
A context is the way to one cluster from elsewhere: its servers, its certificate authority, your certificate and key.
argosy help contexts says how one is made, and which cluster a verb talks to.`,
		a.contextLsCommand(), a.contextUseCommand(), a.contextAddCommand(), a.contextShowCommand(), a.contextRmCommand())
}

// contextInfo is what is shown of a context: never its key.
type contextInfo struct {
	Name    string    `json:"name"`
	Current bool      `json:"current,omitempty"`
	Cluster string    `json:"cluster,omitempty"`
	User    string    `json:"user,omitempty"`
	Servers []string  `json:"servers,omitempty"`
	Until   time.Time `json:"until,omitzero"` // When the certificate ends.
	Error   string    `json:"error,omitempty"`
}

func (a *app) contextInfo(name string) contextInfo {
	d := a.contexts()
	out := contextInfo{Name: name, Current: d.Current() == name}
	c, err := d.Get(name)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Cluster, out.User, out.Servers = c.Cluster, c.User, c.Servers
	k, err := c.Keeper()
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Until = k.Leaf().NotAfter
	return out
}

// state says in words whether a context can be used.
func (c contextInfo) state(now time.Time) string {
	switch {
	case c.Error != "":
		return "broken: " + c.Error
	case now.After(c.Until):
		return "ended " + c.Until.Local().Format(time.DateTime)
	}
	return "until " + c.Until.Local().Format(time.DateTime)
}

func (a *app) contextLsCommand() *cobra.Command {
	c := doc{
		use: "ls", short: "List contexts; * is the current one", long: `Lists the contexts that are kept here, whose they are, and until when their certificates live.`,
		example: `
  argosy context ls`,
		exits: []int{exitOK, exitFailed},
	}.command()
	c.Args = noArgs
	c.RunE = func(*cobra.Command, []string) error {
		names, err := a.contexts().Names()
		if err != nil {
			return err
		}
		list := []contextInfo{}
		var rows [][]string
		for _, n := range names {
			i := a.contextInfo(n)
			mark := ""
			if i.Current {
				mark = "*"
			}
			list = append(list, i)
			rows = append(rows, []string{mark, n, i.User, strings.Join(i.Servers, ","), i.state(a.now())})
		}
		if !a.text() {
			return emitList(a, list, list)
		}
		return a.columns([]string{"", "CONTEXT", "USER", "SERVERS", "CERTIFICATE"}, rows)
	}
	return c
}

func (a *app) contextUseCommand() *cobra.Command {
	c := doc{
		use: "use NAME", short: "Make a context the current one",
		long: `
Verbs talk to the current context when nothing else says which cluster is meant (argosy help contexts), and this machine
has no cluster of its own.`,
		example: `
  argosy context use prod`,
		exits: []int{exitOK, exitUsage},
	}.command()
	c.Args = exactlyOne("a context: argosy context ls shows them")
	c.ValidArgsFunction = a.completeContexts
	c.RunE = func(_ *cobra.Command, args []string) error {
		if err := a.contexts().Use(args[0]); err != nil {
			return err
		}
		a.note("%s is the current context", args[0])
		return nil
	}
	return c
}

func (a *app) contextAddCommand() *cobra.Command {
	var name, key string
	use := false
	c := doc{
		use: "add FILE [--name=NAME] [--key=KEYFILE] [--use]", short: "Keep a context that argosy user add made",
		long: `
Reads the file, checks that certificate, authority and key fit, and keeps it for you alone. FILE is not needed any more:
remove it. The first context becomes the current one. - reads standard input.`,
		example: `
  argosy context add ada.context --name prod
  ssh root@m1 argosy user add ada --role deployer --out - | argosy context add - --name prod`,
		exits: []int{exitOK, exitFailed, exitUsage},
	}.command()
	f := c.Flags()
	f.StringVar(&name, "name", "", "what you call it (default: as the file says)")
	f.StringVar(&key, "key", "", "the private key that the certificate was made for, when it stayed here")
	f.BoolVar(&use, "use", false, "make it the current one")
	c.Args = exactlyOne("a file that argosy user add wrote")
	c.RunE = func(_ *cobra.Command, args []string) error {
		text, err := a.readInput(args[0])
		if err != nil {
			return err
		}
		x, err := client.ParseContext(text)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if name != "" {
			x.Name = name
		}
		if key != "" {
			b, err := a.readInput(key)
			if err != nil {
				return err
			}
			x.Key = string(b)
		}
		return a.addContext(x, use)
	}
	return c
}

func (a *app) addContext(x *client.Context, use bool) error {
	d := a.contexts()
	names, err := d.Names()
	if err != nil {
		return err
	}
	if err := d.Put(x); err != nil {
		return fmt.Errorf("context %s: %w", x.Name, err)
	}
	if use || len(names) == 0 {
		if err := d.Use(x.Name); err != nil {
			return err
		}
	}
	a.note("context %s is kept; argosy --context %s status shows the cluster", x.Name, x.Name)
	return nil
}

// maxInput bounds a file that is read here.
const maxInput = 64 << 10

// readInput reads a small file, or standard input for -.
func (a *app) readInput(path string) ([]byte, error) {
	if path == "-" {
		return readBounded("standard input", a.stdin)
	}
	f, err := os.Open(a.path(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readBounded(path, f)
}

// path is a path that a person wrote, from where the person is.
func (a *app) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(a.dir, p)
}

func (a *app) contextShowCommand() *cobra.Command {
	c := doc{
		use: "show [NAME]", short: "Show a context, without its key", long: `Shows the context that is named, else the one in use.`,
		example: `
  argosy context show prod`,
		exits: []int{exitOK, exitUsage},
	}.command()
	c.ValidArgsFunction = a.completeContexts
	c.RunE = func(_ *cobra.Command, args []string) error {
		var name string
		switch len(args) {
		case 1:
			name = args[0]
		case 0:
			t, err := a.target()
			if err != nil {
				return err
			}
			if name = t.context; name == "" {
				return usagef("argosy context ls shows what there is", "no context is in use: argosy talks to %s", t.host)
			}
		default:
			return usagef("argosy help context show", "show takes one context")
		}
		if _, err := a.contexts().Get(name); err != nil && len(reasonsOf(err)) > 0 && reasonsOf(err)[0].Code == reason.NoSuchContext {
			return err
		}
		i := a.contextInfo(name)
		if !a.text() {
			return a.emit(i)
		}
		return a.printAll([]string{
			"context      " + i.Name, "cluster      " + i.Cluster, "user         " + i.User,
			"servers      " + strings.Join(i.Servers, ", "), "certificate  " + i.state(a.now()),
		})
	}
	return c
}

func (a *app) contextRmCommand() *cobra.Command {
	c := doc{
		use: "rm NAME...", short: "Forget contexts", long: `Removes the contexts here, keys included. In the cluster the user stays: argosy user rm takes that away.`,
		example: `
  argosy context rm prod`,
		exits: []int{exitOK, exitFailed, exitUsage},
	}.command()
	c.Args = atLeastOne("a context: argosy context ls shows them")
	c.ValidArgsFunction = a.completeContexts
	c.RunE = func(_ *cobra.Command, args []string) error {
		for _, name := range args {
			if err := a.contexts().Remove(name); err != nil {
				return err
			}
			a.note("context %s is forgotten", name)
		}
		return nil
	}
	return c
}

func (a *app) completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names, _ := a.contexts().Names() // Without any there is nothing to offer.
	return names, cobra.ShellCompDirectiveNoFileComp
}
