package api

import (
	"net/http"
	"slices"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

// route is one call: routing, limits, metrics and the OpenAPI document are made from this table alone.
type route struct {
	method, path string
	id, summary  string
	params       []param
	body         any // Zero value of the request's body; nil: none.
	answer       any // Zero value of the answer's body; nil: none.
	status       int // Of success; 0: 200.
	also         []int
	kinds        []string // Content types of the answer; nil: application/json.
	stream       bool     // Goes on until the caller goes: no deadline, counted.
	write        bool     // Changes the cluster: logged.
	rule         rule     // Who may.
	fleet        bool     // Speaks fleet's words, errors included.
	handle       func(*API, http.ResponseWriter, *http.Request) error
}

// param is a parameter of a call.
type param struct {
	name, in, kind, doc string // in: path, query or header. kind: string, integer, boolean, or names for a repeatable string.
}

var (
	unitParam    = param{"name", "path", "string", "The unit; without a suffix it is a service."}
	namesParam   = param{"name", "query", "names", "Only these units: names or globs, repeatable."}
	ifMatchParam = param{"If-Match", "header", "string", "Only if the unit still has this revision (its ETag); else 412."}
)

// routes is the table.
func routes() []route {
	return slices.Concat(unitRoutes(), clusterRoutes(), machineRoutes(), trustRoutes(), shellRoutes(), settingsRoutes(), auditRoutes(), storeRoutes(), fleetRoutes())
}

func unitRoutes() []route {
	return []route{
		{
			method: "GET", path: "/v1/units", id: "listUnits", rule: members, summary: "The present answer of every unit", params: []param{namesParam},
			answer: wire.UnitList{}, handle: (*API).listUnits,
		},
		{
			method: "POST", path: "/v1/units", id: "applyUnits", rule: deployers, summary: "Change units: all changes in one transaction, or none",
			body: wire.ApplyRequest{}, answer: wire.ApplyResponse{}, also: []int{400, 404, 409, 413, 422}, write: true, handle: (*API).applyUnits,
		},
		{
			method: "GET", path: "/v1/units/{name}", id: "getUnit", rule: viewers, summary: "One unit with its text, its model and its answer",
			params: []param{unitParam, {"fresh", "query", "boolean", "As the store has it now, also if another server took a change a moment ago; 503 without a majority of the servers."}},
			answer: wire.UnitDetail{}, also: []int{404}, handle: (*API).getUnit,
		},
		{
			method: "PUT", path: "/v1/units/{name}", id: "putUnit", rule: deployers, summary: "Change one unit; a text that is sent replaces the present one",
			params: []param{unitParam, ifMatchParam, {"If-None-Match", "header", "string", "\"*\": only if there is no such unit."}},
			body:   wire.Change{}, answer: wire.Applied{}, also: []int{201, 400, 404, 409, 412, 413, 422}, write: true, handle: (*API).putUnit,
		},
		{
			method: "DELETE", path: "/v1/units/{name}", id: "deleteUnit", rule: deployers, summary: "Stop and forget a unit", params: []param{unitParam, ifMatchParam},
			answer: wire.Applied{}, also: []int{404, 412}, write: true, handle: (*API).deleteUnit,
		},
		{
			method: "GET", path: "/v1/units/{name}/journal", id: "unitJournal", rule: viewers, summary: "Log lines of a unit, oldest first",
			params: []param{
				unitParam,
				{"lines", "query", "integer", "Only the last so many; 0: all that is kept."},
				{"follow", "query", "boolean", "Go on until the caller goes."},
				{"invocation", "query", "string", "Only of this run; \"previous\": of the run before the last."},
				{"since", "query", "string", "Only lines from this time on (RFC 3339)."},
				{"machine", "query", "names", "Only what these machines keep, also of a unit that is not there any more; \"all\": every machine. Else: of those where the unit is."},
			},
			answer: cluster.Line{}, kinds: []string{jsonLinesType, plainType, eventStreamType}, also: []int{404}, stream: true, handle: (*API).journal,
		},
		{
			method: "GET", path: "/v1/units/{name}/why", id: "unitWhy", rule: viewers, summary: "Why the unit is as it is", params: []param{unitParam},
			answer: wire.Why{}, also: []int{404}, handle: (*API).why,
		},
		{
			method: "GET", path: "/v1/watch", id: "watchUnits", rule: members, summary: "Present answers, then every answer that changes",
			params: []param{
				namesParam,
				{"since", "query", "integer", "Not older than this revision."},
				{"Last-Event-ID", "header", "string", "Resume: only what has changed since this event."},
			},
			answer: wire.WatchEvent{}, kinds: []string{eventStreamType}, stream: true, handle: (*API).watch,
		},
		{
			method: "POST", path: "/v1/verify", id: "verifyUnits", rule: viewers, summary: "Check unit files, room included, and change nothing",
			body: wire.VerifyRequest{}, answer: wire.VerifyResponse{}, also: []int{400, 413}, handle: (*API).verify,
		},
	}
}

func clusterRoutes() []route {
	machineParam := param{"id", "path", "string", "The machine: its id, the first eight characters of it, or its name."}
	return []route{
		{
			method: "GET", path: "/v1/machines", id: "listMachines", rule: members, summary: "The machines with what is promised on them",
			answer: wire.MachineList{}, handle: (*API).listMachines,
		},
		{
			method: "GET", path: "/v1/machines/{id}", id: "getMachine", rule: members, summary: "One machine", params: []param{machineParam},
			answer: wire.MachineDetail{}, also: []int{404}, handle: (*API).getMachine,
		},
		{
			method: "PATCH", path: "/v1/machines/{id}", id: "patchMachine", rule: operators, summary: "Cordon a machine, set its metadata", params: []param{machineParam},
			body: wire.MachinePatch{}, answer: wire.MachineDetail{}, also: []int{400, 404}, write: true, handle: (*API).patchMachine,
		},
		{
			method: "GET", path: "/v1/events", id: "events", rule: members, summary: "What happened, oldest first",
			params: []param{
				{"since", "query", "integer", "Only events after the one of this number."},
				{"unit", "query", "string", "Only of this unit."},
				{"limit", "query", "integer", "At most so many (default 1000, at most 10000); not with follow."},
				{"follow", "query", "boolean", "Go on until the caller goes: server-sent events."},
				{"Last-Event-ID", "header", "string", "As since, for a broken follow."},
			},
			answer: wire.EventList{}, kinds: []string{jsonType, jsonLinesType, eventStreamType}, stream: true, handle: (*API).events,
		},
		{method: "GET", path: "/v1/version", id: "version", rule: members, summary: "Versions", answer: wire.VersionInfo{}, handle: (*API).version},
		{method: "GET", path: "/v1/health", id: "health", rule: members, summary: "Whether changes can be taken", answer: wire.HealthInfo{}, also: []int{503}, handle: (*API).health},
		{method: "GET", path: "/v1/openapi.json", id: "openapi", rule: members, summary: "This document", handle: (*API).document},
		{method: "GET", path: "/metrics", id: "metrics", rule: viewers, summary: "Metrics for Prometheus", kinds: []string{plainType}, handle: (*API).showMetrics},
	}
}

// document is GET /v1/openapi.json.
func (a *API) document(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(a.openapi) // As in writeJSON.
	return nil
}
