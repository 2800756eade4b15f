package unit

import "strings"

// Name is a valid unit name with its suffix: web.service, web@1.service, web@.service.
type Name string

// Type is the suffix without the dot: service, timer, …
func (n Name) Type() string { return string(n)[strings.LastIndexByte(string(n), '.')+1:] }

// Base is the name without its suffix (%N).
func (n Name) Base() string { return string(n)[:strings.LastIndexByte(string(n), '.')] }

// Prefix is what stands before the "@", or the whole base (%p).
func (n Name) Prefix() string { p, _, _ := strings.Cut(n.Base(), "@"); return p }

// Instance is what stands between "@" and the suffix (%i); empty for a template and a plain unit.
func (n Name) Instance() string { _, i, _ := strings.Cut(n.Base(), "@"); return i }

// IsTemplate tells whether it is like web@.service.
func (n Name) IsTemplate() bool {
	return strings.HasSuffix(n.Base(), "@") && strings.Count(n.Base(), "@") == 1
}

// IsInstance tells whether it is like web@1.service.
func (n Name) IsInstance() bool { return n.Instance() != "" }

// Template is the name of the template of an instance: web@.service.
func (n Name) Template() Name { return Name(n.Prefix() + "@." + n.Type()) }
