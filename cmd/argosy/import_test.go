package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// TestImportFaults: what cannot be taken over is named, one by one, and keeps nothing else from being taken; no end of
// pages and what is no fleet are told.
func TestImportFaults(t *testing.T) {
	pages := map[string]string{
		"": `{"nextPageToken":"two","units":[{"name":"good.service","desiredState":"launched","options":[{"section":"Service","name":"ExecStart","value":"/bin/true"}]},
			{"name":"../bad.service","desiredState":"launched"},
			{"name":"key.service","desiredState":"launched","options":[{"section":"Service","name":"ExecStart","value":"/bin/true"},{"section":"X-Fleet","name":"MachineMetaData","value":"a=b"}]}]}`,
		"two": `{"units":[{"name":"full.service","desiredState":"loaded","options":[{"section":"Service","name":"ExecStart","value":"/bin/true"}]}]}`,
	}
	fleet := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := pages[r.URL.Query().Get("nextPageToken")]
		if !ok || r.URL.Path != "/fleet/v1/units" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	defer fleet.Close()
	c := &call{door: &fakeDoor{respond: func(req wire.ApplyRequest) (wire.ApplyResponse, error) {
		var resp wire.ApplyResponse
		for _, ch := range req.Changes {
			if ch.Name == "full.service" { // Refuses the whole call.
				return resp, reason.Because(reason.TooLarge, reason.Args{"what": "units", "need": 2, "have": 1})
			}
			resp.Units = append(resp.Units, wire.Applied{Name: ch.Name, Created: true})
		}
		return resp, nil
	}}}
	if code := c.run(t, "import", "fleet", "--endpoint", fleet.URL); code != exitFailed {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"taken good.service launched", "refused ../bad.service", "refused key.service", "MachineMetaData", "refused full.service loaded"} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("%q is missing:\n%s%s", want, c.out.String(), c.err.String())
		}
	}
	if !strings.Contains(c.err.String(), "1 of 4 units taken over, 0 unchanged, 0 with another text, 3 refused") {
		t.Error(c.err.String())
	}
	pages["two"] = `{"nextPageToken":"two"}`
	c = &call{}
	if code := c.run(t, "import", "fleet", "--endpoint", fleet.URL); code != exitUnreachable || !strings.Contains(c.err.String(), "no end") {
		t.Errorf("pages without end: exit %d %s", code, c.err.String())
	}
	c = &call{}
	if code := c.run(t, "import", "fleet", "--endpoint", fleet.URL+"/elsewhere"); code != exitUnreachable || !strings.Contains(c.err.String(), "HTTP 404") {
		t.Errorf("no fleet: exit %d %s", code, c.err.String())
	}
}
