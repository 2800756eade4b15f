package remote

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store/memory"
)

// FuzzRequests: whatever a machine sends, it is answered, and nothing is written but its own facts.
func FuzzRequests(f *testing.F) {
	f.Add(writePath, `{"changes":[{"key":"statuses/m1/a.service","value":"eA=="},{"key":"machines/m1","value":null,"guard":true}]}`)
	f.Add(writePath, `{"changes":[{"key":"machines/m2","value":"eA=="}],"by":{"Role":"person"}}`)
	f.Add(readPath, `{"prefix":"part/m1/"}`)
	f.Add(grantPath, `{"key":"alive/m1","value":"e30=","ttl_ms":5000}`)
	f.Add(renewPath, `{"key":"alive/m1","lease":1}`)
	f.Add(revokePath, `{"key":"alive/m1","lease":-1}`)
	f.Add(watchPath+"?prefix=part/m2/&since=1", "")
	s := memory.New()
	p := NewParts(quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx, s) }()
	f.Cleanup(func() { cancel(); <-done })
	reach(f, p, 1)
	h := Handler(s, p, quiet)
	f.Fuzz(func(t *testing.T, path, body string) {
		method := "POST"
		if body == "" {
			method = "GET"
		}
		if !strings.HasPrefix(path, Path) || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' || r == '#' }) {
			return
		}
		if strings.HasPrefix(path, watchPath) && strings.Contains(path, "m1") {
			return // A watch of its own goes on.
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)).WithContext(WithMachine(t.Context(), "m1")))
		if w.Code < 200 || w.Code == 500 {
			t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
		}
		for _, e := range read(t, s, "").Entries {
			if !strings.HasPrefix(e.Key, "statuses/m1/") && e.Key != cluster.MachineKey("m1") && e.Key != cluster.AliveKey("m1") {
				t.Fatalf("%s %s wrote %s", path, body, e.Key)
			}
		}
	})
}
