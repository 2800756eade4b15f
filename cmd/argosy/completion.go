package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
)

// completeWithin bounds how long a shell waits for names.
const completeWithin = 2 * time.Second

func (a *app) completionCommand() *cobra.Command {
	c := doc{
		use: "completion bash|zsh|fish", short: "Print the completion script of a shell",
		long: `
Prints a script that lets a shell complete verbs, flags, and the names of the cluster's units.`,
		example: `
  argosy completion bash > /etc/bash_completion.d/argosy
  argosy completion zsh > "${fpath[1]}/_argosy"
  argosy completion fish > ~/.config/fish/completions/argosy.fish
  source <(argosy completion bash)`,
		exits: []int{exitOK, exitUsage},
	}.command()
	c.ValidArgs = []string{"bash", "zsh", "fish"}
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("bash, zsh and fish are known", "completion needs the name of a shell")
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		switch args[0] {
		case "bash":
			return c.Root().GenBashCompletionV2(a.stdout, true)
		case "zsh":
			return c.Root().GenZshCompletion(a.stdout)
		case "fish":
			return c.Root().GenFishCompletion(a.stdout, true)
		}
		return usagef("bash, zsh and fish are known", "%q is not a shell that argosy knows", args[0])
	}
	return c
}

// completeUnits gives the names of the cluster's units.
func (a *app) completeUnits(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.unitCompletions(c.Context(), args, word), cobra.ShellCompDirectiveNoFileComp
}

// completeUnitsAndFiles gives units and files: start takes both.
func (a *app) completeUnitsAndFiles(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.unitCompletions(c.Context(), args, word), cobra.ShellCompDirectiveDefault
}

func (a *app) unitCompletions(ctx context.Context, args []string, word string) []cobra.Completion { //nolint:contextcheck // cobra may have no context to give.
	d, err := a.connect()
	if err != nil {
		return nil
	}
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	list, err := d.Units(ctx)
	if err != nil {
		return nil
	}
	taken := map[string]bool{}
	for _, arg := range args {
		taken[strings.TrimSuffix(arg, ".service")] = true
	}
	var out []cobra.Completion
	for _, u := range list.Units {
		name := u.Unit
		if !strings.HasPrefix(word, name[:min(len(name), len(word))]) || !strings.Contains(word, ".service") {
			name = strings.TrimSuffix(name, ".service")
		}
		if strings.HasPrefix(name, word) && !taken[strings.TrimSuffix(u.Unit, ".service")] {
			out = append(out, cobra.CompletionWithDesc(name, completionWord(u)))
		}
	}
	return out
}

func completionWord(u cluster.Answer) string {
	if u.Template {
		return "template"
	}
	return string(u.State)
}
