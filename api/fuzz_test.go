package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

// FuzzApply: whatever is sent, admission ends with faults or with writes that the store takes, all of them guarded,
// under the names that were asked for, and never both.
func FuzzApply(f *testing.F) {
	for _, s := range []string{
		`{"changes":[{"name":"a.service","text":"[Service]\nExecStart=/bin/true\n"}]}`, `{"changes":[{"name":"t@1.service","desired":"launched"}]}`,
		`{"changes":[{"name":"t@.service","destroy":true},{"name":"t@1.service"}]}`, `{"changes":[{"name":"../../etc/passwd","text":""}]}`,
		`{"changes":[{"name":"x@\\x2d.service","signal":-1,"expect":-5}]}`, `{"changes":null,"dry_run":true}`, `[]`, `{"changes":[{"name":"a.timer","trigger":true,"text":"[Timer]\nOnCalendar=daily\n"}]}`,
	} {
		f.Add([]byte(s))
	}
	have := map[string]*cluster.Wanted{
		"t@.service": {Name: "t@.service", Text: "[Service]\nExecStart=/bin/sleep %i\n", Desired: cluster.Inactive, Revision: 3},
		"a.service":  {Name: "a.service", Text: "[Service]\nExecStart=/bin/true\n", Desired: cluster.Launched, Revision: 4},
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var req wire.ApplyRequest
		if err := readBody(httptest.NewRequest("POST", "/v1/units", bytes.NewReader(body)), &req); err != nil {
			problemOf(err)
			return
		}
		ad := &admission{before: map[string]*cluster.Wanted{}, total: len(have), who: "fuzz", at: time.Unix(0, 0)}
		maps.Copy(ad.before, have)
		if err := ad.admit(req.Changes); err != nil {
			if p := problemOf(err); p.Status < 400 || p.Detail == "" {
				t.Errorf("a refusal without words: %+v", p)
			}
			return
		}
		if err := store.Check(store.Writer{Role: store.Person, ID: "fuzz"}, ad.writes...); err != nil {
			t.Errorf("admitted, and the store would not take it: %v", err)
		}
		for _, w := range ad.writes {
			name, ok := strings.CutPrefix(w.Key, cluster.UnitsPrefix)
			if !ok || strings.Contains(name, "/") || !w.Guard {
				t.Errorf("a write to %q, guarded %v", w.Key, w.Guard)
			}
		}
		if len(ad.applied) != len(req.Changes) {
			t.Errorf("%d answers to %d changes", len(ad.applied), len(req.Changes))
		}
	})
}

// FuzzPageToken: a token that is taken is one that fleet would have sent, and bounds stay in bounds.
func FuzzPageToken(f *testing.F) {
	for _, s := range []string{"ZAABAA==", "ZAACAA==", "ZQABAA==", "", "ZAD__w==", "ZAABAA"} {
		f.Add(s, 250)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		token, err := decodePageToken(s)
		if err != nil || n < 0 {
			return
		}
		if token.limit != fleetLimit || token.page == 0 {
			t.Errorf("%q is taken as %+v", s, token)
		}
		from, to, more := token.bounds(n)
		if from < 0 || from > to || to > n || to-from > fleetLimit || (more && to == n) {
			t.Errorf("page %d of %d is %d to %d", token.page, n, from, to)
		}
		if next := token.next(more); more {
			if got, err := decodePageToken(next); err != nil || got.page != token.page+1 {
				t.Errorf("after %+v comes %+v, %v", token, got, err)
			}
		}
	})
}

// FuzzFleetPatch: a patch that is taken names a machine and a key, and its value is a string.
func FuzzFleetPatch(f *testing.F) {
	f.Add(`{"op":"add","path":"/m/metadata/k","value":{"value":"v"}}`)
	f.Add(`{"op":"remove","path":"/m/metadata/k"}`)
	f.Add(`{"op":"replace","path":"/m/metadata/k","value":"v"}`)
	f.Fuzz(func(t *testing.T, s string) {
		var op fleetPatch
		if json.Unmarshal([]byte(s), &op) != nil {
			return
		}
		id, key, value, err := op.read()
		if err == nil && (id == "" || strings.Contains(id, "/") || !metadataKey.MatchString(key) && len(key) <= 128 || (value == "") != (op.Op == "remove")) {
			t.Errorf("%s is taken as %q %q %q", s, id, key, value)
		}
	})
}
