package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// importBatch is how many units are asked for in one call; one that is refused is asked for alone.
const importBatch = 100

func (a *app) importCommand() *cobra.Command {
	return group("import VERB", "Take units over from elsewhere", `
Takes over what another system runs.`, a.importFleetCommand())
}

func (a *app) importFleetCommand() *cobra.Command {
	var from fleetEndpoint
	var dryRun, replace bool
	c := doc{
		use: "fleet --endpoint=URL [--dry-run] [--replace]", short: "Take over the units of a running fleet",
		long: `
Reads all units of a fleet through its API v1, and submits each here with the state that is wanted of it there:
inactive, loaded or launched. What is here already with the same text stays; one with another text is named and left
alone, unless --replace. Called again it changes nothing. One unit that cannot be taken keeps no other from it.

Said of each unit: directives that Argosy does not honour, and what keeps it from being placed here: metadata that no
machine has, a MachineID of another cluster, no room. --dry-run says all that and changes nothing.

The fleet is only read. What is launched there goes on there: stop it there when it is healthy here (fleetctl stop), or,
where a unit must never run twice, before: its state is then loaded, and argosy start starts it here.`,
		example: `
  argosy import fleet --endpoint http://10.0.0.1:49153 --dry-run
  argosy import fleet --endpoint unix:///var/run/fleet.sock
  argosy import fleet --endpoint https://fleet:49153 --cert-file me.pem --key-file me.key --ca-file ca.pem`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	f := c.Flags()
	f.StringVar(&from.url, "endpoint", "", "fleet's API: unix:///PATH, http://HOST:PORT or https://HOST:PORT")
	f.StringVar(&from.certFile, "cert-file", "", "certificate to show to an https endpoint")
	f.StringVar(&from.keyFile, "key-file", "", "its private key")
	f.StringVar(&from.caFile, "ca-file", "", "authority of an https endpoint (default: the system's)")
	f.BoolVar(&dryRun, "dry-run", false, "say what would be done, and change nothing")
	f.BoolVar(&replace, "replace", false, "replace units that have another text here")
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		if from.url == "" {
			return usagef("argosy import fleet --endpoint http://HOST:49153", "--endpoint is missing")
		}
		units, err := from.units(c.Context(), a)
		if err != nil {
			return err
		}
		d, err := a.connect()
		if err != nil {
			return err
		}
		im := &importer{app: a, door: d, dryRun: dryRun, replace: replace, here: map[string]cluster.Answer{}}
		return im.run(c.Context(), units)
	}
	return c
}

// imported is what became of one unit.
type imported struct {
	Unit    string `json:"unit"`
	Desired string `json:"desired"`
	// Outcome: taken, unchanged, differs (another text is here and stays), or refused.
	Outcome string `json:"outcome"`
	// Remarks say what is not honoured, or why it is not placed or not taken.
	Remarks []string `json:"remarks,omitempty"`
}

// importOut is the whole for programs.
type importOut struct {
	Schema string     `json:"schema"`
	DryRun bool       `json:"dry_run,omitempty"`
	Taken  int        `json:"taken"`
	Units  []imported `json:"units"`
}

// The outcomes.
const (
	importTaken     = "taken"
	importUnchanged = "unchanged"
	importDiffers   = "differs"
	importRefused   = "refused"
)

type importer struct {
	*app
	door            door
	dryRun, replace bool
	here            map[string]cluster.Answer
	out             []imported
	launched        int
}

func (im *importer) run(ctx context.Context, units []fleetUnit) error {
	list, err := im.door.Units(ctx)
	if err != nil {
		return err
	}
	for _, u := range list.Units {
		im.here[u.Unit] = u
	}
	// Templates first: what is made of them later finds them.
	slices.SortStableFunc(units, func(x, y fleetUnit) int {
		if tx, ty := unit.Name(x.Name).IsTemplate(), unit.Name(y.Name).IsTemplate(); tx != ty {
			return map[bool]int{true: -1, false: 1}[tx]
		}
		return show.CompareNames(x.Name, y.Name)
	})
	var changes []wire.Change
	for _, u := range units {
		c, err := im.change(ctx, u)
		if err != nil {
			return err
		}
		if c != nil {
			changes = append(changes, *c)
		}
	}
	for batch := range slices.Chunk(changes, importBatch) {
		if err := im.take(ctx, batch); err != nil {
			return err
		}
	}
	return im.report()
}

func (im *importer) put(u imported) { im.out = append(im.out, u) }

// change is what has to be asked for one unit; nil: it was refused here already, or there is nothing to do.
func (im *importer) change(ctx context.Context, u fleetUnit) (*wire.Change, error) {
	n := unit.Name(u.Name)
	desired := cluster.Desired(u.DesiredState)
	if desired == "" || n.IsTemplate() {
		desired = cluster.Inactive
	}
	one := imported{Unit: u.Name, Desired: string(desired)}
	refuse := func(why string) (*wire.Change, error) {
		one.Outcome, one.Remarks = importRefused, []string{why}
		im.put(one)
		return nil, nil //nolint:nilnil // It was put down.
	}
	if _, err := unit.ParseName(u.Name); err != nil {
		return refuse(err.Error())
	}
	file, err := unit.FileFromOptions(u.Name, u.Options)
	if err != nil {
		return refuse(err.Error())
	}
	text := file.String()
	if _, err := unit.Load(n, []byte(text), nil, unit.Host{}); err != nil {
		var all []string
		for _, r := range reasonsOf(err) {
			all = append(all, r.Message())
		}
		return refuse(strings.Join(all, "; "))
	}
	c := &wire.Change{Name: u.Name, Desired: desired, Text: &text, Replace: im.replace}
	known, there := im.here[u.Name]
	if !there {
		return c, nil
	}
	detail, err := im.door.Unit(ctx, u.Name)
	if err != nil {
		return nil, err
	}
	if fleetHash(detail.Text) == unit.FleetHash(file) {
		c.Text = nil // Its comments stay, if it has any here.
		if known.Desired == desired {
			one.Outcome = importUnchanged
			im.put(one)
			return nil, nil //nolint:nilnil // As above.
		}
		return c, nil
	}
	if !im.replace {
		one.Outcome, one.Remarks = importDiffers, []string{"another text is here and stays; --replace takes fleet's"}
		im.put(one)
		return nil, nil //nolint:nilnil // As above.
	}
	return c, nil
}

// take checks a batch, rooms included, and carries it out. When the cluster refuses it, each unit is asked for alone.
func (im *importer) take(ctx context.Context, batch []wire.Change) error {
	resp, err := im.door.Apply(ctx, wire.ApplyRequest{Changes: batch, DryRun: true})
	if err == nil && !im.dryRun {
		var done wire.ApplyResponse
		if done, err = im.door.Apply(ctx, wire.ApplyRequest{Changes: batch}); err == nil && len(done.Units) != len(batch) {
			err = errors.New("the cluster did not answer for every unit")
		}
	}
	switch {
	case err == nil:
		im.took(batch, resp)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case exitCode(err) == exitUnreachable || exitCode(err) == exitNotAllowed:
		return err // Nothing that is wrong with a unit.
	case len(batch) > 1:
		for i := range batch {
			if err := im.take(ctx, batch[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	im.put(imported{Unit: batch[0].Name, Desired: string(batch[0].Desired), Outcome: importRefused, Remarks: []string{err.Error()}})
	return nil
}

func (im *importer) took(batch []wire.Change, resp wire.ApplyResponse) {
	checked := map[string]wire.Applied{}
	for _, r := range resp.Units {
		checked[r.Name] = r
	}
	for _, c := range batch {
		r := checked[c.Name]
		one := imported{Unit: c.Name, Desired: string(c.Desired), Outcome: importTaken}
		for _, w := range r.Warnings {
			one.Remarks = append(one.Remarks, warningText(w))
		}
		if c.Desired != cluster.Inactive && r.Room != nil && noPlace(r.Room) {
			one.Remarks = append(one.Remarks, r.Room.Message())
		}
		if c.Desired == cluster.Launched {
			im.launched++
		}
		im.put(one)
	}
}

// noPlace tells whether the room that a dry run found is none.
func noPlace(r *reason.Reason) bool { return r.Cure() != reason.Fine }

func (im *importer) report() error {
	slices.SortStableFunc(im.out, func(x, y imported) int { return show.CompareNames(x.Unit, y.Unit) })
	count := map[string]int{}
	for _, u := range im.out {
		count[u.Outcome]++
	}
	if !im.text() {
		if err := emitList(im.app, importOut{"argosy/import/v1", im.dryRun, count[importTaken], im.out}, im.out); err != nil {
			return err
		}
	} else if err := im.lines(count); err != nil {
		return err
	}
	if count[importRefused]+count[importDiffers] > 0 {
		return exitWith(exitFailed)
	}
	return nil
}

func (im *importer) lines(count map[string]int) error {
	s := im.outStyle()
	for _, u := range im.out {
		tone := show.Good
		switch u.Outcome {
		case importRefused, importDiffers:
			tone = show.Bad
		case importUnchanged:
			tone = show.Faint
		}
		if err := im.print(s.Paint(tone, u.Outcome) + " " + show.Clean(u.Unit) + " " + u.Desired); err != nil {
			return err
		}
		for _, r := range u.Remarks {
			if err := im.print("    " + show.Clean(r)); err != nil {
				return err
			}
		}
	}
	verb := "taken over"
	if im.dryRun {
		verb = "would be taken over"
	}
	im.note("%d of %s %s, %d unchanged, %d with another text, %d refused", count[importTaken], plural(len(im.out), "unit"), verb,
		count[importUnchanged], count[importDiffers], count[importRefused])
	if im.launched > 0 && !im.dryRun {
		im.note("fleet still runs its own: %s", fmt.Sprintf("argosy status shows when these %d are healthy; then fleetctl stop there", im.launched))
	}
	return nil
}
