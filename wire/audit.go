package wire

import (
	"time"

	"argosy.dev/argosy/reason"
)

// AuditResult is what became of a call.
type AuditResult string

// The results of calls.
const (
	AuditDone    AuditResult = "done"
	AuditRefused AuditResult = "refused" // The caller may not.
	AuditFailed  AuditResult = "failed"  // The caller may, but it could not be done.
)

// AuditRecord is one line of the audit log: a call that changed something, or was refused. It never holds a secret, nor a
// unit's text.
type AuditRecord struct {
	Seq     int64       `json:"seq"` // On its server, from 1.
	At      time.Time   `json:"at"`
	Machine string      `json:"machine"`        // Id of the server that took the call.
	Kind    string      `json:"kind,omitempty"` // How the caller came: local, user, machine, server; empty: without a certificate.
	Who     string      `json:"who"`
	For     string      `json:"for,omitempty"` // Who called through a machine, as that machine says.
	Role    string      `json:"role,omitempty"`
	From    string      `json:"from"` // HOST:PORT, or socket.
	Verb    string      `json:"verb"` // The operation of /v1/openapi.json, or connect.
	Object  string      `json:"object,omitempty"`
	Result  AuditResult `json:"result"`
	Status  int         `json:"status,omitempty"`   // Of HTTP.
	Code    reason.Code `json:"code,omitempty"`     // Why it was not done.
	Why     string      `json:"why,omitempty"`      // The same as a sentence.
	Store   int64       `json:"revision,omitempty"` // Of the store, after the change.
	// More is how many refusals before this one were counted and not written down, because they came too fast.
	More int64 `json:"more,omitempty"`
	// Prev is the SHA-256 of the line before this one, hex; empty in the first line of all.
	Prev string `json:"prev"`
}

// AuditAway is a server that was not heard.
type AuditAway struct {
	Machine string `json:"machine"` // Id.
	Name    string `json:"name"`
	Error   string `json:"error"`
}

// AuditAnswer answers GET /v1/audit: the records of all servers in the order of time.
type AuditAnswer struct {
	Records []AuditRecord `json:"records"`
	Away    []AuditAway   `json:"away,omitempty"`
}

// AuditState is what a server found when it checked its own part of the log.
type AuditState struct {
	Machine string    `json:"machine"` // Id.
	Name    string    `json:"name"`
	Records int64     `json:"records"`
	First   int64     `json:"first"` // Number of the oldest record that is kept.
	Last    int64     `json:"last"`
	Since   time.Time `json:"since,omitzero"`
	Head    string    `json:"head"`            // SHA-256 of the last line: the chain up to here, in one word.
	Fault   string    `json:"fault,omitempty"` // Empty: every line fits the one before it.
}

// AuditCheck answers GET /v1/audit/verify.
type AuditCheck struct {
	Servers []AuditState `json:"servers"`
	Away    []AuditAway  `json:"away,omitempty"`
}
