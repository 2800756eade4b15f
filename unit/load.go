package unit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Source is one drop-in, NAME.d/*.conf.
type Source struct {
	Name string
	Text []byte
}

// Bounds of one unit. systemd has none of them; here a hostile text must not cost more than it is long.
const (
	MaxDropIns  = 64   // Drop-ins.
	MaxWarnings = 200  // Warnings that are kept.
	MaxList     = 4096 // Entries of one list: dependencies of a kind, variables, credentials, directories.
	MaxFleet    = 256  // Values of one key of [X-Fleet].
)

// The sections that are not systemd's.
const (
	sectionFleet  = "X-Fleet"
	sectionArgosy = "X-Argosy"
)

// Load reads a unit's text and its drop-ins into the typed model, as systemd 252 would load them: drop-ins after the
// file in the order of their names, repeated keys and resets as each directive has them, values by each directive's own
// syntax. What systemd ignores with a log line is ignored with a warning, and is left out of the canonical File; what
// makes systemd refuse the unit, and what is wrong in [X-Fleet] and [X-Argosy], is an error: Errors, each with file and
// line. The name may be a template's; then %i is empty.
func Load(name Name, text []byte, dropins []Source, host Host) (*Unit, error) {
	l := &loader{host: host, u: newUnit(name)}
	if len(strings.Trim(string(text), whitespace)) == 0 {
		return nil, Errors{invalid(string(name), 0, "the file is empty, which systemd takes for a masked unit")}
	}
	if len(dropins) > MaxDropIns {
		return nil, Errors{invalid(string(name), 0, "%d drop-ins are more than %d", len(dropins), MaxDropIns)}
	}
	dropins = slices.Clone(dropins)
	slices.SortStableFunc(dropins, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	l.source(string(name), text)
	for _, d := range dropins {
		l.source(string(name)+".d/"+d.Name, d.Text)
	}
	l.finish()
	if len(l.errs) > 0 {
		return nil, l.errs
	}
	return l.u, nil
}

// newUnit has systemd's defaults.
func newUnit(name Name) *Unit {
	u := &Unit{
		Name:                name,
		File:                &File{Source: string(name)},
		DefaultDependencies: true,
		StartLimitInterval:  10 * time.Second,
		StartLimitBurst:     5,
	}
	switch name.Type() {
	case "service":
		u.Service = newService()
	case "timer":
		u.Timer = &Timer{AccuracySec: time.Minute, RemainAfterElapse: true}
	}
	return u
}

// loader is the work of one Load.
type loader struct {
	u       *Unit
	host    Host
	errs    Errors
	section string
	opt     *Option

	svc    serviceState
	fleet  fleetState
	health healthState
	full   bool // A list had too many entries.
}

// setter takes one value. It reports whether the assignment counts; one that does not is left out of the canonical file.
type setter func(l *loader, v string) bool

func (l *loader) source(source string, text []byte) {
	file, warnings, err := ParseFile(source, text)
	l.u.Warnings = append(l.u.Warnings, warnings[:min(len(warnings), MaxWarnings-len(l.u.Warnings))]...)
	if err != nil {
		if errs, ok := errors.AsType[Errors](err); ok {
			l.errs = append(l.errs, errs...)
		}
		return
	}
	for i := range file.Sections {
		l.takeSection(&file.Sections[i])
	}
}

func (l *loader) takeSection(s *Section) {
	l.section = s.Name
	l.opt = &Option{Source: l.u.File.Source, Line: s.Line}
	if len(s.Options) > 0 {
		l.opt.Source = s.Options[0].Source
	}
	var setters map[string]setter
	switch own := sectionOf(l.u.Name.Type()); {
	case s.Name == "Unit":
		setters = unitSetters
	case s.Name == "Install":
		setters = installSetters
	case s.Name == own:
		setters = ownSetters(own)
	case s.Name == sectionFleet:
		setters = fleetSetters
	case s.Name == sectionArgosy || s.Name == "Argosy":
		l.section = sectionArgosy
		setters = argosySetters
	case strings.HasPrefix(s.Name, "X-"):
		l.keepSection(s)
		return
	default:
		l.warn("section [%s] is not known for a .%s: systemd ignores it", s.Name, l.u.Name.Type())
		return
	}
	for i := range s.Options {
		l.opt = &s.Options[i]
		if len(l.errs) >= MaxErrors || l.full {
			return
		}
		if l.take(setters) {
			l.keep(l.section, s.Line, *l.opt)
		}
	}
}

func ownSetters(section string) map[string]setter {
	switch section {
	case "Service":
		return serviceSetters
	case "Timer":
		return timerSetters
	}
	return nil
}

// take hands one option to its setter.
func (l *loader) take(setters map[string]setter) bool {
	if set, ok := setters[l.opt.Key]; ok {
		if l.u.Name.IsTemplate() && strings.IndexByte(l.opt.Value, '%') >= 0 {
			return l.takeTemplate(set)
		}
		return set(l, l.opt.Value)
	}
	key := l.opt.Key
	switch {
	case l.section == sectionFleet || l.section == sectionArgosy:
		l.unknownKey(setters)
		return false
	case IsDirective(l.section, key):
		return true
	case isRemoved(key):
		l.warn("this directive was removed from systemd and does nothing")
		return false
	case !plainKey(key):
		l.warn("this is not the name of a directive, line ignored")
		return false
	case strings.HasPrefix(key, "X-"):
		return true
	}
	if len(l.u.Warnings) >= MaxWarnings {
		return true // Nobody would see the hint, which is dear.
	}
	if near := didYouMean(key, keysOf(directives[l.section])); near != "" {
		l.warn("systemd 252 does not know this directive and ignores it; did you mean %s=?", near)
	} else {
		l.warn("systemd 252 does not know this directive and ignores it")
	}
	return true
}

// takeTemplate takes a value that holds specifiers while the instance is not known yet: what the value will be is only
// judged when the instance is loaded.
func (l *loader) takeTemplate(set setter) bool {
	warnings, errs := len(l.u.Warnings), len(l.errs)
	set(l, l.opt.Value)
	l.u.Warnings, l.errs = l.u.Warnings[:warnings], l.errs[:errs]
	return true
}

// unknownKey refuses a key of Argosy's own sections.
func (l *loader) unknownKey(setters map[string]setter) {
	known := make([]string, 0, len(setters))
	for k := range setters {
		known = append(known, k)
	}
	slices.Sort(known)
	if near := didYouMean(l.opt.Key, known); near != "" {
		l.fail("unknown key %s in section [%s]; did you mean %s=?", short(l.opt.Key), l.section, near)
		return
	}
	l.fail("unknown key %s in section [%s]", short(l.opt.Key), l.section)
}

// plainKey tells whether a key is of letters, digits, dashes, dots and underscores, as all of systemd's are. Only such
// are rendered: nothing that a reader could take for something else.
func plainKey(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != ""
}

// keep appends an option to the canonical file; sections stay in the order in which they were written.
func (l *loader) keep(section string, line int, o Option) {
	f := l.u.File
	if n := len(f.Sections); n == 0 || f.Sections[n-1].Name != section {
		f.Sections = append(f.Sections, Section{Name: section, Line: line})
	}
	last := &f.Sections[len(f.Sections)-1]
	last.Options = append(last.Options, o)
}

// keepSection keeps an extension section as it is, with the keys that can be rendered.
func (l *loader) keepSection(s *Section) {
	for i := range s.Options {
		if l.opt = &s.Options[i]; plainKey(l.opt.Key) {
			l.keep(s.Name, s.Line, *l.opt)
		}
	}
}

// warn notes something about the option at hand.
func (l *loader) warn(format string, args ...any) {
	if len(l.u.Warnings) >= MaxWarnings {
		return
	}
	l.u.Warnings = append(l.u.Warnings, Warning{
		File: l.opt.Source, Line: l.opt.Line, Section: l.section, Directive: l.opt.Key, Message: fmt.Sprintf(format, args...),
	})
}

// addOnce adds to a list what it does not hold yet; a list that is full is a fault.
func (l *loader) addOnce(list *[]string, s string) {
	if slices.Contains(*list, s) {
		return
	}
	if len(*list) >= MaxList {
		l.tooMany(MaxList)
		return
	}
	*list = append(*list, s)
}

// tooMany is a fault that is told once.
func (l *loader) tooMany(most int) {
	if !l.full {
		l.full = true
		l.fail("more than %d entries", most)
	}
}

// ignore warns that systemd would not take the value. It returns false for setters.
func (l *loader) ignore(format string, args ...any) bool {
	l.warn("ignored, as systemd does: "+format, args...)
	return false
}

// fail notes a fault of the option at hand. It returns false for setters.
func (l *loader) fail(format string, args ...any) bool {
	msg := fmt.Sprintf(format, args...)
	if l.opt.Key != "" {
		msg = l.opt.Key + "=: " + msg
	}
	l.errs = append(l.errs, invalid(l.opt.Source, l.opt.Line, "%s", msg))
	return false
}

// finish fills in what depends on several directives, and checks the whole.
func (l *loader) finish() {
	l.opt = &Option{Source: l.u.File.Source}
	l.section = ""
	if l.u.Service != nil && len(l.errs) == 0 {
		l.finishService()
	}
	if l.u.Timer != nil && len(l.errs) == 0 {
		l.finishTimer()
	}
	l.finishFleet()
	l.finishHealth()
}
