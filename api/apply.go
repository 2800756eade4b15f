package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// Bounds of one change to units.
const (
	maxApplyTries = 8               // Tries when others change the same units at the same time.
	maxDropIns    = 64              // Of one unit.
	maxSignal     = 64              // SIGRTMAX.
	shownTimeout  = 2 * time.Second // How long an answer waits until a change is seen by reads, too.
)

// applyUnits is POST /v1/units.
func (a *API) applyUnits(w http.ResponseWriter, r *http.Request) error {
	var req wire.ApplyRequest
	if err := readBody(r, &req); err != nil {
		return err
	}
	resp, err := a.apply(r.Context(), req)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, resp)
}

// apply checks a request and makes all of it, or nothing.
func (a *API) apply(ctx context.Context, req wire.ApplyRequest) (*wire.ApplyResponse, error) {
	if err := a.read(ctx); err != nil {
		return nil, err
	}
	who := peerOf(ctx).who
	for try := 1; ; try++ {
		ad := &admission{who: who, at: a.Now().UTC(), dryRun: req.DryRun}
		a.gather(ad, req.Changes)
		if err := ad.admit(req.Changes); err != nil {
			if try < maxApplyTries && a.late(ctx, err) {
				continue
			}
			return nil, err
		}
		if req.DryRun {
			a.dryRun(ad)
			return &wire.ApplyResponse{Revision: ad.revision, Units: ad.applied}, nil
		}
		revision, err := a.write(ctx, ad)
		switch {
		case err == nil:
			return ad.response(revision), nil
		case !errors.Is(err, store.ErrStale) || try == maxApplyTries:
			return nil, err
		}
		// Somebody else changed one of the units since the view showed it: look again when the view has come so far.
		if err := a.catchStore(ctx, req.Changes[0].Name); err != nil {
			return nil, err
		}
	}
}

// write makes the changes, and waits for the view to show them.
func (a *API) write(ctx context.Context, ad *admission) (int64, error) {
	if len(ad.writes) == 0 {
		return ad.revision, nil
	}
	for name, w := range ad.after {
		if w == nil {
			a.History.Blame(name, ad.who)
		}
	}
	revision, err := a.Store.Write(ctx, store.Writer{Role: store.Person, ID: ad.who}, ad.writes...)
	if err != nil {
		return 0, err
	}
	short, cancel := context.WithTimeout(ctx, shownTimeout)
	defer cancel()
	_ = a.hub.wait(short, revision) // It is done either way; only who reads at once may see it late.
	return revision, nil
}

// catchStore waits until the view shows a unit as the store has it now.
func (a *API) catchStore(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	revision, err := a.stored(ctx, name)
	switch {
	case err != nil:
		return err
	case revision == 0:
		return unseen(a.hub.waitGone(ctx, name))
	}
	return a.seen(ctx, revision) // Not the store's own: it grows with keys that no view shows.
}

// stored is the revision that a unit has in the store now; 0: it is not there.
func (a *API) stored(ctx context.Context, name string) (int64, error) {
	p, err := a.Store.Read(ctx, cluster.UnitKey(name))
	if err != nil {
		return 0, err
	}
	for _, e := range p.Entries { // The key is also the beginning of longer ones.
		if e.Key == cluster.UnitKey(name) {
			return e.Revision, nil
		}
	}
	return 0, nil
}

// late tells whether units were refused for what they were a moment ago: another server took a change of them, and this
// one's view had not seen it. It has when late returns.
func (a *API) late(ctx context.Context, err error) bool {
	for _, r := range reasonsOf(err) {
		names := []string{r.Str("unit")}
		switch r.Code {
		case reason.NoSuchUnit:
			names = append(names, string(unit.Name(names[0]).Template()))
		case reason.Stale:
		default:
			continue
		}
		for _, name := range names {
			revision, err := a.stored(ctx, name)
			if err == nil && revision != r.Int("found") { // Who is not found has none.
				return a.catchStore(ctx, name) == nil
			}
		}
	}
	return false
}

// gather takes from the view what the admission has to know. Wishes are never changed, only replaced.
func (a *API) gather(ad *admission, changes []wire.Change) {
	ad.before = make(map[string]*cluster.Wanted, 2*len(changes))
	a.View.Peek(func(p *cluster.Picture) {
		ad.revision, ad.total = p.Revision, len(p.Units)
		for _, c := range changes {
			name := unit.Name(c.Name)
			ad.before[c.Name] = p.Units[c.Name]
			if _, err := unit.ParseName(c.Name); err == nil && name.IsInstance() {
				t := string(name.Template())
				ad.before[t] = p.Units[t]
			}
			if starts := startedBy(&c, p.Units[c.Name]); starts != "" && ad.before[starts] == nil {
				ad.before[starts] = p.Units[starts]
			}
		}
	})
}

// admission decides about one request: a picture of wishes in, writes and faults out.
type admission struct {
	before   map[string]*cluster.Wanted // The present wishes of the units that are named, and of their templates.
	total    int                        // Units there are.
	revision int64
	who      string
	at       time.Time
	dryRun   bool

	after   map[string]*cluster.Wanted // What the request makes of units; nil: destroyed.
	models  map[string]*unit.Unit      // The models of texts that were read.
	writes  []store.Change
	applied []wire.Applied
	faults  faults
}

func (ad *admission) fault(err error) {
	if err == nil || len(ad.faults) > maxAlso {
		return
	}
	ad.faults = append(ad.faults, allReasons(err)...)
}

// allReasons takes apart errors that hold several reasons, such as unit.Errors.
func allReasons(err error) []*reason.Reason {
	if many, ok := errors.AsType[unit.Errors](err); ok && len(many) > 0 {
		return many
	}
	return reasonsOf(err)
}

// admit checks all changes before any is made, and names all faults at once.
func (ad *admission) admit(changes []wire.Change) error {
	ad.after, ad.models = map[string]*cluster.Wanted{}, map[string]*unit.Unit{}
	if len(changes) == 0 {
		return badRequest("the request names no unit: changes is empty")
	}
	if len(changes) > wire.MaxUnitsCall {
		return tooLarge("units in one call", len(changes), wire.MaxUnitsCall)
	}
	for i := range changes {
		ad.one(&changes[i])
	}
	ad.armed(changes)
	if ad.total > wire.MaxUnits {
		ad.fault(tooLarge("units of the cluster", ad.total, wire.MaxUnits))
	}
	if len(ad.faults) > 0 {
		return ad.faults
	}
	return nil
}

func tooLarge(what string, need, have int) error {
	return reason.Because(reason.TooLarge, reason.Args{"what": what, "need": need, "have": have})
}

func (ad *admission) one(c *wire.Change) {
	name, err := unitName(c.Name)
	if err != nil {
		ad.fault(err)
		return
	}
	if _, twice := ad.after[c.Name]; twice {
		ad.fault(badRequest(c.Name + " is named twice in one request"))
		return
	}
	before := ad.before[c.Name]
	if err := expect(c, before); err != nil {
		ad.fault(err)
		return
	}
	if c.Destroy {
		ad.destroy(c, before)
		return
	}
	next, res, err := ad.text(name, c, before)
	if err != nil {
		ad.fault(err)
		return
	}
	if err := orders(name, c, &next); err != nil {
		ad.fault(err)
		return
	}
	ad.put(c.Name, before, next, res)
}

// expect compares the revision that the caller has seen with the present one.
func expect(c *wire.Change, before *cluster.Wanted) error {
	found := revisionOf(before)
	if c.Expect == nil || *c.Expect == found {
		return nil
	}
	return reason.Because(reason.Stale, reason.Args{"unit": c.Name, "expected": *c.Expect, "found": found})
}

func revisionOf(w *cluster.Wanted) int64 {
	if w == nil {
		return 0
	}
	return w.Revision
}

func (ad *admission) destroy(c *wire.Change, before *cluster.Wanted) {
	if c.Text != nil || c.Desired != "" || c.Start || c.Restart || c.Reload || c.Trigger || c.Signal != 0 {
		ad.fault(badRequest(c.Name + ": destroy goes with nothing else"))
		return
	}
	if before == nil {
		ad.fault(reason.Because(reason.NoSuchUnit, reason.Args{"unit": c.Name}))
		return
	}
	ad.after[c.Name] = nil
	ad.total--
	ad.writes = append(ad.writes, store.Change{Key: cluster.UnitKey(c.Name), Guard: true, If: before.Revision})
	ad.applied = append(ad.applied, wire.Applied{Name: c.Name, Changed: true})
}

// text settles which unit file the unit has after the change.
func (ad *admission) text(name unit.Name, c *wire.Change, before *cluster.Wanted) (next cluster.Wanted, res wire.Applied, err error) {
	res = wire.Applied{Name: c.Name, Revision: revisionOf(before)}
	switch {
	case c.Text != nil:
		return ad.newText(name, c, before, res)
	case len(c.DropIns) > 0:
		return next, res, badRequest(c.Name + ": dropins go with text only")
	case before != nil:
		return *before, res, nil
	}
	t := ad.template(name)
	if t == nil {
		return next, res, reason.Because(reason.NoSuchUnit, reason.Args{"unit": c.Name})
	}
	next = cluster.Wanted{Name: c.Name, Text: t.Text, DropIns: t.DropIns, Desired: cluster.Inactive}
	res.Created = true
	u, err := ad.load(name, next.Text, next.DropIns)
	if err != nil {
		return next, res, err
	}
	res.Warnings = u.Warnings
	return next, res, nil
}

// template finds the template of an instance, also one that comes with the same request before it.
func (ad *admission) template(name unit.Name) *cluster.Wanted {
	if !name.IsInstance() {
		return nil
	}
	t := string(name.Template())
	if w, changed := ad.after[t]; changed {
		return w
	}
	return ad.before[t]
}

// newText takes a submitted unit file: for a new unit, or for a present one that may be replaced.
func (ad *admission) newText(name unit.Name, c *wire.Change, before *cluster.Wanted, res wire.Applied) (cluster.Wanted, wire.Applied, error) {
	u, err := ad.load(name, *c.Text, c.DropIns)
	if err != nil {
		return cluster.Wanted{}, res, err
	}
	res.Warnings = u.Warnings
	if before == nil {
		res.Created = true
		return cluster.Wanted{Name: c.Name, Text: *c.Text, DropIns: c.DropIns, Desired: cluster.Inactive}, res, nil
	}
	next := *before
	if before.Text == *c.Text && slices.Equal(before.DropIns, c.DropIns) {
		return next, res, nil
	}
	if c.Replace {
		next.Text, next.DropIns = *c.Text, c.DropIns
		return next, res, nil
	}
	// Comments and order of keys alone are no difference.
	if old, err := load(name, before.Text, before.DropIns); err != nil || old.Hash() != u.Hash() {
		res.Differs = true
	}
	return next, res, nil
}

// load reads a unit file of the request.
func (ad *admission) load(name unit.Name, text string, dropins []cluster.DropIn) (*unit.Unit, error) {
	u, err := loadBounded(name, text, dropins)
	if err == nil {
		ad.models[string(name)] = u
	}
	return u, err
}

// loadBounded reads a unit file of acceptable size.
func loadBounded(name unit.Name, text string, dropins []cluster.DropIn) (*unit.Unit, error) {
	size := len(text)
	for _, d := range dropins {
		size += len(d.Text)
	}
	if size > wire.MaxUnitText {
		return nil, tooLarge(fmt.Sprintf("bytes of the unit file %s with its drop-ins", name), size, wire.MaxUnitText)
	}
	if len(dropins) > maxDropIns {
		return nil, tooLarge("drop-ins of "+string(name), len(dropins), maxDropIns)
	}
	return load(name, text, dropins)
}

// load is unit.Load with the cluster's drop-ins.
func load(name unit.Name, text string, dropins []cluster.DropIn) (*unit.Unit, error) {
	sources := make([]unit.Source, len(dropins))
	for i, d := range dropins {
		sources[i] = unit.Source{Name: d.Name, Text: []byte(d.Text)}
	}
	return unit.Load(name, []byte(text), sources, anyHost)
}

// orders takes the desired state and the orders for once into the wish.
func orders(name unit.Name, c *wire.Change, next *cluster.Wanted) error {
	was := next.Desired
	switch c.Desired {
	case "":
	case cluster.Inactive, cluster.Loaded, cluster.Launched:
		next.Desired = c.Desired
	default:
		return badRequest(fmt.Sprintf("%s: desired is %q, not inactive, loaded or launched", c.Name, c.Desired))
	}
	once := c.Start || c.Restart || c.Reload || c.Trigger || c.Signal != 0
	if name.IsTemplate() && (next.Desired != cluster.Inactive || once) {
		return reason.Because(reason.TemplateOnly, reason.Args{"unit": c.Name})
	}
	if c.Signal < 0 || c.Signal > maxSignal {
		return badRequest(fmt.Sprintf("%s: %d is no signal", c.Name, c.Signal))
	}
	if c.Trigger && name.Type() != "timer" {
		return badRequest(c.Name + " is no timer: only timers can be triggered")
	}
	if c.Start || (was != cluster.Launched && next.Desired == cluster.Launched) {
		next.Orders.Start++
	}
	if c.Restart {
		next.Orders.Restart++
	}
	if c.Reload {
		next.Orders.Reload++
	}
	if c.Trigger {
		next.Orders.Trigger++
	}
	if c.Signal != 0 {
		next.Orders.Kill++
		next.Orders.Signal = c.Signal
	}
	return nil
}

// put writes the wish down if it is another one.
func (ad *admission) put(name string, before *cluster.Wanted, next cluster.Wanted, res wire.Applied) {
	ad.after[name] = &next
	if before == nil {
		ad.total++
	}
	if before == nil || before.Text != next.Text || !slices.Equal(before.DropIns, next.DropIns) ||
		before.Desired != next.Desired || before.Orders != next.Orders {
		res.Changed = true
		next.By, next.At = ad.who, ad.at
		ad.writes = append(ad.writes, store.PutIf(cluster.UnitKey(name), next, revisionOf(before)))
	}
	ad.applied = append(ad.applied, res)
}

// response tells what became of each change.
func (ad *admission) response(revision int64) *wire.ApplyResponse {
	for i := range ad.applied {
		if r := &ad.applied[i]; r.Changed {
			r.Revision = revision
		}
	}
	return &wire.ApplyResponse{Revision: revision, Units: ad.applied}
}
