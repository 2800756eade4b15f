package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"argosy.dev/argosy/unit"
)

// On names one unit on one machine.
type On struct{ Machine, Unit string }

// Picture is all that the store holds, decoded, as of one revision. It is kept by applying entries.
// It is not safe for concurrent use; store.View guards one.
type Picture struct {
	Revision   int64
	Units      map[string]*Wanted
	Placements map[On]*Placement
	Unplaced   map[string]*Placement
	Statuses   map[On]*Status
	Machines   map[string]*Machine
	Admin      map[string]*MachineAdmin
	Alive      map[string]bool
	Signs      map[string]Sign       // Of the machines that are alive, or said goodbye.
	Condemned  map[string]*Condemned // By machine id.
	Users      map[string]*User
	Revoked    map[string]*Revoked // By KIND/NAME.
	Settings   Settings
	Members    map[string]*Member // By machine id.
	Reign      *Reign             // Nil: nobody has led yet.

	on map[string][]string // Unit name -> machine ids with a placement, sorted.
}

// NewPicture is an empty picture.
func NewPicture() *Picture {
	return &Picture{
		Units: map[string]*Wanted{}, Placements: map[On]*Placement{}, Unplaced: map[string]*Placement{},
		Statuses: map[On]*Status{}, Machines: map[string]*Machine{}, Admin: map[string]*MachineAdmin{}, Alive: map[string]bool{},
		Signs: map[string]Sign{}, Condemned: map[string]*Condemned{}, Users: map[string]*User{}, Revoked: map[string]*Revoked{}, Members: map[string]*Member{},
		on: map[string][]string{},
	}
}

// Touched says what an entry was about, so that a loop looks only at what changed.
type Touched struct {
	Prefix  string // One of the key prefixes.
	Unit    string // For units, placements, unplaced, statuses.
	Machine string // For placements, statuses, machines, admin, alive: the id.
}

// Apply takes one entry of the store into the picture: a value, or nil for a deletion.
// A key that this version does not know is skipped, so that an older server can live beside a newer one.
func (p *Picture) Apply(key string, value []byte, revision int64) (Touched, error) {
	prefix, rest := splitKey(key)
	t := Touched{Prefix: prefix}
	var err error
	switch prefix {
	case UnitsPrefix:
		t.Unit = rest
		if err = keep(p.Units, rest, value); err == nil && value != nil {
			p.Units[rest].Revision = revision
		}
	case PlacementsPrefix:
		t.Machine, t.Unit, _ = strings.Cut(rest, "/")
		err = keep(p.Placements, On{t.Machine, t.Unit}, value)
		p.indexPlacement(t.Unit, t.Machine, value != nil && err == nil)
	case UnplacedPrefix:
		t.Unit = rest
		err = keep(p.Unplaced, rest, value)
	case StatusesPrefix:
		t.Machine, t.Unit, _ = strings.Cut(rest, "/")
		err = keep(p.Statuses, On{t.Machine, t.Unit}, value)
	case MachinesPrefix:
		t.Machine = rest
		err = keep(p.Machines, rest, value)
	case AdminPrefix:
		t.Machine = rest
		err = keep(p.Admin, rest, value)
	case AlivePrefix:
		t.Machine = rest
		p.sign(rest, value)
	case CondemnedPrefix:
		t.Machine = rest
		if err = keep(p.Condemned, rest, value); err == nil && value != nil {
			p.Condemned[rest].Revision = revision
		}
	case UsersPrefix:
		err = keep(p.Users, rest, value)
	case RevokedPrefix:
		err = keep(p.Revoked, rest, value)
	case SettingsPrefix:
		p.Settings = Settings{}
		err = keepOne(&p.Settings, value)
	case MembersPrefix:
		t.Machine = rest
		err = keep(p.Members, rest, value)
	case LeaderPrefix:
		p.Reign = nil
		if value != nil {
			p.Reign = &Reign{}
			err = keepOne(p.Reign, value)
		}
	}
	p.Revision = max(p.Revision, revision)
	if err != nil {
		return t, fmt.Errorf("store key %s: %w", key, err)
	}
	return t, nil
}

// sign takes in a sign of life. What cannot be read is one all the same, of a machine that runs no exclusive units.
func (p *Picture) sign(id string, value []byte) {
	if value == nil {
		delete(p.Alive, id)
		delete(p.Signs, id)
		return
	}
	var s Sign
	if json.Unmarshal(value, &s) != nil {
		s = Sign{}
	}
	p.Signs[id] = s
	if s.Left {
		delete(p.Alive, id)
	} else {
		p.Alive[id] = true
	}
}

func keepOne(to any, value []byte) error {
	if value == nil {
		return nil
	}
	return json.Unmarshal(value, to)
}

func keep[K comparable, V any](m map[K]*V, key K, value []byte) error {
	if value == nil {
		delete(m, key)
		return nil
	}
	v := new(V)
	if err := json.Unmarshal(value, v); err != nil {
		return err
	}
	m[key] = v
	return nil
}

func (p *Picture) indexPlacement(unit, machine string, there bool) {
	ids := p.on[unit]
	i, found := slices.BinarySearch(ids, machine)
	switch {
	case there && !found:
		p.on[unit] = slices.Insert(slices.Clone(ids), i, machine)
	case !there && found && len(ids) == 1:
		delete(p.on, unit)
	case !there && found:
		p.on[unit] = slices.Delete(slices.Clone(ids), i, i+1)
	}
}

// PlacedOn lists the ids of the machines that a unit is placed on, sorted. At most one unless it is global.
func (p *Picture) PlacedOn(unit string) []string { return p.on[unit] }

// UnitNames lists all units in the order of unit.CompareNames.
func (p *Picture) UnitNames() []string {
	return slices.SortedFunc(maps.Keys(p.Units), unit.CompareNames)
}

// MachineName is the name of a machine, or its short id.
func (p *Picture) MachineName(id string) string {
	if m := p.Machines[id]; m != nil && m.Name != "" {
		return m.Name
	}
	return ShortID(id)
}

// Metadata of a machine with a person's overrides.
func (p *Picture) Metadata(id string) map[string]string {
	out := map[string]string{}
	if m := p.Machines[id]; m != nil {
		maps.Copy(out, m.Metadata)
	}
	if a := p.Admin[id]; a != nil {
		maps.Copy(out, a.Metadata)
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

// ShortID is fleet's eight characters.
func ShortID(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

// Encode is how a value is written to the store.
func Encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("cluster: a value that cannot be encoded: " + err.Error())
	}
	return b
}
