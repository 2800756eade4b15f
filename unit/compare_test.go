package unit

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCompareNames(t *testing.T) {
	want := []string{ // Leading zeros alone are ordered as texts: 01 before 1.
		"", "a", "db@01.service", "db@1.service", "db@2.service", "db@10.service", "db@99999999999999999999998.service", "db@99999999999999999999999.service",
		"web2@1.service", "web10@1.service", "web@.service", "web@1-2.service", "web@1-10.service", "web@1.service", "web@2.service", "web@10.service", "web@a.service",
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		got := slices.Clone(want)
		r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		slices.SortFunc(got, CompareNames)
		if !slices.Equal(got, want) {
			t.Fatalf("sorted as\n%q, want\n%q", got, want)
		}
	}
}
