package unit

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"argosy.dev/argosy/hosttest"
)

// The comparison with systemd itself. testdata/*/golden.json hold what a booted systemd 252 said of each unit file of the
// folder, so that machines without systemd compare as well (TestGolden). Where a host can be booted (package hosttest),
// TestBootedSystemd asks again, for the files, for what we render of them and for random ones; with -update it writes the
// goldens anew.
var update = flag.Bool("update", false, "let TestBootedSystemd write testdata/*/golden.json")

// golden is what systemd said of one unit: property to value, as busctl --json=short writes it.
type golden struct {
	Load  string                     `json:"load"` // loaded, bad-setting, error.
	Props map[string]json.RawMessage `json:"props,omitempty"`
}

// corpus is one folder of unit files.
type corpus struct {
	dir   string
	units map[string]string // Unit to load, and the file that it is loaded from.
}

func readCorpus(t testing.TB, dir string) corpus {
	t.Helper()
	c := corpus{dir: dir, units: map[string]string{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n, err := ParseName(e.Name())
		if err != nil || e.IsDir() {
			continue
		}
		if n.IsTemplate() {
			c.units[string(n.WithInstance(`tty1-a\x2db`))] = e.Name()
		} else {
			c.units[string(n)] = e.Name()
		}
	}
	return c
}

// load is our own reading of one unit of a corpus.
func (c corpus) load(t testing.TB, name string, host Host) (*Unit, error) {
	t.Helper()
	text, dropins := c.text(t, name)
	return Load(Name(name), text, dropins, host)
}

func (c corpus) text(t testing.TB, name string) ([]byte, []Source) {
	t.Helper()
	file := filepath.Join(c.dir, c.units[name])
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var dropins []Source
	confs, err := filepath.Glob(file + ".d/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range confs {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		dropins = append(dropins, Source{Name: filepath.Base(f), Text: b})
	}
	return text, dropins
}

// askScript loads each unit named on a line of standard input and writes its properties, three lines a unit.
const askScript = `
systemctl daemon-reload || exit 1
B="busctl --json=short call org.freedesktop.systemd1"
while read -r u; do
  p=$($B /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager LoadUnit s "$u" | sed 's/.*\["\(.*\)"\].*/\1/')
  case $u in *.timer) i=Timer;; *) i=Service;; esac
  printf '%s\n' "$u"
  $B "$p" org.freedesktop.DBus.Properties GetAll s org.freedesktop.systemd1.Unit || echo "{}"
  $B "$p" org.freedesktop.DBus.Properties GetAll s org.freedesktop.systemd1.$i || echo "{}"
done`

// ask lets the booted systemd load texts (file name to text) and returns what it says of units.
func ask(t testing.TB, host *hosttest.Host, texts map[string][]byte, units []string) map[string]golden {
	t.Helper()
	run := func(stdin []byte, script string) []byte {
		cmd := host.Command(t.Context(), "/bin/bash", "-c", script)
		cmd.Stdin = bytes.NewReader(stdin)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v in the host: %v", cmd.Args, err)
		}
		return out
	}
	facts := strings.Fields(string(run(nil, "hostname "+goldenHost.Hostname+"; cat /etc/machine-id; tr -d - </proc/sys/kernel/random/boot_id; uname -r")))
	if len(facts) != 3 {
		t.Fatalf("the host says of itself: %q", facts)
	}
	run(tarball(t, texts), "tar -x --recursive-unlink --unlink-first -C /etc/systemd/system") // /etc goes before masks and the host's own units.
	out := run([]byte(strings.Join(units, "\n")+"\n"), askScript)
	var rm strings.Builder
	for f := range texts {
		fmt.Fprintf(&rm, "%s\n", f)
	}
	run([]byte(rm.String()), `cd /etc/systemd/system && while read -r f; do rm -f "$f"; rmdir "${f%/*}" 2>/dev/null; done; systemctl daemon-reload`)
	for i, stand := range []string{goldenHost.MachineID, goldenHost.BootID, goldenHost.Kernel} {
		out = bytes.ReplaceAll(out, []byte(facts[i]), []byte(stand))
	}
	return parseAnswers(t, out)
}

func parseAnswers(t testing.TB, out []byte) map[string]golden {
	t.Helper()
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	answers := map[string]golden{}
	for i := 0; i+2 < len(lines); i += 3 {
		g := golden{Props: map[string]json.RawMessage{}}
		for _, l := range lines[i+1 : i+3] {
			var reply struct {
				Data []map[string]struct{ Data json.RawMessage }
			}
			if err := json.Unmarshal([]byte(l), &reply); err == nil && len(reply.Data) == 0 {
				t.Errorf("%s: systemd cannot show it", lines[i])
				continue
			} else if err != nil {
				t.Fatalf("%s: %v: %.200s", lines[i], err, l)
			}
			for k, v := range reply.Data[0] {
				g.Props[k] = v.Data
			}
		}
		if err := json.Unmarshal(g.Props["LoadState"], &g.Load); err != nil {
			t.Errorf("%s: %v", lines[i], err)
		}
		answers[lines[i]] = g
	}
	return answers
}

// compareCorpus compares each unit of a folder with systemd's answers; it returns units and properties compared.
func compareCorpus(t *testing.T, c corpus, answers map[string]golden, host Host) (units, props int) {
	t.Helper()
	names := make([]string, 0, len(c.units))
	for n := range c.units {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		g, ok := answers[n]
		if !ok {
			t.Errorf("%s: no golden; run with -update and a booted systemd", n)
			continue
		}
		u, err := c.load(t, n, host)
		units++
		if (err == nil) != (g.Load == "loaded") {
			t.Errorf("%s: systemd says %s, we say: %v", n, g.Load, err)
			continue
		}
		if err != nil {
			continue
		}
		props += compareUnit(t, n, u, g)
	}
	return units, props
}

// compareUnit compares every property that the model carries.
func compareUnit(t *testing.T, name string, u *Unit, g golden) (props int) {
	t.Helper()
	for k, ours := range systemdView(u) {
		theirs, ok := g.Props[k]
		if !ok {
			t.Errorf("%s: systemd has no property %s", name, k)
			continue
		}
		b, err := json.Marshal(ours)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(k, "Credential") {
			b, theirs = sortedJSON(t, b), sortedJSON(t, theirs) // systemd keeps them in a hash table.
		}
		if !sameJSON(b, theirs) {
			t.Errorf("%s: %s\n ours   %.600s\n theirs %.600s", name, k, b, theirs)
		}
		props++
	}
	for k, list := range dependencyView(u) {
		var theirs []string
		if err := json.Unmarshal(g.Props[k], &theirs); err != nil {
			t.Fatal(err)
		}
		for _, d := range list { // systemd adds its own dependencies, and those on itself are dropped.
			if !slices.Contains(theirs, d) && d != name && !isAlias(d) {
				t.Errorf("%s: %s has no %s: %v", name, k, d, theirs)
			}
		}
		props++
	}
	return props
}

// isAlias: systemd shows the unit that these names lead to on a Debian host.
func isAlias(d string) bool {
	return strings.HasPrefix(d, "runlevel") || slices.Contains([]string{"default.target", "chronyd.service", "sshd.service", "syslog.service"}, d)
}

func sortedJSON(t testing.TB, b []byte) []byte {
	t.Helper()
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
	out, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return false
	}
	if x.String() == y.String() {
		return true
	}
	var v, w any
	if json.Unmarshal(a, &v) != nil || json.Unmarshal(b, &w) != nil {
		return false
	}
	return fmt.Sprint(v) == fmt.Sprint(w)
}

// corpora are the folders of unit files that are compared.
func corpora() []string { return []string{"debian", "hostile"} }

// TestGolden compares our reading with what systemd 252 said when the goldens were written.
func TestGolden(t *testing.T) {
	for _, dir := range corpora() {
		t.Run(dir, func(t *testing.T) {
			c := readCorpus(t, filepath.Join("testdata", dir))
			compareAll(t, c, readGolden(t, filepath.Join(c.dir, "golden.json")))
		})
	}
}

func compareAll(t *testing.T, c corpus, answers map[string]golden) {
	t.Helper()
	units, props := compareCorpus(t, c, answers, goldenHost)
	t.Logf("%s: %d units, %d properties compared", c.dir, units, props)
	if units < 100 || props < 50*units {
		t.Errorf("too few: the comparison does not work")
	}
}

// TestBootedSystemd asks a booted systemd.
func TestBootedSystemd(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a host")
	}
	host := hosttest.Systemd(t, hosttest.Options{})
	for _, dir := range corpora() {
		t.Run(dir, func(t *testing.T) {
			c := readCorpus(t, filepath.Join("testdata", dir))
			answers := c.ask(t, host)
			if file := filepath.Join(c.dir, "golden.json"); *update {
				writeGolden(t, file, answers)
				answers = readGolden(t, file)
			}
			compareAll(t, c, answers)
		})
		t.Run(dir+" rendered", func(t *testing.T) { testRendered(t, host, dir) })
	}
}

// testRendered lets systemd read the canonical text of each unit that we take: it has to see what it saw in the original.
func testRendered(t *testing.T, host *hosttest.Host, dir string) {
	c := readCorpus(t, filepath.Join("testdata", dir))
	texts, models := map[string][]byte{}, map[string]*Unit{}
	var names []string
	for n := range c.units {
		u, err := c.load(t, n, Host{})
		if err != nil {
			continue
		}
		texts[n] = u.Render()
		if models[n], err = c.load(t, n, goldenHost); err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	slices.Sort(names)
	answers := ask(t, host, texts, names)
	for _, n := range names {
		if answers[n].Load != "loaded" {
			t.Errorf("%s: systemd says %q of\n%s", n, answers[n].Load, texts[n])
			continue
		}
		compareUnit(t, n, models[n], answers[n])
	}
}

// goldenHost stands for the host in the goldens: what the host says of itself is replaced by these.
var goldenHost = Host{
	Hostname: "golden.example", MachineID: "0123456789abcdef0123456789abcdef", BootID: "fedcba9876543210fedcba9876543210",
	Kernel: "6.1.0-golden", Arch: "x86-64", OSID: "debian", OSVersionID: "12",
}

func (c corpus) ask(t *testing.T, host *hosttest.Host) map[string]golden {
	t.Helper()
	texts, units := map[string][]byte{}, []string{}
	for n, f := range c.units {
		text, dropins := c.text(t, n)
		texts[f] = text
		for _, d := range dropins {
			texts[path.Join(f+".d", d.Name)] = d.Text
		}
		units = append(units, n)
	}
	slices.Sort(units)
	return ask(t, host, texts, units)
}

// writeGolden keeps the properties that are compared, and no others.
func writeGolden(t *testing.T, file string, answers map[string]golden) {
	t.Helper()
	for n, g := range answers {
		u := newUnit(Name(n))
		keep := systemdView(u)
		for _, k := range optionalProps {
			keep[k] = nil
		}
		for k := range dependencyFields(u) {
			keep[k] = nil
		}
		for k := range g.Props {
			if _, ok := keep[k]; !ok {
				delete(g.Props, k)
			}
		}
		if g.Load != "loaded" {
			g.Props = nil
		}
		answers[n] = g
	}
	f := goldenFile{Common: map[string]json.RawMessage{}, Units: answers}
	f.takeCommon()
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	// One unit a line, for readable differences.
	b = bytes.ReplaceAll(b, []byte(`},"`), []byte("},\n\""))
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// goldenFile is golden.json. A property that has its most common value is left out of the units, to keep the file small.
type goldenFile struct {
	Common map[string]json.RawMessage `json:"common"`
	Units  map[string]golden          `json:"units"`
}

func (f *goldenFile) takeCommon() {
	counts := map[string]map[string]int{}
	for _, g := range f.Units {
		for k, v := range g.Props {
			if counts[k] == nil {
				counts[k] = map[string]int{}
			}
			counts[k][string(v)]++
		}
	}
	for k, values := range counts {
		best := ""
		for v, n := range values {
			if n > values[best] || n == values[best] && v < best {
				best = v
			}
		}
		f.Common[k] = json.RawMessage(best)
	}
	for _, g := range f.Units {
		for k, v := range g.Props {
			if string(v) == string(f.Common[k]) {
				delete(g.Props, k)
			}
		}
	}
}

func readGolden(t testing.TB, file string) map[string]golden {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var f goldenFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	for n, g := range f.Units {
		if g.Props == nil {
			g.Props = map[string]json.RawMessage{}
			f.Units[n] = g
		}
		for k, v := range f.Common {
			if _, ok := g.Props[k]; !ok {
				g.Props[k] = v
			}
		}
	}
	return f.Units
}
