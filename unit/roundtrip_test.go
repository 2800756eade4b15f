package unit

import (
	"path/filepath"
	"reflect"
	"testing"
)

// sameModel compares two readings, apart from where they were read.
func sameModel(a, b *Unit) bool {
	x, y := plainModel(a), plainModel(b)
	return reflect.DeepEqual(x, y)
}

// plainModel is a copy without line numbers, sources and warnings.
func plainModel(u *Unit) *Unit {
	c := *u
	c.File, c.Warnings = nil, nil
	c.Conditions = append([]Condition(nil), u.Conditions...)
	for i := range c.Conditions {
		c.Conditions[i].Line = 0
	}
	if u.Service != nil {
		s := *u.Service
		for _, l := range []*[]Command{&s.ExecCondition, &s.ExecStartPre, &s.ExecStart, &s.ExecStartPost, &s.ExecReload, &s.ExecStop, &s.ExecStopPost} {
			*l = append([]Command(nil), *l...)
			for i := range *l {
				(*l)[i].Line = 0
			}
		}
		c.Service = &s
	}
	return &c
}

// checkRoundTrip: what is rendered reads back as the same model, and renders the same again.
func checkRoundTrip(t *testing.T, u *Unit, host Host) {
	t.Helper()
	text := u.Render()
	back, err := Load(u.Name, text, nil, host)
	if err != nil {
		t.Fatalf("%s: the canonical text is refused: %v\n%s", u.Name, err, text)
	}
	if again := back.Render(); string(again) != string(text) {
		t.Fatalf("%s: rendered twice\n%q\n%q", u.Name, text, again)
	}
	if !sameModel(u, back) {
		t.Fatalf("%s: another model from\n%s\n%+v\n%+v", u.Name, text, plainModel(u), plainModel(back))
	}
	if back.Hash() != u.Hash() || len(u.Hash()) != 32 {
		t.Fatalf("%s: hash %s, then %s", u.Name, u.Hash(), back.Hash())
	}
}

func TestRenderRoundTrip(t *testing.T) {
	for _, dir := range corpora() {
		c := readCorpus(t, filepath.Join("testdata", dir))
		n := 0
		for name := range c.units {
			for _, host := range []Host{{}, goldenHost} {
				if u, err := c.load(t, name, host); err == nil {
					checkRoundTrip(t, u, host)
					n++
				}
			}
			template := Name(c.units[name])
			if text, dropins := c.text(t, name); template.IsTemplate() {
				u, err := Load(template, text, dropins, Host{})
				if err != nil {
					t.Errorf("template %s: %v", template, err)
					continue
				}
				checkRoundTrip(t, u, Host{})
			}
		}
		t.Logf("%s: %d round trips", dir, n)
	}
}

func BenchmarkLoad(b *testing.B) {
	text := []byte("[Unit]\nDescription=Web %i\nAfter=network-online.target\n\n[Service]\nExecStart=/usr/bin/web --port ${PORT} --name %n\n" +
		"Environment=PORT=3300 MODE=production\nRestart=always\nRestartSec=5\nMemoryMax=512M\nUser=web\n\n[X-Fleet]\nConflicts=web@*.service\n\n" +
		"[X-Argosy]\nPort=3300\nHealthCheck=http://:3300/healthz\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load("web@1.service", text, nil, Host{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDemand(b *testing.B) {
	u, err := Load("web@1.service", []byte("[Service]\nExecStart=/usr/bin/docker run --rm -m 512m -p 80:80 --name web image\n"), nil, Host{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = u.Demand()
	}
}
