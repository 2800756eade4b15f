package scenario

import (
	"fmt"
	"testing"
	"time"
)

const everywhere = `[Service]
ExecStart=/bin/sleep 100000
Restart=always
[X-Argosy]
Monitor=1s
[X-Fleet]
Global=true
`

// TestGrowUnderLoad (S40): 1 -> 3 -> 5 servers and back to 3 while clients write; nothing is lost.
func TestGrowUnderLoad(t *testing.T) {
	needsFull(t)
	f := newFleet(t, 5)
	first := f.hosts[0]
	f.daemon(first, "up")
	f.answers(first)
	first.Write(t, "/root/everywhere.service", []byte(everywhere))
	f.start(first, "/root/everywhere.service")
	l := f.startLoad(f.laptop(), "grow", 1, f.hosts...)
	pause(f.Context(), killEvery)
	for i, h := range f.hosts[1:] {
		f.daemon(h, "join", f.token("server"))
		took := f.eventually("a unit runs on "+h.Name, func() bool {
			id := "" // Argosy's, not the host's.
			for _, m := range f.machines(first) {
				if m.Name == h.Name {
					id = m.ID
				}
			}
			for _, s := range f.units(first)["everywhere.service"].On {
				if s.MainPID > 0 && s.Machine == id {
					return true
				}
			}
			return false
		})
		t.Logf("%s: from join to its first unit running %v", h.Name, took.Round(time.Millisecond))
		if want := i + 2; want%2 == 1 {
			took := f.eventually(fmt.Sprintf("%d servers", want), func() bool { return f.servers(first) == want })
			t.Logf("%d servers after %v more", want, took.Round(time.Millisecond))
		}
	}
	pause(f.Context(), killEvery)
	first.Run(t, inside, "settings", "servers=3")
	took := f.eventually("three servers", func() bool { return f.servers(first) == 3 })
	t.Logf("5 -> 3 servers after %v", took.Round(time.Millisecond))
	pause(f.Context(), killEvery)
	l.end()
}
