package leader

import (
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// demands remembers what texts ask for, so that a change of a wish does not read its text again, and a thousand
// instances of one template are read once. It is bounded by emptying it.
type demands map[[sha256.Size]byte]*read

type read struct {
	demand unit.Demand
	stop   time.Duration // How long it has to stop, when it is exclusive.
	bad    *reason.Reason
}

const maxDemands = 200_000

// of gives what a unit asks for, or the reason why its text cannot be read.
func (d demands) of(w *cluster.Wanted) *read {
	key := keyOf(w)
	got, ok := d[key]
	if !ok {
		got = readText(w)
		if len(d) >= maxDemands {
			clear(d)
		}
		d[key] = got
	}
	return got
}

// keyOf is the same for the instances of a template whose text has no specifier.
func keyOf(w *cluster.Wanted) [sha256.Size]byte {
	name, specific := unit.Name(w.Name), strings.Contains(w.Text, "%")
	for _, dropin := range w.DropIns {
		specific = specific || strings.Contains(dropin.Text, "%")
	}
	if name.IsInstance() && !specific {
		name = name.Template()
	}
	h := sha256.New()
	for _, part := range append([]string{string(name), w.Text}, dropinParts(w.DropIns)...) {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func dropinParts(dropins []cluster.DropIn) []string {
	var out []string
	for _, d := range dropins {
		out = append(out, d.Name, d.Text)
	}
	return out
}

func readText(w *cluster.Wanted) *read {
	dropins := make([]unit.Source, len(w.DropIns))
	for i, d := range w.DropIns {
		dropins[i] = unit.Source{Name: d.Name, Text: []byte(d.Text)}
	}
	u, err := unit.Load(unit.Name(w.Name), []byte(w.Text), dropins, unit.Host{})
	if err == nil {
		return &read{demand: u.Demand(), stop: fence.StopTime(u)}
	}
	if r, ok := errors.AsType[*reason.Reason](err); ok {
		return &read{bad: r}
	}
	return &read{bad: reason.Because(reason.UnitInvalid, reason.Args{"file": w.Name, "line": 0, "error": err.Error()})}
}
