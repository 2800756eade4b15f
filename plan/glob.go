package plan

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// glob is one pattern of a Conflicts= or Replaces= that is in use, with where it matters.
type glob struct {
	pattern string
	prefix  string // What stands before the first special character.
	simple  bool   // The pattern is prefix + "*".
	serial  uint64 // A pattern that comes into use again is another glob.
	refs    int    // Classes that declare it.

	occupied  counted // Slots with a unit whose name matches.
	conflicts counted // Slots with a unit that declares it in Conflicts=.
	replaces  counted // Slots with a unit that declares it in Replaces=.
}

// matches is fleet's rule: path.Match; a malformed pattern matches nothing.
func (g *glob) matches(name string) bool {
	if !strings.HasPrefix(name, g.prefix) {
		return false
	}
	if g.simple {
		return true
	}
	ok, err := path.Match(g.pattern, name)
	return err == nil && ok
}

// globIndex finds the globs that match a name by their literal prefixes: one look-up per length in use.
type globIndex struct {
	byPattern map[string]*glob
	byPrefix  map[string][]*glob
	lengths   []int // Lengths of prefixes in use, rising.
	serial    uint64
}

func (x *globIndex) matching(name string, into []*glob) []*glob {
	for _, l := range x.lengths {
		if l > len(name) {
			break
		}
		for _, g := range x.byPrefix[name[:l]] {
			if g.matches(name) {
				into = append(into, g)
			}
		}
	}
	slices.SortFunc(into, func(a, b *glob) int { return cmp.Compare(a.pattern, b.pattern) })
	return into
}

// get finds or makes the glob of a pattern; isNew says that units may have to be matched with it.
func (x *globIndex) get(pattern string) (g *glob, isNew bool) {
	if g := x.byPattern[pattern]; g != nil {
		return g, false
	}
	prefix := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		prefix = pattern[:i]
	}
	x.serial++
	g = &glob{serial: x.serial, pattern: pattern, prefix: prefix, simple: pattern == prefix+"*"}
	x.byPattern[pattern] = g
	x.byPrefix[prefix] = append(x.byPrefix[prefix], g)
	if i, found := slices.BinarySearch(x.lengths, len(prefix)); !found {
		x.lengths = slices.Insert(x.lengths, i, len(prefix))
	}
	return g, true
}

func (x *globIndex) drop(g *glob) {
	delete(x.byPattern, g.pattern)
	same := slices.DeleteFunc(x.byPrefix[g.prefix], func(o *glob) bool { return o == g })
	if len(same) > 0 {
		x.byPrefix[g.prefix] = same
		return
	}
	delete(x.byPrefix, g.prefix)
	for _, o := range x.byPattern { // Order does not matter: it only asks whether there is one.
		if len(o.prefix) == len(g.prefix) {
			return
		}
	}
	if i, found := slices.BinarySearch(x.lengths, len(g.prefix)); found {
		x.lengths = slices.Delete(x.lengths, i, i+1)
	}
}

// nameIndex finds units by the beginning of their name: a sorted list, and a short unsorted tail of newcomers.
type nameIndex struct {
	sorted, tail []int32
	gone         []int32 // Places of units that are no more: reused only when they have left the lists.
}

// The tail may grow so long before a search sorts it in: this, or a share of the sorted list.
const (
	maxTail   = 256
	tailShare = 16
)

func (x *nameIndex) add(i int32) { x.tail = append(x.tail, i) }

// withPrefix calls f for each known unit whose name begins so.
func (p *Planner) withPrefix(prefix string, f func(i int32)) {
	x := &p.names
	known := func(i int32) bool { return p.members[i].used && p.members[i].class != nil }
	if len(x.tail) > max(maxTail, len(x.sorted)/tailShare) {
		p.sortNames()
	}
	from, _ := slices.BinarySearchFunc(x.sorted, prefix, func(i int32, s string) int { return strings.Compare(p.members[i].name, s) })
	for _, i := range x.sorted[from:] {
		if !strings.HasPrefix(p.members[i].name, prefix) {
			break
		}
		if known(i) {
			f(i)
		}
	}
	for _, i := range x.tail {
		if known(i) && strings.HasPrefix(p.members[i].name, prefix) {
			f(i)
		}
	}
}

// sortNames brings the newcomers in, and takes out what is gone.
func (p *Planner) sortNames() {
	x := &p.names
	byName := func(a, b int32) int { return strings.Compare(p.members[a].name, p.members[b].name) }
	slices.SortFunc(x.tail, byName)
	old := x.sorted
	all := make([]int32, 0, len(old)+len(x.tail))
	for _, i := range x.tail {
		at, _ := slices.BinarySearchFunc(old, i, byName)
		all = append(append(all, old[:at]...), i)
		old = old[at:]
	}
	all = append(all, old...)
	all = slices.DeleteFunc(all, func(i int32) bool { return !p.members[i].used || p.members[i].class == nil })
	p.spare = append(p.spare, x.gone...)
	x.sorted, x.tail, x.gone = slices.Compact(all), x.tail[:0], x.gone[:0]
}

// rematch looks again at the units that a pattern matches, because it came into use or went out of it.
func (p *Planner) rematch(g *glob) {
	p.withPrefix(g.prefix, func(i int32) {
		if m := &p.members[i]; g.matches(m.name) && !m.isStale {
			m.isStale = true
			p.stale = append(p.stale, i)
		}
	})
}
