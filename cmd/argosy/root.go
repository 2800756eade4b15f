package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups that help lists verbs in.
const (
	groupRun  = "run"
	groupSee  = "see"
	groupFile = "file"
	groupJoin = "join"
	groupNode = "node"
)

// rootCommand is the tree of all verbs.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "argosy VERB",
		Short: "systemd for a cluster that tells you the truth",
		Long: `Argosy takes systemd unit files, decides on which machine each unit runs, keeps it running, and always says what
happened and why.

UNIT is a unit's name (web, web@1, backup.timer; .service is added), a path to a unit file, a glob of units that the
cluster knows ('web@*'), or a name with braces (web@{1..10}). Units are looked for in the cluster, then as a file, then
as an instance of a template in the cluster, then as an instance of a template file.

Progress goes to stderr, results go to stdout. Every verb takes -o json, jsonl or yaml.`,
		Example: `  argosy up --data /var/lib/argosy        # a one-machine cluster
  argosy start web@{1..10}                # submit, start, wait, and say what became of each
  argosy status                           # what needs you
  argosy why web@4                        # the cause, with its numbers`,
		SilenceErrors: true, SilenceUsage: true,
		Args:              cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.setFormat() },
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return unknownVerb(c, args[0])
		},
	}
	root.AddGroup(&cobra.Group{ID: groupRun, Title: "Run units:"}, &cobra.Group{ID: groupSee, Title: "See what is so, and why:"},
		&cobra.Group{ID: groupFile, Title: "Unit files:"}, &cobra.Group{ID: groupJoin, Title: "Machines and people of the cluster:"}, &cobra.Group{ID: groupNode, Title: "The machine and this program:"})
	f := root.PersistentFlags()
	f.StringVar(&a.host, "host", "", "the cluster to talk to: unix:///PATH or http://HOST:PORT (argosy help contexts: what is taken when nothing is said)")
	f.StringVar(&a.context, "context", "", "the cluster to talk to, by the name of a context (argosy context ls)")
	f.StringVarP(&a.output, "output", "o", "", "text, json, jsonl or yaml (default $ARGOSY_OUTPUT, else text)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no word about success")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (also NO_COLOR; CLICOLOR_FORCE=1 forces them)")
	root.SetFlagErrorFunc(flagError)
	a.addVerbs(root)
	root.SetHelpCommand(helpCommand(groupNode))
	setHelp(root)
	_ = root.RegisterFlagCompletionFunc("context", a.completeContexts)
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{formatText, formatJSON, formatJSONL, formatYAML}, cobra.ShellCompDirectiveNoFileComp))
	return root
}

func (a *app) addVerbs(root *cobra.Command) {
	for group, verbs := range map[string][]*cobra.Command{
		groupRun:  {a.startCommand(), a.stopCommand(), a.restartCommand(), a.reloadCommand(), a.killCommand()},
		groupSee:  {a.statusCommand(), a.whyCommand(), a.planCommand(), a.journalCommand(), a.execCommand(), a.sshCommand(), a.eventsCommand(), a.listUnitsCommand(), a.listMachinesCommand(), a.listTimersCommand(), a.isActiveCommand(), a.isFailedCommand()},
		groupFile: {a.submitCommand(), a.loadCommand(), a.unloadCommand(), a.destroyCommand(), a.catCommand(), a.listUnitFilesCommand(), a.verifyCommand(), a.importCommand()},
		groupJoin: {a.joinCommand(), a.tokenCommand(), a.userCommand(), a.contextCommand(), a.auditCommand(), a.caCommand(), a.machineCommand(), a.etcdCommand(), a.serversCommand(), a.snapshotCommand(), a.recoverCommand(), a.settingsCommand()},
		groupNode: {a.upCommand(), a.versionCommand(), a.completionCommand()},
	} {
		for _, v := range verbs {
			v.GroupID = group
			root.AddCommand(v)
		}
	}
	root.AddCommand(topics()...)
}

// setHelp lays a page of help out as a manual page is: how it is called, what it does, examples, flags.
func setHelp(root *cobra.Command) {
	const page = `{{if .Runnable}}usage: {{if .HasParent}}{{.UseLine}}{{else}}{{.Name}} VERB [UNIT...] [flags]{{end}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}
{{end}}{{if .HasExample}}
Examples:
{{.Example}}
{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{range $group := .Groups}}
{{.Title}}
{{range $cmds}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}  {{rpad .Name .NamePadding}}  {{.Short}}
{{end}}{{end}}{{end}}{{if not .Groups}}
Verbs:
{{range $cmds}}{{if .IsAvailableCommand}}  {{rpad .Name .NamePadding}}  {{.Short}}
{{end}}{{end}}{{end}}{{end}}{{if .HasHelpSubCommands}}
Topics (argosy help TOPIC):
{{range .Commands}}{{if .IsAdditionalHelpTopicCommand}}  {{rpad .Name .NamePadding}}  {{.Short}}
{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}
{{end}}{{if .HasAvailableInheritedFlags}}
Flags of every verb:
{{.InheritedFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}
{{end}}`
	root.SetHelpTemplate(page)
	root.InitDefaultHelpFlag()
}

// flagError names the nearest flag.
func flagError(c *cobra.Command, err error) error {
	hint := "argosy help " + c.Name() + " lists the flags"
	if c.Root() == c {
		hint = c.Name() + " --help lists the flags"
	}
	text := err.Error()
	if flag, ok := strings.CutPrefix(text, "unknown flag: --"); ok {
		var all []string
		visit := func(f *pflag.Flag) { all = append(all, f.Name) }
		c.Flags().VisitAll(visit)
		c.InheritedFlags().VisitAll(visit)
		if n := nearest(flag, all); n != "" {
			hint = "did you mean --" + n + "?"
		}
	}
	return usagef(hint, "%s", text)
}

func unknownVerb(c *cobra.Command, verb string) error {
	var all []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			all = append(all, sub.Name())
		}
	}
	hint := c.Name() + " help lists the verbs"
	if n := nearest(verb, all); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	return usagef(hint, "unknown verb %q", verb)
}

// nearest finds the word that somebody probably meant; empty when none is near.
func nearest(word string, all []string) string {
	word = strings.ToLower(word)
	best, found := 1+len(word)/3, ""
	slices.Sort(all)
	for _, w := range all {
		if d := distance(word, w); d < best || (d == best && found == "") {
			best, found = d, w
		}
	}
	if found != "" || len(word) < 2 {
		return found
	}
	for _, w := range all {
		if strings.HasPrefix(w, word) || strings.HasSuffix(w, "-"+word) {
			return w
		}
	}
	return ""
}

// distance counts the letters that have to be changed, added, left out or swapped.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

// doc is what a verb says about itself.
type doc struct {
	use, short, long, example string
	exits                     []int
}

// command makes a verb from its words; what it may end with is written below them.
func (d doc) command() *cobra.Command {
	long := strings.TrimSpace(d.long)
	if len(d.exits) > 0 {
		long += "\n\nExit codes:\n" + exitLines(d.exits)
	}
	return &cobra.Command{Use: d.use, Short: d.short, Long: long, Example: strings.Trim(d.example, "\n"), DisableFlagsInUseLine: true}
}

// atLeastOne asks for units, in words.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("argosy help "+c.Name()+" shows examples", "%s needs %s", c.Name(), what)
		}
		return nil
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("argosy help "+c.Name(), "%s takes no arguments, but got %q", c.Name(), args[0])
	}
	return nil
}
