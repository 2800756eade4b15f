package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files and docs/openapi.json anew")

// TestDocument keeps docs/openapi.json in step with what is served.
func TestDocument(t *testing.T) {
	golden(t, filepath.Join("..", "docs", "openapi.json"), openAPI(routes()))
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of step; go test ./api -update writes it.\n--- got\n%s", path, got)
	}
}

// TestEveryRouteIsDocumented: the table makes both, so this looks at the words: ids, summaries, parameters, names.
func TestEveryRouteIsDocumented(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Parameters  []struct{ Name, In, Description string }
			Responses   map[string]any
		}
		Components struct{ Schemas map[string]any }
	}
	text := openAPI(routes())
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, r := range routes() {
		op, ok := doc.Paths[r.path][strings.ToLower(r.method)]
		if !ok || op.OperationID == "" || op.Summary == "" || len(op.Responses) < 2 {
			t.Errorf("%s %s is not documented", r.method, r.path)
		}
		if ids[op.OperationID] {
			t.Errorf("operation id %s is there twice", op.OperationID)
		}
		ids[op.OperationID] = true
		for part := range strings.SplitSeq(r.path, "/") {
			name, is := strings.CutPrefix(part, "{")
			if !is {
				continue
			}
			found := false
			for _, p := range op.Parameters {
				found = found || (p.In == "path" && p.Name == strings.TrimSuffix(name, "}") && p.Description != "")
			}
			if !found {
				t.Errorf("%s %s: path parameter %s is not documented", r.method, r.path, part)
			}
		}
	}
	for _, ref := range strings.Split(string(text), `"$ref": "#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(ref, `"`)
		if s, ok := doc.Components.Schemas[name].(map[string]any); !ok || len(s) == 0 {
			t.Errorf("schema %s is referred to and not there", name)
		}
	}
}

// TestSchemaNames: two types of the same name would hide each other.
func TestSchemaNames(t *testing.T) {
	seen := map[string]reflect.Type{}
	var walk func(t reflect.Type)
	walk = func(ty reflect.Type) {
		switch ty.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
			walk(ty.Elem())
		case reflect.Struct:
			if ty.PkgPath() == "time" {
				return
			}
			name := schemaName(ty)
			if have, ok := seen[name]; ok {
				if have != ty {
					t.Errorf("%v and %v are both schema %s", have, ty, name)
				}
				return
			}
			seen[name] = ty
			for f := range ty.Fields() {
				walk(f.Type)
			}
		default: // The others have no name in the document.
		}
	}
	for _, r := range routes() {
		for _, v := range []any{r.body, r.answer} {
			if v != nil {
				walk(reflect.TypeOf(v))
			}
		}
	}
	if len(seen) < 20 {
		t.Fatalf("only %d types were walked", len(seen))
	}
}

// TestNoRouteIsForgotten: each route of the table is answered by its own handler, not by the fallback.
func TestNoRouteIsForgotten(t *testing.T) {
	a := &API{mux: http.NewServeMux()}
	for _, r := range routes() {
		a.mux.HandleFunc(r.method+" "+r.path, func(http.ResponseWriter, *http.Request) {})
	}
	for _, r := range routes() {
		path := strings.NewReplacer("{name}", "a.service", "{id}", "m1").Replace(r.path)
		if _, pattern := a.mux.Handler(httptest.NewRequest(r.method, path, nil)); pattern != r.method+" "+r.path {
			t.Errorf("%s %s goes to %q", r.method, path, pattern)
		}
	}
}
