package unit

import (
	_ "embed"
	"slices"
	"strings"
)

//go:embed directives.txt
var directivesText string

// directives are the keys that systemd 252 knows, by section. Never written after the start.
var directives = readDirectives(directivesText)

func readDirectives(text string) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	var section map[string]bool
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = map[string]bool{}
			out[strings.Trim(line, "[]")] = section
		default:
			section[line] = true
		}
	}
	return out
}

// IsDirective tells whether systemd 252 knows the key in the section.
func IsDirective(section, key string) bool { return directives[section][key] }

// IsModelled tells whether the typed model carries what the directive says. What systemd knows and the model does not
// carry stays in Unit.File: only a runtime that hands the canonical text to systemd honours it.
func IsModelled(section, key string) bool {
	var ok bool
	switch section {
	case "Unit":
		_, ok = unitSetters[key]
		return ok && key != "SuccessAction"
	case "Service":
		_, ok = serviceSetters[key]
		return ok && key != "PAMName" && key != "FileDescriptorStoreMax"
	case "Timer":
		_, ok = timerSetters[key]
	case "Install":
		_, ok = installSetters[key]
	case sectionFleet:
		_, ok = fleetSetters[key]
	case sectionArgosy:
		_, ok = argosySetters[key]
	}
	return ok
}

// NotModelled lists, once each and in their order, the directives of systemd's own sections that the unit uses and the
// model does not carry; keys that systemd 252 does not know are among them.
func (u *Unit) NotModelled() []Warning {
	var out []Warning
	seen := map[string]bool{}
	for i := range u.File.Sections {
		s := &u.File.Sections[i]
		for _, o := range s.Options {
			if id := s.Name + "." + o.Key; !strings.HasPrefix(s.Name, "X-") && !IsModelled(s.Name, o.Key) && !seen[id] {
				seen[id] = true
				out = append(out, Warning{File: o.Source, Line: o.Line, Section: s.Name, Directive: o.Key})
			}
		}
	}
	return out
}

// isRemoved tells the keys that systemd takes without a word about an unknown key, and does nothing with.
func isRemoved(key string) bool {
	switch key {
	case "IgnoreOnSnapshot", "BusPolicy", "Capabilities", "NetClass", "SysVStartPriority":
		return true
	}
	return false
}

// sectionOf is the section that belongs to a type of unit; empty for those that have none of their own.
func sectionOf(unitType string) string {
	switch unitType {
	case "service", "timer", "socket", "path", "mount", "automount", "swap", "slice", "scope":
		return strings.ToUpper(unitType[:1]) + unitType[1:]
	}
	return ""
}

// didYouMean finds the key that a person may have meant; empty when none is near.
func didYouMean(key string, among []string) string {
	best, bestAt := "", max(len(key)/3, 1)+1
	for _, k := range among {
		if strings.EqualFold(k, key) {
			return k
		}
		if d := distance(strings.ToLower(key), strings.ToLower(k), bestAt); d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

// keysOf lists a section's directives in order, so that hints are the same each time.
func keysOf(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// distance is how many letters have to be changed, added or removed; it stops counting at most.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return min(row[len(b)], most)
}
