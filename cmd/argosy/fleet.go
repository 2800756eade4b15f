package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// fleetSocket is where fleet listened; where Argosy listens there too, old scripts with --endpoint work.
const fleetSocket = "unix:///var/run/fleet.sock"

// fleetAttempt is how long fleet waited between two looks: --block-attempts counts these.
const fleetAttempt = 500 * time.Millisecond

// fleetctl is the program under its old name: fleet's verbs, flags, lines and columns. What it does on purpose otherwise:
// unknown verbs and flags end with 2, globs work in every verb, restart restarts, failures are named with their reason
// on stderr and end with 1.
type fleetctl struct {
	*app
	reach
	full, noLegend   bool
	replace, noBlock bool
	attempts         int

	machines map[string]wire.MachineDetail // Asked once a call.
}

// runFleet runs one call under the name fleetctl.
func (a *app) runFleet(ctx context.Context, args []string) int {
	f := &fleetctl{app: a}
	a.output = formatText
	root := f.rootCommand() //nolint:contextcheck // Its commands get the context from execute.
	if err := f.environment(root.PersistentFlags()); err != nil {
		tell(a.stderr, a.errStyle(), a.width(a.stderr), err)
		return exitCode(err)
	}
	defer func() { f.closeTunnel() }() // The one that is open then.
	return a.execute(ctx, root, fullVerb(root, longFlags(root, args)))
}

func (f *fleetctl) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "fleetctl", Short: "fleet's command line, answered by Argosy",
		Long: `fleetctl is argosy under fleet's old name, so that scripts of the CoreOS days keep working: the same verbs, flags,
output lines and columns. Failures are named with their reason on stderr, and end with 1. argosy itself tells more.`,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(c *cobra.Command, args []string) error {
			if v, _ := c.Flags().GetBool("version"); v {
				return f.print("fleetctl version " + version)
			}
			if len(args) == 0 {
				return c.Help()
			}
			return unknownVerb(c, args[0])
		},
	}
	p := root.PersistentFlags()
	f.reachFlags(p)
	p.String("etcd-key-prefix", "/_coreos.com/fleet/", "taken and ignored")
	p.String("experimental-api", "true", "taken and ignored")
	p.Float64("request-timeout", 3, "taken and ignored: one request is asked and watched")
	p.Bool("debug", false, "taken and ignored")
	root.Flags().Bool("version", false, "print the version")
	p.Bool("h", false, "help")
	_ = p.MarkHidden("h")
	root.SetFlagErrorFunc(flagError)
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return f.checkDriver() }
	root.AddCommand(f.listUnits(), f.listUnitFiles(), f.listMachines(), f.submit(), f.load(), f.start(), f.stop(), f.restart(),
		f.unload(), f.destroy(), f.status(), f.journal(), f.cat(), f.verify(), f.version(), f.ssh(),
		f.notHere("fd-forward", "argosy needs no tunnel"))
	root.SetHelpCommand(helpCommand(""))
	setHelp(root)
	return root
}

// fullVerb takes the beginning of a verb for the verb, as fleetctl did.
func fullVerb(root *cobra.Command, args []string) []string {
	for i := 0; i < len(args); i++ {
		if name, ok := strings.CutPrefix(args[i], "--"); ok {
			flag := root.PersistentFlags().Lookup(name)
			if flag != nil && flag.NoOptDefVal == "" {
				i++ // Its value.
			}
			continue
		}
		if strings.HasPrefix(args[i], "-") {
			continue
		}
		var found []string
		for _, c := range root.Commands() {
			if strings.HasPrefix(c.Name(), args[i]) {
				found = append(found, c.Name())
			}
		}
		if len(found) == 1 {
			args[i] = found[0]
		}
		return args
	}
	return args
}

// environment reads FLEETCTL_<FLAG> for each flag.
func (f *fleetctl) environment(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(flag *pflag.Flag) {
		name := "FLEETCTL_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		v := f.env(name)
		if v == "" || failed != nil {
			return
		}
		if err := flags.Set(flag.Name, v); err != nil {
			failed = usagef("", "%s: %v", name, err)
		}
	})
	return failed
}

// longFlags lets -fields=x stand for --fields=x: fleetctl of the article's days took both.
func longFlags(root *cobra.Command, args []string) []string {
	known := map[string]bool{}
	add := func(f *pflag.Flag) { known[f.Name] = true }
	root.PersistentFlags().VisitAll(add)
	root.Flags().VisitAll(add)
	for _, c := range root.Commands() {
		c.Flags().VisitAll(add)
	}
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		if len(a) > 1 && a[0] == '-' && a[1] != '-' && known[name] {
			out[i] = "-" + a
		}
	}
	return out
}

// units makes a fleet verb that works on units; without any it said so, and ended with 0.
func (f *fleetctl) units(use, short string, run func(ctx context.Context, d door, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs, DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				f.note("No units given")
				return nil
			}
			d, err := f.open(c.Context())
			if err != nil {
				return err
			}
			return run(c.Context(), d, args)
		},
	}
}

func (f *fleetctl) blockFlags(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&f.noBlock, "no-block", false, "do not wait until the units have come so far")
	c.Flags().IntVar(&f.attempts, "block-attempts", 0, "wait for N looks of half a second; 0: no limit")
	return c
}

func (f *fleetctl) replaceFlags(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&f.replace, "replace", false, "replace the unit in the cluster")
	c.Flags().Bool("sign", false, "deprecated, ignored")
	_ = c.Flags().MarkHidden("sign")
	return c
}

func (f *fleetctl) notHere(name, hint string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: "Not supported by Argosy", Args: cobra.ArbitraryArgs, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return usagef(hint, "%s is not supported", name) },
	}
}

// machine is one machine of the cluster; the list is asked for once.
func (f *fleetctl) machine(ctx context.Context, d door, id string) wire.MachineDetail {
	if f.machines == nil {
		f.machines = map[string]wire.MachineDetail{}
		if list, err := d.Machines(ctx); err == nil {
			for _, m := range list.Machines {
				f.machines[m.ID] = m
			}
		}
	}
	if m, ok := f.machines[id]; ok {
		return m
	}
	return wire.MachineDetail{Machine: cluster.Machine{ID: id}}
}

// legend writes a machine as fleet does: 12345678.../10.0.0.1.
func legend(m wire.MachineDetail, full bool) string {
	if m.ID == "" {
		return "-"
	}
	id := idLegend(m.ID, full)
	if ip := hostOf(m.Address); ip != "" {
		id += "/" + show.Clean(ip)
	}
	return id
}

// hostOf is an address without its port: fleet tells IPs.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func idLegend(id string, full bool) string {
	if full || len(id) <= 8 {
		return id
	}
	return id[:8] + "..."
}

// fleetVerb is a verb that waits: its words in fleet's lines.
type fleetVerb struct {
	order   *order
	state   string // "launched": Unit X launched on ID.../IP.
	trigger string // "start": Triggered unit X start.
}

// carry asks for changes and waits as fleetctl did; global units are only triggered.
func (f *fleetctl) carry(ctx context.Context, d door, v fleetVerb, changes []wire.Change, units []string) error {
	v.order.expect = -1
	resp, err := f.apply(ctx, d, v.order, changes)
	if err != nil {
		return err
	}
	list, err := d.Units(ctx, fewer(append([]string{}, units...))...)
	if err != nil {
		return err
	}
	global, err := f.globals(ctx, d, changes, list.Units)
	if err != nil {
		return err
	}
	var waiting []string
	for _, u := range units {
		switch {
		case global[u]:
			err = f.print("Triggered global unit " + show.Clean(u) + " " + v.trigger)
		case f.noBlock:
			err = f.print("Triggered unit " + show.Clean(u) + " " + v.trigger)
		default:
			waiting = append(waiting, u)
		}
		if err != nil {
			return err
		}
	}
	if len(waiting) == 0 || v.order.stand == nil {
		return nil
	}
	w := wait{
		title: v.trigger, good: v.state, units: waiting, since: resp.Revision, revisions: map[string]int64{},
		goal: v.order.goal, stand: v.order.stand, gone: v.order.gone, limit: f.limit(),
	}
	for _, u := range resp.Units {
		w.revisions[u.Name] = u.Revision
	}
	f.quiet = true // fleet's lines are the progress.
	out, err := f.follow(ctx, d, w)
	if err != nil {
		return err
	}
	return f.ended(ctx, d, v, out)
}

// globals tells which units are global. One that is placed already says so itself, of another one the text does: that
// of an instance is its template's.
func (f *fleetctl) globals(ctx context.Context, d door, changes []wire.Change, units []cluster.Answer) (map[string]bool, error) {
	sent := map[string]*string{}
	for _, c := range changes {
		sent[c.Name] = c.Text
	}
	out, templates := map[string]bool{}, map[string]bool{}
	for _, u := range units {
		if out[u.Unit] = u.Global; u.Global || u.MachineID != "" {
			continue
		}
		n := unit.Name(u.Unit)
		text, template := sent[u.Unit], string(n.Template())
		if text == nil && n.IsInstance() {
			if known, ok := templates[template]; ok {
				out[u.Unit] = known
				continue
			}
			text = sent[template]
		}
		if text == nil {
			detail, err := d.Unit(ctx, u.Unit)
			if err != nil {
				return nil, err
			}
			text = &detail.Text
		}
		out[u.Unit] = isGlobal(u.Unit, *text)
		if n.IsInstance() {
			templates[template] = out[u.Unit]
		}
	}
	return out, nil
}

func isGlobal(name, text string) bool {
	u, err := unit.Load(unit.Name(name), []byte(text), nil, unit.Host{})
	return err == nil && u.Fleet.Global
}

// limit is how long --block-attempts waits; 0: without one.
func (f *fleetctl) limit() time.Duration { return time.Duration(f.attempts) * fleetAttempt }

// ended prints fleet's lines about the units that came so far, and what kept the others, on stderr.
func (f *fleetctl) ended(ctx context.Context, d door, v fleetVerb, out outcome) error {
	code := out.verdict.Exit
	open := out.open[:0]
	for _, a := range out.open {
		// fleet called launched what was started; with --block-attempts that has to be enough.
		if v.state == "launched" && a.Status != nil && a.Status.Active == "active" {
			out.met = append(out.met, a)
			continue
		}
		open = append(open, a)
	}
	if len(open) == 0 && len(out.missed) == 0 && code == exitTimeout {
		code = exitOK
	}
	for _, a := range out.met {
		line := "Unit " + show.Clean(a.Unit) + " " + v.state
		if v.state == "destroyed" {
			line = "Destroyed " + show.Clean(a.Unit)
		} else if a.MachineID != "" {
			line += " on " + legend(f.machine(ctx, d, a.MachineID), false)
		}
		if err := f.print(line); err != nil {
			return err
		}
	}
	s := f.errStyle()
	for _, a := range out.missed {
		for _, l := range show.Failure(s, f.width(f.stderr), []cluster.Answer{a}) {
			f.note("%s", l)
		}
	}
	for _, a := range open {
		f.note("Error waiting for units: timed out waiting for unit %s to report state %s: it is %s: %s", show.Clean(a.Unit), v.state, a.State, show.Clean(a.Message))
	}
	if isInterrupt(out.end) {
		return out.end
	}
	if code != exitOK {
		return exitWith(exitFailed)
	}
	return nil
}

// goList writes names as fleet's Go did: [a.service b.service].
func goList(units []string) string {
	return fmt.Sprintf("%v", units)
}
