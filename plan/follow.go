package plan

import (
	"strings"

	"argosy.dev/argosy/reason"
)

// maxCircle is how many units a circle of MachineOf= is looked for in.
const maxCircle = 64

// absent says why a unit that others follow (MachineOf=) is on no machine: whether it is on its way, or stays away until
// somebody does something about it.
func (p *Planner) absent(peer string) *reason.Reason {
	if circle := p.circle(peer); circle != nil {
		return reason.Because(reason.NoMachinePeerAbsent, reason.Args{
			"peer": peer, "state": "a circle, in which none can be the first: " + strings.Join(circle, " follows "),
			"hint": "take MachineOf= out of one of them",
		})
	}
	i, known := p.byName[peer]
	switch {
	case !known || p.members[i].class == nil:
		return stays(peer, "there is no unit of this name that can be read", "argosy start FILE, or correct MachineOf=")
	case !p.members[i].wanted:
		return stays(peer, "nobody has asked for "+peer+" to run", "")
	}
	if why := p.nowhere(i); why != nil && why.Cure() == reason.Permanent {
		return stays(peer, "no machine for "+peer+": "+why.Message(), "argosy why "+peer)
	}
	return reason.Because(reason.NoMachinePeer, reason.Args{"peer": peer})
}

func stays(peer, state, hint string) *reason.Reason {
	args := reason.Args{"peer": peer, "state": state}
	if hint != "" {
		args["hint"] = hint
	}
	return reason.Because(reason.NoMachinePeerAbsent, args)
}

// nowhere is why a wanted unit is on no machine; nil when it has not been looked at.
func (p *Planner) nowhere(i int32) *reason.Reason {
	m := &p.members[i]
	if m.global != nil {
		return p.explainClass(m.class, -1).Unplaced
	}
	return m.class.why
}

// circle gives the names of a circle of MachineOf= that a unit is in, the unit first and last; nil when it is in none.
// A circle that is placed already, or a part of it, hinders nobody and is not looked at.
func (p *Planner) circle(name string) []string {
	seen := map[string]bool{}
	var walk func(at string, path []string) []string
	walk = func(at string, path []string) []string {
		i, known := p.byName[at]
		if !known || p.members[i].class == nil {
			return nil
		}
		for _, next := range p.members[i].class.demand.MachineOf {
			if next == name {
				return append(path, name)
			}
			if _, placed := p.whereIs(next); placed || seen[next] || len(seen) >= maxCircle {
				continue
			}
			seen[next] = true
			if found := walk(next, append(path, next)); found != nil {
				return found
			}
		}
		return nil
	}
	return walk(name, []string{name})
}

// retellFollowers lets the classes whose units follow the waiting ones of this class be explained again: their reason
// holds this one's.
func (p *Planner) retellFollowers(c *class) (more bool) {
	if len(p.followers) == 0 {
		return false
	}
	for _, i := range c.queue[c.head:] {
		if i < 0 {
			continue
		}
		for _, f := range p.followers[p.members[i].name] {
			if m := &p.members[f]; m.queueAt >= 0 {
				m.class.explain, more = true, true
			}
		}
	}
	return more
}
