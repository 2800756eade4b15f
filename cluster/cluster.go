// Package cluster holds the words of the cluster: machines, what is wanted of units, placements, statuses,
// and the one Answer that every screen shows. Values, their keys in the store, and the picture that is
// made of them. No engine: nothing here reads a clock, a disk or a network.
package cluster

import (
	"slices"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Desired is what a person wants of a unit; fleet's three words.
type Desired string

// The desired states.
const (
	Inactive Desired = "inactive" // Known to the cluster, on no machine.
	Loaded   Desired = "loaded"   // On a machine, not started.
	Launched Desired = "launched" // On a machine and running.
)

// Wanted is what a person asked of one unit. Writer: a person, through api.
type Wanted struct {
	Name    string   `json:"name"` // With suffix: web@1.service, or the template web@.service.
	Text    string   `json:"text"` // The unit file as submitted, comments kept. For an instance: its template's text at the time.
	DropIns []DropIn `json:"dropins,omitempty"`
	Desired Desired  `json:"desired"`
	// Orders are counters: the agent carries out what its status has not acknowledged yet.
	Orders Orders    `json:"orders"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`

	Revision int64 `json:"-"` // The store's revision of this record.
}

// DropIn is one NAME.d/*.conf.
type DropIn struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Orders count what a person asked for once: each is carried out once, also over restarts of the agent.
type Orders struct {
	Start   int64 `json:"start,omitempty"`   // Start it again if it has failed or finished.
	Restart int64 `json:"restart,omitempty"` // Stop and start.
	Reload  int64 `json:"reload,omitempty"`
	Kill    int64 `json:"kill,omitempty"`
	Signal  int   `json:"signal,omitempty"`  // Of the last Kill.
	Trigger int64 `json:"trigger,omitempty"` // A timer: run its unit now.
}

// Placement is on which machine a unit is to be, or why on none. Writer: the leader.
type Placement struct {
	Unit    string         `json:"unit"`
	Machine string         `json:"machine,omitempty"` // Machine id; empty: on none.
	Epoch   int64          `json:"epoch,omitempty"`   // Grows with every move.
	Global  bool           `json:"global,omitempty"`
	Reason  *reason.Reason `json:"reason,omitempty"` // Why here, or why nowhere.
	At      time.Time      `json:"at"`
}

// Reign is who leads. Writer: the leader, with every write.
type Reign struct {
	ID string    `json:"id"` // Machine id.
	At time.Time `json:"at"` // Of the write.
	// Conditions are what the leader has to say of the cluster, such as that too many machines were lost to move anything.
	Conditions []Condition `json:"conditions,omitempty"`
}

// State is the one word that people see. Never "launched": that word only says what was asked.
type State string

// The states, as in docs/states.md.
const (
	Healthy      State = "healthy"
	Starting     State = "starting"
	Unhealthy    State = "unhealthy"
	CrashLooping State = "crash-looping"
	BackingOff   State = "backing-off"
	Failing      State = "failing"
	Failed       State = "failed"
	Unplaced     State = "no-room"
	Waiting      State = "waiting"
	Draining     State = "draining"
	Lost         State = "lost"
	FinishedOK   State = "finished"
	Stopped      State = "stopped"
)

// States lists every state.
func States() []State {
	return []State{Healthy, Starting, Unhealthy, CrashLooping, BackingOff, Failing, Failed, Unplaced, Waiting, Draining, Lost, FinishedOK, Stopped}
}

// Status is what a unit does on one machine. Writer: that machine's agent; written on change only.
type Status struct {
	Unit    string         `json:"unit"`
	Machine string         `json:"machine"`
	Epoch   int64          `json:"epoch,omitempty"`
	Lease   int64          `json:"lease,omitempty"` // Of an exclusive unit: the machine's epoch in which this claims it.
	State   State          `json:"state"`
	Reason  *reason.Reason `json:"reason,omitempty"`
	Since   time.Time      `json:"since"` // When State began.
	// Final: the agent will not do more by itself; only a person's order changes it.
	Final bool `json:"final,omitempty"`
	// For is the revision of the Wanted record that this status is about, and Done the orders carried out.
	For  int64  `json:"for"`
	Done Orders `json:"done"`
	// Desired is the wish that was last carried out, and Invocation the run that was last seen: with them an agent that
	// was killed between doing and writing knows what it did.
	Desired    Desired `json:"desired,omitempty"`
	Invocation string  `json:"invocation,omitempty"`

	// The runtime's own words, for systemctl's and fleet's columns.
	Load   string `json:"load"`
	Active string `json:"active"`
	Sub    string `json:"sub"`
	Result string `json:"result,omitempty"`

	MainPID    int       `json:"main_pid,omitempty"`
	ExitCode   int       `json:"exit_code,omitempty"`
	ExitSignal int       `json:"exit_signal,omitempty"`
	Restarts   int       `json:"restarts,omitempty"`  // By Restart=, since the last start order.
	Tries      int       `json:"tries,omitempty"`     // Failed tries since the last start order.
	OOMKills   int       `json:"oom_kills,omitempty"` // Counted by its cgroup since the last start order.
	StartedAt  time.Time `json:"started_at,omitzero"`
	StatusText string    `json:"status_text,omitempty"` // STATUS= of sd_notify.
	Hash       string    `json:"hash,omitempty"`        // Of the canonical text that is loaded.
	Next       time.Time `json:"next,omitzero"`         // Timers: next run.
	Last       time.Time `json:"last,omitzero"`         // Timers: last run.
	LogTail    []string  `json:"log_tail,omitempty"`    // Last lines of a failed run, bounded.
	// Warnings: directives that this machine's runtime does not honour, promised limits that it does not enforce.
	Warnings []unit.Warning `json:"warnings,omitempty"`
}

// Machine is one host of the cluster. Writer: that machine.
type Machine struct {
	ID         string            `json:"id"`                 // 32 hex digits.
	Name       string            `json:"name"`               // A person's name for it.
	Address    string            `json:"address,omitempty"`  // Of its API: host:port.
	Server     bool              `json:"server,omitempty"`   // It holds a part of the store, and its API speaks for the cluster.
	PeerURL    string            `json:"peer_url,omitempty"` // Where the other servers' stores reach its own; empty: it is not to hold any.
	Metadata   map[string]string `json:"metadata,omitempty"`
	Capacity   unit.Resources    `json:"capacity"` // What the machine has.
	Reserved   unit.Resources    `json:"reserved"` // Kept for the system and for Argosy.
	Runtime    string            `json:"runtime"`  // systemd, native or fake.
	Types      []string          `json:"types"`    // Unit types that the runtime runs: service, timer, …
	Arch       string            `json:"arch,omitempty"`
	OS         string            `json:"os,omitempty"`
	Kernel     string            `json:"kernel,omitempty"`
	Version    string            `json:"version,omitempty"`
	BootID     string            `json:"boot_id,omitempty"`
	Conditions []Condition       `json:"conditions,omitempty"`
	At         time.Time         `json:"at"`
}

// Condition is something about a machine that placement or people have to know.
type Condition struct {
	Kind   string         `json:"kind"` // limits-not-enforced, disk-pressure, …
	Reason *reason.Reason `json:"reason,omitempty"`
	// NoNew: the machine takes no new units while the condition holds.
	NoNew bool `json:"no_new,omitempty"`
}

// Allocatable is what may be promised to units.
func (m Machine) Allocatable() unit.Resources {
	return unit.Resources{
		CPU:    max(0, m.Capacity.CPU-m.Reserved.CPU),
		Memory: max(0, m.Capacity.Memory-m.Reserved.Memory),
		Disk:   max(0, m.Capacity.Disk-m.Reserved.Disk),
	}
}

// Sign is a machine's sign of life, as it lies under its lease. Writer: that machine.
type Sign struct {
	// Epoch is a revision of the store that was read while no exclusive unit ran on the machine. 0: it runs none.
	Epoch int64 `json:"epoch,omitempty"`
	// Left: the machine says goodbye, without a lease. It is not to be waited for.
	Left bool `json:"left,omitempty"`
}

// Condemned says that no epoch of a machine counts that began before this record's revision: the store grants and renews
// no lease for it. Writer: the leader.
type Condemned struct {
	Machine string         `json:"machine"`
	Reason  *reason.Reason `json:"reason,omitempty"`
	At      time.Time      `json:"at"`

	Revision int64 `json:"-"` // The store's revision of this record.
}

// MachineAdmin is what a person said about a machine. Writer: a person, through api.
type MachineAdmin struct {
	ID       string `json:"id"`
	Cordoned bool   `json:"cordoned,omitempty"`
	// Fenced is the revision of the condemnation of which a person said: this machine is dead, bind its exclusive units
	// elsewhere at once.
	Fenced   int64             `json:"fenced,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"` // Overrides; an empty value hides the machine's own.
	// Draining: its units are to move elsewhere, those that can. It goes with Cordoned.
	Draining bool `json:"draining,omitempty"`
	// LocalRole is what people at the socket of a machine that is not a server may do in the cluster; empty: see states.
	LocalRole Role `json:"local_role,omitempty"`
	// Renew asks the machine to replace certificates that were issued before: the cluster's authority has changed.
	Renew time.Time `json:"renew,omitzero"`
}

// Role is what a user may do (docs/cluster.md).
type Role string

// The roles, each with all that the one before it may.
const (
	Viewer   Role = "viewer"   // See everything but secrets.
	Deployer Role = "deployer" // Units: submit, start, stop, destroy.
	Operator Role = "operator" // Machines: cordon, drain, metadata; exec and ssh.
	Admin    Role = "admin"    // Who may come in: tokens, users, certificates, the store.
)

// Roles lists the roles, the least first.
func Roles() []Role { return []Role{Viewer, Deployer, Operator, Admin} }

// May tells whether a role includes another one. No role includes nothing.
func (r Role) May(needed Role) bool {
	have, need := slices.Index(Roles(), r), slices.Index(Roles(), needed)
	return have >= 0 && need >= 0 && have >= need
}

// MemberRole is what a machine is to the store.
type MemberRole string

// The roles of members. A learner has no vote until it has caught up.
const (
	Learner MemberRole = "learner"
	Voter   MemberRole = "voter"
)

// Member says that a machine holds, or is to hold, a part of the store. Writer: the leader.
type Member struct {
	Machine        string         `json:"machine"` // Machine id.
	Role           MemberRole     `json:"role"`
	PeerURL        string         `json:"peer_url"`
	InitialCluster string         `json:"initial_cluster,omitempty"` // How a machine that is not a member yet joins.
	Reason         *reason.Reason `json:"reason,omitempty"`
	At             time.Time      `json:"at"`
}

// User is a person, or a program of one, that comes over the network. Writer: a person, through api.
type User struct {
	Name string    `json:"name"`
	Role Role      `json:"role"`
	By   string    `json:"by,omitempty"`
	At   time.Time `json:"at"`
	// Since is when the user was let in: certificates that were issued before count no more.
	Since time.Time `json:"since,omitzero"`
}

// Revoked says that certificates of a machine or user that were issued until At count no more. Writer: a person, through api.
type Revoked struct {
	Kind string    `json:"kind"` // machine or user.
	Name string    `json:"name"` // Machine id or user name.
	By   string    `json:"by,omitempty"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at"`
}

// Settings are the cluster's own. Writer: a person, through api.
type Settings struct {
	Servers int `json:"servers,omitempty"` // How many machines are to hold the store: 1, 3 or 5; 0: as many as there are, up to 5.
	// ConfigWrite says which machines' localhost may write the users' configuration (package kv); empty: all.
	ConfigWrite ConfigWrite `json:"config_write,omitempty"`
	// Restored is there after a restore from a snapshot, until a person has settled it. So long nothing is stopped for the
	// reason that the store does not know it.
	Restored *Restored `json:"restored,omitempty"`
}

// Restored says that the store was made anew from a snapshot: what happened after it was taken is not known to it.
type Restored struct {
	At   time.Time `json:"at"`
	From string    `json:"from"` // The snapshot.
	By   string    `json:"by,omitempty"`
	// Revision is the store's after the restore: wishes that are not newer come from the snapshot.
	Revision int64 `json:"revision"`
}

// ConfigWrite names the machines whose programs may write the users' configuration through localhost; all may read it.
type ConfigWrite string

// Who may write. Users with a certificate and the role deployer may in any case.
const (
	WriteAll     ConfigWrite = "all"     // Programs on every machine.
	WriteServers ConfigWrite = "servers" // Programs on servers.
	WriteNone    ConfigWrite = "none"    // No program on a machine.
)

// Lets tells whether programs on a machine may write. What this version does not know lets nobody.
func (w ConfigWrite) Lets(server bool) bool {
	switch w {
	case "", WriteAll:
		return true
	case WriteServers:
		return server
	case WriteNone:
	}
	return false
}

// Answer is the one state of a unit that every screen shows: the agent's word where it has spoken about the
// present wish, else the leader's, else that the wish is stored.
type Answer struct {
	Unit      string         `json:"unit"`
	Desired   Desired        `json:"desired"`
	State     State          `json:"state"`
	Reason    *reason.Reason `json:"reason,omitempty"`
	Message   string         `json:"message,omitempty"` // The reason's sentence.
	Hint      string         `json:"hint,omitempty"`
	Scope     reason.Scope   `json:"scope,omitempty"`
	Final     bool           `json:"final,omitempty"`
	Machine   string         `json:"machine,omitempty"` // Name of the machine.
	MachineID string         `json:"machine_id,omitempty"`
	Since     time.Time      `json:"since,omitzero"`
	Global    bool           `json:"global,omitempty"`
	Template  bool           `json:"template,omitempty"`
	// Status is the agent's word, when there is one. For a global unit the worst one; the rest is in On.
	Status   *Status  `json:"status,omitempty"`
	On       []Status `json:"on,omitempty"` // A global unit: every machine's.
	Revision int64    `json:"revision"`     // Of the Wanted record.
}
