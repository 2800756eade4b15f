package sim_test

import (
	"flag"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

var plantedSeeds = flag.String("planted", "300", "the budget of seeds in which each planted bug has to be found; 0 leaves them out")

// TestPlantedBugsAreFound builds the program with one bug at a time and expects the seeds to find it: a checker that
// never failed is a wish.
func TestPlantedBugsAreFound(t *testing.T) {
	if testing.Short() || *plantedSeeds == "0" {
		t.Skip("builds the program once for each bug; left out by -short and by -planted 0")
	}
	for _, bug := range []string{"overcommit", "noreason", "twoplaces", "epoch", "noretry", "forgetorders"} {
		t.Run(bug, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "go", "test", "-tags", "plantedbug_"+bug, "-count=1", //nolint:gosec // Our own list.
				"-run", "^TestSeeds$", "argosy.dev/argosy/sim", "-seeds", *plantedSeeds).CombinedOutput()
			found := strings.Contains(string(out), "replay: go test ./sim")
			if err == nil || !found {
				t.Fatalf("not found within %s seeds (%v):\n%s", *plantedSeeds, err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "seed ") && strings.Contains(line, "step ") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// plantedSplits is the budget of seeds in which each weaker design of exclusive units has to be found.
var plantedSplits = flag.Int("planted-splits", 40, "the budget of seeds, of twenty simulated minutes, for each weaker design of fencing; 0 leaves them out")

// rareSplits is the budget from which the designs are tried, too, that take many seeds.
const rareSplits = 150

// TestWeakerFencesAreFound builds the program with the designs of reliability.md section 0 that lack something: deadlines
// that count from the answer (a, h), a takeover without condemning (a to f) or without waiting for the stop (a, b), a
// deadline that an agent's restart forgets (a, b, c, i), no keeper outside of the agent (a to d, j); and one where the
// agent does not look again when its claim is written.
func TestWeakerFencesAreFound(t *testing.T) {
	if testing.Short() || *plantedSplits == 0 {
		t.Skip("builds the program once for each design; left out by -short and by -planted-splits 0")
	}
	designs := []string{"a", "b", "c", "d", "f", "j"}
	if *plantedSplits >= rareSplits {
		designs = append(designs, "h", "i", "look")
	}
	for _, design := range designs {
		t.Run(design, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "go", "test", "-tags", "plantedbug_fence_"+design, "-count=1", //nolint:gosec // Our own list.
				"-run", "^TestSplits$", "argosy.dev/argosy/sim", "-splits", strconv.Itoa(*plantedSplits), "-splits-long", "20m").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "replay: go test ./sim") {
				t.Fatalf("not found within %d seeds (%v):\n%s", *plantedSplits, err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "split ") && strings.Contains(line, " runs on ") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}
