package show

import (
	"slices"
	"strconv"
	"strings"

	"argosy.dev/argosy/unit"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Name is a unit's name as people say it: without .service.
func Name(unit string) string { return strings.TrimSuffix(Clean(unit), ".service") }

// CompareNames orders names as people count: web@2 before web@10.
func CompareNames(a, b string) int { return unit.CompareNames(a, b) }

// Names writes several names short: the instances of one template become one word with braces, which a shell
// or argosy takes as it stands: web@{1..4,7} redis.
func Names(units []string) string {
	sorted := slices.Clone(units)
	slices.SortFunc(sorted, CompareNames)
	sorted = slices.Compact(sorted)
	var order []string
	instances := map[string][]string{} // "web@" + suffix
	suffixes := map[string]string{}
	for _, u := range sorted {
		n := Name(u)
		prefix, rest, ok := strings.Cut(n, "@")
		if !ok || rest == "" {
			order = append(order, n)
			continue
		}
		suffix := ""
		if strings.HasSuffix(u, ".timer") || strings.HasSuffix(u, ".socket") || strings.HasSuffix(u, ".path") {
			i := strings.LastIndexByte(rest, '.')
			rest, suffix = rest[:i], rest[i:]
		}
		key := prefix + "@" + suffix
		if _, there := instances[key]; !there {
			order = append(order, "\x00"+key)
			suffixes[key] = suffix
		}
		instances[key] = append(instances[key], rest)
	}
	for i, o := range order {
		if key, ok := strings.CutPrefix(o, "\x00"); ok {
			suffix := suffixes[key]
			order[i] = braces(strings.TrimSuffix(key, suffix), instances[key], suffix)
		}
	}
	return strings.Join(order, " ")
}

// braces writes instances of one template as brace expressions: three and more in a row become a range, the others
// one list behind it, because {1..4,7} is not a range to a shell.
func braces(prefix string, list []string, suffix string) string {
	var words, single []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && follows(list[j], list[j+1]) {
			j++
		}
		if j-i >= 2 {
			words = append(words, prefix+"{"+list[i]+".."+list[j]+"}"+suffix)
		} else {
			single = append(single, list[i:j+1]...)
		}
		i = j + 1
	}
	switch len(single) {
	case 0:
	case 1:
		words = append(words, prefix+single[0]+suffix)
	default:
		words = append(words, prefix+"{"+strings.Join(single, ",")+"}"+suffix)
	}
	return strings.Join(words, " ")
}

func follows(a, b string) bool {
	x, err := strconv.Atoi(a)
	if err != nil || strconv.Itoa(x) != a {
		return false
	}
	y, err := strconv.Atoi(b)
	return err == nil && strconv.Itoa(y) == b && y == x+1
}
