// Package wire is the words of the HTTP API under /v1: requests, answers, errors and the verdict of a start.
// Server and client share it, and the OpenAPI document is generated from it.
package wire

import (
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Limits of requests (docs/api.md).
const (
	MaxBody      = 4 << 20   // Bytes of one request.
	MaxUnitText  = 256 << 10 // Bytes of one unit file.
	MaxUnitsCall = 1000      // Units in one call.
	MaxUnits     = 10000     // Units on one cluster of this release.
	MaxBrace     = 1000      // Instances of one brace argument.
)

// Change is what a person asks for one unit: any part may be left out.
type Change struct {
	Name string `json:"name"` // With suffix.
	// Text of the unit file, when it is submitted with the call. Without it the unit has to exist, or its template.
	Text    *string          `json:"text,omitempty"`
	DropIns []cluster.DropIn `json:"dropins,omitempty"`
	// Replace allows a Text that differs from what the cluster holds; without it the difference is a warning and the text is kept.
	Replace bool            `json:"replace,omitempty"`
	Desired cluster.Desired `json:"desired,omitempty"`
	// Orders for once. Start: start it even if it has failed or finished.
	Start   bool `json:"start,omitempty"`
	Restart bool `json:"restart,omitempty"`
	Reload  bool `json:"reload,omitempty"`
	Trigger bool `json:"trigger,omitempty"`
	Signal  int  `json:"signal,omitempty"` // Kill with this signal.
	Destroy bool `json:"destroy,omitempty"`
	// Expect, when set, is the revision that the unit must have (0: it must not exist).
	Expect *int64 `json:"expect,omitempty"`
}

// ApplyRequest is POST /v1/units: all changes are made in one transaction, or none.
type ApplyRequest struct {
	Changes []Change `json:"changes"`
	// DryRun checks everything, room included, and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
}

// Applied is what became of one change.
type Applied struct {
	Name     string         `json:"name"`
	Revision int64          `json:"revision"`
	Created  bool           `json:"created,omitempty"`
	Changed  bool           `json:"changed,omitempty"`
	Differs  bool           `json:"differs,omitempty"` // A text was sent that differs and was not taken: Replace was not set.
	Warnings []unit.Warning `json:"warnings,omitempty"`
	// Room says, after a dry run, where the unit would be placed, or why nowhere.
	Room *reason.Reason `json:"room,omitempty"`
}

// ApplyResponse answers POST /v1/units. Watch from Revision to see what comes of it.
type ApplyResponse struct {
	Revision int64     `json:"revision"`
	Units    []Applied `json:"units"`
}

// UnitList answers GET /v1/units?name=GLOB&name=….
type UnitList struct {
	Revision int64            `json:"revision"`
	Units    []cluster.Answer `json:"units"`
}

// UnitDetail answers GET /v1/units/{name}.
type UnitDetail struct {
	Answer    cluster.Answer   `json:"answer"`
	Text      string           `json:"text"` // As submitted.
	DropIns   []cluster.DropIn `json:"dropins,omitempty"`
	Canonical string           `json:"canonical"` // As rendered from the model.
	Hash      string           `json:"hash"`
	Demand    unit.Demand      `json:"demand"`
	Warnings  []unit.Warning   `json:"warnings,omitempty"`
	By        string           `json:"by,omitempty"`
	At        time.Time        `json:"at,omitzero"`
}

// MachineList answers GET /v1/machines.
type MachineList struct {
	Revision int64           `json:"revision"`
	Machines []MachineDetail `json:"machines"`
}

// MachineDetail is a machine with what is promised on it.
type MachineDetail struct {
	cluster.Machine
	Alive       bool           `json:"alive"`
	Cordoned    bool           `json:"cordoned,omitempty"`
	Draining    bool           `json:"draining,omitempty"`
	LocalRole   cluster.Role   `json:"local_role,omitempty"` // What everybody at its socket may do, when it is no server.
	Allocatable unit.Resources `json:"allocatable"`
	Promised    unit.Resources `json:"promised"`
	Units       int            `json:"units"`
	On          []OnMachine    `json:"on,omitempty"` // Only when one machine is asked for: what it has, by name.
}

// EventKind says what an event is about.
type EventKind string

// The kinds of events.
const (
	EventWish  EventKind = "wish"  // A person changed what is wanted.
	EventPlace EventKind = "place" // The leader placed, moved or refused.
	EventState EventKind = "state" // A unit's answer changed.
)

// Event is one line of history. GET /v1/events?since=SEQ lists and follows them.
type Event struct {
	Seq     int64          `json:"seq"`
	At      time.Time      `json:"at"`
	Kind    EventKind      `json:"kind"`
	Unit    string         `json:"unit,omitempty"`
	Machine string         `json:"machine,omitempty"` // Name.
	From    cluster.State  `json:"from,omitempty"`
	State   cluster.State  `json:"state,omitempty"`
	Reason  *reason.Reason `json:"reason,omitempty"`
	Message string         `json:"message"`
	Who     string         `json:"who,omitempty"`
	// Skipped counts changes of state of the unit just before this one that were not kept: it changed too often.
	Skipped int `json:"skipped,omitempty"`
}

// WatchEvent is one message of GET /v1/watch?since=REV&name=GLOB (server-sent events, id = revision).
// The first messages give the present answers, then one message follows for every answer that changed.
// Since means "not older than this revision": the answers are sent when the server has seen it.
// Last-Event-ID, as clients send it after a broken connection, means "only what has changed since".
type WatchEvent struct {
	Revision int64           `json:"revision"`
	Answer   *cluster.Answer `json:"answer,omitempty"`
	Gone     string          `json:"gone,omitempty"`   // The unit was destroyed.
	Synced   bool            `json:"synced,omitempty"` // All present answers were sent.
	// Complete stands beside Synced: what was sent is all there is. A client that had units before which
	// were not sent again has to take them for gone.
	Complete bool `json:"complete,omitempty"`
}

// EventList answers GET /v1/events?since=SEQ without follow. Ask again with since=Last for what came after.
type EventList struct {
	Events []Event `json:"events"`
	First  int64   `json:"first"` // The oldest event that is kept; 0: none.
	Last   int64   `json:"last"`  // The newest event.
}

// VerifyRequest is POST /v1/verify: nothing is changed.
type VerifyRequest struct {
	Units []VerifyUnit `json:"units"`
}

// VerifyUnit is one unit file to be checked.
type VerifyUnit struct {
	Name    string           `json:"name"`
	Text    string           `json:"text"`
	DropIns []cluster.DropIn `json:"dropins,omitempty"`
}

// VerifyResponse answers POST /v1/verify.
type VerifyResponse struct {
	OK    bool       `json:"ok"` // No unit has a fault, and there is room for all of them.
	Units []Verified `json:"units"`
}

// Verified is what was found about one unit file.
type Verified struct {
	Name     string         `json:"name"`
	Faults   []Fault        `json:"faults,omitempty"`
	Warnings []unit.Warning `json:"warnings,omitempty"`
	Demand   *unit.Demand   `json:"demand,omitempty"` // When it could be read.
	Room     *Fault         `json:"room,omitempty"`   // Why it would be on no machine.
	Machine  string         `json:"machine,omitempty"`
}

// Fault is a reason with its sentence and its hint, for clients that do not have the table.
type Fault struct {
	Reason  *reason.Reason `json:"reason"`
	Message string         `json:"message"`
	Hint    string         `json:"hint,omitempty"`
}

// NewFault is a reason with its words; nil for none.
func NewFault(r *reason.Reason) *Fault {
	if r == nil {
		return nil
	}
	return &Fault{Reason: r, Message: r.Message(), Hint: r.Hint()}
}

// Why answers GET /v1/units/{name}/why: docs/why.md.
type Why struct {
	Answer   cluster.Answer `json:"answer"`
	Headline string         `json:"headline"`          // "web@4.service - not running on m2 since 14:02:07 (4 tries)".
	Cause    string         `json:"cause"`             // The reason's sentence with code.
	Sure     string         `json:"sure,omitempty"`    // How it is known: "counted by the cgroup", "seen in the socket table".
	Compare  []string       `json:"compare,omitempty"` // Other instances, other starts on the machine.
	Changed  []string       `json:"changed,omitempty"` // What people changed before it.
	Placed   []string       `json:"placed,omitempty"`  // Why there, and why not elsewhere.
	Timeline []Event        `json:"timeline,omitempty"`
	Log      []string       `json:"log,omitempty"` // Last lines of the failed run.
	Try      []string       `json:"try,omitempty"` // Commands.
}

// VersionInfo answers GET /v1/version.
type VersionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	API     string `json:"api"`
	Machine string `json:"machine"`
	Leader  string `json:"leader,omitempty"`
}

// HealthInfo answers GET /v1/health: 200 when everything needed to take a change is there, else 503.
type HealthInfo struct {
	OK       bool   `json:"ok"`
	Store    *Fault `json:"store,omitempty"`   // Why the store takes no writes.
	Picture  *Fault `json:"picture,omitempty"` // Why the store has not been read yet.
	Revision int64  `json:"revision"`
	Units    int    `json:"units"`
	Machines int    `json:"machines"`
	Watches  int    `json:"watches"` // Open watches.
}

// MachinePatch is PATCH /v1/machines/{id}: what a person says about a machine. What is left out stays.
type MachinePatch struct {
	Cordoned *bool `json:"cordoned,omitempty"`
	// Draining lets its units move elsewhere, those that can; it cordons, too. False ends that and leaves it cordoned.
	Draining *bool `json:"draining,omitempty"`
	// Metadata sets keys; an empty value hides the machine's own, null takes a person's value back.
	Metadata map[string]*string `json:"metadata,omitempty"`
	// LocalRole is what everybody at the machine's socket may do in the cluster; empty: no more than see states. An admin grants it.
	LocalRole *cluster.Role `json:"local_role,omitempty"`
}

// Problem is an error of the API: RFC 9457 (application/problem+json) with the reason.
type Problem struct {
	Type       string             `json:"type"`
	Title      string             `json:"title"`
	Status     int                `json:"status"`
	Detail     string             `json:"detail"`
	Code       reason.Code        `json:"code"`
	Args       reason.Args        `json:"args,omitempty"`
	Scope      reason.Scope       `json:"scope,omitempty"`
	Hint       string             `json:"hint,omitempty"`
	Candidates []reason.Candidate `json:"candidates,omitempty"`
	// Also are further faults of the same request, so that one answer names them all.
	Also []*reason.Reason `json:"also,omitempty"`
}
