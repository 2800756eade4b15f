package native

import (
	"os"
	"testing"

	"argosy.dev/argosy/runtime"
	"argosy.dev/argosy/runtime/runtimetest"
)

func TestConformance(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var last *Runtime
	runtimetest.Run(t, runtimetest.Harness{
		Open: func(t *testing.T) runtime.Runtime {
			last = open(t)
			return last
		},
		Reopen: func(t *testing.T) runtime.Runtime {
			r, err := Open(t.Context(), last.opt)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close() })
			return r
		},
		Text: runtimetest.ShellText(exe),
	})
}
