package unit

import (
	"path"
	"slices"
	"strings"
)

// fleetState gathers the values of [X-Fleet] by key, as fleet does before it looks at them.
type fleetState struct {
	values map[string][]string
	line   map[string]*Option
}

// fleetSetters are fleet's keys, the deprecated forms with them.
var fleetSetters = map[string]setter{
	"MachineID": setFleet, "MachineOf": setFleet, "MachineMetadata": setFleet, "Conflicts": setFleet, "Replaces": setFleet,
	"Global":                     setFleet,
	"X-ConditionMachineID":       setOldFleet("MachineID"),
	"X-ConditionMachineOf":       setOldFleet("MachineOf"),
	"X-Conflicts":                setOldFleet("Conflicts"),
	"X-ConditionMachineBootID":   setOldFleet("MachineID"),
	"X-ConditionMachineMetadata": setOldFleet("MachineMetadata"),
}

func setFleet(l *loader, v string) bool {
	if l.fleet.values == nil {
		l.fleet = fleetState{values: map[string][]string{}, line: map[string]*Option{}}
	}
	key := l.opt.Key
	l.fleet.line[key] = l.opt
	for _, w := range fleetWords(v) {
		l.fleet.values[key] = append(l.fleet.values[key], l.fleetExpand(w))
	}
	if len(l.fleet.values[key]) > MaxFleet {
		return l.fail("more than %d values", MaxFleet)
	}
	if strings.HasSuffix(key, "Metadata") {
		return l.checkMetadata(l.fleet.values[key])
	}
	return true
}

func setOldFleet(now string) setter {
	return func(l *loader, v string) bool {
		l.warn("deprecated form of %s=", now)
		return setFleet(l, v)
	}
}

// checkMetadata refuses what fleet drops without a word, which lets a unit run anywhere.
func (l *loader) checkMetadata(pairs []string) bool {
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		if k == "" || v == "" || strings.Contains(v, "=") {
			return l.fail("%s is not KEY=VALUE", short(p))
		}
	}
	return true
}

// fleetWords splits a value as fleet does: a value that begins and ends with a quote is a list of quoted items, any other
// is one item.
func fleetWords(v string) []string {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return []string{v}
	}
	var out []string
	var item strings.Builder
	inside := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"':
			inside = !inside
		case c == ' ' && !inside:
			out = append(out, item.String())
			item.Reset()
		default:
			item.WriteByte(c)
		}
	}
	return slices.DeleteFunc(append(out, item.String()), func(s string) bool { return s == "" })
}

// fleetExpand replaces fleet's four specifiers, in fleet's order.
func (l *loader) fleetExpand(s string) string {
	n := l.u.Name
	if strings.IndexByte(s, '%') < 0 || n.IsTemplate() {
		return s
	}
	s = strings.ReplaceAll(s, "%n", string(n))
	s = strings.ReplaceAll(s, "%N", n.Base())
	s = strings.ReplaceAll(s, "%p", n.Prefix())
	return strings.ReplaceAll(s, "%i", n.Instance())
}

// finishFleet makes the typed section of what was gathered, and refuses what fleet refuses, in fleet's words.
func (l *loader) finishFleet() {
	v := l.fleet.values
	if v == nil {
		return
	}
	f := &l.u.Fleet
	for _, key := range []string{"MachineID", "X-ConditionMachineID", "X-ConditionMachineBootID"} {
		if f.MachineID == "" && len(v[key]) > 0 {
			f.MachineID = v[key][0]
		}
	}
	f.MachineOf = slices.Concat(v["X-ConditionMachineOf"], v["MachineOf"])
	f.Replaces = v["Replaces"]
	for _, c := range slices.Concat(v["X-Conflicts"], v["Conflicts"]) {
		f.Conflicts = append(f.Conflicts, strings.Fields(c)...)
	}
	if len(f.Conflicts) > MaxFleet {
		l.failFleet("Conflicts", "more than %d values", MaxFleet)
		return
	}
	f.Metadata = metadataTerms(slices.Concat(v["X-ConditionMachineMetadata"], v["MachineMetadata"]))
	if g := v["Global"]; len(g) > 0 {
		f.Global = fleetTrue(g[len(g)-1])
	}
	l.section = sectionFleet
	l.checkFleet(f)
}

// fleetTrue is fleet's reading of Global=: anything it does not know is false.
func fleetTrue(s string) bool {
	switch strings.ToLower(s) {
	case "true", "yes", "1", "on", "t":
		return true
	}
	return false
}

func metadataTerms(pairs []string) []MetadataTerm {
	var out []MetadataTerm
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		i, have := slices.BinarySearchFunc(out, k, func(t MetadataTerm, key string) int { return strings.Compare(t.Key, key) })
		if !have {
			out = slices.Insert(out, i, MetadataTerm{Key: k})
		}
		if j, dup := slices.BinarySearch(out[i].Values, v); !dup {
			out[i].Values = slices.Insert(out[i].Values, j, v)
		}
	}
	return out
}

func (l *loader) checkFleet(f *Fleet) {
	for _, m := range slices.Concat(f.Conflicts, f.Replaces) {
		if _, err := path.Match(m, ""); err != nil {
			l.failFleet("Conflicts", "%s is not a pattern", short(m))
		}
	}
	for _, peer := range f.MachineOf {
		for _, c := range f.Conflicts {
			if ok, _ := path.Match(c, peer); ok {
				l.failFleet("Conflicts", "unresolvable requirements: peer %q matches conflict %q", peer, c)
			}
		}
		for _, r := range f.Replaces {
			if ok, _ := path.Match(r, peer); ok {
				l.failFleet("Replaces", "unresolvable requirements: peer %q matches replace %q", peer, r)
			}
		}
	}
	target, peers := f.MachineID != "", len(f.MachineOf) > 0
	conflicts, replaces := len(f.Conflicts) > 0, len(f.Replaces) > 0
	switch {
	case target && peers:
		l.failFleet("MachineID", "MachineID cannot be used with Peers")
	case target && conflicts:
		l.failFleet("MachineID", "MachineID cannot be used with Conflicts")
	case target && f.Global:
		l.failFleet("MachineID", "MachineID cannot be used with Global")
	case target && replaces:
		l.failFleet("MachineID", "MachineID cannot be used with Replaces")
	case f.Global && peers:
		l.failFleet("Global", "Global cannot be used with Peers")
	case f.Global && replaces:
		l.failFleet("Global", "Global cannot be used with Replaces")
	case conflicts && replaces:
		l.failFleet("Conflicts", "Conflicts cannot be used with Replaces")
	}
}

// failFleet keeps fleet's sentence as it is, with the place of the key in front.
func (l *loader) failFleet(key, format string, args ...any) {
	o, ok := l.fleet.line[key]
	if !ok {
		if o = l.fleet.line["X-Condition"+key]; o == nil {
			o = l.fleet.line["X-"+key]
		}
	}
	if o == nil {
		o = &Option{Source: l.u.File.Source}
	}
	l.errs = append(l.errs, invalid(o.Source, o.Line, format, args...))
}
