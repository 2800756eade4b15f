package store

import "strings"

const partPrefix = "part/"

// PartPrefix is the prefix under which store/remote gives a machine its part of the store, with the entries' real keys:
// its placements, statuses, records and lease, the units placed there, who leads, and the servers.
func PartPrefix(machine string) string { return partPrefix + machine + "/" }

// CutPart takes the machine's id out of a prefix that PartPrefix made.
func CutPart(prefix string) (machine string, ok bool) {
	rest, ok := strings.CutPrefix(prefix, partPrefix)
	if !ok {
		return "", false
	}
	machine, ok = strings.CutSuffix(rest, "/")
	return machine, ok && machine != "" && !strings.Contains(machine, "/")
}
