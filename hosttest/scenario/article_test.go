package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/hosttest/light"
)

// TestArticle: the set of the article over five hosts, three of class worker and two of class edge; the units are the
// example's, with what they run replaced by sleep. One host, the leader and two at once lose their power.
func TestArticle(t *testing.T) {
	f := newFleet(t, 5)
	f.classes = map[string]string{"h1": "worker", "h2": "worker", "h3": "worker", "h4": "edge", "h5": "edge"}
	f.found(5)
	h1 := f.hosts[0]
	submit, start := f.article(h1)
	h1.Run(t, append([]string{inside, "submit"}, submit...)...)
	began := time.Now()
	f.start(h1, start...)
	t.Logf("%d units started and healthy after %v", len(start), time.Since(began).Round(time.Millisecond))

	f.survive(f.hosts[2])
	f.back(f.hosts[2])
	leader := f.leader(h1)
	f.survive(leader)
	f.back(leader)
	f.survive(f.hosts[1], f.hosts[4])
}

// article writes the example's units into a host; start are those to start: two of each service with its sidekick.
func (f *fleet) article(h *light.Host) (submit, start []string) {
	f.Helper()
	files, err := filepath.Glob("../../examples/fulfill-as-in-the-article/*")
	f.must(err)
	for _, file := range files {
		name := filepath.Base(file)
		if ext := filepath.Ext(name); ext != ".service" && ext != ".timer" {
			continue
		}
		text, err := os.ReadFile(file) //nolint:gosec // Of the repository.
		f.must(err)
		h.Write(f, "/root/"+name, []byte(asleep(string(text))))
		submit = append(submit, "/root/"+name)
		switch {
		case strings.HasPrefix(name, "kong@"):
			start = append(start, "kong@1.service")
		case strings.HasSuffix(name, "@.service"):
			start = append(start, strings.ReplaceAll(name, "@", "@1"), strings.ReplaceAll(name, "@", "@2"))
		case strings.HasSuffix(name, ".timer"), name == "release-env.service":
			start = append(start, name)
		}
	}
	if len(submit) != 25 {
		f.Fatalf("%d unit files: the example is not whole", len(submit))
	}
	return submit, start
}

// asleep replaces what a unit runs.
func asleep(text string) string {
	run := "ExecStart=/bin/sleep 100000"
	if strings.Contains(text, "Type=oneshot") {
		run = "ExecStart=/bin/true"
	}
	var out []string
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "Exec"), strings.HasPrefix(line, "EnvironmentFile="):
		case strings.HasPrefix(line, "[Service]"):
			out = append(out, line, run+"\n")
		default:
			out = append(out, line)
		}
	}
	return strings.Join(out, "") + "\n[X-Argosy]\nMonitor=1s\n"
}

// survive cuts the power of hosts: what was healthy there has to be healthy elsewhere, what was elsewhere has to be untouched,
// and every unit is answered for.
func (f *fleet) survive(lost ...*light.Host) {
	f.Helper()
	before := f.units(f.hosts[0])
	names := []string{}
	for _, h := range lost {
		f.must(h.Kill())
		names = append(names, h.Name)
		delete(f.up, h.Name)
	}
	left := f.hosts[slices.IndexFunc(f.hosts, func(h *light.Host) bool { return f.up[h.Name] != nil })]
	var after map[string]cluster.Answer
	moved := 0
	took := f.eventually("everything healthy again without "+strings.Join(names, ", "), func() bool {
		after, moved = f.units(left), 0
		for name, a := range before {
			now := after[name]
			switch {
			case a.Global:
			case slices.Contains(names, a.Machine) && a.State == cluster.Healthy:
				if now.State != cluster.Healthy || slices.Contains(names, now.Machine) {
					return false
				}
				moved++
			case slices.Contains(names, a.Machine) && slices.Contains(names, now.Machine):
				return false
			}
		}
		return true
	})
	f.Logf("power of %v lost: its %d services healthy elsewhere after %v", names, moved, took.Round(time.Millisecond))
	for name, a := range before {
		now, there := after[name]
		if !there || now.State == "" || now.State != cluster.Healthy && now.Reason == nil && pid(a) > 0 {
			f.Errorf("%s is not answered for: %+v", name, now)
		}
		if !a.Global && !slices.Contains(names, a.Machine) && (now.Machine != a.Machine || pid(now) != pid(a)) {
			f.Errorf("%s was on no lost host, and changed: %s pid %d before, %s pid %d after", name, a.Machine, pid(a), now.Machine, pid(now))
		}
	}
}
