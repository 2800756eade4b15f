package plan

import (
	"cmp"
	"slices"

	"argosy.dev/argosy/reason"
)

// canPreempt tells whether there is a placed unit of a lower priority at all.
func (p *Planner) canPreempt(c *class) bool {
	if len(p.priority) == 0 || len(c.demand.MachineOf) > 0 {
		return false
	}
	for have := range p.priority { // Order does not matter: it only asks whether there is one.
		if have < c.demand.Priority {
			return true
		}
	}
	return false
}

// preempt makes room for a class on the machine where the least has to give way: the lowest priorities, then the
// fewest units. What gave way looks for another place. -1: nothing helps.
func (p *Planner) preempt(c *class, name string) int32 {
	best, bestPriority, bestUnits := int32(-1), 0, 0
	var victims []int32
	for s := p.slots.open.next(0); s >= 0; s = p.slots.open.next(s + 1) {
		if !p.may(c, s) {
			continue
		}
		v := p.victims(c, s)
		if len(v) == 0 {
			continue
		}
		top := p.members[v[0]].class.demand.Priority
		if best < 0 || top < bestPriority || top == bestPriority && len(v) < bestUnits {
			best, bestPriority, bestUnits, victims = s, top, len(v), v
		}
	}
	for _, v := range victims {
		p.leave(v, best, reason.Because(reason.Preempted, reason.Args{"by": name, "priority": c.demand.Priority}))
	}
	return best
}

// victims gives the units of lower priority that have to leave a slot so that the class fits, the highest priority
// first; none when that is not enough.
func (p *Planner) victims(c *class, s int32) []int32 {
	var lower []int32
	lack := c.need
	for d := range dims {
		lack[d] -= p.slots.free[d][s]
	}
	for _, v := range p.slots.on[s] {
		m := &p.members[v]
		if m.global != nil || m.class.demand.Priority >= c.demand.Priority {
			continue
		}
		lower = append(lower, v)
		for d := range dims {
			lack[d] -= m.class.need[d]
		}
	}
	if lack[cpu] > 0 || lack[memory] > 0 || lack[disk] > 0 {
		return nil
	}
	slices.SortStableFunc(lower, func(a, b int32) int {
		x, y := p.members[a].class, p.members[b].class
		return cmp.Or(cmp.Compare(y.demand.Priority, x.demand.Priority), cmp.Compare(x.need[memory], y.need[memory]))
	})
	// Spare whom the rest suffices without, the highest priority first.
	return slices.DeleteFunc(lower, func(v int32) bool {
		need := &p.members[v].class.need
		for d := range dims {
			if lack[d]+need[d] > 0 {
				return false
			}
		}
		for d := range dims {
			lack[d] += need[d]
		}
		return true
	})
}
