package remote

import (
	"bytes"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// TestMain also asks that no goroutine of this package is left when all tests have ended.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leaked waits a while for goroutines that are about to end.
func leaked() string {
	late := time.After(10 * time.Second)
	for {
		left := ours()
		if left == "" {
			return ""
		}
		select {
		case <-late:
			return left
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ours() string {
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 2)
	var out []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, "argosy/store/") && !strings.Contains(stack, "TestMain") {
			out = append(out, stack)
		}
	}
	return strings.Join(out, "\n\n")
}
