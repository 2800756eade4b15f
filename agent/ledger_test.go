package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store/memory"
)

// TestRestartIsNotDoubledAfterACrash: the status is lost, the unit crashes and comes up again by Restart=, the agent is
// killed. The next one knows from the ledger that the order was carried out, and one that was not is.
func TestRestartIsNotDoubledAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders")
	r := newRig(t, func(c *Config) { c.Ledger = FileLedger(path) })
	r.start("a.service", "[Service]\nExecStart=/fake/run term=1s\nRestart=always\nRestartSec=1\n")
	r.run(15 * time.Second)
	lost := func() memory.Fault { return memory.LostRequest }
	order := func() {
		r.want("a.service", "", cluster.Launched, func(w *cluster.Wanted) { w.Orders.Restart++ })
	}
	order()
	r.count(lost)
	_ = r.agent.Pass(r.ctx) // It restarts, and the word of it is lost.
	r.calls("restart", "a.service", 1)
	r.count(nil)
	r.now = r.now.Add(5 * time.Second)
	r.runtime.Crash("a.service", 11)
	r.now = r.now.Add(5 * time.Second)
	r.boot()
	r.run(15 * time.Second)
	r.calls("restart", "a.service", 1)
	if done := r.status("a.service").Done.Restart; done != 1 {
		t.Errorf("%d restarts are said to be done, want 1", done)
	}
	// Noted, and killed before it was done: the run is still the old one, so it is done now.
	st := r.status("a.service")
	if err := FileLedger(path).Note("a.service", &Intent{Start: st.Done.Start, Restart: 2, For: st.For + 1, Invocation: st.Invocation}); err != nil {
		t.Fatal(err)
	}
	order()
	r.boot()
	r.run(15 * time.Second)
	r.calls("restart", "a.service", 2)
}

func TestFileLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders")
	l := FileLedger(path)
	long := Intent{Start: 1, Restart: 2, For: 3, Invocation: strings.Repeat("x", 1000)}
	for range 3 * maxLedger / 1000 {
		if err := l.Note("a.service", &long); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Size() > maxLedger+2000 {
		t.Errorf("the file grows: %v %v", st.Size(), err)
	}
	for _, name := range []string{"b.service", "c.service"} {
		if err := l.Note(name, &Intent{Start: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Note("b.service", nil); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"unit":"d.ser`); err != nil { // Half a line.
		t.Fatal(err)
	}
	_ = f.Close()
	got, err := FileLedger(path).Read()
	if err != nil || len(got) != 2 || got["a.service"] != long || got["c.service"].Start != 7 {
		t.Errorf("read %v, %v", got, err)
	}
}
