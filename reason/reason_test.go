package reason

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reasons.md anew")

// example fills every argument of an entry with something a person can read.
func example(e Entry) *Reason {
	args := Args{}
	for _, a := range e.Args {
		key := strings.TrimSuffix(a, "?")
		switch key {
		case "need", "have", "capacity", "most", "limit", "peak", "free", "size", "quota", "request":
			args[key] = int64(512 << 20)
			if strings.HasSuffix(string(e.Code), ".cpu") {
				args[key] = int64(1500)
			}
		case "after", "uptime", "window", "next", "for", "of", "took":
			args[key] = int64(9000)
		case "times", "count", "kills", "status", "line", "port", "pid", "machines", "candidates", "expected", "found":
			args[key] = int64(3)
		default:
			args[key] = strings.ToUpper(key)
		}
	}
	if e.Code == CrashLoop || e.Code == WaitingFor || e.Code == TimerWaiting {
		for _, k := range []string{"for", "next", "limit"} {
			if _, ok := args[k]; ok {
				args[k] = strings.ToUpper(k)
			}
		}
	}
	return Because(e.Code, args)
}

func TestEveryCodeSpeaks(t *testing.T) {
	seen := map[Code]bool{}
	for _, e := range Table {
		if seen[e.Code] {
			t.Errorf("%s stands twice in the table", e.Code)
		}
		seen[e.Code] = true
		r := example(e)
		msg := r.Message()
		if msg == "" || strings.ContainsAny(msg, "{}|") {
			t.Errorf("%s: sentence %q", e.Code, msg)
		}
		if h := r.Hint(); strings.ContainsAny(h, "{}|") {
			t.Errorf("%s: hint %q", e.Code, h)
		}
		if e.Doc == "" || e.Short == "" || e.Scope == "" || e.Cure == "" {
			t.Errorf("%s: an empty column", e.Code)
		}
		if e.Cure == Permanent && e.Scope != ScopeCluster && r.Hint() == "" && needsHint[e.Code] {
			t.Errorf("%s: permanent and without a hint", e.Code)
		}
	}
}

// needsHint are the codes that a person meets most; each must say what to do.
var needsHint = map[Code]bool{UnitInvalid: true, NameInvalid: true, NoSuchUnit: true, ExecNotFound: true, OOMKilled: true, PortTaken: true, ConfigMissing: true, CrashLoop: true, Exit: true}

func TestEveryConstantIsInTheTable(t *testing.T) {
	src, err := os.ReadFile("table.go")
	if err != nil {
		t.Fatal(err)
	}
	consts := regexp.MustCompile(`(?m)^\t(\w+)\s+Code = "([^"]+)"`).FindAllStringSubmatch(string(src), -1)
	if len(consts) < 50 {
		t.Fatalf("found only %d codes: the test reads the file wrongly", len(consts))
	}
	for _, c := range consts {
		if _, ok := Lookup(Code(c[2])); !ok {
			t.Errorf("%s = %q has no line in the table", c[1], c[2])
		}
	}
	if len(consts) != len(Table) {
		t.Errorf("%d constants, %d lines in the table", len(consts), len(Table))
	}
}

func TestReasonSurvivesJSON(t *testing.T) {
	r := Because(NoRoomMemory, Args{"need": 512 << 20, "have": int64(301 << 20), "where": "m2", "capacity": int64(4 << 30), "holders": []string{"kong@1.service 1G", "web@2.service 512M"}, "most": int64(301 << 20)})
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Reason
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	want := "needs 512M memory, but the roomiest machine (m2) has 301M free of 4G (held by kong@1.service 1G, web@2.service 512M)"
	if r.Message() != want || back.Message() != want {
		t.Errorf("before: %s\nafter:  %s\nwant:   %s", r.Message(), back.Message(), want)
	}
	if !Equal(r, &back) {
		t.Error("a reason differs from itself after JSON")
	}
	if want := "add a machine, stop something, or lower MemoryRequest= in [X-Argosy]; MemoryRequest=301M would fit now"; back.Hint() != want {
		t.Errorf("hint %q", back.Hint())
	}
}

func TestFrom(t *testing.T) {
	r := Because(ExecNotFound, Args{"path": "/usr/bin/docker"})
	if got := From(fmt.Errorf("start web.service: %w", r)); got != r {
		t.Errorf("a wrapped reason was lost: %v", got)
	}
	if got := From(errors.New("boom")); got.Code != CannotStart || !strings.Contains(got.Error(), "boom") {
		t.Errorf("got %v", got)
	}
	if From(nil) != nil {
		t.Error("no error has no reason")
	}
}

func TestMissingArgumentPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a reason without its numbers was made")
		}
	}()
	_ = Because(NoRoomMemory, Args{"need": 1})
}

func TestUnknownCodeOfANewerPeer(t *testing.T) {
	r := &Reason{Code: "tomorrow"}
	if got := r.Message(); !strings.Contains(got, "tomorrow") {
		t.Errorf("got %q", got)
	}
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Bytes(512 << 20), "512M"},
		{Bytes(3 << 29), "1.5G"},
		{Bytes(100), "100B"},
		{Bytes(-1 << 20), "-1M"},
		{Bytes(512<<20 - 1), "511.9M"},
		{Times(1), "once"},
		{Times(2), "twice"},
		{Times(3), "3 times"},
		{CPU(1500), "1.5"},
		{CPU(10), "0.01"},
		{CPU(2000), "2"},
		{CPU(0), "0"},
		{Span(800), "800ms"},
		{Span(2500), "2.5s"},
		{Span(240000), "4min"},
		{Span(3 * 3600000), "3h"},
		{Span(50 * 3600000), "2.1 days"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

// TestDoc keeps docs/reasons.md in step with the table; -update writes it.
func TestDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Reasons\n\nEvery refusal and every failure carries one of these codes, with its numbers. The order is the order in which a unit can\nmeet them. Codes are API: they are added, never renamed. Generated from `reason/table.go` (`go test ./reason -update`).\n\n")
	b.WriteString("*Scope* says what the reason is about (unit, machine, cluster). *Cure* says whether waiting may help: `fine` explains and\nnothing is wrong, `transient` may pass by itself, `permanent` needs somebody to change something.\n\n")
	for _, e := range Table {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", e.Code, e.Doc)
		r := example(e)
		fmt.Fprintf(&b, "- shown as: %s · scope: %s · cure: %s\n", e.Short, e.Scope, e.Cure)
		if len(e.Args) > 0 {
			fmt.Fprintf(&b, "- arguments: %s\n", strings.Join(e.Args, ", "))
		}
		fmt.Fprintf(&b, "- says: %s\n", r.Message())
		if h := r.Hint(); h != "" {
			fmt.Fprintf(&b, "- hint: %s\n", h)
		}
		b.WriteString("\n")
	}
	const path = "../docs/reasons.md"
	doc := strings.TrimSpace(b.String()) + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != doc {
		t.Error("docs/reasons.md is out of step with the table: go test ./reason -update")
	}
}
