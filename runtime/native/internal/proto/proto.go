// Package proto is what an agent and the init process say to each other over the unix socket: JSON, one
// message a line. Version is the first thing that is compared.
package proto

import (
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Version of the protocol. It grows when a message changes in a way that an older peer would misread.
const Version = 1

// MaxMessage bounds one line.
const MaxMessage = 64 << 20

// SocketName is the socket's name in Options.Dir.
const SocketName = "init.sock"

// The operations.
const (
	Hello    = "hello"
	Load     = "load"
	Unload   = "unload"
	Start    = "start"
	Stop     = "stop"
	Restart  = "restart"
	Reload   = "reload"
	Kill     = "kill"
	List     = "list"
	Shutdown = "shutdown"
	Replace  = "replace"

	// What keeps exclusive units, see runtime.Fencer.
	Held      = "held"
	Epoch     = "epoch"
	Renewed   = "renewed"
	Condemned = "condemned"
	Allow     = "allow"
)

// Request is from the agent.
type Request struct {
	V      int        `json:"v,omitempty"` // Hello.
	ID     uint64     `json:"id"`          // From 1.
	Op     string     `json:"op"`
	Unit   string     `json:"unit,omitempty"`
	Def    *unit.Unit `json:"def,omitempty"`  // Load.
	Hash   string     `json:"hash,omitempty"` // Load.
	Signal int        `json:"signal,omitempty"`
	Argv   []string   `json:"argv,omitempty"`  // Replace: the program that takes the init process's place.
	Since  uint64     `json:"since,omitempty"` // List: only what changed after this generation; 0: everything.

	Epoch     int64         `json:"epoch,omitempty"`     // Epoch, Renewed, Condemned, Allow: the machine's.
	Sent      time.Duration `json:"sent,omitempty"`      // Renewed: on the boot clock.
	Placement int64         `json:"placement,omitempty"` // Allow: the placement's epoch.
}

// Reply is from the init process. A kick has no ID: something changed since the last List of this connection.
type Reply struct {
	V        int                `json:"v,omitempty"`
	ID       uint64             `json:"id,omitempty"`
	Kick     bool               `json:"kick,omitempty"`
	Error    *reason.Reason     `json:"error,omitempty"`
	Warnings []unit.Warning     `json:"warnings,omitempty"`
	Evidence []cluster.Evidence `json:"evidence,omitempty"`
	Names    []string           `json:"names,omitempty"` // List: every unit there is, so that the agent notices those that are gone.
	Gen      uint64             `json:"gen,omitempty"`
	PID      int                `json:"pid,omitempty"`

	Keeper  *fence.Keeper `json:"keeper,omitempty"`  // Held.
	Refused string        `json:"refused,omitempty"` // What the keeper of exclusive units says against it.
}
