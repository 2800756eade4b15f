package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

const sleepOptions = `[{"section":"Service","name":"ExecStart","value":"/bin/sleep 1"}]`

// TestFleetTranscript: fleet's status codes, in the order in which its clients use them.
func TestFleetTranscript(t *testing.T) {
	h := start(t)
	h.machine()
	if _, err := h.client.Apply(deadline(t), wire.ApplyRequest{Changes: []wire.Change{{Name: "tmpl@.service", Text: new(sleepUnit)}}}); err != nil {
		t.Fatal(err)
	}
	const u = "/fleet/v1/units/a.service"
	other := strings.Replace(sleepOptions, "sleep 1", "sleep 2", 1)
	for _, c := range []struct {
		name, method, path, body, contentType string
		want                                  int
		says                                  string
	}{
		{"new unit", "PUT", u, `{"name":"a.service","options":` + sleepOptions + `,"desiredState":"inactive"}`, "", 201, ""},
		{"desired state", "PUT", u, `{"name":"a.service","desiredState":"launched"}`, "", 204, ""},
		{"name in the path is enough", "PUT", u, `{"desiredState":"loaded"}`, "", 204, ""},
		{"same options without a state", "PUT", u, `{"options":` + sleepOptions + `}`, "", 409, "already exists"},
		{"same options with a state", "PUT", u, `{"options":` + sleepOptions + `,"desiredState":"launched"}`, "", 204, ""},
		{"other options replace", "PUT", u, `{"options":` + other + `,"desiredState":"launched"}`, "", 201, ""},
		{"not json", "PUT", u, `{"desiredState":"loaded"}`, "text/plain", 415, "Content-Type"},
		{"no content type", "PUT", u, `{"desiredState":"loaded"}`, "none", 415, "Content-Type"},
		{"bad json", "PUT", u, `{`, "", 400, "unable to decode body"},
		{"names differ", "PUT", u, `{"name":"b.service"}`, "", 400, "differs"},
		{"bad name", "PUT", "/fleet/v1/units/a.exe", `{"desiredState":"loaded"}`, "", 400, "not a unit name"},
		{"bogus state, which fleet took", "PUT", u, `{"desiredState":"bogus"}`, "", 400, "bogus"},
		{"unknown without options", "PUT", "/fleet/v1/units/no.service", `{"desiredState":"launched"}`, "", 409, "options field empty"},
		{"invalid combination", "PUT", "/fleet/v1/units/c.service", `{"options":[{"section":"X-Fleet","name":"Global","value":"true"},` +
			`{"section":"X-Fleet","name":"MachineOf","value":"a.service"},{"section":"Service","name":"ExecStart","value":"/bin/true"}]}`, "", 400, "Global"},
		{"start of a template by update", "PUT", "/fleet/v1/units/tmpl@.service", `{"desiredState":"launched"}`, "", 400, "template"},
		{"start of a template by creation, which fleet took", "PUT", "/fleet/v1/units/t2@.service", `{"desiredState":"launched","options":` + sleepOptions + `}`, "", 400, "template"},
		{"instance of a known template, which fleet refused", "PUT", "/fleet/v1/units/tmpl@1.service", `{"desiredState":"launched"}`, "", 201, ""},
		{"get", "GET", u, "", "", 200, `"desiredState":"launched"`},
		{"get by the old path", "GET", "/v1-alpha/units/a.service", "", "", 200, `"value":"/bin/sleep 2"`},
		{"get unknown", "GET", "/fleet/v1/units/no.service", "", "", 404, "unit does not exist"},
		{"delete", "DELETE", u, "", "", 204, ""},
		{"delete again", "DELETE", u, "", "", 404, "unit does not exist"},
		{"states of nothing", "GET", "/fleet/v1/state", "", "", 200, "{}\n"},
		{"state of nothing, where fleet panicked", "GET", "/fleet/v1/state/no.service", "", "", 200, `"systemdLoadState":"not-found"`},
		{"state before any machine spoke", "GET", "/fleet/v1/state/tmpl@1.service", "", "", 200, `"systemdActiveState":"inactive"`},
		{"wrong method", "POST", "/fleet/v1/units", "{}", "", 405, "POST"},
		{"unknown path", "GET", "/fleet/v1/nothing", "", "", 404, `{"error":{"code":404,"message":""}}`},
		{"two tokens", "GET", "/fleet/v1/units?nextPageToken=ZAABAA==&nextPageToken=ZAACAA==", "", "", 400, "more than once"},
		{"token of another limit", "GET", "/fleet/v1/units?nextPageToken=ZQABAA==", "", "", 400, "token limit must be 100"},
		{"token of page 0", "GET", "/fleet/v1/units?nextPageToken=ZAAAAA==", "", "", 400, "page"},
		{"no token", "GET", "/fleet/v1/state?nextPageToken=xx", "", "", 400, "nextPageToken"},
		{"page beyond the end", "GET", "/fleet/v1/units?nextPageToken=ZAAJAA==", "", "", 200, "{}\n"},
		{"machines", "GET", "/fleet/v1/machines", "", "", 200, `{"id":"` + m1 + `","metadata":{"zone":"a"},"primaryIP":"10.0.0.1"}`},
		{"metadata as fleet's code takes it", "PATCH", "/fleet/v1/machines", `[{"op":"add","path":"/` + m1 + `/metadata/disk","value":{"value":"ssd"}}]`, "", 204, ""},
		{"metadata as its document says", "PATCH", "/fleet/v1/machines", `[{"op":"replace","path":"/` + m1 + `/metadata/rack","value":"r1"},{"op":"remove","path":"/` + m1 + `/metadata/zone"}]`, "", 204, ""},
		{"both are there, the removed one is hidden", "GET", "/v1-alpha/machines", "", "", 200, `"metadata":{"disk":"ssd","rack":"r1"}`},
		{"a machine that nobody knows", "PATCH", "/fleet/v1/machines", `[{"op":"add","path":"/feed/metadata/k","value":"v"}]`, "", 204, ""},
		{"bad op", "PATCH", "/fleet/v1/machines", `[{"op":"move","path":"/a/metadata/k"}]`, "", 400, "move"},
		{"bad path", "PATCH", "/fleet/v1/machines", `[{"op":"add","path":"/a/b","value":"v"}]`, "", 400, "path"},
		{"empty value", "PATCH", "/fleet/v1/machines", `[{"op":"add","path":"/a/metadata/k","value":""}]`, "", 400, "value"},
		{"discovery", "GET", "/fleet/v1/discovery", "", "", 200, `"basePath":"/fleet/v1/"`},
	} {
		header := []string{"Content-Type", c.contentType}
		switch c.contentType {
		case "":
			header = nil
		case "none":
			header[1] = ""
		}
		status, head, body := h.do(c.method, c.path, c.body, header...)
		if status != c.want || !strings.Contains(body, c.says) {
			t.Errorf("%s: %s %s answers %d %s, want %d %s", c.name, c.method, c.path, status, body, c.want, c.says)
		}
		if (status == 201 || status == 204) && body != "" {
			t.Errorf("%s: the body is %q, not empty", c.name, body)
		}
		if s := head.Get("Server"); !strings.HasPrefix(s, "fleetd/") {
			t.Errorf("%s: Server is %q", c.name, s)
		}
	}
}

// TestFleetWords: current state, machine and systemd's words as fleet tells them.
func TestFleetWords(t *testing.T) {
	h := start(t)
	h.machine()
	lead := leads(h.store)
	resp, err := h.client.Apply(deadline(t), wire.ApplyRequest{Changes: []wire.Change{
		{Name: "a.service", Text: new("# kept\n" + sleepUnit), Desired: cluster.Launched}, {Name: "g.service", Text: new(sleepUnit + "[X-Fleet]\nGlobal=true\n"), Desired: cluster.Launched},
	}})
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) (u struct{ CurrentState, DesiredState, MachineID string }) {
		t.Helper()
		_, _, body := h.do("GET", "/fleet/v1/units/"+name, "")
		if err := json.Unmarshal([]byte(body), &u); err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := read("a.service"); u.CurrentState != "inactive" || u.DesiredState != "launched" || u.MachineID != "" {
		t.Errorf("unplaced: %+v", u)
	}
	rev := int64(0)
	for _, n := range []string{"a.service", "g.service"} {
		h.write(lead, store.Put(cluster.PlacementKey(m1, n), cluster.Placement{Unit: n, Machine: m1, Epoch: 1, Global: n == "g.service", At: at}))
		rev = h.status(n, resp.Revision, cluster.Failed, nil)
	}
	h.seen(rev)
	if u := read("a.service"); u.CurrentState != "launched" || u.MachineID != m1 {
		t.Errorf("a failed unit is launched in fleet's words: %+v", u)
	}
	if u := read("g.service"); u.CurrentState != "" || u.MachineID != "" {
		t.Errorf("a global unit: %+v", u)
	}
	_, _, body := h.do("GET", "/fleet/v1/state?unitName=a.service&machineID="+m1[:8], "")
	if !strings.Contains(body, `"systemdActiveState":"active","systemdLoadState":"loaded","systemdSubState":"running"`) || strings.Contains(body, "g.service") {
		t.Errorf("states: %s", body)
	}
	// The same options with a state keep the text with its comments.
	if status, _, _ := h.do("PUT", "/fleet/v1/units/a.service", `{"desiredState":"loaded","options":`+strings.Replace(sleepOptions, "sleep 1", "sleep infinity", 1)+`}`); status != http.StatusNoContent {
		t.Errorf("PUT answers %d", status)
	}
	if d, err := h.client.Unit(deadline(t), "a"); err != nil || !strings.HasPrefix(d.Text, "# kept\n") || d.Answer.Desired != cluster.Loaded {
		t.Errorf("the detail is %+v, %v", d, err)
	}
}

// TestFleetPages: every unit comes once over the pages; exactly full pages have no empty one behind them.
func TestFleetPages(t *testing.T) {
	h := start(t)
	changes := []wire.Change{{Name: "w@.service", Text: new(sleepUnit)}}
	for i := range 199 {
		changes = append(changes, wire.Change{Name: fmt.Sprintf("w@%d.service", i)})
	}
	if _, err := h.client.Apply(deadline(t), wire.ApplyRequest{Changes: changes}); err != nil {
		t.Fatal(err)
	}
	seen, token, pages := map[string]bool{}, "", 0
	for {
		path := "/fleet/v1/units"
		if token != "" {
			path += "?nextPageToken=" + token
		}
		_, _, body := h.do("GET", path, "")
		var page struct {
			Units         []struct{ Name string }
			NextPageToken string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Units {
			if seen[u.Name] {
				t.Errorf("%s comes twice", u.Name)
			}
			seen[u.Name] = true
		}
		pages++
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	if len(seen) != 200 || pages != 2 {
		t.Errorf("%d units on %d pages, want 200 on 2", len(seen), pages)
	}
}
