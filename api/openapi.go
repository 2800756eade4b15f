package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// object is a JSON object of the document; encoding/json sorts its keys, so the document is always the same.
type object = map[string]any

// openAPI writes the OpenAPI 3.1 document from the route table and, by reflection, from the types that the
// handlers encode: it cannot say anything else than they do.
func openAPI(routes []route) []byte {
	s := schemas{out: object{}}
	paths := object{}
	for _, r := range routes {
		ops, ok := paths[r.path].(object)
		if !ok {
			ops = object{}
			paths[r.path] = ops
		}
		ops[strings.ToLower(r.method)] = s.operation(r)
	}
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Argosy", "version": apiVersion,
			"description": "Units in, placement, running, reasons out. Times are RFC 3339, sizes bytes, cpu thousandths of a core, durations nanoseconds. " +
				"Errors are problem+json with a reason code of docs/reasons.md; codes and fields are added, never renamed.",
		},
		"paths":      paths,
		"components": object{"schemas": s.out},
	}
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return []byte("{}") // Maps of strings always encode.
	}
	return append(b, '\n')
}

func (s schemas) operation(r route) object {
	tag := "argosy"
	if r.fleet {
		tag = "fleet"
	}
	op := object{"operationId": r.id, "summary": r.summary, "tags": []string{tag}, "responses": s.responses(r)}
	var params []object
	for _, p := range r.params {
		schema := object{"type": p.kind}
		if p.kind == "names" {
			schema = object{"type": "array", "items": object{"type": "string"}}
		}
		params = append(params, object{"name": p.name, "in": p.in, "description": p.doc, "required": p.in == "path", "schema": schema})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.body != nil {
		op["requestBody"] = object{"required": true, "content": object{jsonType: object{"schema": s.of(reflect.TypeOf(r.body))}}}
	}
	return op
}

func (s schemas) responses(r route) object {
	var problem any = wire.Problem{}
	problemKind := "application/problem+json"
	if r.fleet {
		problem, problemKind = fleetError{}, jsonType
	}
	bad := object{"description": "Not done: the reason.", "content": object{problemKind: object{"schema": s.of(reflect.TypeOf(problem))}}}
	good := object{"description": "Done."}
	if r.answer != nil {
		content := object{}
		for _, kind := range r.answers() {
			content[kind] = object{"schema": s.of(reflect.TypeOf(r.answer))}
			if kind == plainType {
				content[kind] = object{"schema": object{"type": "string"}}
			}
		}
		good["content"] = content
	} else if r.kinds != nil {
		good["content"] = object{r.kinds[0]: object{"schema": object{"type": "string"}}}
	}
	status := r.status
	if status == 0 {
		status = http.StatusOK
	}
	out := object{strconv.Itoa(status): good, "default": bad}
	for _, code := range r.also {
		switch {
		case code < http.StatusMultipleChoices:
			out[strconv.Itoa(code)] = good
		case code == http.StatusServiceUnavailable && r.answer == (wire.HealthInfo{}):
			out[strconv.Itoa(code)] = good
		default:
			out[strconv.Itoa(code)] = bad
		}
	}
	return out
}

func (r route) answers() []string {
	if r.kinds == nil {
		return []string{jsonType}
	}
	return r.kinds
}

// schemas collects the schema of each type under its name.
type schemas struct{ out object }

// enums are the types that take only certain words.
func enums() map[reflect.Type][]string {
	words := map[reflect.Type][]string{
		reflect.TypeFor[cluster.Desired](): {string(cluster.Inactive), string(cluster.Loaded), string(cluster.Launched)},
		reflect.TypeFor[reason.Scope]():    {string(reason.ScopeUnit), string(reason.ScopeMachine), string(reason.ScopeCluster)},
		reflect.TypeFor[wire.EventKind]():  {string(wire.EventWish), string(wire.EventPlace), string(wire.EventState)},
		reflect.TypeFor[cluster.State]():   nil, reflect.TypeFor[reason.Code](): nil,
	}
	for _, st := range cluster.States() {
		words[reflect.TypeFor[cluster.State]()] = append(words[reflect.TypeFor[cluster.State]()], string(st))
	}
	for _, c := range reason.Codes() {
		words[reflect.TypeFor[reason.Code]()] = append(words[reflect.TypeFor[reason.Code]()], string(c))
	}
	return words
}

// of gives the schema of a type: a reference for a named struct or word.
func (s schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "description": "Nanoseconds."}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	if words, ok := enums()[t]; ok {
		return s.named(t, func() object { return object{"type": "string", "enum": words} })
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		return s.named(t, func() object { return s.structure(t) })
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Interface:
		return object{}
	default:
		return object{"type": "integer"}
	}
}

func (s schemas) named(t reflect.Type, make func() object) object {
	name := schemaName(t)
	if _, done := s.out[name]; !done {
		s.out[name] = object{} // Against types that hold themselves.
		s.out[name] = make()
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// schemaName is the type's name with a capital letter.
func schemaName(t reflect.Type) string {
	r := []rune(t.Name())
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

func (s schemas) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	s.fields(t, properties, &required)
	out := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func (s schemas) fields(t reflect.Type, properties object, required *[]string) {
	for f := range t.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || (!f.IsExported() && !f.Anonymous):
			continue
		case f.Anonymous && tag == "":
			s.fields(f.Type, properties, required)
			continue
		case tag == "":
			tag = f.Name
		}
		schema := s.of(f.Type)
		may := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if !may {
			*required = append(*required, tag)
			switch f.Type.Kind() {
			case reflect.Slice, reflect.Map, reflect.Pointer:
				schema = object{"anyOf": []object{schema, {"type": "null"}}}
			default: // No other kind has a nil that JSON shows.
			}
		}
		properties[tag] = schema
	}
}
