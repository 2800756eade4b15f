package sim

import (
	"fmt"
	"strings"
)

// spec is what a drawn unit file says, as the checks read it: on their own, without package unit.
type spec struct {
	memory, cpu int64
	zone        string
	port        string
	conflicts   bool // With every unit named c*.
	global      bool
	keeps       bool // Its program runs until it is told to stop.
}

func drawName(w *World, n int) string {
	switch w.dice.IntN(5) {
	case 0:
		return fmt.Sprintf("t@%d.service", n)
	case 1:
		return fmt.Sprintf("c%d.service", n)
	}
	return fmt.Sprintf("u%d.service", n)
}

// drawText draws a unit file. It says in comments what specOf reads.
func drawText(w *World) string {
	var b strings.Builder
	memory, cpu := 64*(1+w.dice.IntN(12)), 100*(1+w.dice.IntN(10))
	fmt.Fprintf(&b, "[Service]\n")
	switch w.dice.IntN(12) {
	case 0:
		b.WriteString("ExecStart=/fake/exit status=3 after=1s\nRestart=always\nRestartSec=1\n")
	case 1:
		b.WriteString("ExecStart=/fake/exit status=1 after=2s\n")
	case 2:
		b.WriteString("Type=oneshot\nExecStart=/fake/exit after=1s\n")
	case 3:
		b.WriteString("ExecStart=/fake/missing\n")
	case 4:
		b.WriteString("ExecStart=/fake/run term=never\nTimeoutStopSec=8\n#keeps\n")
	case 5:
		b.WriteString("Type=notify\nExecStart=/fake/run ready=2s\n#keeps\n")
	case 6:
		b.WriteString("ExecStart=/fake/exit status=1 after=1s fails=2\nRestart=on-failure\nRestartSec=2\nStartLimitBurst=9\n")
	default:
		b.WriteString("ExecStart=/fake/run term=1s\nRestart=on-failure\n#keeps\n")
	}
	fmt.Fprintf(&b, "[X-Argosy]\n#memory %d\nMemoryRequest=%dM\n#cpu %d\nCPURequest=%dm\n", memory, memory, cpu, cpu)
	if w.chance(5) {
		port := 8080 + w.dice.IntN(2)
		fmt.Fprintf(&b, "#port %d\nPort=%d\n", port, port)
	}
	b.WriteString("[X-Fleet]\n")
	switch w.dice.IntN(10) {
	case 0, 1:
		zone := []string{"a", "b"}[w.dice.IntN(2)]
		fmt.Fprintf(&b, "#zone %s\nMachineMetadata=zone=%s\n", zone, zone)
	case 2:
		b.WriteString("#conflicts\nConflicts=c*.service\n")
	case 3:
		if w.chance(3) {
			b.WriteString("#global\nGlobal=true\n")
		}
	}
	return b.String()
}

func specOf(text string) spec {
	var s spec
	for line := range strings.Lines(text) {
		mark, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !ok {
			continue
		}
		key, value, _ := strings.Cut(mark, " ")
		switch key {
		case "memory":
			_, _ = fmt.Sscan(value, &s.memory) // Written by drawText.
			s.memory <<= 20
		case "cpu":
			_, _ = fmt.Sscan(value, &s.cpu)
		case "zone":
			s.zone = value
		case "port":
			s.port = value
		case "conflicts":
			s.conflicts = true
		case "global":
			s.global = true
		case "keeps":
			s.keeps = true
		}
	}
	return s
}
