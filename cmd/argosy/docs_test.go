package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

// TestDocs keeps docs/cli.md in step with the commands; -update writes it.
func TestDocs(t *testing.T) {
	a := &app{system: system{env: func(string) string { return "" }}}
	root := a.rootCommand()
	var b strings.Builder
	b.WriteString("# argosy: the command line\n\nGenerated from the commands themselves (`go test ./cmd/argosy -run TestDocs -update`); `argosy help VERB` shows the same.\n\n")
	b.WriteString(root.Long + "\n\n```\n" + root.Example + "\n```\n\n")
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "**%s**", g.Title)
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				fmt.Fprintf(&b, " [%s](#argosy-%s)", c.Name(), c.Name())
			}
		}
		b.WriteString("  \n")
	}
	b.WriteString("\nFlags of every verb:\n\n```\n" + strings.TrimRight(root.PersistentFlags().FlagUsagesWrapped(100), "\n") + "\n```\n\n")
	for _, topic := range root.Commands() {
		if topic.IsAdditionalHelpTopicCommand() {
			fmt.Fprintf(&b, "## %s\n\n```\n%s\n```\n\n", topic.Short, topic.Long)
		}
	}
	for _, g := range root.Groups() {
		for _, c := range root.Commands() {
			if c.GroupID != g.ID {
				continue
			}
			page(&b, c)
			for _, sub := range c.Commands() {
				page(&b, sub)
			}
		}
	}
	fleet := (&fleetctl{app: a}).rootCommand()
	b.WriteString("## fleetctl\n\n" + fleet.Long + "\n\n| verb | what it does |\n|---|---|\n")
	for _, c := range fleet.Commands() {
		if !c.Hidden && c.Name() != "help" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(c.Use, "|", "\\|"), c.Short)
		}
	}
	b.WriteString("\nFlags of every verb, each also as `FLEETCTL_` and its name in capitals:\n\n```\n" + strings.TrimRight(fleet.PersistentFlags().FlagUsagesWrapped(100), "\n") + "\n```\n" + fleetDiffers)
	compare(t, "../../docs/cli.md", b.String())
}

// fleetDiffers is what fleetctl does otherwise than fleet's, on purpose.
const fleetDiffers = `
On purpose otherwise than fleet:

- Unknown verbs and flags end with 2, globs work in every verb, restart restarts, destroy waits until nothing runs any more.
- Failures are named with their reason on stderr and end with 1; a unit that starts slowly is waited for, not failed.
- An unknown key in [X-Fleet] and a MachineMetadata= without exactly one = are errors, not ignored.
- journal takes several units and global ones, and merges their machines' lines; a machine that is away is named.
- ssh, status and journal go over the cluster's API: they need a server and the right to do it, no ssh daemon and no keys.
  --ssh-port, --forward-agent and --sudo are taken and ignored. ssh to a machine takes the role admin.
- --tunnel runs the system's ssh, to the machine's socket: its configuration, agent and known hosts count. --ssh-username,
  --known-hosts-file and --strict-host-key-checking are handed to it when they are said; fleet's defaults for them are not.
  The person there has to be allowed to open the socket (root, or the group argosy).
- https://HOST:PORT is any server, as the person of a context (argosy help contexts): $ARGOSY_CONTEXT, one that names
  this server, or the current one; or of --cert-file, --key-file and --ca-file together. When that server is away, another
  one of the context's is asked.
- --driver=etcd is refused: units are reached by the API only.
- list-units has no line for a unit that is on no machine, as in fleet; argosy list-units says why it is on none.
- The API under /fleet/v1 checks desiredState, gives a state for every unit, does not start templates, takes
  "value": "V" beside {"value": {"value": "V"}} in a metadata patch, and keeps one unit's fault from the others.
`

func page(b *strings.Builder, c *cobra.Command) {
	long, exits, _ := strings.Cut(c.Long, "\n\nExit codes:\n")
	fmt.Fprintf(b, "## argosy %s\n\n%s.\n\n```\n%s\n```\n\n%s\n\n", strings.TrimPrefix(c.CommandPath(), "argosy "), c.Short, c.UseLine(), long)
	if c.Example != "" {
		fmt.Fprintf(b, "```\n%s\n```\n\n", c.Example)
	}
	c.InitDefaultHelpFlag()
	if usages := c.NonInheritedFlags().FlagUsagesWrapped(100); usages != "" {
		fmt.Fprintf(b, "```\n%s\n```\n\n", strings.TrimRight(usages, "\n"))
	}
	if exits != "" {
		fmt.Fprintf(b, "Exit codes:\n\n```\n%s\n```\n\n", exits)
	}
}

func compare(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of step with the commands: go test ./cmd/argosy -run TestDocs -update", path)
	}
}

// documented checks a verb's texts, or those of the verbs under it: one that only holds others does nothing itself.
func documented(t *testing.T, c *cobra.Command) {
	t.Helper()
	under := c.Commands()
	if c.Short == "" || len(under) == 0 && (c.Example == "" || !strings.Contains(c.Long, "Exit codes:")) {
		t.Errorf("%s: an example or exit codes are missing", c.CommandPath())
	}
	if strings.HasSuffix(c.Short, ".") {
		t.Errorf("%s: a full stop behind its short text", c.CommandPath())
	}
	for line := range strings.SplitSeq(c.Long, "\n") {
		if len([]rune(line)) > 120 {
			t.Errorf("%s: a long line: %s", c.CommandPath(), line)
		}
	}
	for _, sub := range under {
		documented(t, sub)
	}
}

// TestEveryVerbIsDocumented: a verb without an example or without exit codes is not finished.
func TestEveryVerbIsDocumented(t *testing.T) {
	a := &app{system: system{env: func(string) string { return "" }}}
	verbs := 0
	for _, c := range a.rootCommand().Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			continue
		}
		verbs++
		if c.GroupID == "" {
			t.Errorf("%s: its group is missing", c.Name())
		}
		documented(t, c)
	}
	if verbs < 24 {
		t.Errorf("only %d verbs", verbs)
	}
}
