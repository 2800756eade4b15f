package sim_test

import (
	"flag"
	"os/exec"
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
