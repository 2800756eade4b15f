package api

import (
	"slices"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// activated names the unit that a timer starts; empty when it is no timer or cannot be read.
func activated(name unit.Name, text string, dropins []cluster.DropIn) string {
	if name.Type() != "timer" || name.IsTemplate() || len(text) > wire.MaxUnitText {
		return ""
	}
	u, err := load(name, text, dropins)
	if err != nil || u.Timer == nil {
		return ""
	}
	return u.Timer.Unit
}

// startedBy names the unit that a timer starts, by the text of a change or the one that the cluster has.
func startedBy(c *wire.Change, before *cluster.Wanted) string {
	switch {
	case c.Text != nil:
		return activated(unit.Name(c.Name), *c.Text, c.DropIns)
	case before != nil:
		return activated(unit.Name(c.Name), before.Text, before.DropIns)
	}
	return ""
}

// armed loads the units that the timers of the request start and that nobody has loaded yet: systemd loads them by
// itself when the timer comes, in a cluster they need a machine first. Whoever says in the same request what is
// wanted of such a unit decides about it.
func (ad *admission) armed(changes []wire.Change) {
	decided := map[string]bool{}
	for _, c := range changes {
		decided[c.Name] = c.Desired != "" || c.Destroy
	}
	for _, c := range changes {
		timer := ad.after[c.Name]
		if timer == nil || timer.Desired == cluster.Inactive {
			continue
		}
		name := activated(unit.Name(c.Name), timer.Text, timer.DropIns)
		now, named := ad.after[name]
		if !named {
			now = ad.before[name]
		}
		if now == nil || now.Desired != cluster.Inactive || decided[name] {
			continue
		}
		next := *now
		next.Desired, next.By, next.At = cluster.Loaded, ad.who, ad.at
		ad.after[name] = &next
		ad.writes = slices.DeleteFunc(ad.writes, func(w store.Change) bool { return w.Key == cluster.UnitKey(name) })
		ad.writes = append(ad.writes, store.PutIf(cluster.UnitKey(name), next, revisionOf(ad.before[name])))
	}
}
