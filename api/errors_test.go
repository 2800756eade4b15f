package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

// do makes a raw request over the socket.
func (h *harness) do(method, path, body string, header ...string) (int, http.Header, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(deadline(h.t), method, "http://argosy"+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func quote(s string) string { b, _ := json.Marshal(s); return string(b) }

// TestErrors is the transcript of refusals: each with its status, code, numbers and hint.
func TestErrors(t *testing.T) {
	h := start(t)
	h.machine()
	if _, err := h.client.Apply(deadline(t), wire.ApplyRequest{Changes: []wire.Change{
		{Name: "web@.service", Text: new(sleepUnit)}, {Name: "a.service", Text: new(sleepUnit), Desired: cluster.Launched},
	}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, c := range []struct {
		method, path, body string
		header             []string
	}{
		{"GET", "/v1/units/none", "", nil},
		{"GET", "/v1/units/..%2Fetc%2Fpasswd", "", nil},
		{"GET", "/v1/units/none/why", "", nil},
		{"GET", "/v1/units/none/journal", "", nil},
		{"GET", "/v1/units/a/journal?lines=-1", "", nil},
		{"GET", "/v1/units/a/journal?since=yesterday", "", nil},
		{"GET", "/v1/machines/m9", "", nil},
		{"GET", "/v1/nothing", "", nil},
		{"DELETE", "/v1/units", "", nil},
		{"GET", "/v1/watch?since=abc", "", nil},
		{"POST", "/v1/units", "{", nil},
		{"POST", "/v1/units", `{"changes":[]}`, nil},
		{"POST", "/v1/units", `{"chagnes":[]}`, nil},
		{"POST", "/v1/units", `{"changes":[]} x`, nil},
		{"POST", "/v1/units", `x`, []string{"Content-Type", "text/plain"}},
		{"POST", "/v1/units", `{"changes":[{"name":"none.service","desired":"launched"}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"web@.service","desired":"launched"}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"a.service","desired":"bogus"}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"a.service","trigger":true}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"a.service","signal":99}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"a.service"},{"name":"a.service"}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"a.service","destroy":true,"start":true}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"a.service","expect":1}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"../x.service","text":""},{"name":"b.service","text":` + quote("[Service]\nRestart=maybe\nExecStart=relative/path\n") + `}]}`, nil},
		{"POST", "/v1/units", `{"changes":[{"name":"big.service","text":` + quote("[Service]\nExecStart=/bin/true\n#"+strings.Repeat("x", wire.MaxUnitText)) + `}]}`, nil},
		{"PUT", "/v1/units/a", `{"name":"b.service"}`, nil},
		{"PUT", "/v1/units/a", `{"desired":"inactive"}`, []string{"If-Match", `"1"`}},
		{"PUT", "/v1/units/a", `{"desired":"inactive"}`, []string{"If-None-Match", "*"}},
		{"DELETE", "/v1/units/none", "", nil},
		{"DELETE", "/v1/units/a", "", []string{"If-Match", "W/x"}},
		{"POST", "/v1/units", `{"changes":[]}`, []string{"Sec-Fetch-Site", "cross-site"}},
		{"PATCH", "/v1/machines/m1", `{"metadata":{"a b":"c"}}`, nil},
	} {
		status, head, body := h.do(c.method, c.path, c.body, c.header...)
		if kind := head.Get("Content-Type"); kind != "application/problem+json" {
			t.Errorf("%s %s answers %d with %s", c.method, c.path, status, kind)
		}
		sent := c.body
		if len(sent) > 200 {
			sent = sent[:60] + "…"
		}
		fmt.Fprintf(&out, "%s %s %s %s\n%d %s\n", c.method, c.path, strings.Join(c.header, ": "), sent, status, body)
	}
	const path = "testdata/errors.txt"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, out.Bytes()) {
		t.Errorf("%s is out of step; go test ./api -update writes it\n%s", path, out.String())
	}
}
