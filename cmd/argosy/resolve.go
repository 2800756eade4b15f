package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// maxNamesAsked is up to how many names are asked for one by one; above it their globs are asked.
const maxNamesAsked = 50

// words are arguments after braces were expanded, each with the directory that it named.
type word struct {
	arg string // As written: may be a path.
	// name is the unit's name with its suffix, or the glob.
	name string
	glob bool
}

// expand takes arguments apart: braces, paths, suffixes.
func expand(args []string) ([]word, error) {
	var out []word
	seen := map[string]bool{}
	for _, arg := range args {
		parts, err := unit.ExpandBraces(arg, wire.MaxBrace)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			w, err := oneWord(p)
			if err != nil {
				return nil, err
			}
			if !seen[w.name] {
				seen[w.name] = true
				out = append(out, w)
			}
		}
	}
	return out, nil
}

func oneWord(arg string) (word, error) {
	if unit.IsGlob(arg) {
		g := filepath.Base(arg)
		if !knownSuffix(g) && !strings.HasSuffix(g, "*") {
			g += ".service"
		}
		return word{arg: arg, name: g, glob: true}, nil
	}
	n, err := unit.Mangle(arg)
	if err != nil {
		return word{}, err
	}
	return word{arg: arg, name: string(n)}, nil
}

// knownSuffix tells whether a name or a glob ends with the suffix of a unit type.
func knownSuffix(s string) bool {
	switch filepath.Ext(s) {
	case ".service", ".timer", ".socket", ".path", ".mount", ".device", ".automount", ".target", ".swap", ".slice", ".scope":
		return true
	}
	return false
}

// names gives the units of the cluster that arguments name. One that is not there is an error with the code missing.
func (a *app) names(ctx context.Context, d door, args []string, missing int) ([]cluster.Answer, error) {
	words, err := expand(args)
	if err != nil {
		return nil, err
	}
	have, err := a.present(ctx, d, words)
	if err != nil {
		return nil, err
	}
	var out []cluster.Answer
	var lacking []error
	taken := map[string]bool{}
	add := func(u cluster.Answer) {
		if !taken[u.Unit] {
			taken[u.Unit] = true
			out = append(out, u)
		}
	}
	for _, w := range words {
		if !w.glob {
			if u, ok := have[w.name]; ok {
				add(u)
			} else {
				lacking = append(lacking, noSuchUnit(w.name))
			}
			continue
		}
		found := false
		for _, n := range sortedNames(have) {
			if unit.MatchGlob(w.name, n) && !have[n].Template {
				found = true
				add(have[n])
			}
		}
		if !found {
			lacking = append(lacking, noSuchUnit(w.name))
		}
	}
	if len(lacking) > 0 {
		return nil, &exitError{code: missing, err: errors.Join(lacking...)}
	}
	return out, nil
}

func noSuchUnit(name string) error {
	return reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
}

func sortedNames(m map[string]cluster.Answer) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.SortFunc(names, show.CompareNames)
	return names
}

// present asks the cluster which of the named units, and of their templates, it has.
func (a *app) present(ctx context.Context, d door, words []word) (map[string]cluster.Answer, error) {
	var ask []string
	for _, w := range words {
		ask = append(ask, w.name)
		if n := unit.Name(w.name); !w.glob && n.IsInstance() {
			ask = append(ask, string(n.Template()))
		}
	}
	list, err := d.Units(ctx, fewer(ask)...)
	if err != nil {
		return nil, err
	}
	have := make(map[string]cluster.Answer, len(list.Units))
	for _, u := range list.Units {
		have[u.Unit] = u
	}
	return have, nil
}

// fewer makes a long list of names short: instances become the glob of their template.
func fewer(names []string) []string {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) <= maxNamesAsked {
		return names
	}
	for i, s := range names {
		if n := unit.Name(s); !unit.IsGlob(s) && strings.Contains(s, "@") {
			names[i] = n.Prefix() + "@*." + n.Type()
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) <= maxNamesAsked*4 {
		return names
	}
	return []string{"*"}
}

// local is a unit file on this machine with its drop-ins.
type local struct {
	path    string
	text    string
	dropins []cluster.DropIn
}

// findLocal looks for the unit file of a name: where the argument points, else in the working directory.
// A file that is not there is no error.
func (a *app) findLocal(arg, name string) (*local, error) {
	dir := filepath.Dir(arg)
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(a.dir, dir)
	}
	path := filepath.Join(dir, name)
	text, err := readUnitFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &exitError{code: exitInvalid, err: err}
	}
	l := &local{path: a.relative(path), text: text}
	// The template's drop-ins come first, so that the instance's own win where both name the same file.
	dirs := []string{path + ".d"}
	if n := unit.Name(name); n.IsInstance() {
		dirs = []string{filepath.Join(dir, string(n.Template())) + ".d", path + ".d"}
	}
	l.dropins, err = readDropIns(dirs)
	if err != nil {
		return nil, &exitError{code: exitInvalid, err: err}
	}
	return l, nil
}

// relative writes a path as short as it can be typed.
func (a *app) relative(path string) string {
	if rel, err := filepath.Rel(a.dir, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

func readUnitFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return "", fmt.Errorf("%s is a directory", path)
	}
	if info.Size() > wire.MaxUnitText {
		return "", reason.Because(reason.TooLarge, reason.Args{"what": path, "need": info.Size(), "have": int64(wire.MaxUnitText)})
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// readDropIns reads NAME.d/*.conf: in the order of their names, a later directory wins over an earlier one.
func readDropIns(dirs []string) ([]cluster.DropIn, error) {
	found := map[string]string{}
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") && !e.IsDir() {
				found[e.Name()] = filepath.Join(d, e.Name())
			}
		}
	}
	names := make([]string, 0, len(found))
	for n := range found {
		names = append(names, n)
	}
	slices.Sort(names)
	var out []cluster.DropIn
	for _, n := range names {
		text, err := readUnitFile(found[n])
		if err != nil {
			return nil, err
		}
		out = append(out, cluster.DropIn{Name: n, Text: text})
	}
	return out, nil
}

// load reads a local file as the cluster will.
func (l *local) load(name string) (*unit.Unit, error) {
	sources := make([]unit.Source, len(l.dropins))
	for i, d := range l.dropins {
		sources[i] = unit.Source{Name: d.Name, Text: []byte(d.Text)}
	}
	return unit.Load(unit.Name(name), []byte(l.text), sources, unit.Host{})
}

// check tells every fault of a local file, with the path that the user knows.
func (l *local) check(name string) error {
	_, err := l.load(name)
	if err == nil {
		return nil
	}
	for _, r := range reasonsOf(err) {
		if f := r.Str("file"); f == name || f == "" {
			r.Args["file"] = l.path
		}
	}
	return &exitError{code: exitInvalid, err: err}
}

// change makes the wish that submits the file.
func (l *local) change(name string, replace bool) wire.Change {
	return wire.Change{Name: name, Text: &l.text, DropIns: l.dropins, Replace: replace}
}

// submission is what has to be asked so that units are known to the cluster.
type submission struct {
	changes []wire.Change
	units   []string // The units that were named, in order.
	// replaced are units whose text is another one now: a start of them is a restart, or the old text would go on.
	replaced map[string]bool
}

// resolve finds each unit as fleet does: in the cluster, as a local file, by its template in the cluster, by a local
// template file. Units that match a glob are those of the cluster, else local files.
func (a *app) resolve(ctx context.Context, d door, args []string, replace bool) (submission, error) {
	words, err := expand(args)
	if err != nil {
		return submission{}, err
	}
	have, err := a.present(ctx, d, words)
	if err != nil {
		return submission{}, err
	}
	r := resolver{app: a, have: have, replace: replace, templates: map[string]bool{}, taken: map[string]bool{}}
	r.out.replaced = map[string]bool{}
	for _, w := range words {
		if w.glob {
			r.glob(w)
		} else {
			r.one(w)
		}
	}
	for _, t := range r.timers {
		t()
	}
	if len(r.faults) > 0 {
		return submission{}, &exitError{code: r.code, err: errors.Join(r.faults...)}
	}
	if replace {
		err = r.compare(ctx, d)
	}
	return r.out, err
}

// compare finds the units of the cluster whose text is replaced by another one.
func (r *resolver) compare(ctx context.Context, d door) error {
	for _, c := range r.out.changes {
		if _, known := r.have[c.Name]; !known || c.Text == nil {
			continue
		}
		detail, err := d.Unit(ctx, c.Name)
		if err != nil {
			return err
		}
		r.out.replaced[c.Name] = detail.Text != *c.Text || !slices.Equal(detail.DropIns, c.DropIns)
	}
	return nil
}

// resolver collects what arguments come to, and everything that is wrong with them.
type resolver struct {
	*app
	have      map[string]cluster.Answer
	replace   bool
	templates map[string]bool // Local templates that are submitted along.
	taken     map[string]bool
	timers    []func() // Send along what the named timers start; after all words, which come first.
	out       submission
	faults    []error
	code      int
}

func (r *resolver) fault(err error) {
	if c := exitCode(err); r.code == 0 || c == exitInvalid {
		r.code = c
	}
	r.faults = append(r.faults, err)
}

func (r *resolver) take(c wire.Change) {
	if r.taken[c.Name] {
		return
	}
	r.taken[c.Name] = true
	r.out.changes = append(r.out.changes, c)
	r.out.units = append(r.out.units, c.Name)
}

func (r *resolver) glob(w word) {
	found := false
	for _, n := range sortedNames(r.have) {
		// A glob with a directory means files.
		if unit.MatchGlob(w.name, n) && !r.have[n].Template && !strings.Contains(w.arg, "/") {
			found = true
			r.take(wire.Change{Name: n})
		}
	}
	if found {
		return
	}
	pattern := w.arg
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(r.dir, pattern)
	}
	paths, err := filepath.Glob(pattern)
	if err == nil {
		for _, p := range paths {
			if knownSuffix(p) && !unit.Name(filepath.Base(p)).IsTemplate() {
				found = true
				r.one(word{arg: p, name: filepath.Base(p)})
			}
		}
	}
	if !found {
		r.fault(noSuchUnit(w.name))
	}
}

func (r *resolver) one(w word) {
	file, err := r.findLocal(w.arg, w.name)
	if err != nil {
		r.fault(err)
		return
	}
	_, known := r.have[w.name]
	n := unit.Name(w.name)
	switch {
	case file != nil:
		r.file(w, file, known)
	case known && !r.replace:
		r.take(wire.Change{Name: w.name})
	case n.IsInstance():
		r.instance(w, n, known)
	case known:
		r.take(wire.Change{Name: w.name})
	default:
		r.fault(noSuchUnit(w.name))
	}
}

// file submits a local file. One that the cluster already knows is sent too, so that a difference is told; a broken
// one is no fault then, because the cluster's own text is what counts.
func (r *resolver) file(w word, file *local, known bool) {
	err := file.check(w.name)
	switch {
	case err == nil:
		r.take(file.change(w.name, r.replace))
		if unit.Name(w.name).Type() == "timer" {
			r.timers = append(r.timers, func() { r.activated(w, file) })
		}
	case known && !r.replace:
		r.note("warning: %s is invalid; the cluster's own text of %s is used", show.Clean(file.path), show.Name(w.name))
		r.take(wire.Change{Name: w.name})
	default:
		r.fault(err)
	}
}

// activated sends along the local file of the unit that a timer starts, when it lies beside the timer's and nobody has
// named it: the cluster then loads it with the timer, as systemd does.
func (r *resolver) activated(w word, timer *local) {
	u, err := timer.load(w.name)
	if err != nil || u.Timer == nil || r.taken[u.Timer.Unit] {
		return
	}
	name := u.Timer.Unit
	file, err := r.findLocal(filepath.Join(filepath.Dir(w.arg), name), name)
	if err != nil || file == nil || file.check(name) != nil {
		return // The cluster has it, or says that it is missing.
	}
	r.taken[name] = true
	r.out.changes = append(r.out.changes, file.change(name, false))
}

// instance is made from its template: the cluster's, else a local file, which is submitted along.
func (r *resolver) instance(w word, n unit.Name, known bool) {
	t := string(n.Template())
	_, there := r.have[t]
	if (there && !r.replace) || r.templates[t] {
		r.take(wire.Change{Name: w.name})
		return
	}
	file, err := r.findLocal(w.arg, t)
	switch {
	case err != nil:
		r.fault(err)
	case file == nil && (there || known):
		r.take(wire.Change{Name: w.name})
	case file == nil:
		r.fault(noSuchUnit(w.name))
	default:
		r.fromTemplate(w, t, file, known)
	}
}

func (r *resolver) fromTemplate(w word, t string, file *local, known bool) {
	if err := file.check(t); err != nil {
		r.templates[t] = true // Named once, not once for each instance.
		r.fault(err)
		return
	}
	if known { // --replace of an instance: it carries its template's text.
		r.take(file.change(w.name, true))
		return
	}
	r.templates[t] = true
	r.out.changes = append(r.out.changes, file.change(t, r.replace))
	r.take(wire.Change{Name: w.name})
}
