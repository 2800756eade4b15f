package main

import (
	"context"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

func (f *fleetctl) start() *cobra.Command {
	v := fleetVerb{order: &order{goal: judge.GoalStart, stand: running, gone: show.Missed}, state: "launched", trigger: "start"}
	return f.blockFlags(f.replaceFlags(f.units("start [--no-block|--block-attempts=N] UNIT...", "Instruct systemd to start one or more units in the cluster, first submitting and loading if necessary",
		func(ctx context.Context, d door, args []string) error {
			sub, err := f.resolve(ctx, d, args, f.replace)
			if err != nil {
				return err
			}
			return f.carry(ctx, d, v, desire(sub, cluster.Launched, true), sub.units)
		})))
}

func (f *fleetctl) load() *cobra.Command {
	v := fleetVerb{order: &order{goal: judge.GoalLoad, stand: loaded, gone: show.Missed}, state: "loaded", trigger: "load"}
	return f.blockFlags(f.replaceFlags(f.units("load [--no-block|--block-attempts=N] UNIT...", "Schedule one or more units in the cluster, first submitting them if necessary",
		func(ctx context.Context, d door, args []string) error {
			sub, err := f.resolve(ctx, d, args, f.replace)
			if err != nil {
				return err
			}
			return f.carry(ctx, d, v, desire(sub, cluster.Loaded, false), sub.units)
		})))
}

func (f *fleetctl) submit() *cobra.Command {
	return f.replaceFlags(f.units("submit UNIT...", "Upload one or more units to the cluster without starting them",
		func(ctx context.Context, d door, args []string) error {
			sub, err := f.resolve(ctx, d, args, f.replace)
			if err != nil {
				return err
			}
			resp, err := f.apply(ctx, d, &order{expect: -1}, sub.changes)
			if err != nil {
				return err
			}
			for _, u := range resp.Units {
				line := "Unit " + show.Clean(u.Name) + " inactive"
				if f.replace && !u.Created && !u.Changed {
					line = "Found same Unit(" + show.Clean(u.Name) + ") in Registry, nothing to do"
				} else if !u.Created && !u.Changed {
					continue
				}
				if err := f.print(line); err != nil {
					return err
				}
			}
			return nil
		}))
}

// onPresent runs a verb on units that the cluster has to know.
func (f *fleetctl) onPresent(ctx context.Context, d door, v fleetVerb, args []string, change wire.Change, done string) error {
	answers, err := f.names(ctx, d, args, exitFailed)
	if err != nil {
		return err
	}
	var units []string
	for _, a := range answers {
		units = append(units, a.Unit)
	}
	err = f.carry(ctx, d, v, changesOf(units, change), units)
	if err == nil && done != "" {
		f.note("Successfully %s units %s.", done, goList(units))
	}
	return err
}

func (f *fleetctl) stop() *cobra.Command {
	v := fleetVerb{order: &order{goal: judge.GoalStop, stand: stopped, gone: show.Met}, state: "loaded", trigger: "stop"}
	return f.blockFlags(f.units("stop [--no-block|--block-attempts=N] UNIT...", "Instruct systemd to stop one or more units in the cluster",
		func(ctx context.Context, d door, args []string) error {
			return f.onPresent(ctx, d, v, args, wire.Change{Desired: cluster.Loaded}, "stopped")
		}))
}

func (f *fleetctl) restart() *cobra.Command {
	v := fleetVerb{order: &order{goal: judge.GoalStart, stand: running, gone: show.Missed}, state: "launched", trigger: "start"}
	return f.blockFlags(f.units("restart [--no-block|--block-attempts=N] UNIT...", "Instruct systemd to restart one or more units in the cluster",
		func(ctx context.Context, d door, args []string) error {
			return f.onPresent(ctx, d, v, args, wire.Change{Desired: cluster.Launched, Restart: true}, "restarted")
		}))
}

func (f *fleetctl) unload() *cobra.Command {
	v := fleetVerb{order: &order{goal: judge.GoalStop, stand: unloaded, gone: show.Met}, state: "inactive", trigger: "unload"}
	return f.blockFlags(f.units("unload UNIT...", "Unschedule one or more units in the cluster",
		func(ctx context.Context, d door, args []string) error {
			return f.onPresent(ctx, d, v, args, wire.Change{Desired: cluster.Inactive}, "unloaded")
		}))
}

func (f *fleetctl) destroy() *cobra.Command {
	v := fleetVerb{order: &order{goal: judge.GoalStop, stand: pending, gone: show.Met}, state: "destroyed", trigger: "destroy"}
	return f.blockFlags(f.units("destroy UNIT...", "Destroy one or more units in the cluster",
		func(ctx context.Context, d door, args []string) error {
			if err := f.stopFirst(ctx, d, args); err != nil {
				return err
			}
			return f.onPresent(ctx, d, v, args, wire.Change{Destroy: true}, "")
		}))
}

// stopFirst unloads what is to be destroyed, so that "Destroyed" means that nothing runs any more.
func (f *fleetctl) stopFirst(ctx context.Context, d door, args []string) error {
	answers, err := f.names(ctx, d, args, exitFailed)
	if err != nil || f.noBlock {
		return err
	}
	var placed []string
	for _, a := range answers {
		if a.MachineID != "" {
			placed = append(placed, a.Unit)
		}
	}
	if len(placed) == 0 {
		return nil
	}
	f.quiet = true
	o := &order{goal: judge.GoalStop, stand: unloaded, gone: show.Met, expect: -1, timeout: f.limit()}
	w, err := f.ask(ctx, d, o, changesOf(placed, wire.Change{Desired: cluster.Inactive}), placed)
	if err != nil {
		return err
	}
	_, err = f.follow(ctx, d, w)
	return err
}

func (f *fleetctl) status() *cobra.Command {
	c := f.units("status UNIT...", "Output the status of one or more units in the cluster",
		func(ctx context.Context, d door, args []string) error {
			return f.unitStatus(ctx, d, args, statusLogTail)
		})
	c.Flags().Int("ssh-port", 22, "taken and ignored")
	return c
}

func (f *fleetctl) journal() *cobra.Command {
	q := journalQuery{}
	c := f.units("journal [--lines=N] [-f|--follow] UNIT", "Print the journal of a unit in the cluster to stdout",
		func(ctx context.Context, d door, args []string) error {
			answers, err := f.names(ctx, d, args, exitFailed)
			if err != nil {
				return err
			}
			return f.app.journal(ctx, d, answers, q)
		})
	c.Flags().IntVar(&q.Lines, "lines", 10, "number of lines")
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with new lines")
	c.Flags().String("output", "short", "taken and ignored")
	c.Flags().Bool("sudo", false, "taken and ignored")
	c.Flags().Int("ssh-port", 22, "taken and ignored")
	return c
}

func (f *fleetctl) cat() *cobra.Command {
	return f.units("cat UNIT", "Output the contents of a submitted unit", func(ctx context.Context, d door, args []string) error {
		if len(args) != 1 {
			f.note("One unit file must be provided")
			return exitWith(exitFailed)
		}
		answers, err := f.names(ctx, d, args, exitFailed)
		if err != nil {
			return err
		}
		for _, a := range answers {
			detail, err := d.Unit(ctx, a.Unit)
			if err != nil {
				return err
			}
			if err := f.print(strings.TrimRight(detail.Text, "\n")); err != nil {
				return err
			}
		}
		return nil
	})
}

// verify told, in fleet, whether a unit was signed. Nothing is signed any more: the file is checked.
func (f *fleetctl) verify() *cobra.Command {
	c := f.verifyCommand()
	c.Short = "Check unit files"
	return c
}

func (f *fleetctl) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version and exit", Args: cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error { return f.print("fleetctl version " + version) },
	}
}

// list makes a list verb with fleet's flags.
func (f *fleetctl) list(use, short, fields, valid string, run func(ctx context.Context, d door, cols []string) ([][]string, error)) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, DisableFlagsInUseLine: true}
	c.Flags().String("fields", fields, "columns to print, of "+valid)
	c.Flags().BoolVarP(&f.full, "full", "l", false, "do not ellipsize fields on output")
	c.Flags().BoolVar(&f.noLegend, "no-legend", false, "do not print a legend (column headers)")
	c.RunE = func(c *cobra.Command, args []string) error {
		cols := strings.Split(c.Flags().Lookup("fields").Value.String(), ",")
		for _, col := range cols {
			if !strings.Contains(","+valid+",", ","+col+",") {
				return usagef("columns are "+valid, "Invalid key in output format: %q", col)
			}
		}
		d, err := f.open(c.Context())
		if err != nil {
			return err
		}
		rows, err := run(c.Context(), d, cols)
		if err != nil {
			return err
		}
		out := tabwriter.NewWriter(f.stdout, 0, 8, 1, '\t', 0)
		if !f.noLegend {
			rows = append([][]string{{strings.ToUpper(strings.Join(cols, "\t"))}}, rows...)
		}
		for _, r := range rows {
			if _, err := out.Write([]byte(strings.Join(r, "\t") + "\n")); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	return c
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return show.Clean(s)
}

func (f *fleetctl) listMachines() *cobra.Command {
	return f.list("list-machines [-l|--full] [--no-legend]", "Enumerate the current hosts in the cluster", "machine,ip,metadata", "machine,ip,metadata",
		func(ctx context.Context, d door, cols []string) ([][]string, error) {
			list, err := d.Machines(ctx)
			var rows [][]string
			for _, m := range list.Machines {
				if !m.Alive {
					continue
				}
				var row []string
				for _, c := range cols {
					switch c {
					case "machine":
						row = append(row, idLegend(m.ID, f.full))
					case "ip":
						row = append(row, dash(hostOf(m.Address)))
					case "metadata":
						row = append(row, dash(metadataWords(m.Metadata, ",")))
					}
				}
				rows = append(rows, row)
			}
			return rows, err
		})
}

// listUnits tells, as fleet does, one line per unit and machine, of units that a machine has.
func (f *fleetctl) listUnits() *cobra.Command {
	return f.list("list-units [--no-legend] [-l|--full] [--fields]", "List the current state of units in the cluster", "unit,machine,active,sub", "unit,machine,active,sub,load,hash",
		func(ctx context.Context, d door, cols []string) ([][]string, error) {
			list, err := d.Units(ctx)
			var rows [][]string
			for _, u := range list.Units {
				on := u.On
				if len(on) == 0 && u.MachineID != "" {
					st := cluster.Status{Machine: u.MachineID}
					if u.Status != nil {
						st = *u.Status
					}
					on = []cluster.Status{st}
				}
				hash := ""
				if len(on) > 0 && contains(cols, "hash") {
					hash = f.hash(ctx, d, u.Unit)
				}
				for _, st := range on {
					rows = append(rows, f.unitStateRow(ctx, d, u, st, hash, cols))
				}
			}
			return rows, err
		})
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}

func (f *fleetctl) unitStateRow(ctx context.Context, d door, u cluster.Answer, st cluster.Status, hash string, cols []string) []string {
	var row []string
	for _, c := range cols {
		switch c {
		case "unit":
			row = append(row, show.Clean(u.Unit))
		case "machine":
			row = append(row, legend(f.machine(ctx, d, st.Machine), f.full))
		case "load":
			row = append(row, dash(st.Load))
		case "active":
			row = append(row, dash(st.Active))
		case "sub":
			row = append(row, dash(st.Sub))
		case "hash":
			row = append(row, dash(shortHash(hash, f.full)))
		}
	}
	return row
}

// hash is fleet's own hash of a unit file.
func (f *fleetctl) hash(ctx context.Context, d door, name string) string {
	detail, err := d.Unit(ctx, name)
	if err != nil {
		return ""
	}
	return fleetHash(detail.Text)
}

func fleetHash(text string) string {
	file, _, err := unit.ParseFile("", []byte(text))
	if err != nil {
		return ""
	}
	return unit.FleetHash(file)
}

func (f *fleetctl) listUnitFiles() *cobra.Command {
	return f.list("list-unit-files [--fields]", "List the units that exist in the cluster", "unit,hash,dstate,state,target", "unit,hash,dstate,state,target,global,desc,tmachine",
		func(ctx context.Context, d door, cols []string) ([][]string, error) {
			list, err := d.Units(ctx)
			if err != nil {
				return nil, err
			}
			details := map[string]wire.UnitDetail{}
			if contains(cols, "hash") || contains(cols, "desc") {
				if details, err = f.details(ctx, d, list.Units, []string{"hash"}); err != nil {
					return nil, err
				}
			}
			var rows [][]string
			for _, u := range list.Units {
				row := make([]string, len(cols))
				for i, c := range cols {
					row[i] = f.unitFileField(ctx, d, u, details[u.Unit].Text, c)
				}
				rows = append(rows, row)
			}
			return rows, nil
		})
}

func (f *fleetctl) unitFileField(ctx context.Context, d door, u cluster.Answer, text, col string) string {
	switch col {
	case "unit":
		return show.Clean(u.Unit)
	case "hash":
		return dash(shortHash(fleetHash(text), f.full))
	case "dstate":
		return string(u.Desired)
	case "state":
		if u.Global {
			return "-"
		}
		return fleetState(u)
	case "global":
		if u.Global {
			return "true"
		}
		return "false"
	case "desc":
		return dash(description(u.Unit, text))
	}
	switch { // target, tmachine
	case u.Global:
		return "global"
	case u.MachineID == "":
		return "-"
	}
	return legend(f.machine(ctx, d, u.MachineID), f.full)
}

// fleetState is fleet's word for how far a unit came: on no machine, on one, started there.
func fleetState(u cluster.Answer) string {
	switch {
	case u.MachineID == "":
		return string(cluster.Inactive)
	case u.Desired == cluster.Launched && u.Status != nil && u.State != cluster.Stopped:
		return string(cluster.Launched)
	}
	return string(cluster.Loaded)
}
