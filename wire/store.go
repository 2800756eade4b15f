package wire

import (
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// StoreInfo answers GET /v1/store: how the store does, as the server that was asked sees it, with what the leading
// machine decided last.
type StoreInfo struct {
	OK       bool   `json:"ok"`
	Why      string `json:"why,omitempty"` // Why it is not OK.
	Cluster  string `json:"cluster"`       // The store's own id; a restore makes a new one.
	Asked    string `json:"asked"`         // The machine that tells this.
	Majority bool   `json:"majority"`      // A majority of the members answers.
	Error    string `json:"error,omitempty"`
	// Wish is how many machines are to hold the store; 0: as many as there are servers, up to 5.
	Wish     int                 `json:"wish"`
	Servers  int                 `json:"servers"` // Living machines that may hold it.
	Members  []StoreMember       `json:"members"`
	Decision *StoreDecision      `json:"decision,omitempty"`
	Trouble  []cluster.Condition `json:"trouble,omitempty"`
	Restored *cluster.Restored   `json:"restored,omitempty"` // Nobody has settled yet what the store that was restored does not know.
	Snapshot *SnapshotState      `json:"snapshot,omitempty"`
	Away     []string            `json:"away,omitempty"` // Machines that were asked and did not answer.
	Unknown  map[string][]string `json:"unknown,omitempty"`
}

// StoreMember is one member of the store. What it says about itself is there when it answered.
type StoreMember struct {
	Machine  string   `json:"machine"` // Its id; empty: it has not started yet.
	Name     string   `json:"name"`
	ID       string   `json:"id"` // The store's own, 16 hex digits.
	Address  string   `json:"address"`
	Role     string   `json:"role"` // voter or learner.
	Leads    bool     `json:"leads,omitempty"`
	Started  bool     `json:"started"`
	Reached  bool     `json:"reached"`
	Answered bool     `json:"answered"`
	TookMS   int64    `json:"took_ms,omitempty"` // From the question to its answer.
	Term     uint64   `json:"term,omitempty"`
	Revision int64    `json:"revision,omitempty"`
	Applied  uint64   `json:"applied,omitempty"`
	Behind   uint64   `json:"behind,omitempty"` // Raft entries that others had committed and it had not applied.
	Size     int64    `json:"size,omitempty"`   // Bytes of its file,
	InUse    int64    `json:"in_use,omitempty"` // of which so many hold something,
	Quota    int64    `json:"quota,omitempty"`  // of so many that it may have.
	Version  string   `json:"version,omitempty"`
	Alarms   []string `json:"alarms,omitempty"`
	Errors   []string `json:"errors,omitempty"`
}

// StoreDecision is what the leading machine decided last about the members.
type StoreDecision struct {
	At      time.Time      `json:"at"`
	By      string         `json:"by"` // The machine.
	Step    string         `json:"step"`
	Machine string         `json:"machine,omitempty"` // The one that it is about.
	Reason  *reason.Reason `json:"reason,omitempty"`
	Trouble *reason.Reason `json:"trouble,omitempty"` // Why it was not done yet.
}

// SnapshotState tells of the snapshots that are taken by themselves.
type SnapshotState struct {
	Last    time.Time `json:"last,omitzero"`
	Trouble string    `json:"trouble,omitempty"`
}

// SnapshotFile is one snapshot on a server's disk.
type SnapshotFile struct {
	Machine string    `json:"machine"` // The id of the one that has it.
	Name    string    `json:"name"`    // That machine's.
	Path    string    `json:"path"`
	At      time.Time `json:"at"`
	Size    int64     `json:"size"` // Bytes.
}

// SnapshotList answers GET /v1/snapshots, the newest first.
type SnapshotList struct {
	Snapshots []SnapshotFile `json:"snapshots"`
	Away      []string       `json:"away,omitempty"` // Servers that did not answer.
}

// RecoverRequest is POST /v1/recover: the machine that is asked becomes the only one that holds the store.
type RecoverRequest struct {
	From  string `json:"from,omitempty"`  // A snapshot on that machine's disk; empty: with what its own member of the store has.
	Force bool   `json:"force,omitempty"` // Also while a majority answers: what only the others have is lost.
}

// RecoverAnswer tells what is being done, a moment before it is.
type RecoverAnswer struct {
	Machine string   `json:"machine"`
	Lost    []string `json:"lost,omitempty"` // Members that are dropped: machine names.
	Aside   string   `json:"aside,omitempty"`
}
